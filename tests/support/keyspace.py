"""A keyspace in a dict: all slots, with a clock that the test moves and versions that count updates."""

from __future__ import annotations

import attrs

from twistedkv.commands.keyspace import Keyspace
from twistedkv.limits import SLOTS
from twistedkv.slots import slot_of

NOW = 1_700_000_000_000


@attrs.define
class DictKeyspace(Keyspace):
    """What commands see of a shard that has all slots. Its cursors are slots."""

    now: int = NOW
    entries: dict[bytes, tuple[bytes, int, int]] = attrs.Factory(dict)
    """Value, expiry and version of each key, expired ones too."""
    updates: int = 0
    """Calls of put and delete."""

    def _found(self, key: bytes) -> tuple[bytes, int, int] | None:
        entry = self.entries.get(key)
        return None if entry is None or 0 < entry[1] <= self.now else entry

    def get(self, key: bytes) -> bytes | None:
        entry = self._found(key)
        return None if entry is None else entry[0]

    def expiry(self, key: bytes) -> int:
        entry = self._found(key)
        return 0 if entry is None else entry[1]

    def version(self, key: bytes) -> int:
        entry = self._found(key)
        return 0 if entry is None else entry[2]

    def put(self, key: bytes, value: bytes, expiry: int = 0) -> None:
        assert type(key) is bytes and type(value) is bytes
        assert expiry == 0 or expiry > self.now
        self.updates += 1
        self.entries[key] = (value, expiry, self.updates)

    def delete(self, key: bytes) -> None:
        self.updates += 1
        self.entries.pop(key, None)

    def _by_slot(self) -> list[tuple[int, bytes]]:
        return sorted((slot_of(key), key) for key in self.entries if self._found(key))

    def count(self) -> int:
        return len(self._by_slot())

    def slot_count(self, slot: int) -> int:
        return len(self.slot_keys(slot, SLOTS))

    def slot_keys(self, slot: int, most: int) -> list[bytes]:
        return [key for place, key in self._by_slot() if place == slot][:most]

    def page(self, cursor: int, least: int) -> tuple[list[bytes], int]:
        found: list[bytes] = []
        last = -1
        for slot, key in self._by_slot():
            if slot < cursor:
                continue
            if len(found) >= least and slot != last:
                return found, slot
            found.append(key)
            last = slot
        return found, 0
