"""Clients at work, simulated or real, and the history of all that they asked and were answered."""
