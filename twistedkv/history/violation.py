"""Why a history is wrong, for people: a sentence, the operations that show it in order of time, and the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import attrs

from twistedkv.history.record import FOREVER, Record, Version, fields_of

_UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000), ("ns", 1))
_SHOWN_CHARACTERS_MAX = 60


@attrs.frozen
class Violation:
    """Why a history is wrong."""

    key: str
    text: str
    """What is wrong, in a sentence without its full stop."""
    records: tuple[Record, ...]
    """The operations that show it, in the order in which they were called. `why` calls them A, B, C and so on."""
    why: str = ""
    """What was to be expected, and why it cannot be."""

    def __str__(self) -> str:
        return "\n".join([f"key {self.key}: {self.text}", *(f"  {record}" for record in self.records)])

    def as_text(self) -> str:
        """The whole explanation, in some lines."""
        lines = [f"key {printable(self.key)}: {self.text}."]
        if self.records:
            start = self.records[0].call
            clock = Scale.of([*times_of(self.records)])
            spans = [clock.span(record, start) for record in self.records]
            width = max(map(len, spans))
            lines.append(f"  In order of time, in {clock.unit} since {letter(0)} was called:")
            for number, (record, span) in enumerate(zip(self.records, spans, strict=True)):
                who = printable(str(record.process))
                lines.append(f"    {letter(number)}  {span:{width}}  process {who} {in_words(record)}")
        if self.why:
            lines.append(f"  {self.why}")
        return "\n".join(lines)

    def as_document(self) -> dict[str, Any]:
        """For programs: the operations have the fields of a history's lines."""
        operations = [fields_of(record) for record in self.records]
        return {"key": self.key, "text": self.text, "why": self.why, "operations": operations}


def violation(text: str, why: str, *records: Record | None, **values: object) -> Violation:
    """A violation whose reason names operations by their place in `records`: "{0} ended before {1} began".

    None stands for an operation that nobody knows; at least one is known. `values` are named in the reason too.
    """
    known: list[Record] = []
    for record in records:
        if record is not None and not any(record is other for other in known):
            known.append(record)
    known.sort(key=lambda record: record.call)
    names = [
        "an operation of unknown outcome" if record is None else letter(_place_of(record, known)) for record in records
    ]
    return Violation(known[0].key, text, tuple(known), why.format(*names, **values))


def _place_of(record: Record, records: Sequence[Record]) -> int:
    return next(number for number, other in enumerate(records) if other is record)


def letter(number: int) -> str:
    """What an operation of a violation is called: A, B, ... Z, A1, B1, ..."""
    round_, place = divmod(number, 26)
    return chr(ord("A") + place) + (str(round_) if round_ else "")


def in_words(record: Record) -> str:
    """What a process did and was told: `writes "a": done, version 1.1`."""
    return f"{asked(record)}: {answered(record)}"


def asked(record: Record) -> str:
    """What a process did: `writes "a"`."""
    if record.f == "read":
        return "reads"
    if record.f == "delete":
        return "deletes"
    if record.f == "incr":
        return f"adds {record.args[0]}"
    if record.f == "write":
        return f"writes {shown(record.args[0])}"
    old, new = record.args
    if record.expected is None:
        return f"writes {shown(new)} if there is nothing"
    return f"replaces {shown(old)} (version {version_text(record.expected)}) by {shown(new)}"


def answered(record: Record) -> str:
    """What a process was told: `done, version 1.1`."""
    version = f", version {version_text(record.version)}" if record.version else ""
    if record.result == "info":
        return "outcome not known"
    if record.mismatch:
        return f"refused, found{version[1:]}" if version else "refused, no such key"
    if record.result == "fail":
        return "failed, without effect"
    if record.f == "read":
        return shown(record.value) + version
    if record.f == "incr":
        return f"sum {record.value}{version}"
    if record.f == "delete" and not record.version:
        return "there was nothing"
    return "done" + version


def shown(value: Any) -> str:
    """A value, shortened, without control characters."""
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) > _SHOWN_CHARACTERS_MAX:
        text = text[: _SHOWN_CHARACTERS_MAX - 1] + "…"
    return json.dumps(text, ensure_ascii=not text.isprintable()) if isinstance(value, str) else printable(text)


def printable(text: str) -> str:
    """The same, unless it has control characters: then as in JSON."""
    return text if text.isprintable() else json.dumps(text)


def version_text(version: Version | None) -> str:
    """`4.981`: epoch and sequence."""
    return "none" if version is None else f"{version[0]}.{version[1]}"


def times_of(records: Sequence[Record]) -> list[int]:
    """All moments at which something is known to have begun or ended."""
    return [time for record in records for time in (record.call, record.returned) if time != FOREVER]


@attrs.frozen
class Scale:
    """A unit of time and the digits that tell some moments apart."""

    unit: str
    nanoseconds: int
    digits: int

    @classmethod
    def of(cls, times: Sequence[int]) -> Scale:
        """One in which these can be told apart, if that takes no more than six digits behind the point."""
        distinct = sorted(set(times))
        span = distinct[-1] - distinct[0] if distinct else 0
        unit, nanoseconds = next(((u, n) for u, n in _UNITS if span >= n), _UNITS[-1])
        closest = min((b - a for a, b in pairwise(distinct)), default=nanoseconds)
        digits = 0
        while digits < 6 and closest * 10**digits < nanoseconds:
            digits += 1
        return cls(unit, nanoseconds, digits)

    def text(self, nanoseconds: int) -> str:
        """A number without its unit."""
        return f"{nanoseconds / self.nanoseconds:.{self.digits}f}"

    def span(self, record: Record, start: int) -> str:
        """From when to when."""
        end = "?" if record.returned == FOREVER else self.text(record.returned - start)
        return f"{self.text(record.call - start)} to {end}"
