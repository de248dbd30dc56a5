"""A server with a durable store: what has become stable since, and what was there at the start."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica
    from twistedkv.core.server import ServerCore

INDEX_SECONDS = 0.005
"""Of a tick, until after a start it is known which keys expire."""


class Stability:
    """Of one server: `Keeping` for all of its replicas together."""

    def __init__(self, core: ServerCore, clock: Callable[[], float]) -> None:
        self._core = core
        self._clock = clock
        self._stable = core.store.stable
        self._unindexed: deque[Replica] = deque()
        """Those restored whose keys that expire are not all known yet."""
        self._unstable: dict[Replica, None] = {}
        """Those with something that the store has yet to store."""

    def restore(self) -> None:
        """Go on with what the store has from the process before; `promise` has to follow.

        Raises ProtocolError when it makes no sense.
        """
        if self._stable is not None:
            for shard, kept in self._stable.kept().items():
                replica = self._core.make_replica(shard)
                replica.keeping.restore(kept)
                self._unindexed.append(replica)

    def promise(self, now: float) -> None:
        """Whatever the process before had promised to primaries is kept."""
        for replica in self._core.replicas.values():
            replica.promise_until = now + self._core.timing.grace

    def keep(self, now: float) -> None:
        """At the end of a turn: note what the store has yet to store of it."""
        assert self._stable is not None
        unstable = self._core.outbox.unstable
        for shard in unstable:
            replica = self._core.replicas[shard]
            if self._stable.wants_table(shard):
                replica.keeping.keep_table()
            self._unstable[replica] = None
        unstable.clear()
        self.settle(now)

    def settle(self, now: float) -> None:
        """The store may have stored something: commit it."""
        assert self._stable is not None
        stored, settled = self._stable.stored(), self._stable.settled()
        for replica in list(self._unstable):
            before = replica.keeping.stable_to
            if replica.keeping.settle(stored, settled):
                del self._unstable[replica]
            elif replica.keeping.stable_to == before:
                continue
            replica.leading.advance(now)

    def index(self) -> None:
        """Of what was restored: learn, for a while, which keys expire."""
        until = self._clock() + INDEX_SECONDS
        while self._unindexed and self._clock() < until:
            if not self._unindexed[0].keeping.index():
                self._unindexed.popleft()
