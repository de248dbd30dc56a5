"""Which keys a full primary removes, so that it can store others.

The primary alone decides, and its copies are told of deletions: they need not agree on what was used when. What is
removed for want of memory is looked for among some keys of the shard, chosen by their slots: of those, the fifth that
was not used for longest is removed, then others are looked at. That is nearly as good as an order of all keys, and
needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from zlib import crc32

from twistedkv.core.accesses import Accesses
from twistedkv.core.shardkeys import Changes
from twistedkv.core.space import KEY_OVERHEAD_BYTES
from twistedkv.records import TOMBSTONE
from twistedkv.slots import slot_of
from twistedkv.watermarks import Eviction

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica
    from twistedkv.core.space import Space

SAMPLED_KEYS = 100
"""That are looked at together, at least, if there are so many."""
TAKEN_PART = 5
"""One in so many of those is removed before others are looked at."""
_FOREVER = 2**64


class Evictor:
    """Of one shard."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._sampled: list[tuple[int, int, bytes]] = []
        """(when it was used last, slot, key), the latest first."""
        self._kept = 0
        """When only so many are left in `_sampled`, others are looked for."""
        self._turns = 0

    def evict(self, space: Space, wanted: int, most: int) -> int:
        """Remove keys until so many bytes are free, at most so many keys. The bytes that they had.

        Must not be called while an update is being made: this makes one.
        """
        replica = self._replica
        store = replica.store.store if isinstance(replica.store, Accesses) else replica.store  # to look is no use
        updates = replica.serving.updates
        tombstone = updates.tombstone()
        changes: Changes = {}
        freed = 0
        for slot, key in self._soonest(most) if space.limits.eviction is Eviction.TTL else self._oldest(changes):
            record = store.get(slot, key)
            if record is not None and not record[8] & TOMBSTONE:
                changes[key] = (slot, tombstone)
                freed += len(key) + len(record) + KEY_OVERHEAD_BYTES
            if freed >= wanted or len(changes) >= most:
                break
        if changes:
            updates.several(changes)
            space.evicted += len(changes)
        return freed

    def _soonest(self, most: int) -> Iterator[tuple[int, bytes]]:
        for key in self._replica.expiries.due(_FOREVER, most):
            yield slot_of(key), key

    def _oldest(self, chosen: Changes) -> Iterator[tuple[int, bytes]]:
        """Of some keys those that were not used for longest, but for those that are chosen already."""
        accesses = self._replica.store
        if not isinstance(accesses, Accesses):
            return
        sampled = self._sampled
        while len(sampled) > self._kept or self._sample(accesses, chosen):
            moment, slot, key = sampled.pop()
            if accesses.last(key) == moment:
                yield slot, key

    def _sample(self, accesses: Accesses, chosen: Changes) -> bool:
        """Look at other keys. Whether there are any."""
        sampled = self._sampled
        sampled.clear()
        configuration = self._replica.configuration
        if configuration is None:
            return False
        slots = configuration.slots
        self._turns += 1
        start = crc32(self._turns.to_bytes(8, "big"))
        for step in range(len(slots)):
            slot = slots[(start + step) % len(slots)]
            sampled += [
                (accesses.last(key), slot, key)
                for key, record in accesses.items(slot)
                if not record[8] & TOMBSTONE and key not in chosen
            ]
            if len(sampled) >= SAMPLED_KEYS:
                break
        sampled.sort(reverse=True)
        self._kept = max(0, len(sampled) - max(1, len(sampled) // TAKEN_PART))
        return bool(sampled)
