"""The witness checker: the versions in the answers say in which order the operations of a key took place.

For each key the writes are put into the order of their versions, and each read behind the write whose version it
returned. If that order respects what was answered (values, expected versions, sums) and real time (nothing comes before
something that had ended before it began), it is itself the proof that the history is linearizable. O(n log n).

What carries no version has to be placed: reads that found nothing go to the first moment at which there was nothing.
Writes whose outcome is not known have the version of the reads that show them; those that no read shows need not have
happened, and are tried only for keys in which something has to have happened that no known operation did (walk.py).
With that the answer is exact: a history is refused only if no order agrees with its versions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from twistedkv.history import reasons
from twistedkv.history.record import FOREVER, Record, Version
from twistedkv.history.violation import Violation
from twistedkv.history.walk import UNSEEN, Place, Walk, fits

INITIAL: Version = (0, 0)


def check_by_versions(records: Iterable[Record]) -> list[Violation]:
    """Violations, at most one for each key."""
    keys: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        keys[record.key].append(record)
    found = (_Key(own).violation() for own in keys.values())
    return [violation for violation in found if violation is not None]


class _Key:
    """The operations of one key. Each step says what is wrong, or None.

    A million operations take about a second. What counts is how often a field of a record is looked at.
    """

    def __init__(self, records: list[Record]) -> None:
        self._records = records
        self._by_version: dict[Version, Place] = {INITIAL: Place(INITIAL, None, None)}
        self._places: list[Place] = []
        self._reads: list[Record] = []
        self._compared: list[Record] = []
        """All cas that expected a version."""
        self._mismatches: list[Record] = []
        self._nothing: list[Record] = []
        """What found no key."""
        self._unknown: list[Record] = []
        """Writes whose outcome is not known, and that no version shows."""
        self._unfit: int | None = None
        """The first place whose write does not fit to the one before, as far as is known."""

    def violation(self) -> Violation | None:
        """The first that is found."""
        wrong = self._place_writes() or self._place_reads() or self._place_compared() or self._place_mismatches()
        if wrong is None:
            by_version = self._by_version
            self._places = [by_version[version] for version in sorted(by_version)]
            wrong = self._check_time() or self._check_answers()
        return wrong

    # The order.

    def _place_writes(self) -> Violation | None:
        by_version, reads = self._by_version, self._reads
        for record in self._records:
            f = record.f
            if f == "read":
                reads.append(record)
                continue
            if f == "write":
                value = record.args[0]
            elif f == "cas":
                value = record.args[1]
                if record.expected is not None:
                    self._compared.append(record)
            else:
                value = record.value if f == "incr" else None
            if record.result == "ok":
                version = record.version
                if version is not None:
                    place = Place(version, record, value, record.call, record.returned)
                    other = by_version.setdefault(version, place)
                    if other is not place:
                        return reasons.two_writes_at_a_version(other.write, record)
                elif f == "delete":
                    self._nothing.append(record)
                else:
                    return reasons.without_version(record)
            elif record.result == "info":
                self._unknown.append(record)
            elif record.mismatch:
                if record.version is not None:
                    self._mismatches.append(record)
                elif record.expected is None:
                    return reasons.mismatch_that_was_none(record)
                else:
                    self._nothing.append(record)
        return None

    def _place_reads(self) -> Violation | None:
        by_version = self._by_version
        for read in self._reads:
            if read.result != "ok":
                continue
            version, value = read.version, read.value
            if version is None:
                if value is not None:
                    return reasons.without_version(read)
                self._nothing.append(read)
                continue
            place = by_version.get(version)
            if place is None:
                place = self._place_unknown(version, value)
                if place is None:
                    return reasons.nobody_wrote(read, self._records)
            elif place.value != value:
                return reasons.two_values_at_a_version(place.write, read, self._reads)
            call, returned = read.call, read.returned
            if call > place.called:  # noqa: PLR1730 (a call would cost more)
                place.called = call
            if returned < place.ended:  # noqa: PLR1730 (a call would cost more)
                place.ended = returned
        return None

    def _place_unknown(self, version: Version, value: object) -> Place | None:
        """The place of an operation of unknown outcome of which a value tells; None if there is none."""
        place = None
        if isinstance(value, int):
            if any(record.f == "incr" for record in self._unknown):
                place = Place(version, None, value)  # of these the walk chooses one
        else:
            for record in self._unknown:
                if record.f in ("write", "cas") and record.args[-1] == value:
                    self._unknown.remove(record)
                    place = Place(version, record, value, record.call, record.returned)
                    break
        if place is not None:
            self._by_version[version] = place
        return place

    def _place_compared(self) -> Violation | None:
        """What a cas expects was seen by its process: it tells of a version and its value as a read does."""
        for cas in self._compared:
            assert cas.expected is not None
            place = self._by_version.get(cas.expected)
            if place is None:
                self._place_unknown(cas.expected, cas.args[0])
            elif place.value != cas.args[0]:
                return reasons.expected_another_value(place.write, cas)
        return None

    def _place_mismatches(self) -> Violation | None:
        for cas in self._mismatches:
            assert cas.version is not None
            if cas.version == cas.expected:
                return reasons.mismatch_that_was_none(cas)
            place = self._by_version.get(cas.version)
            if place is None:
                if not self._unknown:
                    return reasons.nobody_wrote(cas, self._records)
                place = self._by_version[cas.version] = Place(cas.version, None, UNSEEN)
            elif place.value is None:
                return reasons.two_values_at_a_version(place.write, cas, [])
            elif place.value == cas.args[0] and isinstance(place.value, str):  # sums may come again
                return reasons.mismatch_that_was_none(cas)
            place.called = max(place.called, cas.call)
            place.ended = min(place.ended, cas.returned)
        return None

    # Time, and what an operation says of the one before.

    def _check_time(self) -> Violation | None:
        latest, unfit = -FOREVER, None
        before = self._places[0]
        for number, place in enumerate(self._places):
            write, ended = place.write, place.ended
            if ended < latest or (write is not None and ended < write.call):
                return reasons.against_time(self._places[: number + 1], self._records)
            if place.called > latest:  # noqa: PLR1730 (a call would cost more)
                latest = place.called
            if unfit is None and number:
                if write is None or (write.f != "write" and not fits(place, before, before.value, True)):
                    unfit = number
                before = place
        self._unfit = unfit
        return None

    def _check_answers(self) -> Violation | None:
        missed = self._first_missed() if self._nothing else None
        at = self._unfit
        if at is None and missed is None:
            return None
        if self._unknown:
            walk = Walk(self._places, self._nothing, self._unknown)
            if walk.explained():
                return None
            reached, missed = walk.stuck
            at = reached + 1
        if missed is not None:
            return reasons.not_found(missed, self._places, self._unknown)
        assert at is not None
        return reasons.does_not_fit(self._places[at], self._places[at - 1], self._records)

    def _first_missed(self) -> Record | None:
        """The first operation that found nothing when there was something, as far as is known.

        There is nothing after some of the places. The first of these whose followers all ended after the operation
        began is the one to choose; then what came before it must have begun before the operation ended.
        """
        begun, begins = -FOREVER, []
        for place in self._places:
            begun = max(begun, place.called)
            if place.value is None:
                begins.append(begun)  # the latest call of all up to here
        over, overs = FOREVER, []
        for place in reversed(self._places):
            if place.value is None:
                overs.append(over)  # the earliest return of all that follows
            over = min(over, place.ended)
        overs.reverse()
        for record in self._nothing:
            i = bisect_left(overs, record.call)
            if i == len(overs) or begins[i] > record.returned:
                return record
        return None
