"""The interactive client of the line port: a session that survives failovers, and the terminal around it."""
