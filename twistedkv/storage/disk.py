"""What a durable store asks of a disk: batches go there as a whole or not at all, and it finds what it was given."""

from __future__ import annotations

from typing import Protocol

import attrs

from twistedkv.chunks import Chunk

Chunks = dict[tuple[int, int], tuple[Chunk, int, int]]
"""By shard and first sequence, in the order of the log: (chunk, commit, sequence up to which the shard's records are
folded)."""


@attrs.define(eq=False)
class Tail:
    """What is new in the logs, and becomes stable in a file of its own. The tables get it later, with a batch."""

    number: int
    chunks: Chunks = attrs.Factory(dict)
    begins: bool = False
    """Whether it is the first after a batch was taken, which has all before it: the other file is used from now on."""


@attrs.define(eq=False)
class Batch:
    """What becomes stable together, in the tables. For each shard in `dropped` its records are removed before all
    others are stored, for each in `restarted` its log and dedup table."""

    number: int
    """It has all tails up to this number."""
    records: dict[int, dict[bytes, bytes | None]] = attrs.Factory(dict)
    """By slot and key; None: the key is removed."""
    shard_of: list[int] = attrs.Factory(list)
    """By slot."""
    dropped: dict[int, None] = attrs.Factory(dict)
    restarted: dict[int, None] = attrs.Factory(dict)
    states: dict[int, bytes] = attrs.Factory(dict)
    """By shard."""
    held: dict[int, None] = attrs.Factory(dict)
    """Slots with records that are in no log: they are stored with this batch."""
    chunks: Chunks = attrs.Factory(dict)
    tables: dict[int, tuple[int, list[bytes]]] = attrs.Factory(dict)
    """By shard: the sequence that the dedup table is of, and its pieces."""
    trimmed: list[tuple[int, int]] = attrs.Factory(list)
    """(shard, first sequence) of chunks that are not needed any more. Removed before those in `chunks` are stored."""
    bytes: int = 0
    """Of all but records."""
    whole: bool = False
    """Whether it has something new that no tail has."""

    @property
    def more_than_logs(self) -> bool:
        """Whether something in it has to become stable that a tail cannot have."""
        return any((self.held, self.states, self.dropped, self.restarted, self.tables))


@attrs.frozen
class Found:
    """What a disk has of one shard when it is opened: `interface.Kept` before it is put together."""

    state: bytes
    chunks: list[tuple[int, int, int]]
    """(first sequence, last sequence, bytes) of each in the log, oldest first."""
    table_at: int
    table: list[bytes]


class Disk(Protocol):
    """Where batches go. All that is read is as of the last batch for which `refresh` was called."""

    store_id: bytes
    server_id: int
    stored: int
    """Number of the last batch that had been written when it was opened."""

    def claim(self, cluster: str, coordinator: bytes, server_id: int) -> None:
        """Its data are those of this server of that cluster, from now on. Raises ConfigurationError when they are
        another's. Blocks for a moment."""

    def find(self) -> dict[int, Found]:
        """What there is, by shard. Raises StorageFailed when it is damaged."""

    def tails(self) -> list[Tail]:
        """Those that were appended and are in no batch, when it is opened. Raises StorageFailed when it is damaged."""

    def get(self, shard: int, slot: int, key: bytes) -> bytes | None:
        """A record. Raises DamagedRecord when that is not what was stored."""

    def has(self, shard: int, slot: int, key: bytes) -> bool:
        """Whether there is a record, intact or not."""

    def inspect(self, shard: int, slot: int) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """Keys and records of a slot, and the keys whose records are damaged."""

    def count(self, shard: int) -> int:
        """Keys of a shard."""

    def chunk(self, shard: int, first: int) -> tuple[Chunk, int, int]:
        """A chunk, and what was stored with it: `Batch.chunks`. Raises StorageFailed when it is damaged."""

    def write(self, batch: Batch) -> None:
        """Store a batch, and return when it is stable. Raises DiskFull when there is no room (nothing was stored, and
        it may be tried again), StorageFailed when anything else is wrong. It blocks, and is called from another
        thread, never twice at the same time."""

    def append(self, tail: Tail) -> None:
        """The same of a tail; called from a third thread."""

    def refresh(self) -> None:
        """What was written last can be read from now on."""

    def make_room(self) -> bool:
        """After DiskFull: whether more may be used from now on, so that it should be tried again at once."""

    def bytes_used(self) -> int:
        """Bytes of the disk that are in use."""

    def room(self) -> tuple[int, int]:
        """(bytes used, bytes that may be used) of what limits this store most."""

    def close(self) -> None:
        """Use it no more."""
