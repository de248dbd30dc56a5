"""Where a server keeps its records."""
