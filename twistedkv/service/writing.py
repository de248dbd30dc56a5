"""Has the batches of a durable store written, one after the other, without the reactor waiting for a disk.

While one batch is written the next one grows: the slower the disk, the more is stored at once. A disk that is full is
tried again until there is room; meanwhile nothing that came since is acknowledged, and everything can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.errors import DiskFull, StorageFailed
from twistedkv.storage.disk import Batch
from twistedkv.storage.durable import DurableStore

log = Logger()

FULL_SECONDS = 0.25
"""A full disk is tried again after so long."""
STOP_SECONDS = 2.0
"""So long the end of the process waits for what is not stored yet, and was not acknowledged."""


class Writer:
    """Of one store. `perform(batch)` has it written elsewhere, and fires when that is done; `stored` is called after
    each, and `failed` with what ends all this. Batches begin at least `interval` seconds after one another."""

    def __init__(
        self,
        reactor: Any,
        store: DurableStore,
        perform: Callable[[Batch], Deferred[None]],
        stored: Callable[[], None],
        failed: Callable[[BaseException], None],
        interval: float = 0.0,
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._perform = perform
        self._stored = stored
        self._failed = failed
        self._interval = interval
        self._not_before = 0.0
        self._timer: IDelayedCall | None = None
        self._busy = False
        self._stopping: Deferred[None] | None = None
        self.full_since: float | None = None
        """When the disk was found full, if it is."""

    @property
    def busy(self) -> bool:
        """Whether a batch is being written."""
        return self._busy

    def kick(self) -> None:
        """The end of a turn: write what there is, unless a batch is being written, or it is too soon."""
        if self._busy or self._timer is not None:
            return
        now = self._reactor.seconds()
        if now < self._not_before and self._stopping is None:
            if self._store.pending() != self._store.stored():
                self._timer = self._reactor.callLater(self._not_before - now, self._due)
            return
        batch = self._store.take(everything=self._stopping is not None)
        if batch is not None:
            self._not_before = now + self._interval
            self._busy = True
            self._write(batch)
        elif self._stopping is not None:
            stopping, self._stopping = self._stopping, None
            stopping.callback(None)

    def stop(self) -> Deferred[None]:
        """Write all that there is; nothing more may be put into the store. Fires when done, or after STOP_SECONDS."""
        stopped: Deferred[None] = Deferred()
        self._stopping = stopped
        overdue = self._reactor.callLater(STOP_SECONDS, self._give_up)
        stopped.addBoth(lambda _: overdue.active() and overdue.cancel())
        if self._timer is not None and not self._busy:
            self._timer.cancel()
            self._timer = None
        self.kick()
        return stopped

    def _give_up(self) -> None:
        if self._stopping is not None:
            stopping, self._stopping = self._stopping, None
            if self._timer is not None:
                self._timer.cancel()
            log.warn("ending although the disk has not stored everything; with sync, nothing of that was acknowledged")
            stopping.callback(None)

    def _due(self) -> None:
        self._timer = None
        self._stored()  # at the end of the turn that this begins, `kick` is called again

    def _write(self, batch: Batch) -> None:
        self._timer = None
        self._perform(batch).addCallbacks(self._written, self._not_written, callbackArgs=(), errbackArgs=(batch,))

    def _written(self, _: object) -> None:
        self._busy = False
        if self.full_since is not None:
            log.info("the disk has room again")
            self.full_since = None
        self._store.written()
        if self._stopping is not None:
            self.kick()
        else:
            self._stored()

    def _not_written(self, failure: Failure, batch: Batch) -> None:
        error = failure.value
        if not isinstance(error, DiskFull):
            self._failed(error if isinstance(error, StorageFailed) else StorageFailed(f"{error!r}"))
            return
        if self._store.disk.make_room():
            self._write(batch)
            return
        if self.full_since is None:
            self.full_since = self._reactor.seconds()
            log.error("{error}; what is written waits until there is room", error=str(error))
        self._timer = self._reactor.callLater(FULL_SECONDS, self._write, batch)
