"""Deletions of which the tombstones are still in the store: until they are committed, and no fill needs them."""

from __future__ import annotations

from collections import deque

from twistedkv.errors import DamagedRecord
from twistedkv.records import TOMBSTONE, record_version, sequence_of
from twistedkv.storage.interface import Store


class Deletions:
    """Of one replica."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[tuple[int, int, bytes, int]] = deque()
        """(sequence, slot, key, version)."""

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, slot: int, key: bytes, tombstone: bytes) -> None:
        """This was stored."""
        version = record_version(tombstone)
        self._waiting.append((sequence_of(version), slot, key, version))

    def purge(self, commit: int) -> None:
        """Remove the tombstones of deletions up to this sequence."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= commit:
            _, slot, key, version = waiting.popleft()
            self._store.purge(slot, key, version)

    def buried(self) -> int:
        """How many keys are in the store only as tombstones that cannot be purged yet."""
        return sum(1 for slot, key in {(slot, key) for _, slot, key, _ in self._waiting} if self._is_one(slot, key))

    def _is_one(self, slot: int, key: bytes) -> bool:
        try:
            record = self._store.get(slot, key)
        except DamagedRecord:
            return False
        return record is not None and bool(record[8] & TOMBSTONE)

    def clear(self) -> None:
        """There are no records any more."""
        self._waiting.clear()
