"""Memory that was freed goes back to the system.

The C library keeps it: blocks of all sizes come and go, what is free lies in pieces between what is used, and new
blocks take new room. After an hour of load a sixth of a server was such pieces (docs/performance.md). `malloc_trim`
gives back the pages that nothing is on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall

REST_SECONDS = 30.0
SHARE = 1000
"""It takes at most one part in so many of the time: milliseconds for gigabytes in pieces, else less than one."""


def trimmer() -> Callable[[], object]:
    """What gives memory back; nothing, where the C library is not glibc."""
    try:
        return partial(ctypes.CDLL(None).malloc_trim, 0)
    except (OSError, AttributeError):
        return lambda: None


class FreedMemory(Service):
    """Calls `trim` from time to time, while it runs."""

    def __init__(self, reactor: Any, trim: Callable[[], object] | None = None) -> None:
        self._reactor = reactor
        self._trim = trimmer() if trim is None else trim
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
        self._trim()
        took = self._reactor.seconds() - began
        self._timer = self._reactor.callLater(max(REST_SECONDS, SHARE * took), self._give_back)
