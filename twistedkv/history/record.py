"""Histories: every operation of every client as a line of JSON.

    {"process":7,"op":123,"key":"k17","f":"cas","args":["v3","v9"],"call_ns":...,"return_ns":...,"result":"ok",
     "value":"v9","version":[4,981]}

f        read, write, delete, cas or incr
args     write: [value]; cas: [value that the key had when its version was read, or null; new value]; incr: [delta]
call_ns, return_ns   of one clock for all processes: before the first byte was written, and when the answer was known.
         return_ns is null when the outcome is not known
result   ok; fail: certainly without effect; info: not known (a read of which nothing is known is not recorded)
value    what was read, or (incr) the sum; for delete whether there was something; for a cas that failed because of
         the version: null
version  [epoch, sequence] of what was read or made; null: the key did not exist, or nothing is known. For a cas that
         failed because of the version (`"mismatch":true`): the version that was found
expected of cas: the version that was given, null for "no such key"

A process does one thing at a time, and ends with an operation whose outcome is not known. All written values differ.
The first line may be a header: an object without "f".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from twistedkv.errors import InvalidRequest

FUNCTIONS = ("read", "write", "delete", "cas", "incr")
FOREVER = 1 << 62
"""Return of an operation whose outcome is not known: it may have had its effect at any time since."""

Version = tuple[int, int]


@attrs.define(eq=False)
class Record:
    """One operation."""

    process: int
    op: int
    key: str
    f: str
    args: list[Any]
    call: int
    """Nanoseconds."""
    returned: int
    """Nanoseconds; FOREVER if the outcome is not known."""
    result: str
    value: Any = None
    version: Version | None = None
    expected: Version | None = None
    mismatch: bool = False

    @property
    def writes(self) -> bool:
        """Whether it has changed the store, or may have."""
        if self.result == "fail" or self.f == "read":
            return False
        return not (self.f == "delete" and self.result == "ok" and self.version is None)

    def __str__(self) -> str:
        argument = ", ".join(repr(each) for each in self.args)
        text = f"{self.f}({self.key}{', ' if argument else ''}{argument})"
        if self.result == "info":
            said = "nobody knows"
        else:
            said = "mismatch" if self.mismatch else f"{self.result} {self.value!r}"
        version = f" at {self.version[0]}.{self.version[1]}" if self.version else ""
        end = "?" if self.returned == FOREVER else f"{self.returned / 1e9:.6f}"
        return f"[{self.call / 1e9:.6f} .. {end}] process {self.process} op {self.op}: {text} -> {said}{version}"


def line_of(record: Record) -> str:
    """The line of a record, without its end."""
    fields: dict[str, Any] = {
        "process": record.process,
        "op": record.op,
        "key": record.key,
        "f": record.f,
        "args": record.args,
        "call_ns": record.call,
        "return_ns": None if record.returned == FOREVER else record.returned,
        "result": record.result,
        "value": record.value,
        "version": record.version,
    }
    if record.f == "cas":
        fields["expected"] = record.expected
    if record.mismatch:
        fields["mismatch"] = True
    return json.dumps(fields, separators=(",", ":"))


def record_of(line: str, number: int = 0) -> Record | None:
    """The record in a line; None for a header or an empty line. Raises InvalidRequest with the line's number."""
    if not line.strip():
        return None
    try:
        fields = json.loads(line)
        if "f" not in fields:
            return None
        returned = fields["return_ns"]
        result = fields["result"]
        record = Record(
            process=int(fields["process"]),
            op=int(fields["op"]),
            key=str(fields["key"]),
            f=fields["f"],
            args=list(fields.get("args") or []),
            call=int(fields["call_ns"]),
            returned=FOREVER if returned is None or result == "info" else int(returned),
            result=result,
            value=fields.get("value"),
            version=_version(fields.get("version")),
            expected=_version(fields.get("expected")),
            mismatch=bool(fields.get("mismatch")),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidRequest(f"line {number} is no operation of a history: {error!r}") from None
    if record.f not in FUNCTIONS or record.result not in ("ok", "fail", "info") or record.call > record.returned:
        raise InvalidRequest(f"line {number} is no operation of a history: f, result or times are wrong")
    return record


def _version(value: Any) -> Version | None:
    return None if value is None else (int(value[0]), int(value[1]))


def read_history(lines: Iterable[str]) -> Iterator[Record]:
    """The records of a file. Raises InvalidRequest at the first wrong line."""
    for number, line in enumerate(lines, start=1):
        record = record_of(line, number)
        if record is not None:
            yield record


def by_key(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each key, in the order in which they were called. Keys do not influence each other."""
    keys: dict[str, list[Record]] = {}
    for record in records:
        keys.setdefault(record.key, []).append(record)
    for own in keys.values():
        own.sort(key=lambda record: (record.call, record.process, record.op))
    return keys
