"""What the core asks of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from twistedkv.chunks import Archive, Chunk


class Store(Protocol):
    """Records by slot and key. One store serves all shards of a server; each slot belongs to one shard.

    One that keeps them on a disk also has `space() -> (bytes used, bytes there are)`, and, if not all of them are in
    memory, `memory() -> bytes used` (`core.space`).
    """

    @property
    def keys(self) -> int:
        """Keys held, tombstones included. A durable store counts what is on its disk."""

    @property
    def bytes_stored(self) -> int:
        """Bytes of all keys and records held; of a durable store, what they need on the disk."""

    stable: Stable | None
    """Of a store that outlives its process. None: what is put is as safe as it will ever be."""

    def place(self, shard: int, slots: range) -> None:
        """These slots are of this shard. Called before anything else is done with them; more often does no harm."""

    def get(self, slot: int, key: bytes) -> bytes | None:
        """The record of a key, or None. It may be a tombstone. A durable store raises DamagedRecord when what it finds
        is not what was stored, as do all that read."""

    def get_many(self, slots: Sequence[int], keys: Sequence[bytes]) -> list[bytes | None]:
        """As `get`, for each key in its slot."""

    def put(self, slot: int, key: bytes, record: bytes) -> None:
        """Store a record, whatever was there."""

    def put_many(self, slots: Sequence[int], keys: Sequence[bytes], records: Sequence[bytes]) -> None:
        """As `put`, for each key in its slot. No key is named twice."""

    def put_newer(self, slot: int, key: bytes, record: bytes) -> bool:
        """Store a record unless the one there has a version as large (I11). Whether it was stored."""

    def purge(self, slot: int, key: bytes, version: int) -> None:
        """Remove the key if its record still has this version."""

    def items(self, slot: int) -> list[tuple[bytes, bytes]]:
        """Keys and records of a slot as they are now, in no order; writes may go on while the list is used."""

    def count(self, slots: range) -> int:
        """Keys held in these slots, tombstones included."""

    def reckon(self, slots: range) -> int:
        """About as many as `count` says, and always quickly."""

    def drop(self, slots: range) -> None:
        """Remove everything in the slots of a shard, which were given to `place`."""


@attrs.frozen
class Kept:
    """What a durable store has of one shard from the process before."""

    state: bytes
    chunks: list[Chunk]
    """The log, oldest first: all that is not known to be committed, not in its place, or not in `table`."""
    last: int
    """Version of the newest entry that the store has; 0: it has none."""
    commit: int
    """Sequence up to which all was known to be committed."""
    folded: int
    """Sequence up to which all records are in their places; of later ones, some may be."""
    table_at: int
    """Sequence that `table` is of."""
    table: list[bytes]
    """The dedup table, in pieces."""


class Stable(Protocol):
    """What a durable store does besides. All that it is told, and all that is put into the store, is in the
    *open batch*. A batch is stored as a whole or not at all, and batches in the order in which they were open; that
    takes its time, and goes on elsewhere (`service.writing`)."""

    store_id: bytes
    server_id: int
    """Whose data this is; 0: nobody's yet."""

    def pending(self) -> int:
        """Number of the newest batch that anything is in."""

    def stored(self) -> int:
        """All batches up to this one are stored."""

    def settled(self) -> int:
        """All batches up to this one may be acknowledged: as `stored`, or sooner if that was asked for."""

    def bytes_waiting(self) -> int:
        """Of what the store has yet to put where it belongs."""

    def kept(self) -> dict[int, Kept]:
        """What was found at the opening, by shard. To be asked once."""

    def hold(self, slots: Sequence[int]) -> None:
        """The records that were put into these slots are in no log: they become stable with this batch."""

    def inspect(self, slot: int) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """As `items`, and the keys whose records are damaged."""

    def archive(self, shard: int) -> Archive:
        """A shard's log."""

    def save(self, shard: int, state: bytes) -> None:
        """Keep this of a shard, in place of what was kept before."""

    def wants_table(self, shard: int) -> bool:
        """Whether the log has grown so much that the dedup table should be kept anew."""

    def keep_table(self, shard: int, sequence: int, pieces: list[bytes]) -> None:
        """Keep the dedup table as it is after this entry. The log up to there is not needed for it any more."""
