"""The clock of this project: monotonic, and running on while the machine sleeps.

Twisted's `reactor.seconds` is the wall clock, in every reactor: a step of the system time moves every timer, and would
move every lease. `use_monotonic_clock` has to be called before anything is scheduled.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["now", "use_monotonic_clock"]

now: Callable[[], float]
"""Seconds since some fixed point; comparable within this machine only."""
if hasattr(time, "CLOCK_BOOTTIME"):
    now = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
else:  # not Linux
    now = time.monotonic


def use_monotonic_clock(reactor: Any) -> None:
    """Make `reactor` schedule by `now`."""
    reactor.seconds = now
