"""Has the tails and batches of a durable store written without the reactor waiting for a disk.

One tail and one batch at a time. While a tail is appended the next one grows: the slower the disk, the more is stored
at once. A disk that is full is tried again until there is room; meanwhile what needs it is not acknowledged, and
everything can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.errors import DiskFull, StorageFailed
from twistedkv.storage.disk import Batch, Disk, Tail
from twistedkv.storage.durable import DurableStore

log = Logger()

FULL_SECONDS = 0.25
"""A full disk is tried again after so long."""
STOP_SECONDS = 2.0
"""So long the end of the process waits for what is not stored yet, and was not acknowledged."""


class Writer:
    """Of one store. `perform(work)` has it written elsewhere, and fires when that is done; `stored` is called after
    each, and `failed` with what ends all this. What is new is written at least `interval` seconds after the last."""

    def __init__(
        self,
        reactor: Any,
        store: DurableStore,
        perform: Callable[[Tail | Batch], Deferred[None]],
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
        self._full: dict[Tail | Batch, IDelayedCall] = {}
        """What has found the disk full, and when it is tried again."""
        self._broken = False
        self._stopping: Deferred[None] | None = None
        self.full_since: float | None = None
        """When the disk was found full, if it is."""

    def kick(self) -> None:
        """The end of a turn: write what there is, unless something is being written, or it is too soon."""
        if self._timer is not None or self._broken:
            return
        now = self._reactor.seconds()
        if now < self._not_before and self._stopping is None:
            if self._store.pending() != self._store.stored():
                self._timer = self._reactor.callLater(self._not_before - now, self._due)
            return
        for work in (self._store.take_tail(), self._store.take(everything=self._stopping is not None)):
            if work is not None:
                self._not_before = now + self._interval
                self._write(work)
        if self._stopping is not None and not self._store.busy:
            stopping, self._stopping = self._stopping, None
            stopping.callback(None)

    def stop(self) -> Deferred[None]:
        """Write all that there is; nothing more may be put into the store. Fires when done, or after STOP_SECONDS."""
        stopped: Deferred[None] = Deferred()
        self._stopping = stopped
        overdue = self._reactor.callLater(STOP_SECONDS, self._give_up)
        stopped.addBoth(lambda _: overdue.active() and overdue.cancel())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.kick()
        return stopped

    def _give_up(self) -> None:
        if self._stopping is not None:
            stopping, self._stopping = self._stopping, None
            for again in self._full.values():
                if again.active():
                    again.cancel()
            log.warn("ending although the disk has not stored everything; with sync, nothing of that was acknowledged")
            stopping.callback(None)

    def _due(self) -> None:
        self._timer = None
        self._stored()  # at the end of the turn that this begins, `kick` is called again

    def _write(self, work: Tail | Batch) -> None:
        self._perform(work).addCallbacks(self._written, self._not_written, callbackArgs=(work,), errbackArgs=(work,))

    def _written(self, _: object, work: Tail | Batch) -> None:
        if self._full.pop(work, None) is not None and not self._full:
            log.info("the disk has room again")
            self.full_since = None
        self._store.written(work)
        if self._stopping is not None:
            self.kick()
        else:
            self._stored()

    def _not_written(self, failure: Failure, work: Tail | Batch) -> None:
        error = failure.value
        if not isinstance(error, DiskFull):
            self._broken = True
            self._failed(error if isinstance(error, StorageFailed) else StorageFailed(f"{error!r}"))
            return
        if isinstance(work, Batch) and self._store.disk.make_room():
            self._write(work)
            return
        if self.full_since is None:
            self.full_since = self._reactor.seconds()
            log.error("{error}; what is written waits until there is room", error=str(error))
        self._full[work] = self._reactor.callLater(FULL_SECONDS, self._write, work)


class WritingThreads:
    """Of one disk: one thread for tails and one for batches. Less than a pool, because to hand work over and back is a
    good part of what a write of a few updates costs."""

    def __init__(self, reactor: Any, disk: Disk) -> None:
        self._reactor = reactor
        self._work: dict[type, SimpleQueue[tuple[Tail | Batch, Deferred[None]] | None]] = {}
        self._threads = []
        for kind, write in ((Tail, disk.append), (Batch, disk.write)):
            queue = self._work[kind] = SimpleQueue()
            self._threads.append(Thread(target=self._run, args=(queue, write), name=f"{kind.__name__}s", daemon=True))
        for thread in self._threads:
            thread.start()

    def perform(self, work: Tail | Batch) -> Deferred[None]:
        """Have it written. Fires when it is, or fails with what was wrong."""
        done: Deferred[None] = Deferred()
        self._work[type(work)].put((work, done))
        return done

    def _run(self, queue: SimpleQueue[Any], write: Callable[[Any], None]) -> None:
        while (job := queue.get()) is not None:
            work, done = job
            try:
                write(work)
            except BaseException:
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, None)

    def stop(self) -> None:
        """Wait until what was given has been written, and end."""
        for queue in self._work.values():
            queue.put(None)
        for thread in self._threads:
            thread.join()
