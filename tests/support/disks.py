"""A durable store over a disk that is a dictionary, and writes when the test says so."""

from __future__ import annotations

from twistedkv.errors import DamagedRecord
from twistedkv.simulation.platter import Platter, PlatterDisk
from twistedkv.storage.disk import Batch
from twistedkv.storage.durable import DurableStore


class FakeDisk(PlatterDisk):
    """Some of its records may be damaged."""

    def __init__(self, platter: Platter | None = None) -> None:
        super().__init__(Platter(b"s" * 16) if platter is None else platter)
        self.damaged: set[bytes] = set()
        """Keys whose records are."""

    def get(self, shard: int, slot: int, key: bytes) -> bytes | None:
        """See Disk."""
        if key in self.damaged:
            raise DamagedRecord(slot, key)
        return super().get(shard, slot, key)

    def inspect(self, shard: int, slot: int) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """See Disk."""
        items, _ = super().inspect(shard, slot)
        intact = [(key, record) for key, record in items if key not in self.damaged]
        return intact, [key for key, _ in items if key in self.damaged]

    def write(self, batch: Batch) -> None:
        """See Disk. What is stored anew is not damaged any more."""
        super().write(batch)
        self.damaged -= {key for records in batch.records.values() for key in records}


def store_on(platter: Platter | None = None, *, at_once: bool = False) -> DurableStore:
    """A store over a new disk, or over this one."""
    return DurableStore(FakeDisk(platter), at_once=at_once)


def write_out(store: DurableStore) -> None:
    """Everything is stored."""
    while (batch := store.take(everything=True)) is not None:
        store.disk.write(batch)
        store.written(batch)


def platter_of(store: DurableStore) -> Platter:
    """What is on its disk."""
    assert isinstance(store.disk, FakeDisk)
    return store.disk.platter


def damage(store: DurableStore, *keys: bytes) -> None:
    """The records of these keys are not any more what was stored."""
    assert isinstance(store.disk, FakeDisk)
    store.disk.damaged.update(keys)
