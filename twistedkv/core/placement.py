"""Which servers should hold which shards. Pure functions on `preferred` lists: server ids, the primary's
first.

Goals, in this order: no two copies of a shard on one server; copies and primaries evenly over the servers;
what one server holds spread over all others, so that its load after a failure, and the sources of its refill,
are everybody; the fewest copies moved. And nobody is given what it has no room for (`Rooms`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

Preferred = tuple[int, ...]


class Rooms:
    """Which copies the servers have room for, while some are given to them.

    sizes   about what a copy of each shard costs, in bytes
    left    how much may be added to each server. Who is not named has room for everything; who has nothing left is
            given nothing, not even what costs nothing
    """

    def __init__(self, sizes: Mapping[int, int] | None = None, left: Mapping[int, int] | None = None) -> None:
        self._sizes = sizes or {}
        self._left = dict(left or {})

    def open(self, server: int) -> bool:
        """Whether the server may be given anything."""
        return self._left.get(server, 1) > 0

    def fits(self, shard: int, server: int) -> bool:
        """Whether it has room for a copy of the shard."""
        left = self._left.get(server)
        return left is None or (left > 0 and self._sizes.get(shard, 0) <= left)

    def left(self, server: int) -> float:
        """How much may be added to it."""
        return self._left.get(server, float("inf"))

    def take(self, shard: int, server: int) -> None:
        """It is given one."""
        if server in self._left:
            self._left[server] -= self._sizes.get(shard, 0)


def initial(servers: Sequence[int], shards: int, copies: int) -> list[Preferred]:
    """The placement of a new cluster. With fewer servers than copies each shard has as many as there are."""
    count = len(servers)
    if not count:
        raise ValueError("a placement needs at least one server")
    placement: list[Preferred] = []
    others = count - 1
    rounds = shards // count
    for shard in range(rounds * count):
        # In a full round every server gets the same; from round to round the distance of primary and copies grows.
        turn, first = shard // count, shard % count
        steps = [1 + (turn + i) % others for i in range(min(copies - 1, others))]
        placement.append((servers[first], *(servers[(first + step) % count] for step in steps)))
    held = Counter(server for preferred in placement for server in preferred)
    rest = shards - len(placement)
    held.update(servers[:rest])
    for first in range(rest):
        circle = [servers[(first + step) % count] for step in range(1, count)]
        chosen = sorted(circle, key=held.__getitem__)[: copies - 1]
        held.update(chosen)
        placement.append((servers[first], *chosen))
    return placement


def replaced(preferred: Preferred, failed: int, successor: int) -> Preferred:
    """The successor in the failed server's place (if it was not named already)."""
    if successor in preferred:
        return tuple(server for server in preferred if server != failed)
    return tuple(successor if server == failed else server for server in preferred)


def copies_held(placement: Mapping[int, Preferred]) -> dict[int, int]:
    """How many copies each server should hold."""
    held: dict[int, int] = {}
    for preferred in placement.values():
        for server in preferred:
            held[server] = held.get(server, 0) + 1
    return held


def primaries_held(placement: Mapping[int, Preferred]) -> dict[int, int]:
    """How many shards each server should be primary of."""
    held: dict[int, int] = {}
    for preferred in placement.values():
        if preferred:
            held[preferred[0]] = held.get(preferred[0], 0) + 1
    return held


def taken_over(
    placement: Mapping[int, Preferred],
    failed: int,
    survivors: Collection[int],
    copies: int,
    rooms: Rooms | None = None,
) -> dict[int, Preferred]:
    """What changes when the survivors take over a failed server's copies: shard to new preferred.

    The new host is the least loaded survivor that has no copy, one with room for it if there is any; the primary's role
    stays where it is, or goes to the remaining holder with the fewest.
    """
    rooms = rooms or Rooms()
    result = dict(placement)
    held = dict.fromkeys(survivors, 0) | {
        server: count for server, count in copies_held(placement).items() if server in survivors
    }
    primaries = dict.fromkeys(survivors, 0) | primaries_held(placement)
    changes: dict[int, Preferred] = {}
    for shard, preferred in sorted(placement.items()):
        if failed not in preferred:
            continue
        rest = [server for server in preferred if server != failed]
        if preferred[0] == failed and rest:
            first = min(rest, key=lambda server: (primaries.get(server, 0), rest.index(server)))
            primaries[first] = primaries.get(first, 0) + 1
            rest.remove(first)
            rest.insert(0, first)
        free = [server for server in survivors if server not in rest and rooms.open(server)]
        if len(rest) < copies and free:
            host = _host(shard, free, held, rooms)
            held[host] += 1
            rest.append(host)
        if rest:
            changes[shard] = result[shard] = tuple(rest)
    return changes


def _host(shard: int, free: Collection[int], held: Mapping[int, int], rooms: Rooms) -> int:
    """Who of these gets a copy: with room for it, if there is any such; the one that holds least."""
    host = min(free, key=lambda server: (not rooms.fits(shard, server), held[server], server))
    rooms.take(shard, host)
    return host


def resized(
    placement: Mapping[int, Preferred], servers: Collection[int], copies: int, rooms: Rooms | None = None
) -> dict[int, Preferred]:
    """What changes so that each shard has `copies` hosts, as far as there are servers with room."""
    rooms = rooms or Rooms()
    held = dict.fromkeys(servers, 0) | copies_held(placement)
    changes: dict[int, Preferred] = {}
    for shard, preferred in sorted(placement.items()):
        wanted = list(preferred[:copies])
        for server in preferred[copies:]:
            held[server] -= 1
        while len(wanted) < copies:
            free = [server for server in servers if server not in wanted and rooms.open(server)]
            if not free:
                break
            host = _host(shard, free, held, rooms)
            held[host] += 1
            wanted.append(host)
        if tuple(wanted) != preferred:
            changes[shard] = tuple(wanted)
    return changes


def rebalanced(
    placement: Mapping[int, Preferred], servers: Collection[int], rooms: Rooms | None = None
) -> dict[int, Preferred]:
    """What changes so that every server has its fair share, with the fewest copies moved.

    Only a server that has less than its share (rounded down) of the copies, and room, is given any. When there is one,
    every server gets its share of the primaries' roles too: one that came before may have ended with too few. A
    placement in which nobody lacks a copy is left as it is, so that a role that an operator has moved stays there.
    """
    rooms = rooms or Rooms()
    result = dict(placement)
    held = dict.fromkeys(servers, 0)
    for server, count in copies_held(placement).items():
        if server in held:
            held[server] = count
    if not held:
        return {}
    share = sum(held.values()) // len(held)
    receivers = [server for server in sorted(held) if held[server] < share and rooms.open(server)]
    for receiver in receivers:
        while held[receiver] < share and _move_one_copy(result, held, receiver, rooms):
            pass
    if receivers:
        for server in sorted(held, key=lambda server: (server not in receivers, server)):
            _give_primaries(result, held, server)
    return {shard: preferred for shard, preferred in result.items() if preferred != placement[shard]}


def _move_one_copy(result: dict[int, Preferred], held: dict[int, int], receiver: int, rooms: Rooms) -> bool:
    """Move a copy from the server that has most to the receiver; one it is not primary of, if there is
    any."""
    for giver in sorted(held, key=lambda server: (-held[server], server)):
        if held[giver] <= held[receiver] + 1:
            return False
        movable = [
            shard
            for shard, preferred in result.items()
            if giver in preferred and receiver not in preferred and rooms.fits(shard, receiver)
        ]
        if not movable:
            continue
        # Spread: take it from a shard whose other copies share the fewest shards with the receiver so far.
        together = dict.fromkeys(held, 0)
        for preferred in result.values():
            if receiver in preferred:
                for server in preferred:
                    together[server] = together.get(server, 0) + 1

        def cost(shard: int, giver: int = giver, together: dict[int, int] = together) -> tuple[int, int, int]:
            preferred = result[shard]
            shared = sum(together.get(server, 0) for server in preferred if server != giver)
            return (preferred[0] == giver, shared, shard)

        shard = min(movable, key=cost)
        result[shard] = replaced(result[shard], giver, receiver)
        rooms.take(shard, receiver)
        held[giver] -= 1
        held[receiver] += 1
        return True
    return False


def _give_primaries(result: dict[int, Preferred], held: Mapping[int, int], receiver: int) -> None:
    """Make the receiver primary of its share of what it holds, from those that have more than theirs."""
    share = len(result) // len(held)
    primaries = dict.fromkeys(held, 0) | primaries_held(result)
    while primaries[receiver] < share:
        candidates = [
            shard
            for shard, preferred in result.items()
            if receiver in preferred[1:] and primaries[preferred[0]] > primaries[receiver] + 1
        ]
        if not candidates:
            return
        shard = min(candidates, key=lambda shard: (-primaries[result[shard][0]], shard))
        primaries[result[shard][0]] -= 1
        primaries[receiver] += 1
        result[shard] = (receiver, *(server for server in result[shard] if server != receiver))
