"""What clients see, over time: how many operations were answered, and how long the oldest one had been waiting.

Pure: times are arguments, in seconds since the clients began.
"""

from __future__ import annotations

from array import array
from itertools import repeat

import attrs

BIN_SECONDS = 0.1
"""Width of what is counted together."""


@attrs.frozen
class Wait:
    """One operation that waited."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.ended - self.began


class Meter:
    """Counts operations, by bins of BIN_SECONDS."""

    def __init__(self) -> None:
        self.reads = array("L")
        """Answered reads, by bin. All four have the same length."""
        self.writes = array("L")
        """Answered writes; a cas that finds another version is answered."""
        self.unanswered = array("L")
        """Operations that were given up: certainly without effect, or of unknown outcome."""
        self.waits = array("d")
        """The longest time that an operation had been waiting, at the end of the bin or when it ended in it; in s."""
        self.total_reads = 0
        self.total_writes = 0
        self.total_not_done = 0
        self.total_unknown = 0
        self.longest = Wait(0.0, 0.0)
        self._waiting: dict[int, float] = {}
        """By number, the oldest first: when operations began that have not ended."""

    @property
    def answered(self) -> int:
        """How many operations were answered."""
        return self.total_reads + self.total_writes

    def began(self, number: int, now: float) -> None:
        """An operation begins."""
        self._waiting[number] = now

    def ended(self, number: int, now: float, *, reads: bool, result: str) -> None:
        """It ends. `result` is `ok` for an answer, else `fail` or `info` as in a history."""
        began = self._waiting.pop(number)
        place = self._reach(now)
        if result == "ok":
            if reads:
                self.reads[place] += 1
                self.total_reads += 1
            else:
                self.writes[place] += 1
                self.total_writes += 1
        else:
            self.unanswered[place] += 1
            if result == "info":
                self.total_unknown += 1
            else:
                self.total_not_done += 1
        self._waited(began, now, place)

    def finish(self, now: float) -> None:
        """No more comes. What has not ended has waited until now."""
        for began in self._waiting.values():
            self._waited(began, now, self._reach(now))
        self._waiting.clear()
        self._reach(now)

    def waiting_now(self, now: float) -> float:
        """For how long the oldest operation has been waiting, in seconds."""
        for began in self._waiting.values():
            return now - began
        return 0.0

    def longest_between(self, begin: float, end: float) -> float:
        """The longest wait in a span of time, in seconds."""
        return max(self.waits[_bin(begin) : _bin(end) + 1], default=0.0)

    def answered_between(self, begin: float, end: float) -> int:
        """How many operations were answered in a span of time, to the width of a bin."""
        bins = slice(_bin(begin), _bin(end) + 1)
        return sum(self.reads[bins]) + sum(self.writes[bins])

    def rate(self, now: float, seconds: float = 1.0) -> float:
        """Answered operations a second, over the last full bins."""
        end = _bin(now)
        count = max(1, min(end, round(seconds / BIN_SECONDS)))
        bins = slice(max(0, end - count), end)
        return (sum(self.reads[bins]) + sum(self.writes[bins])) / (count * BIN_SECONDS)

    def _waited(self, began: float, now: float, last: int) -> None:
        waits = self.waits
        waits[last] = max(waits[last], now - began)
        for place in range(_bin(began), last):
            waits[place] = max(waits[place], (place + 1) * BIN_SECONDS - began)
        if now - began > self.longest.seconds:
            self.longest = Wait(began, now)

    def _reach(self, now: float) -> int:
        """The bin of a time, made if it is not there yet."""
        place = _bin(now)
        missing = place + 1 - len(self.waits)
        if missing > 0:
            for counts in (self.reads, self.writes, self.unanswered):
                counts.extend(repeat(0, missing))
            self.waits.extend(repeat(0.0, missing))
        return place


def _bin(seconds: float) -> int:
    return max(0, int(seconds / BIN_SECONDS))
