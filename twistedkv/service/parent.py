"""A child that never outlives its parent, not even when either of them is killed or frozen.

Two bonds, because each has a gap: the kernel sends SIGKILL when the parent dies (Linux; it also ends a child
that is stopped by SIGSTOP, which could not read anything), and standard input reaches its end when the parent
is gone (any system). A parent that died before the first bond was made is noticed by comparing getppid with
the parent's pid in TWISTEDKV_PARENT, which the parent sets.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()

PARENT_VARIABLE = "TWISTEDKV_PARENT"
_PR_SET_PDEATHSIG = 1


def bind_to_parent() -> None:
    """Have the kernel kill this process when its parent dies; exit at once if that has happened already.

    To be called first of all, in the process that is to be bound (the setting does not survive a fork).
    """
    expected = os.environ.get(PARENT_VARIABLE, "")
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            log.warn("prctl(PR_SET_PDEATHSIG) failed with errno {errno}", errno=ctypes.get_errno())
    if expected.isdigit() and os.getppid() != int(expected):
        os._exit(0)


class _UntilEnd(Protocol):
    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._ended()


def watch_standard_input(ended: Callable[[], None]) -> Any:
    """Call `ended` when standard input reaches its end. Returns what has to be kept."""
    from twisted.internet.stdio import StandardIO

    return StandardIO(_UntilEnd(ended))
