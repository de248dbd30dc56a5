"""A simulated disk under a durable store: what is on it outlives the process, and nothing else does.

A batch takes its time. If the process ends before it is stored, it is there or it is not, as a whole: that is what
LMDB promises, and `tests/storage` and the power cuts on real file systems look at.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from twistedkv.chunks import Chunk
from twistedkv.errors import DiskFull, StorageFailed
from twistedkv.simulation.disk import DISK_BYTES
from twistedkv.simulation.process import Process
from twistedkv.simulation.timeline import Killed
from twistedkv.storage.disk import Batch, Found, Tail
from twistedkv.storage.durable import DurableStore


class Platter:
    """What a disk holds."""

    def __init__(self, store_id: bytes) -> None:
        self.store_id = store_id
        self.server_id = 0
        self.records: dict[int, dict[int, dict[bytes, bytes]]] = {}
        """By shard, slot and key."""
        self.states: dict[int, bytes] = {}
        self.chunks: dict[int, dict[int, tuple[Chunk, int, int]]] = {}
        """By shard and first sequence."""
        self.stored = 0
        """Number of the last batch."""
        self.tails: list[Tail] = []
        """Those after it."""
        self.tables: dict[int, tuple[int, list[bytes]]] = {}

    def store(self, batch: Batch) -> None:
        """Everything in the batch."""
        self.stored = batch.number
        self.tails = [tail for tail in self.tails if tail.number > batch.number]
        for shard in batch.restarted:
            self.chunks.pop(shard, None)
            self.tables.pop(shard, None)
        for shard, first in batch.trimmed:
            self.chunks.get(shard, {}).pop(first, None)
        for (shard, first), chunk in batch.chunks.items():
            self.chunks.setdefault(shard, {})[first] = chunk
        self.tables.update(batch.tables)
        self.states.update(batch.states)
        for shard in batch.dropped:
            self.records.pop(shard, None)
        for slot, records in batch.records.items():
            held = self.records.setdefault(batch.shard_of[slot], {}).setdefault(slot, {})
            for key, record in records.items():
                if record is None:
                    held.pop(key, None)
                else:
                    held[key] = record


class PlatterDisk:
    """`storage.disk.Disk` on a platter."""

    def __init__(self, platter: Platter) -> None:
        self.platter = platter
        self.store_id = platter.store_id
        self.server_id = platter.server_id
        self.stored = platter.stored

    def claim(self, cluster: str, coordinator: bytes, server_id: int) -> None:
        """See Disk."""
        self.platter.server_id = self.server_id = server_id

    def find(self) -> dict[int, Found]:
        """See Disk."""
        platter = self.platter
        return {
            shard: Found(
                state,
                [
                    (first, chunk.last, len(chunk.entries))
                    for first, (chunk, _, _) in sorted(platter.chunks.get(shard, {}).items())
                ],
                *platter.tables.get(shard, (0, [])),
            )
            for shard, state in sorted(platter.states.items())
        }

    def tails(self) -> list[Tail]:
        """See Disk."""
        return list(self.platter.tails)

    def _slot(self, shard: int, slot: int) -> dict[bytes, bytes]:
        return self.platter.records.get(shard, {}).get(slot, {})

    def get(self, shard: int, slot: int, key: bytes) -> bytes | None:
        """See Disk."""
        return self._slot(shard, slot).get(key)

    def has(self, shard: int, slot: int, key: bytes) -> bool:
        """See Disk."""
        return key in self._slot(shard, slot)

    def inspect(self, shard: int, slot: int) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """See Disk."""
        return sorted(self._slot(shard, slot).items()), []

    def count(self, shard: int) -> int:
        """See Disk."""
        return sum(map(len, self.platter.records.get(shard, {}).values()))

    def chunk(self, shard: int, first: int) -> tuple[Chunk, int, int]:
        """See Disk."""
        return self.platter.chunks[shard][first]

    def write(self, batch: Batch) -> None:
        """See Disk."""
        self.platter.store(batch)

    def append(self, tail: Tail) -> None:
        """See Disk. Nothing is left of a tail that comes after the batch that has it."""
        if tail.number > self.platter.stored:
            self.platter.tails.append(tail)

    def put(self, work: Tail | Batch) -> None:
        """Whichever it is."""
        if isinstance(work, Tail):
            self.append(work)
        else:
            self.write(work)

    def refresh(self) -> None:
        """See Disk. What is on the platter can be read."""

    def make_room(self) -> bool:
        """See Disk."""
        return False

    def bytes_used(self) -> int:
        """See Disk."""
        return 0

    def room(self) -> tuple[int, int]:
        """See Disk."""
        return 0, 0

    def close(self) -> None:
        """See Disk."""


class SimulatedDisk(PlatterDisk):
    """Of one process, which writes by `perform`. `seconds()` is how long the next one takes; `fault()` may raise."""

    def __init__(
        self,
        platter: Platter,
        process: Process,
        seconds: Callable[[], float],
        fault: Callable[[], None],
        chance: random.Random,
    ) -> None:
        super().__init__(platter)
        self._process = process
        self._seconds = seconds
        self._fault = fault
        self._chance = chance
        self._under_way: list[Tail | Batch] = []
        self.unfolded_max = chance.choice((0, 1_000, 10_000, 1_000_000))
        self.tail_bytes_max = chance.choice((1_000, 100_000))
        self.tail_bytes_stored = chance.choice((1, 500, 5_000, 50_000))

    def perform(self, work: Tail | Batch) -> Deferred[None]:
        """Have it written; see `service.writing.Writer`."""
        try:
            self._fault()
        except (StorageFailed, DiskFull) as error:
            return fail(Failure(error))
        self._under_way.append(work)
        done: Deferred[None] = Deferred()
        self._process.reactor.callLater(self._seconds(), self._written, work, done)
        return done

    def _written(self, work: Tail | Batch, done: Deferred[None]) -> None:
        self._under_way.remove(work)
        self.put(work)
        done.callback(None)

    def process_ended(self) -> None:
        """What was being written is on the disk, or it is not: a tail and a batch each by itself."""
        under_way, self._under_way = self._under_way, []
        for work in under_way:
            if self._chance.random() < 0.5:
                self.put(work)


class SimulatedDurableStore(DurableStore):
    """Of one server process."""

    def __init__(self, disk: SimulatedDisk, process: Process) -> None:
        super().__init__(disk)
        self.folding.bytes_max = disk.unfolded_max
        self.tail_bytes_max, self.tail_bytes_stored = disk.tail_bytes_max, disk.tail_bytes_stored
        self.full = False
        """Whether its disk is said to be full: see `simulation.disk.SimulatedStore`."""
        self._process = process

    def space(self) -> tuple[int, int]:
        """See Store."""
        return (DISK_BYTES if self.full else 0), DISK_BYTES

    def held(self, slots: range) -> dict[bytes, bytes]:
        """All records in these slots, by key."""
        return {key: record for slot in self._used() if slot in slots for key, record in self.items(slot)}

    def _used(self) -> list[int]:
        disk = self.disk
        assert isinstance(disk, SimulatedDisk)
        used = {slot: None for slots in disk.platter.records.values() for slot in slots}
        for batch in (self._writing, self.open_batch):
            if batch is not None:
                used.update(dict.fromkeys(batch.records))
        return sorted(used)

    def put(self, slot: int, key: bytes, record: bytes) -> None:
        """See Store."""
        if not self._process.alive:
            raise Killed
        super().put(slot, key, record)
