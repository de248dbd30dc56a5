"""About when each key was used last: only on a server that evicts what was not used for long.

A store around the store, so that nobody else pays for it. The moments stand in a table of a fixed size, by a hash of
the key: two keys with the same place have the later moment of both. That errs on the safe side, needs no care when keys
go, and costs 4 bytes for each key that the memory could hold.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, cast
from zlib import crc32

from twistedkv.storage.interface import Store
from twistedkv.watermarks import Eviction, Limits

_BYTES_EACH = 4
_KEY_BYTES = 256
"""What a key and its value cost at least, nearly."""
_PLACES_MIN = 1 << 12
_PLACES_MAX = 1 << 24
_MOMENT_MAX = (1 << 32) - 1


def places_for(memory_bytes: int) -> int:
    """How many places a table needs for as many keys as there is memory for; a power of two. 0: it is not known."""
    wanted = memory_bytes // _KEY_BYTES if memory_bytes else 1 << 20
    return min(_PLACES_MAX, max(_PLACES_MIN, 1 << max(0, wanted - 1).bit_length()))


class Accesses:
    """A `Store` that knows when its keys were used last. See the module.

    Moments are counted by `pass_time`; all that happens between two calls happens at the same one.
    """

    def __init__(self, store: Store, places: int) -> None:
        self.store = store
        """Without any notes being taken."""
        self._moments = array("I", bytes(_BYTES_EACH * places))
        self._mask = places - 1
        self._now = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    @property
    def keys(self) -> int:
        """See Store."""
        return self.store.keys

    @property
    def bytes_stored(self) -> int:
        """See Store."""
        return self.store.bytes_stored

    @property
    def table_bytes(self) -> int:
        """What the notes cost."""
        return _BYTES_EACH * (self._mask + 1)

    def pass_time(self) -> None:
        """A moment has passed."""
        self._now = min(self._now + 1, _MOMENT_MAX)

    def last(self, key: bytes) -> int:
        """The moment at which the key was used last, or a later one. 0: it was never used."""
        return self._moments[crc32(key) & self._mask]

    def get(self, slot: int, key: bytes) -> bytes | None:
        """See Store."""
        self._moments[crc32(key) & self._mask] = self._now
        return self.store.get(slot, key)

    def get_many(self, slots: Sequence[int], keys: Sequence[bytes]) -> list[bytes | None]:
        """See Store."""
        self._note(keys)
        return self.store.get_many(slots, keys)

    def put(self, slot: int, key: bytes, record: bytes) -> None:
        """See Store."""
        self._moments[crc32(key) & self._mask] = self._now
        self.store.put(slot, key, record)

    def put_many(self, slots: Sequence[int], keys: Sequence[bytes], records: Sequence[bytes]) -> None:
        """See Store."""
        self._note(keys)
        self.store.put_many(slots, keys, records)

    def _note(self, keys: Sequence[bytes]) -> None:
        moments, mask, now = self._moments, self._mask, self._now
        for key in keys:
            moments[crc32(key) & mask] = now

    # What is no use of a key.

    def put_newer(self, slot: int, key: bytes, record: bytes) -> bool:
        """See Store."""
        return self.store.put_newer(slot, key, record)

    def purge(self, slot: int, key: bytes, version: int) -> None:
        """See Store."""
        self.store.purge(slot, key, version)

    def items(self, slot: int) -> list[tuple[bytes, bytes]]:
        """See Store."""
        return self.store.items(slot)

    def count(self, slots: range) -> int:
        """See Store."""
        return self.store.count(slots)

    def reckon(self, slots: range) -> int:
        """See Store."""
        return self.store.reckon(slots)

    def drop(self, slots: range) -> None:
        """See Store."""
        self.store.drop(slots)


def noting(store: Store, limits: Limits) -> Store:
    """The store, with notes taken if these limits call for them."""
    if limits.eviction is not Eviction.LRU:
        return store
    return cast("Store", Accesses(store, places_for(limits.memory_bytes)))
