"""Batches, one after the other, on a disk that takes its time, is full, or fails."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.conftest import LoggedErrors
from tests.support.disks import FakeDisk
from twistedkv.chunks import Chunk
from twistedkv.errors import DiskFull, StorageFailed
from twistedkv.service.writing import FULL_SECONDS, STOP_SECONDS, Writer, WritingThreads
from twistedkv.storage.disk import Batch, Tail
from twistedkv.storage.durable import DurableStore


class _Disk(FakeDisk):
    """Has room again when it is asked so often."""

    grows = 0

    def make_room(self) -> bool:
        self.grows -= 1
        return self.grows >= 0


class _Scene:
    """A writer whose batches end when the test says so, and that is kicked at the end of each turn."""

    def __init__(self, interval: float = 0.0) -> None:
        self.clock: Any = Clock()
        self.clock.advance(1000)
        self.disk = _Disk()
        self.store = DurableStore(self.disk)
        self.store.place(0, range(100))
        self.given: list[tuple[Any, Deferred[None]]] = []
        self.stored = 0
        self.sequence = 0
        self.failures: list[BaseException] = []
        self.writer = Writer(self.clock, self.store, self._perform, self._told, self.failures.append, interval)

    def _perform(self, work: Tail | Batch) -> Deferred[None]:
        self.given.append((work, Deferred()))
        return self.given[-1][1]

    def _told(self) -> None:
        self.stored += 1
        self.clock.callLater(0, self.writer.kick)

    def turn(self, text: bytes = b"") -> None:
        """Something is put, and the turn ends."""
        if text:
            self.store.save(0, text)
        self.writer.kick()

    def update(self) -> None:
        """An entry is logged, and the turn ends."""
        self.sequence += 1
        self.store.archive(0).append(Chunk(self.sequence, self.sequence, 1, b"entry"), self.sequence)
        self.writer.kick()

    def finish(self, error: Exception | None = None, *, at: int = -1) -> Any:
        """What was given away last, or at this place, is written, or not."""
        work, done = self.given[at]
        if error is None:
            self.disk.put(work)
            done.callback(None)
        else:
            done.errback(error)
        self.clock.advance(0)
        return work


def test_what_comes_while_one_is_written_is_the_next() -> None:
    scene = _Scene()
    scene.turn()
    assert not scene.given and not scene.store.busy
    scene.turn(b"one")
    for text in (b"two", b"three", b"four"):
        scene.turn(text)
    assert len(scene.given) == 1 and scene.store.busy
    assert scene.store.stored() == 0
    assert scene.finish().states == {0: b"one"}
    assert (scene.stored, scene.store.stored(), len(scene.given)) == (1, 1, 2)
    assert scene.finish().states == {0: b"four"}
    assert (scene.stored, scene.store.stored(), len(scene.given)) == (2, 2, 2)
    assert not scene.store.busy and scene.store.pending() == 2
    assert scene.clock.getDelayedCalls() == []


def _begun() -> _Scene:
    """Tails can be appended."""
    scene = _Scene()
    scene.turn(b"state")
    scene.finish()
    scene.given.clear()
    return scene


def test_logs_are_appended_while_a_batch_is_written() -> None:
    scene = _begun()
    scene.store.tail_bytes_stored = 1
    scene.update()  # a tail, and a batch that has it, too
    scene.update()
    scene.update()
    assert [type(work) for work, _ in scene.given] == [Tail, Batch]
    scene.finish(at=0)
    assert scene.store.stored() == 2 and scene.store.pending() == 3
    assert len(scene.given) == 3 and len(scene.given[2][0].chunks) == 2, "what came meanwhile"
    scene.finish()
    assert scene.store.stored() == 3
    scene.update()
    scene.finish()
    assert scene.store.stored() == 4 and len(scene.given) == 4, "one batch at a time"
    scene.finish(at=1)
    scene.update()
    assert [type(work) for work, _ in scene.given[4:]] == [Batch, Tail] and scene.given[4][0].number == 4


def test_what_only_a_batch_can_have_is_waited_for() -> None:
    scene = _begun()
    scene.update()
    scene.turn(b"another state")
    scene.update()
    assert [type(work) for work, _ in scene.given] == [Tail, Batch]
    scene.finish(at=0)
    assert len(scene.given) == 2 and scene.store.stored() == 2
    assert scene.finish(at=1).states == {0: b"another state"}
    assert scene.store.stored() == 3
    assert isinstance(scene.given[2][0], Tail) and scene.given[2][0].begins


def test_a_batch_without_room_does_not_hold_up_logs(logged_errors: LoggedErrors) -> None:
    scene = _begun()
    scene.store.tail_bytes_stored = 1
    scene.update()
    scene.finish(DiskFull("full"))
    scene.finish(at=0)
    scene.update()
    scene.finish()
    assert scene.store.stored() == 3 and scene.writer.full_since == 1000
    scene.clock.advance(FULL_SECONDS)
    scene.finish()
    assert scene.writer.full_since is None and not scene.failures
    logged_errors.events.clear()


def test_threads_write_and_tell() -> None:
    told: list[Any] = []

    class Reactor:
        def callFromThread(self, call: Any, *arguments: object) -> None:
            told.append((call, arguments))

    class Broken(FakeDisk):
        def append(self, tail: Tail) -> None:
            raise StorageFailed("broken")

    disk = Broken()
    threads = WritingThreads(Reactor(), disk)
    batch = Batch(1)
    batch.states[0] = b"state"
    written, failed = threads.perform(batch), threads.perform(Tail(2))
    threads.stop()
    for call, arguments in told:
        call(*arguments)
    assert disk.platter.states == {0: b"state"} and written.called
    failures: list[Any] = []
    failed.addErrback(lambda failure: failures.append(failure.value))
    assert [str(failure) for failure in failures] == ["broken"]


def test_batches_begin_an_interval_apart() -> None:
    scene = _Scene(interval=0.1)
    scene.turn(b"one")
    began = scene.clock.seconds()
    scene.finish()
    scene.turn(b"two")
    scene.turn(b"three")
    assert len(scene.given) == 1
    scene.clock.advance(0.05)
    assert len(scene.given) == 1
    scene.clock.pump([0.02] * 4)
    assert len(scene.given) == 2 and scene.given[1][0].states == {0: b"three"}
    assert scene.clock.seconds() - began == pytest.approx(0.1, abs=0.03)
    scene.clock.advance(10)
    scene.turn(b"four")
    scene.finish()
    scene.clock.advance(0)
    assert len(scene.given) == 3, "and not later, after a batch that took long"
    scene.finish()
    assert scene.clock.getDelayedCalls() == []


def test_a_full_disk_is_tried_again_with_the_same_batch(logged_errors: LoggedErrors) -> None:
    scene = _Scene()
    scene.turn(b"one")
    batch = scene.given[0][0]
    for tries in range(1, 4):
        scene.finish(DiskFull("the disk has no room: test"))
        scene.turn(b"two")
        assert scene.writer.full_since == 1000
        assert (len(scene.given), scene.stored, scene.store.stored()) == (tries, 0, 0)
        assert scene.store.bytes_waiting() >= 0 and scene.store.pending() == 2
        scene.clock.advance(FULL_SECONDS)
        assert scene.given[-1][0] is batch
    scene.finish()
    assert scene.writer.full_since is None
    assert scene.finish().states == {0: b"two"}
    assert scene.store.stored() == 2 and not scene.failures
    assert logged_errors.describe() == "the disk has no room: test; what is written waits until there is room"
    logged_errors.events.clear()


def test_a_disk_that_can_grow_is_tried_again_at_once() -> None:
    scene = _Scene()
    scene.disk.grows = 2
    scene.turn(b"one")
    scene.finish(DiskFull("full"))
    scene.finish(DiskFull("full"))
    assert len(scene.given) == 3 and scene.writer.full_since is None
    scene.finish()
    assert scene.store.stored() == 1


@pytest.mark.parametrize("error", [StorageFailed("broken"), RuntimeError("what nobody thought of")])
def test_anything_else_is_the_end(error: Exception) -> None:
    scene = _Scene()
    scene.turn(b"one")
    scene.finish(error)
    [failure] = scene.failures
    assert isinstance(failure, StorageFailed) and str(error) in str(failure)
    scene.turn(b"two")
    assert (len(scene.given), scene.stored, scene.store.stored()) == (1, 0, 0)
    assert scene.clock.getDelayedCalls() == []


@pytest.mark.parametrize("interval", [0.0, 0.1])
def test_the_end_waits_for_what_there_is(interval: float) -> None:
    scene = _Scene(interval)
    scene.turn(b"one")
    scene.turn(b"two")
    stopped = scene.writer.stop()
    scene.finish()
    assert not stopped.called and len(scene.given) == 2
    scene.finish()
    assert stopped.called and scene.store.stored() == 2
    assert scene.clock.getDelayedCalls() == []


def test_the_end_does_not_wait_for_the_interval() -> None:
    scene = _Scene(interval=60)
    scene.turn(b"one")
    scene.finish()
    scene.turn(b"two")
    stopped = scene.writer.stop()
    scene.finish()
    assert stopped.called and scene.store.stored() == 2
    assert scene.clock.getDelayedCalls() == []


def test_the_end_folds_what_is_only_in_the_log() -> None:
    scene = _Scene()
    scene.store.put(1, b"key", b"record of it")
    scene.turn()
    assert not scene.given
    stopped = scene.writer.stop()
    assert scene.finish().records == {1: {b"key": b"record of it"}}
    assert stopped.called


def test_the_end_with_nothing_to_write_comes_at_once() -> None:
    scene = _Scene()
    assert scene.writer.stop().called
    assert scene.clock.getDelayedCalls() == []


def test_the_end_does_not_wait_for_a_full_disk_for_ever(logged_errors: LoggedErrors) -> None:
    scene = _Scene()
    scene.turn(b"one")
    scene.finish(DiskFull("full"))
    stopped = scene.writer.stop()
    for _ in range(int(STOP_SECONDS / FULL_SECONDS)):
        assert not stopped.called
        scene.clock.advance(FULL_SECONDS)
        if not stopped.called:
            scene.finish(DiskFull("full"))
    scene.clock.advance(FULL_SECONDS)
    assert stopped.called and scene.store.stored() == 0
    assert scene.clock.getDelayedCalls() == []
    logged_errors.events.clear()
