"""Whether a shard has room for a write: asked only when something is nearly full (`Space.tight`).

A write that grows needs room here and on every copy that its commit waits for. It is refused before it is given a
sequence, so it certainly has no effect; what was given one is stored by everybody, however full. What does not grow is
never refused: reads, deletions, values that are no longer than those that they replace.

With eviction, room is made first, and before anything of the request is looked at: what a command has read must be
there still when its update is made. What was freed may then be used by that request, although the memory of a deleted
key is given back only when the deletion is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from twistedkv.core.eviction import Evictor
from twistedkv.core.shardkeys import Changes
from twistedkv.core.space import KEY_OVERHEAD_BYTES, Space, growth, size_of
from twistedkv.limits import EVICTED_KEYS_MAX, EVICTED_KEYS_TICK
from twistedkv.messages.client import Cas, Delete, Execute, Incr, Put, PutMany
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.watermarks import Level

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica

_INCR_BYTES = 20


class Room:
    """Of one shard at its primary."""

    def __init__(self, replica: Replica) -> None:
        self.space = Space()
        """Of the server."""
        self._replica = replica
        self._evictor = Evictor(replica)
        self._freed = 0
        """What was made for the present request."""

    def _full(self) -> str:
        """Who is past its high mark, of those that a write of this shard has to wait for; empty: nobody."""
        if self.space.measure() is Level.HIGH:
            return f"server {self._replica.me.server_id} is"
        return self._full_follower()

    def _full_follower(self) -> str:
        for follower in self._replica.leading.counted:
            if follower.link.level is Level.HIGH:
                return f"server {follower.member.server_id}, which has a copy, is"
        return ""

    def make(self, request: Put | Delete | Cas | Incr | Execute | PutMany) -> None:
        """A write is about to be executed: evict for it, if that is to be done."""
        self._freed = 0
        space = self.space
        if not space.evicts or type(request) is Delete:
            return
        wanted = _most(request)
        if not space.takes(wanted) or self._full_follower():
            self._freed = self._evictor.evict(space, wanted, EVICTED_KEYS_MAX)

    def missing(self, grown: int) -> str:
        """Why a write that grows by so much is refused; empty: it is not."""
        if grown <= 0 or grown <= self._freed:
            return ""
        who = self._full()
        if not who and self.space.takes(grown):
            return ""
        text = f"shard {self._replica.shard}: {who or 'this would take a server far'} past the high mark of its space"
        if self.space.evicts:
            return f"{text}, and too little can be evicted"
        return f"{text}: delete something, or add servers"

    def missing_for(self, slots: Sequence[int], keys: Sequence[bytes], values: Sequence[bytes]) -> str:
        """The same for keys with their new values."""
        return self.missing(growth(self._replica.store, slots, keys, map(len, values)))

    def missing_for_changes(self, changes: Changes) -> str:
        """The same for records by key."""
        return self.missing(self.grown(changes))

    def grown(self, changes: Changes) -> int:
        """By how many bytes more is stored with these."""
        slots = [slot for slot, _ in changes.values()]
        return growth(self._replica.store, slots, list(changes), (size_of(record) for _, record in changes.values()))

    def relieve(self, excess: int) -> None:
        """Time has passed: evict so much, or something when it is another server that is full. For the background."""
        space = self.space
        if excess:
            self._evictor.evict(space, excess, EVICTED_KEYS_TICK)
        elif self._full_follower():
            self._evictor.evict(space, EVICTED_KEYS_TICK * KEY_OVERHEAD_BYTES, EVICTED_KEYS_TICK)


def relieve(replicas: Iterable[Replica], space: Space) -> None:
    """Have all shards of which this server is primary evict their share of what is too much."""
    if not space.evicts:
        return
    primaries = [replica for replica in replicas if replica.role is ReplicaRole.PRIMARY]
    excess = space.excess()
    for replica in primaries:
        replica.serving.room.relieve(-(-excess // len(primaries)))


def _most(request: Put | Delete | Cas | Incr | Execute | PutMany) -> int:
    """About the most bytes that a request may add."""
    if isinstance(request, PutMany):
        return sum(map(len, request.keys)) + sum(map(len, request.values)) + KEY_OVERHEAD_BYTES * len(request.keys)
    if isinstance(request, Execute):
        # Every argument could be a key: of MSET every other one is.
        return sum(sum(map(len, command)) + KEY_OVERHEAD_BYTES * len(command) for command in request.commands)
    value = getattr(request, "value", b"")
    return len(request.key) + max(len(value), _INCR_BYTES) + KEY_OVERHEAD_BYTES
