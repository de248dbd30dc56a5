"""What is played on the simulated network and on real sockets, to compare what both ends are told.

A script waits for conditions and never for a time. Where the order of two things is up to the network, it does not let
them happen together. "Paused" is an end that does not read.
"""

from __future__ import annotations

from tests.simulation.scripts import ports, producers, reading, writing
from tests.simulation.scripts.acts import SCRIPTS

__all__ = ["SCRIPTS", "ports", "producers", "reading", "writing"]
