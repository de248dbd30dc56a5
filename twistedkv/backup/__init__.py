"""Backups of a whole cluster, in a directory: taken, verified, restored (docs/operations.md, "Backup")."""
