"""What the core asks of a store."""

from collections.abc import Iterable, Sequence
from typing import Protocol


class Store(Protocol):
    """Records by slot and key. One store serves all shards of a server; each slot belongs to one shard.

    One that keeps them on a disk also has `space() -> (bytes used, bytes there are)`, and, if not all of them are in
    memory, `memory() -> bytes used` (`core.space`).
    """

    keys: int
    """Keys held, tombstones included."""
    bytes_stored: int
    """Bytes of all keys and records held."""

    def get(self, slot: int, key: bytes) -> bytes | None:
        """The record of a key, or None. It may be a tombstone."""

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

    def count(self, slots: Iterable[int]) -> int:
        """Keys held in these slots, tombstones included."""

    def drop(self, slots: Iterable[int]) -> None:
        """Remove everything in these slots."""
