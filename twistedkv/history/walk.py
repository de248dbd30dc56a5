"""Whether operations of unknown outcome explain what the versions alone do not.

The versions give *places*: each write, in its order, with the reads of it. Between two of them an operation of unknown
outcome may have had its effect without anybody seeing its version: a deletion that explains why a key was not found, an
addition that explains a sum. The walk goes through the places in their order and tries what may have happened between
them. It is exact: it finds an explanation if there is one.

It stays small because operations of unknown outcome of the same kind can stand for each other: what is open to one of
them at some moment stays open, so that it is enough to count how many of a kind have been used. And a read that found
nothing is put to the first moment that it can have, since it changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import attrs

from twistedkv.history.record import FOREVER, Record, Version

UNSEEN = object()
"""A value that is there and that nobody has read."""


@attrs.define
class Place:
    """One write, and the reads of it."""

    version: Version
    write: Record | None
    """None for the beginning, when there is nothing, and where only a read tells of some operation of unknown outcome.
    """
    value: object
    """After it. None: the key does not exist."""
    called: int = -FOREVER
    """The latest call of what is known to belong here. A write of unknown outcome that was read does."""
    ended: int = FOREVER
    """The earliest return of the same."""


@attrs.frozen
class _Kind:
    """Operations of unknown outcome that can stand for each other."""

    f: str
    delta: int
    """Of incr."""
    expected: Version | None
    """Of cas."""
    calls: list[int]
    """In order."""


@attrs.frozen
class _Moment:
    """Where the walk is."""

    place: int
    """The last one that was passed."""
    value: object
    seen: bool
    """Whether the value is still that of the place."""
    found: int
    """Bits of the reads of nothing that are done."""
    used: tuple[int, ...]
    """How many operations of each kind."""


class Walk:
    """Goes through the places of a key: `explained()` says whether it reached the end.

    The places must be in the order of their versions, and respect time. `nothing` are the operations that found no key,
    `unknown` those whose outcome is not known and that have no place.
    """

    def __init__(self, places: Sequence[Place], nothing: Sequence[Record], unknown: Sequence[Record]) -> None:
        self._places = places
        self._nothing = sorted(nothing, key=lambda record: record.call)
        kinds: dict[tuple[str, int, Version | None], list[int]] = {}
        for record in sorted(unknown, key=lambda record: record.call):
            delta = record.args[0] if record.f == "incr" else 0
            kinds.setdefault((record.f, delta, record.expected), []).append(record.call)
        self._kinds = [_Kind(*kind, calls) for kind, calls in kinds.items()]
        self._over = [FOREVER] * len(places)
        """By place: the earliest return of all that belongs to the places after it."""
        for i in range(len(places) - 2, -1, -1):
            self._over[i] = min(self._over[i + 1], places[i + 1].ended)
        self.stuck: tuple[int, Record | None] = (0, None)
        """The last place that was reached, and an operation there that should have found nothing but could not."""

    def explained(self) -> bool:
        """Whether there is an order of all operations that respects versions, answers and time."""
        start = self._find_nothing(_Moment(0, self._places[0].value, True, 0, (0,) * len(self._kinds)))
        stack, tried = [start], {start}
        best = -1
        while stack:
            moment = stack.pop()
            done = moment.place + moment.found.bit_count()
            waiting = self._first_waiting(moment)
            last = moment.place == len(self._places) - 1
            if last and waiting is None:
                return True
            if done > best:
                best = done
                late = waiting is not None and (last or waiting.returned < self._places[moment.place + 1].called)
                self.stuck = (moment.place, waiting if late else None)
            for following in self._following(moment, waiting):
                after = self._find_nothing(following)
                if after not in tried:
                    tried.add(after)
                    stack.append(after)
        return False

    def _first_waiting(self, moment: _Moment) -> Record | None:
        """Of the reads of nothing that are not done, the one that returned first."""
        waiting = [record for i, record in enumerate(self._nothing) if not moment.found >> i & 1]
        return min(waiting, key=lambda record: record.returned, default=None)

    def _find_nothing(self, moment: _Moment) -> _Moment:
        """The same moment, after all reads of nothing that are possible now."""
        if moment.value is not None:
            return moment
        found, over = moment.found, self._over[moment.place]
        for i, record in enumerate(self._nothing):
            if record.call > over:
                break
            found |= 1 << i
        return moment if found == moment.found else attrs.evolve(moment, found=found)

    def _following(self, moment: _Moment, waiting: Record | None) -> Iterator[_Moment]:
        """What may come next: something of unknown outcome, or (the last, to be tried first) the next place."""
        limit = self._over[moment.place] if waiting is None else min(self._over[moment.place], waiting.returned)
        free = [i for i, kind in enumerate(self._kinds) if moment.used[i] < bisect_right(kind.calls, limit)]
        for i in free:
            after = _effect(self._kinds[i], moment.value)
            if after is not moment.value:
                yield attrs.evolve(moment, value=after, seen=False, used=_one_more(moment.used, i))
        if moment.place + 1 == len(self._places):
            return
        following = self._places[moment.place + 1]
        if waiting is not None and waiting.returned < following.called:
            return
        if following.write is not None:
            if fits(following, self._places[moment.place], moment.value, moment.seen):
                yield _Moment(moment.place + 1, following.value, True, moment.found, moment.used)
            return
        for i in free:
            value = self._made(self._kinds[i], moment)
            if value is not None and following.value in (UNSEEN, value):
                yield _Moment(moment.place + 1, value, True, moment.found, _one_more(moment.used, i))

    def _made(self, kind: _Kind, moment: _Moment) -> object:
        """What an operation of unknown outcome makes of the value; None if it has no effect, or leaves nothing."""
        if kind.f == "cas" and kind.expected is not None:
            holds = moment.seen and self._places[moment.place].version == kind.expected
            return UNSEEN if holds else None
        if kind.f == "write":
            return UNSEEN
        after = _effect(kind, moment.value)
        return None if after is moment.value else after


def _effect(kind: _Kind, value: object) -> object:
    """The value after an operation of unknown outcome between two places, as far as that can matter: the same if not.

    A value that nobody has read matters only where there was none before: to a deletion that found something.
    """
    if kind.f == "delete":
        return None
    if kind.f == "incr":
        return (value or 0) + kind.delta if value is None or isinstance(value, int) else value
    return UNSEEN if value is None and kind.expected is None else value


def _one_more(used: tuple[int, ...], i: int) -> tuple[int, ...]:
    return (*used[:i], used[i] + 1, *used[i + 1 :])


def fits(place: Place, before: Place, value: object, seen: bool) -> bool:
    """Whether the write of a place can have been done at this value of the key, which is that of `before` if `seen`."""
    write = place.write
    if write is None or write.f == "write":
        return True
    if write.f == "cas":
        if write.expected is None:
            return value is None
        return seen and before.version == write.expected and value in (UNSEEN, write.args[0])
    if write.f == "delete":
        return value is not None
    if value is None:
        return bool(place.value == write.args[0])
    return isinstance(value, int) and place.value == value + write.args[0]
