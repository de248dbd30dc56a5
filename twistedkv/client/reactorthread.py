"""The reactor of the blocking clients: one for the process, in a thread of its own; and how others wait for it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.logger import Logger
from twisted.python import threadable
from twisted.python.failure import Failure

from twistedkv.client.operations import Operation
from twistedkv.clock import use_monotonic_clock
from twistedkv.errors import Unavailable

log = Logger()
T = TypeVar("T")

ALIVE_SECONDS = 1.0
"""How often a waiting call looks whether the reactor's thread is still there."""
STOP_SECONDS = 5.0


def _new_reactor() -> Any:
    """A reactor of the platform's best kind, not installed."""
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        from twisted.internet.selectreactor import SelectReactor

        return SelectReactor()
    return EPollReactor()


class ReactorThread:
    """A reactor that runs in a thread of its own."""

    def __init__(self) -> None:
        self.reactor: Any = _new_reactor()
        use_monotonic_clock(self.reactor)
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False
        self.thread = threading.Thread(target=self._run, name="twistedkv", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        # A running reactor declares its thread to be the one for I/O, for the whole process. That is the global one's.
        declared = threadable.ioThread
        self.reactor.callWhenRunning(setattr, threadable, "ioThread", declared)
        self.reactor.run(installSignalHandlers=False)

    def call(self, function: Callable[[], object]) -> None:
        """Have `function()` called in the reactor's thread. The first of many calls wakes it, once."""
        self._calls.append(function)
        if not self._woken:
            self._woken = True
            self.reactor.callFromThread(self._take)

    def _take(self) -> None:
        # The flag is cleared first: what is appended from now on wakes the reactor again.
        self._woken = False
        calls = self._calls
        while calls:
            try:
                calls.popleft()()
            except Exception:
                log.failure("a call in the client's reactor thread failed")

    def stop(self) -> None:
        """End the thread."""
        if self.thread.is_alive():
            self.reactor.callFromThread(self.reactor.stop)
            self.thread.join(STOP_SECONDS)


class Forked(Protocol):
    """What has to begin anew in a forked child."""

    def after_fork(self) -> None:
        """The process is the child."""


class Shared:
    """The process's reactor thread."""

    def __init__(self) -> None:
        self.current: ReactorThread | None = None
        self.lock = threading.Lock()
        self.clients: weakref.WeakSet[Forked] = weakref.WeakSet()
        self.abandoned: list[object] = []
        """Of the parent process. Kept, so that collecting them does not touch what the parent still uses."""

    def thread(self) -> ReactorThread:
        """The thread, started if need be."""
        with self.lock:
            if self.current is None or not self.current.thread.is_alive():
                self.current = ReactorThread()
            return self.current

    def stop(self) -> None:
        """At the end of the process."""
        if self.current is not None:
            self.current.stop()

    def after_fork(self) -> None:
        """In the child."""
        self.lock = threading.Lock()
        if self.current is not None:
            self.abandoned.append(self.current)
            self.current = None
        for client in list(self.clients):
            client.after_fork()


shared = Shared()
atexit.register(shared.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=shared.after_fork)


class Wait:
    """The end of one call, waited for in another thread. Is a waiter, as a Deferred is."""

    __slots__ = ("_error", "_lock", "_result", "operation")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._result: Any = None
        self._error: BaseException | None = None
        self.operation: Operation | None = None

    def callback(self, result: Any) -> None:
        self._result = result
        self._lock.release()

    def errback(self, fail: Any) -> None:
        self._error = fail.value if isinstance(fail, Failure) else fail
        self._lock.release()

    def result(self, thread: threading.Thread) -> Any:
        """Wait. An interrupt (Ctrl-C) goes through."""
        while not self._lock.acquire(timeout=ALIVE_SECONDS):
            if not thread.is_alive():
                raise Unavailable("the client's reactor thread has ended")
        if self._error is not None:
            raise self._error
        return self._result
