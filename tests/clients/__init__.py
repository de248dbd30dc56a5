"""Clients of Redis as they are, in real use of a real cluster, through failovers: `python -m tests.clients`."""
