"""The witness checker: the versions in the answers say in which order the operations of a key took place.

For each key the writes are put into the order of their versions, and each read behind the write whose version it
returned. If that order respects what was answered (values, expected versions, sums) and real time (nothing comes before
something that had ended before it began), it is itself the proof that the history is linearizable. O(n log n).

What carries no version has to be placed: reads that found nothing, and writes of which only a read tells (their version
is the read's). Reads that found nothing go to the first moment at which there was nothing. Writes whose outcome is not
known and which no read shows need not have happened; where something has to have happened (a sum that is larger than
it should be, a key that is gone), the first of them that can explain it is taken.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from twistedkv.history.record import FOREVER, Record, Version, by_key

INITIAL: Version = (0, 0)
_UNSEEN = object()
"""The value of a version that was found, but never read."""


@attrs.frozen
class Violation:
    """Why a history is wrong: a sentence, and the operations that show it."""

    key: str
    text: str
    records: tuple[Record, ...]

    def __str__(self) -> str:
        return "\n".join([f"key {self.key}: {self.text}", *(f"  {record}" for record in self.records)])


@attrs.define
class _Place:
    """One write, and the reads of it."""

    version: Version
    write: Record | None
    """None for the beginning, when there is nothing, and for writes of which only reads tell."""
    value: object
    """None: the key does not exist after it. _UNSEEN: it exists."""
    reads: list[Record] = attrs.Factory(list)
    begun: int = 0
    """The latest call of all that is placed up to this write."""
    begun_with_reads: int = 0
    """The same, with the reads of it."""
    over: int = FOREVER
    """The earliest return of all that is placed after it."""
    emptied_by: Record | None = None
    """A deletion whose outcome is not known, after the reads."""


def check_by_versions(records: Iterable[Record]) -> list[Violation]:
    """Violations, at most one for each key."""
    violations = []
    for key, own in by_key(records).items():
        try:
            _Key(key, own).check()
        except _Wrong as wrong:
            violations.append(wrong.violation)
    return violations


class _Wrong(Exception):
    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


class _Key:
    def __init__(self, key: str, records: list[Record]) -> None:
        self.key = key
        self.records = records
        self.places: list[_Place] = []
        self.unknown_sums = [r for r in records if r.result == "info" and r.f == "incr"]
        self.unknown_deletions = [r for r in records if r.result == "info" and r.f == "delete"]
        self.nothing: list[Record] = []
        """Reads that found no key."""

    def wrong(self, text: str, *records: Record | None) -> _Wrong:
        return _Wrong(Violation(self.key, text, tuple(record for record in records if record is not None)))

    def check(self) -> None:
        self._order()
        self._check_time()
        self._check_consequences()
        self._place_nothing()

    # The order.

    def _order(self) -> None:
        places: dict[Version, _Place] = {INITIAL: _Place(INITIAL, None, None)}
        unknown_values = {
            r.args[-1]: r for r in self.records if r.result == "info" and r.f in ("write", "cas")
        }  # values are unique
        reads: list[tuple[Version, Record]] = []
        for record in self.records:
            if record.result == "info":
                continue
            if record.writes and record.result == "ok":
                self._add_write(places, record)
            elif record.version is not None:
                reads.append((record.version, record))
            elif record.result == "ok" or record.mismatch:
                self.nothing.append(record)
        for version, record in reads:
            place = places.get(version)
            if place is None:
                if not unknown_values and not self.unknown_sums:
                    raise self.wrong("a version was found that nobody made", record)
                place = places[version] = _Place(version, None, _UNSEEN)
            place.reads.append(record)
            if record.mismatch:
                if version == record.expected:
                    raise self.wrong("a cas failed although it found the version that it expected", record)
                if place.value is None:
                    raise self.wrong("the version of a deletion was found as that of a value", place.write, record)
                continue
            if place.value is _UNSEEN:
                place.value = record.value
                place.write = unknown_values.pop(record.value, None)
                if place.write is None and not (self.unknown_sums and isinstance(record.value, int)):
                    raise self.wrong("a value was read that nobody wrote, or at two versions", record)
            if place.value is None:
                raise self.wrong("the version of a deletion was read as that of a value", place.write, record)
            if record.value != place.value:
                raise self.wrong("two values have the same version", place.write, record)
        for record in self.records:
            expected = record.expected
            if record.result == "ok" and expected is not None and expected not in places:
                known = unknown_values.pop(record.args[0], None)
                if known is not None:
                    places[expected] = _Place(expected, known, record.args[0])
        self.places = [places[version] for version in sorted(places)]

    def _add_write(self, places: dict[Version, _Place], record: Record) -> None:
        if record.version is None:
            raise self.wrong("a write was acknowledged without a version", record)
        other = places.get(record.version)
        if other is not None:
            raise self.wrong("two writes have the same version", other.write, record)
        value = None if record.f == "delete" else record.value if record.f == "incr" else record.args[-1]
        places[record.version] = _Place(record.version, record, value)

    # Time.

    def _check_time(self) -> None:
        latest: Record | None = None  # the latest call so far
        for place in self.places:
            write = place.write
            if write is not None:
                if latest is not None and write.returned < latest.call:
                    raise self.wrong("a write has an older version than what was known before it began", write, latest)
                latest = write if latest is None or write.call > latest.call else latest
            place.begun = latest.call if latest is not None else 0
            own = latest
            for read in place.reads:
                if latest is not None and read.returned < latest.call:
                    text = "a stale read: what it returned" if read.call > 0 else "a read"
                    raise self.wrong(f"{text} had been replaced before", read, latest)
                own = read if own is None or read.call > own.call else own
            latest = own
            place.begun_with_reads = latest.call if latest is not None else 0
        earliest = FOREVER
        for place in reversed(self.places):
            place.over = earliest
            ends = [read.returned for read in place.reads]
            if place.write is not None:
                ends.append(place.write.returned)
            earliest = min([earliest, *ends])

    # What an operation says of the one before.

    def _check_consequences(self) -> None:
        for before, place in zip(self.places, self.places[1:], strict=False):
            write = place.write
            if write is None:
                if isinstance(place.value, int):
                    self._take_sum(place, self._base(before, place.value - 1), 0)
                continue
            if write.f == "cas" and write.result == "ok":
                found = None if before.value is None else before.version
                if write.expected != found and not (write.expected is None and self._empty(before)):
                    raise self.wrong("a cas was done although the key had another version", before.write, write)
            elif write.f == "delete" and write.result == "ok" and before.value is None:
                if not self._somebody_could_have_written(place):
                    raise self.wrong("a deletion removed something where there was nothing", before.write, write)
            elif write.f == "incr":
                if not isinstance(place.value, int):
                    raise self.wrong("a sum is not a number", before.write, write)
                delta = int(write.args[0])
                self._take_sum(place, self._base(before, place.value - delta), delta)

    def _base(self, before: _Place, expected: int) -> int:
        """What the sum was before; `expected` is what it should have been."""
        if before.value is None:
            return 0
        if not isinstance(before.value, int):
            raise self.wrong("a sum was made of what is no number", before.write)
        return 0 if before.value > expected and self._empty(before) else before.value

    def _take_sum(self, place: _Place, base: int, delta: int) -> None:
        """Explain the sum at a place by additions whose outcome is not known, the earliest first."""
        assert isinstance(place.value, int)
        missing = place.value - delta - base
        over = min([place.over, *(read.returned for read in place.reads)])
        while missing:
            other = next((r for r in self.unknown_sums if r.call <= over), None)
            if other is None or (missing > 0) != (int(other.args[0]) > 0):
                raise self.wrong(f"the sum is wrong by {missing}", place.write, *place.reads[:1])
            self.unknown_sums.remove(other)
            missing -= int(other.args[0])

    def _empty(self, place: _Place) -> bool:
        """Have a deletion whose outcome is not known follow this place, if there is one."""
        if place.value is None or place.emptied_by is not None:
            return True
        other = next((r for r in self.unknown_deletions if r.call <= place.over), None)
        if other is None:
            return False
        self.unknown_deletions.remove(other)
        place.emptied_by = other
        return True

    def _somebody_could_have_written(self, place: _Place) -> bool:
        return any(r.result == "info" and r.f != "delete" and r.call <= place.over for r in self.records)

    # Reads that found nothing.

    def _place_nothing(self) -> None:
        for read in sorted(self.nothing, key=lambda record: record.returned):
            if read.f == "cas" and read.expected is None:
                raise self.wrong("a cas that wanted no key failed, and found none", read)
            if not self._place_one(read):
                latest = [p for p in self.places if p.write is not None and p.write.returned < read.call]
                write = latest[-1].write if latest else None
                raise self.wrong("a key was not found although it was there all the time", write, read)

    def _place_one(self, read: Record) -> bool:
        for place in self.places:
            if place.begun > read.returned:
                break
            if place.value is None and place.begun <= read.returned and read.call <= place.over:
                return True
            if place.emptied_by is not None and self._fits_after(place, read):
                return True
        # A deletion whose outcome is not known explains it: at the last possible moment, so that it explains as many as
        # it can of the reads that are still to come here, which all returned later.
        for place in reversed(self.places):
            fits = self._fits_after(place, read) and place.emptied_by is None and place.value is not None
            if fits and any(r.call <= min(read.returned, place.over) for r in self.unknown_deletions):
                return self._empty(place)
        return False

    @staticmethod
    def _fits_after(place: _Place, read: Record) -> bool:
        return place.begun_with_reads <= read.returned and read.call <= place.over
