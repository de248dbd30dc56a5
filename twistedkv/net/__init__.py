"""Twisted protocols: thin adapters between transports and the core."""
