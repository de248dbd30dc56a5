"""The default store: a dict for each slot, so that a slot is copied, moved or dropped on its own."""

from collections import deque
from collections.abc import Sequence

from twistedkv.limits import SLOTS
from twistedkv.storage.interface import Stable


class MemoryStore:
    """Records in memory (`storage.interface.Store`)."""

    stable: Stable | None = None

    def __init__(self) -> None:
        self.keys = 0
        self.bytes_stored = 0
        # Invariant: a slot that was never written is None, so that an empty store costs 128 KiB and not 1 MiB.
        self._slots: list[dict[bytes, bytes] | None] = [None] * SLOTS

    def place(self, shard: int, slots: range) -> None:
        """Nothing depends on it."""

    def get(self, slot: int, key: bytes) -> bytes | None:
        records = self._slots[slot]
        return None if records is None else records.get(key)

    def get_many(self, slots: Sequence[int], keys: Sequence[bytes]) -> list[bytes | None]:
        return list(map(dict.get, self._tables(slots), keys))

    def put(self, slot: int, key: bytes, record: bytes) -> None:
        records = self._slots[slot]
        if records is None:
            records = self._slots[slot] = {}
        old = records.get(key)
        records[key] = record
        if old is None:
            self.keys += 1
            self.bytes_stored += len(key) + len(record)
        else:
            self.bytes_stored += len(record) - len(old)

    def put_many(self, slots: Sequence[int], keys: Sequence[bytes], records: Sequence[bytes]) -> None:
        tables = self._tables(slots)
        old = list(map(dict.get, tables, keys))
        deque(map(dict.__setitem__, tables, keys, records), 0)
        added = sum(map(len, records))
        new = old.count(None)
        if new:
            self.keys += new
            added += sum(len(key) for key, record in zip(keys, old, strict=True) if record is None)
        self.bytes_stored += added - sum(map(len, filter(None, old)))

    def _tables(self, slots: Sequence[int]) -> list[dict[bytes, bytes]]:
        """The dict of each slot, made where there was none."""
        tables = list(map(self._slots.__getitem__, slots))
        if None in tables:
            for slot in slots:
                if self._slots[slot] is None:
                    self._slots[slot] = {}
            tables = list(map(self._slots.__getitem__, slots))
        return tables  # type: ignore[return-value]

    def put_newer(self, slot: int, key: bytes, record: bytes) -> bool:
        old = self.get(slot, key)
        # The version is the record's first eight bytes, big-endian, so bytes compare as versions do.
        if old is not None and old[:8] >= record[:8]:
            return False
        self.put(slot, key, record)
        return True

    def purge(self, slot: int, key: bytes, version: int) -> None:
        records = self._slots[slot]
        record = None if records is None else records.get(key)
        if records is not None and record is not None and int.from_bytes(record[:8], "big") == version:
            del records[key]
            self.keys -= 1
            self.bytes_stored -= len(key) + len(record)

    def items(self, slot: int) -> list[tuple[bytes, bytes]]:
        records = self._slots[slot]
        return [] if records is None else list(records.items())

    def count(self, slots: range) -> int:
        return sum(len(records) for slot in slots if (records := self._slots[slot]) is not None)

    reckon = count

    def drop(self, slots: range) -> None:
        for slot in slots:
            records = self._slots[slot]
            if records is not None:
                self.keys -= len(records)
                self.bytes_stored -= sum(len(key) + len(record) for key, record in records.items())
                self._slots[slot] = None
