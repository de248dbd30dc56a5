"""How full a server is: see `watermarks` for what follows from that.

A copy stores whatever its primary has given a sequence, full or not, for a copy that refused would hold up the others.
So it is primaries that refuse, when they or any copy that they wait for are full; and the room between the high mark
and the limit is for what they have sent before they knew. It is little: to a server past its low mark there are never
more than NEARLY_FULL_BYTES_MAX on the way from each other one.

Whether memory is full is reckoned from what the store holds. The size of the process would say more, and would be of no
use: an interpreter keeps most of the memory that it has once had, so that deleting would not help, and moving neither.

A level is left downwards a little below the mark that it was entered at, so that nothing goes to and fro.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from twistedkv.messages.coordinator import Usage
from twistedkv.records import TOMBSTONE, record_value
from twistedkv.watermarks import Eviction, Level, Limits

if TYPE_CHECKING:
    from twistedkv.core.progress import PeerLink
    from twistedkv.storage.interface import Store

KEY_OVERHEAD_BYTES = 128
"""What a key costs in memory besides its own bytes and those of its record: two objects, and its place in a dict.

Measured: 115 with the smallest keys and values, 127 with 16 + 100 bytes, up to 155 where a dict has just grown, or a
value is too large for Python's own allocator. tests/core/test_space.py measures it again.
"""
WEIGHED_SLOTS = 16
"""Of a shard, whose records are looked at to know how large the others are."""
LOW_SLACK = 0.05
"""Of the limit. So far below its low mark a server has room again."""
HIGH_SLACK = 0.01
"""The same for the high one: so few have to be deleted before writes go on."""
ROOM_MAX = 2**62
"""The room of a server without a limit."""


@attrs.define
class Measure:
    """Of one thing that is limited: memory, or the disk."""

    used: int = 0
    limit: int = 0

    def level(self, limits: Limits, before: Level) -> Level:
        """How full that is, with `before` as it was last."""
        used, limit = self.used, self.limit
        if not limit:
            return Level.OK
        high = limits.high - (HIGH_SLACK if before is Level.HIGH else 0.0)
        if used >= high * limit:
            return Level.HIGH
        low = limits.low - (LOW_SLACK if before is not Level.OK else 0.0)
        return Level.LOW if used >= low * limit else Level.OK

    def to_mark(self, mark: float) -> int:
        """Bytes to a mark, negative above it."""
        return int(mark * self.limit) - self.used if self.limit else ROOM_MAX


class Space:
    """Of one server.

    store   what it holds. If it keeps that on a disk, it has a method `space`, which says how many bytes it uses of how
            many; if not all of it is in memory, a method `memory`, which says how many bytes are
    """

    def __init__(self, store: Store | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.level = Level.OK
        """The worse of memory's and the disk's, as of the last `measure`."""
        self.tight = False
        """Whether a write that grows has to ask at all: this server is past its low mark, or some peer past its high
        one."""
        self.memory = Measure(limit=self.limits.memory_bytes)
        self.disk = Measure(limit=self.limits.disk_bytes)
        self.evicted = 0
        """Keys that were evicted here."""
        self._store = store
        self._disk: Any = getattr(store, "space", None)
        self._memory: Any = getattr(store, "memory", None)
        self._table_bytes: int = getattr(store, "table_bytes", 0)
        self._full_peer = False

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.limits.memory_bytes > 0 or self.disk.limit > 0

    @property
    def evicts(self) -> bool:
        """Whether this server makes room by itself."""
        return self.limits.eviction is not Eviction.NONE

    @property
    def refuses(self) -> bool:
        """Whether some writes are refused, as far as was seen."""
        return (self._full_peer or self.level is Level.HIGH) and not self.evicts

    def measure(self) -> Level:
        """Look again."""
        store, limits, before = self._store, self.limits, self.level
        if store is None:
            return before
        stored = store.bytes_stored + store.keys * KEY_OVERHEAD_BYTES if self._memory is None else self._memory()
        self.memory.used = stored + self._table_bytes
        if self._disk is not None:
            self.disk.used, most = self._disk()
            self.disk.limit = min(most or limits.disk_bytes, limits.disk_bytes or most)
        self.level = level = max(self.memory.level(limits, before), self.disk.level(limits, before))
        self.tight = self._full_peer or level is not Level.OK
        return level

    def now(self) -> Level:
        """The level, exactly where that matters: past the low mark it is looked at anew."""
        return self.measure() if self.level else self.level

    def look(self, peers: Iterable[PeerLink]) -> None:
        """See how full others have said they are."""
        self._full_peer = any(link.level is Level.HIGH for link in peers)
        self.tight = self._full_peer or self.level is not Level.OK

    def takes(self, growth: int) -> bool:
        """Whether this server takes so many bytes more: that is so until it is past its high mark.

        One update may lead past that, but through no more than half of what lies between it and the limit: the other
        half is for what is on the way here from others.
        """
        most = (1 + self.limits.high) / 2
        return self.measure() is not Level.HIGH and all(
            part.used + growth < most * part.limit for part in (self.memory, self.disk) if part.limit
        )

    def excess(self) -> int:
        """Bytes that have to go before writes go on; 0 when they do."""
        if self.level is not Level.HIGH:
            return 0
        mark = self.limits.high - HIGH_SLACK
        return max(0, *(part.used - int(mark * part.limit) + 1 for part in (self.memory, self.disk) if part.limit), 0)

    def usage(self) -> Usage:
        """For the heartbeat."""
        memory, disk, level, limits = self.memory, self.disk, self.level, self.limits
        low = limits.low - (0.0 if level is Level.OK else LOW_SLACK)
        room, spare = (min(memory.to_mark(mark), disk.to_mark(mark)) for mark in (low, limits.high))
        return Usage(memory.used, memory.limit, disk.used, disk.limit, room, spare, level, self.evicts)


def growth(store: Store, slots: Sequence[int], keys: Sequence[bytes], sizes: Iterable[int]) -> int:
    """By how many bytes more is stored when these keys get values of these sizes (-1: when they are deleted).

    What counts is the value: that a key is to expire makes its record longer, and is never refused.
    """
    total = 0
    for key, old, size in zip(keys, store.get_many(slots, keys), sizes, strict=True):
        if old is not None and not old[8] & TOMBSTONE:
            total -= len(key) + len(record_value(old)) + KEY_OVERHEAD_BYTES
        if size >= 0:
            total += len(key) + size + KEY_OVERHEAD_BYTES
    return total


def size_of(record: bytes) -> int:
    """The size of a record's value, as `growth` counts it."""
    return -1 if record[8] & TOMBSTONE else len(record_value(record))


def weigh(store: Store, slots: range) -> int:
    """About what a copy of these slots costs: some of its keys are looked at."""
    count = store.reckon(slots)
    if not count:
        return 0
    looked = size = 0
    for slot in slots[:: max(1, len(slots) // WEIGHED_SLOTS)]:
        items = store.items(slot)
        looked += len(items)
        size += sum(len(key) + len(record) for key, record in items)
    mean = size / looked if looked else store.bytes_stored / max(1, store.keys)
    return round(count * (mean + KEY_OVERHEAD_BYTES))
