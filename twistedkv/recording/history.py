"""The history of a run while it is being made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twistedkv.history.record import FOREVER, Record, Version
from twistedkv.records import epoch_of, sequence_of


class History:
    """Everything that was asked and answered.

    `now()` is nanoseconds of one clock for all clients. `ended(record)` is called with each operation when its outcome
    is known, or is known not to become known; those that never end are in `records`, with the result "info".
    """

    def __init__(self, now: Callable[[], int], ended: Callable[[Record], object] = lambda record: None) -> None:
        self.now = now
        self.records: list[Record] = []
        self.processes = 0
        self._ended = ended

    def new_process(self) -> int:
        """A name for somebody who does one thing at a time."""
        self.processes += 1
        return self.processes

    def begin(self, process: int, key: str, f: str, args: list[Any], expected: Version | None = None) -> Record:
        """An operation is called. Until its end is said, its outcome is not known."""
        number = len(self.records) + 1
        record = Record(process, number, key, f, args, self.now(), FOREVER, "info", expected=expected)
        self.records.append(record)
        return record

    def end(self, record: Record, result: str) -> None:
        """Its outcome is known, or is known not to become known."""
        record.result = result
        if result != "info":
            record.returned = self.now()
        self._ended(record)

    @property
    def relevant(self) -> list[Record]:
        """Without the reads that were never answered."""
        return [r for r in self.records if r.f != "read" or r.result == "ok"]

    def keys(self) -> list[str]:
        """All keys that were used, in order."""
        return sorted({record.key for record in self.records})


def version(packed: int | None) -> Version | None:
    """As it stands in a history."""
    return (epoch_of(packed), sequence_of(packed)) if packed else None
