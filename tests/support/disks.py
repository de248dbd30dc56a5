"""A durable store over a disk that is a dictionary, and writes when the test says so."""

from __future__ import annotations

from twistedkv.chunks import Chunk
from twistedkv.errors import DamagedRecord
from twistedkv.simulation.platter import Platter
from twistedkv.storage.disk import Batch, Found
from twistedkv.storage.durable import DurableStore


class FakeDisk:
    """`storage.disk.Disk` over a platter."""

    def __init__(self, platter: Platter | None = None) -> None:
        self.platter = Platter(b"s" * 16) if platter is None else platter
        self.store_id = self.platter.store_id
        self.server_id = self.platter.server_id
        self.damaged: set[bytes] = set()
        """Keys whose records are."""

    def claim(self, cluster: str, coordinator: bytes, server_id: int) -> None:
        """See Disk."""
        self.platter.server_id = server_id

    def find(self) -> dict[int, Found]:
        """See Disk."""
        return {
            shard: Found(
                state,
                [
                    (first, chunk.last, len(chunk.entries))
                    for first, (chunk, _, _) in sorted(self.platter.chunks.get(shard, {}).items())
                ],
                *self.platter.tables.get(shard, (0, [])),
            )
            for shard, state in self.platter.states.items()
        }

    def get(self, shard: int, slot: int, key: bytes) -> bytes | None:
        """See Disk."""
        if key in self.damaged:
            raise DamagedRecord(slot, key)
        return self.platter.records.get(shard, {}).get(slot, {}).get(key)

    def has(self, shard: int, slot: int, key: bytes) -> bool:
        """See Disk."""
        return key in self.platter.records.get(shard, {}).get(slot, {})

    def inspect(self, shard: int, slot: int) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """See Disk."""
        records = self.platter.records.get(shard, {}).get(slot, {})
        return (
            [(key, record) for key, record in records.items() if key not in self.damaged],
            [key for key in records if key in self.damaged],
        )

    def count(self, shard: int) -> int:
        """See Disk."""
        return sum(map(len, self.platter.records.get(shard, {}).values()))

    def chunk(self, shard: int, first: int) -> tuple[Chunk, int, int]:
        """See Disk."""
        return self.platter.chunks[shard][first]

    def write(self, batch: Batch) -> None:
        """See Disk. What is stored anew is not damaged any more."""
        self.platter.store(batch)
        self.damaged -= {key for records in batch.records.values() for key in records}

    def refresh(self) -> None:
        """See Disk."""

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


def store_on(platter: Platter | None = None, *, at_once: bool = False) -> DurableStore:
    """A store over a new disk, or over this one."""
    return DurableStore(FakeDisk(platter), at_once=at_once)


def write_out(store: DurableStore) -> None:
    """Everything is stored."""
    while (batch := store.take(everything=True)) is not None:
        store.disk.write(batch)
        store.written()


def platter_of(store: DurableStore) -> Platter:
    """What is on its disk."""
    assert isinstance(store.disk, FakeDisk)
    return store.disk.platter


def damage(store: DurableStore, *keys: bytes) -> None:
    """The records of these keys are not any more what was stored."""
    assert isinstance(store.disk, FakeDisk)
    store.disk.damaged.update(keys)
