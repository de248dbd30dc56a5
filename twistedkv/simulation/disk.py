"""Stores that can fail: the coordinator's on a simulated disk, a server's in memory that cannot be relied on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twistedkv.clustermap import Configuration
from twistedkv.core.steps import Change
from twistedkv.errors import StorageFailed
from twistedkv.mapstore.memory import MemoryDisk, MemoryMapStore
from twistedkv.simulation.process import Process
from twistedkv.simulation.timeline import Killed
from twistedkv.storage.memory import MemoryStore


class SimulatedMapStore(MemoryMapStore):
    """Of one coordinator process. `fault(moment)` is called before and after each change, and may raise OSError (only
    before) or end the process; `stored(change, shards before it)` is told what was stored."""

    def __init__(
        self,
        disk: MemoryDisk,
        process: Process,
        fault: Callable[[str], None],
        stored: Callable[[Change, dict[int, Configuration]], None] = lambda change, before: None,
    ) -> None:
        super().__init__(disk)
        self._process = process
        self._fault = fault
        self._stored = stored

    def apply(self, change: Change) -> None:
        """See MapStore."""
        if not self._process.alive:
            raise Killed
        self._fault("before")
        before = dict(self._disk.shards)
        super().apply(change)
        self._stored(change, before)
        self._process.timeline.note(repr(change).encode())
        self._fault("after")


DISK_BYTES = 1 << 40


class SimulatedStore(MemoryStore):
    """Of one server process. When `fails()`, what is to be stored is not."""

    def __init__(self, process: Process, fails: Callable[[], bool]) -> None:
        super().__init__()
        self._process = process
        self._fails = fails
        self._failed = False
        self.full = False
        """Whether its disk is said to be full. It stores what it is told nevertheless."""
        self._used: dict[int, None] = {}
        """Slots that were ever written: few, where a shard has thousands."""

    def space(self) -> tuple[int, int]:
        """See Store."""
        return (DISK_BYTES if self.full else 0), DISK_BYTES

    def held(self, slots: range) -> dict[bytes, bytes]:
        """All records in these slots, by key."""
        return {key: record for slot in self._used if slot in slots for key, record in self.items(slot)}

    def put(self, slot: int, key: bytes, record: bytes) -> None:
        """See Store."""
        self._fail_or_not()
        self._used[slot] = None
        super().put(slot, key, record)

    def put_many(self, slots: Sequence[int], keys: Sequence[bytes], records: Sequence[bytes]) -> None:
        """See Store."""
        self._fail_or_not()
        self._used.update(dict.fromkeys(slots))
        super().put_many(slots, keys, records)

    def _fail_or_not(self) -> None:
        if self._fails():
            self._process.timeline.tell(f"{self._process.name}: its store fails")
            self._failed = True
            raise StorageFailed("input/output error")

    def get(self, slot: int, key: bytes) -> bytes | None:
        """See Store."""
        self._watch_end()
        return super().get(slot, key)

    def get_many(self, slots: Sequence[int], keys: Sequence[bytes]) -> list[bytes | None]:
        """See Store."""
        self._watch_end()
        return super().get_many(slots, keys)

    def _watch_end(self) -> None:
        if self._failed:
            self._process.timeline.problems.append(
                f"invariant I15: {self._process.name} goes on after its store failed"
            )
