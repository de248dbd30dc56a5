"""Memory that was freed goes back to the system.

The C library keeps it: blocks of all sizes come and go, what is free lies in pieces between what is used, and new
blocks take new room. After an hour of load two fifths of a server were such pieces (docs/performance.md). `malloc_trim`
gives back the pages that nothing is on.

Nothing else is done meanwhile, so a large server does without it: to go through a gigabyte of which half has just been
deleted takes a tenth of a second or two, and so long a pause costs more than the memory.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall

REST_SECONDS = 30.0
SHARE = 1000
"""It is tried again after so many times as long as it took, if that is more."""
RESIDENT_BYTES_MAX = 512 * 1024 * 1024
"""A larger server leaves it."""


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def trimmer() -> Callable[[], object]:
    """What gives memory back; nothing, where the C library is not glibc."""
    try:
        return partial(ctypes.CDLL(None).malloc_trim, 0)
    except (OSError, AttributeError):
        return lambda: None


class FreedMemory(Service):
    """Calls `trim` from time to time, while it runs and `resident()` is not too much."""

    def __init__(
        self, reactor: Any, trim: Callable[[], object] | None = None, resident: Callable[[], int] = resident_bytes
    ) -> None:
        self._reactor = reactor
        self._trim = trimmer() if trim is None else trim
        self._resident = resident
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        """Twisted's name."""
        super().startService()  # type: ignore[no-untyped-call]
        self._timer = self._reactor.callLater(REST_SECONDS, self._give_back)

    def stopService(self) -> None:
        """Twisted's name."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_back(self) -> None:
        began = self._reactor.seconds()
        if self._resident() <= RESIDENT_BYTES_MAX:
            self._trim()
        took = self._reactor.seconds() - began
        self._timer = self._reactor.callLater(max(REST_SECONDS, SHARE * took), self._give_back)
