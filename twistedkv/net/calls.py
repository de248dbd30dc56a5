"""Requests that wait for their answers on one connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistedkv.wire.frames import Frame


class Calls:
    """Outstanding requests by id. Each ends exactly once: by its answer, its deadline, or the connection's end.

    Deadlines live here and not in `Deferred.addTimeout`, which would cancel the Deferred and leave the late answer
    to hit a cancelled one; late answers are dropped here.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self._waiting: dict[int, tuple[Deferred[Frame], float]] = {}
        self._lost: Exception | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def new(self, deadline: float) -> tuple[int, Deferred[Frame]]:
        """A request id and the Deferred of its answer, which fails with TimeoutError at `deadline`.

        Fails at once when the connection is lost.
        """
        answer: Deferred[Frame] = Deferred()
        if self._lost is not None:
            answer.errback(Failure(self._lost))
            return 0, answer
        self._last_id = self._last_id % 0xFFFFFFFF + 1
        while self._last_id in self._waiting:  # the numbers have gone round, and one that follows still waits
            self._last_id = self._last_id % 0xFFFFFFFF + 1
        self._waiting[self._last_id] = (answer, deadline)
        return self._last_id, answer

    def answered(self, frame: Frame) -> bool:
        """Fire the request that this frame answers. False if there is none (any more)."""
        waiting = self._waiting.pop(frame[2], None)
        if waiting is None:
            return False
        waiting[0].callback(frame)
        return True

    def expire(self, now: float) -> None:
        """Fail what has passed its deadline."""
        late = [request_id for request_id, (_, deadline) in self._waiting.items() if deadline <= now]
        for request_id in late:
            self._fail(request_id, TimeoutError("no answer in time"))

    def lose(self, error: Exception) -> None:
        """The connection is gone: fail everything outstanding, once, and everything later at once."""
        self._lost = error
        for request_id in list(self._waiting):
            self._fail(request_id, error)

    def _fail(self, request_id: int, error: Exception) -> None:
        waiting: Any = self._waiting.pop(request_id, None)
        if waiting is not None:
            waiting[0].errback(Failure(error))
