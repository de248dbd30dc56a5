"""Which keys of a shard expire, the soonest first: what a primary looks for in the background.

An index over the store, kept by each copy as it stores records. It may name what is no longer so (a key that was stored
anew expires later): who takes a key from it looks at the record. The heap is made anew when most of it is of that kind.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

_STALE_MIN = 64


class Expiries:
    """Keys and the moments at which they expire, in milliseconds since 1970."""

    __slots__ = ("_heap", "_moments")

    def __init__(self) -> None:
        self._moments: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []
        """Invariant: holds (moment, key) of each key in `_moments`, and perhaps more."""

    def __len__(self) -> int:
        return len(self._moments)

    def note(self, key: bytes, moment: int) -> None:
        """The key was stored, to expire then."""
        if self._moments.get(key) != moment:
            self._moments[key] = moment
            heappush(self._heap, (moment, key))
            if len(self._heap) > 2 * len(self._moments) + _STALE_MIN:
                self._heap = [(at, each) for each, at in self._moments.items()]
                heapify(self._heap)

    def forget(self, key: bytes) -> None:
        """The key was deleted, or stored so that it does not expire."""
        if self._moments.pop(key, None) is not None and not self._moments:
            self._heap.clear()

    def clear(self) -> None:
        """There are no keys any more."""
        self._moments.clear()
        self._heap.clear()

    def due(self, now: int, most: int) -> list[bytes]:
        """At most so many keys whose moment has come. They stay until they are forgotten."""
        heap, moments = self._heap, self._moments
        found: dict[bytes, int] = {}
        while heap and heap[0][0] <= now and len(found) < most:
            moment, key = heappop(heap)
            if moments.get(key) == moment:
                found[key] = moment
        for key, moment in found.items():
            heappush(heap, (moment, key))
        return list(found)
