"""Commands whose keys are of several shards: taken apart by shard, and their replies put together.

Each shard executes its part as a whole; the command is not atomic over the shards. If a part fails, the reply is its
error, and says how many of the others were executed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twistedkv.client.operations import Waiter
from twistedkv.line.failures import in_part, reply_of
from twistedkv.line.shards import Shards
from twistedkv.resp import replies
from twistedkv.resp.answers import split
from twistedkv.slots import slot_of

WRITERS = frozenset((b"mset", b"del", b"unlink", b"flushall", b"flushdb"))
"""Those of them that change something."""

Combine = Callable[[list[bytes]], bytes]
"""(replies of the parts, in order) -> the reply of the whole."""


class Together:
    """Waits for the replies of the parts of one command, and tells `waiter` the whole."""

    def __init__(self, waiter: Waiter, name: bytes, count: int, combine: Combine) -> None:
        self._waiter = waiter
        self._name = name
        self._replies: list[bytes] = [b""] * count
        self._left = count
        self._combine = combine

    def part(self, index: int) -> Waiter:
        """Whom to tell of a part."""
        return _Part(self, index)

    def arrived(self, index: int, reply: bytes) -> None:
        """The reply of a part is there."""
        self._replies[index] = reply
        self._left -= 1
        if self._left:
            return
        failed = [reply for reply in self._replies if reply[:1] == b"-"]
        if failed:
            total = len(self._replies)
            done = total - len(failed)
            self._waiter.callback(in_part(self._name, failed, done, total, writes=self._name in WRITERS))
        else:
            self._waiter.callback(self._combine(self._replies))


class _Part:
    __slots__ = ("_index", "_whole")

    def __init__(self, whole: Together, index: int) -> None:
        self._whole = whole
        self._index = index

    def callback(self, result: bytes) -> None:
        self._whole.arrived(self._index, result)

    def errback(self, fail: Exception) -> None:
        self._whole.arrived(self._index, reply_of(fail))


def groups_of(shards: Shards, keys: Sequence[bytes]) -> dict[int, list[int]]:
    """The places of keys in the list, by shard."""
    groups: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(shards.shard(slot_of(key)), []).append(place)
    return groups


def scatter(
    waiter: Waiter, shards: Shards, argv: list[bytes], name: bytes, groups: dict[int, list[int]], protocol: int
) -> None:
    """Execute MGET, MSET, DEL, UNLINK, EXISTS or TOUCH on all shards that have keys of it."""
    width = 2 if name == b"mset" else 1
    order = [place for places in groups.values() for place in places]
    combine: Combine = _sum
    if name == b"mget":
        combine = _in_order(order, [len(places) for places in groups.values()])
    elif name == b"mset":
        combine = _ok
    together = Together(waiter, name, len(groups), combine)
    for index, places in enumerate(groups.values()):
        command = [argv[0]]
        for place in places:
            at = 1 + place * width
            command += argv[at : at + width]
        execute = shards.alone if name == b"mget" else shards.execute
        execute(
            together.part(index),
            slot_of(command[1]),
            command,
            writes=name in WRITERS,
            protocol=protocol,
        )


def _ok(parts: list[bytes]) -> bytes:
    return replies.OK


def _sum(parts: list[bytes]) -> bytes:
    return replies.integer(sum(int(part[1:-2]) for part in parts))


def _in_order(order: list[int], counts: list[int]) -> Combine:
    """Put the elements of the parts' lists to their places in the whole list."""

    def combine(parts: list[bytes]) -> bytes:
        elements = [b""] * len(order)
        places = iter(order)
        for part, count in zip(parts, counts, strict=True):
            start = part.index(b"\n") + 1
            body = part[start:]
            begin = 0
            for end in split(body, count):
                elements[next(places)] = body[begin:end]
                begin = end
        return replies.array(elements)

    return combine
