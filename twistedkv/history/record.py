"""Histories: every operation of every client as a line of JSON.

    {"process":7,"op":123,"key":"k17","f":"cas","args":["v3","v9"],"call_ns":...,"return_ns":...,"result":"ok",
     "value":"v9","version":[4,981],"expected":[4,977],"attempts":2,"via":"server_3"}

process  a number or a name of somebody who does one thing at a time, and nothing more after an unknown outcome
op       a number, for people who look for the line
f        read, write, delete, cas or incr
args     write: [value]; cas: [value that the key had when its version was read, or null; new value]; incr: [delta].
         Values are texts, and differ in all writes and cas of a key; deltas are integers
call_ns, return_ns   of one clock for all processes: before the first byte was written, and when the answer was known.
         return_ns is null when the outcome is not known
result   ok; fail: certainly without effect; info: not known (a read of which nothing is known is not recorded)
value    what was read, or (incr) the sum; for delete whether there was something; for a cas that failed because of
         the version: null
version  [epoch, sequence] of what was read or made; null: the key did not exist, or nothing is known. For a cas that
         failed because of the version (`"mismatch":true`): the version that was found
expected of cas: the version that was given, null for "no such key"
attempts, via   if they are known: how often it was sent, and whose answer it was

The first line may be a header, an object without "f" (see Header).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from operator import attrgetter
from typing import Any

import attrs

from twistedkv.errors import InvalidRequest

FUNCTIONS = {"read": 0, "write": 1, "delete": 0, "cas": 2, "incr": 1}
"""With the number of their arguments."""
RESULTS = ("ok", "fail", "info")
FOREVER = 1 << 62
"""Return of an operation whose outcome is not known: it may have had its effect at any time since."""

Version = tuple[int, int]


@attrs.define(eq=False)
class Record:
    """One operation."""

    process: int | str
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
    attempts: int | None = None
    """How often it was sent; None if that is not known."""
    via: str | None = None
    """Whose answer it was; None if that is not known."""

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


@attrs.frozen
class Fault:
    """Something that was done to the cluster."""

    at: int
    """Nanoseconds, of the clock of the operations."""
    text: str


@attrs.frozen
class Header:
    """How a history came about.

        {"commit":"1f2e...","seed":7,"configuration":{"servers":3},"faults":[{"at_ns":...,"fault":"kill server 1"}]}

    Each of these may be missing; more is kept in `other`.
    """

    commit: str | None = None
    """Of the program that was tested."""
    seed: int | None = None
    configuration: dict[str, Any] = attrs.Factory(dict)
    faults: tuple[Fault, ...] = ()
    other: dict[str, Any] = attrs.Factory(dict)


def fields_of(record: Record) -> dict[str, Any]:
    """The fields of a record's line."""
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
    if record.attempts is not None:
        fields["attempts"] = record.attempts
    if record.via is not None:
        fields["via"] = record.via
    return fields


def line_of(record: Record) -> str:
    """The line of a record, without its end."""
    return json.dumps(fields_of(record), separators=(",", ":"))


def header_line(header: Header) -> str:
    """The line of a header, without its end."""
    fields: dict[str, Any] = {"commit": header.commit, "seed": header.seed}
    fields = {name: value for name, value in fields.items() if value is not None}
    if header.configuration:
        fields["configuration"] = header.configuration
    if header.faults:
        fields["faults"] = [{"at_ns": fault.at, "fault": fault.text} for fault in header.faults]
    return json.dumps(fields | header.other, separators=(",", ":"))


def record_of(line: str, number: int = 0) -> Record | None:
    """The record in a line; None for a header or an empty line. Raises InvalidRequest with the line's number."""
    fields = _fields_in(line, number)
    if fields is None or "f" not in fields:
        return None
    try:
        returned = fields["return_ns"]
        result = fields["result"]
        record = Record(
            process=fields["process"],
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
            attempts=fields.get("attempts"),
            via=fields.get("via"),
        )
        wrong = _what_is_wrong(record)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        wrong = repr(error)
    if wrong:
        raise InvalidRequest(f"line {number} is no operation of a history: {wrong}")
    return record


def read_header(line: str) -> Header | None:
    """The header in the first line of a file; None if that is an operation. Raises InvalidRequest."""
    fields = _fields_in(line, 1)
    if fields is None or "f" in fields:
        return None
    try:
        faults = tuple(Fault(int(each["at_ns"]), str(each["fault"])) for each in fields.pop("faults", None) or [])
        seed = fields.pop("seed", None)
        return Header(
            commit=fields.pop("commit", None),
            seed=None if seed is None else int(seed),
            configuration=dict(fields.pop("configuration", None) or {}),
            faults=faults,
            other=fields,
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InvalidRequest(f"line 1 is no header of a history: {error!r}") from None


def read_history(lines: Iterable[str]) -> list[Record]:
    """The records of a file.

    Raises InvalidRequest, with the number of a line, for a line that is none, and for what the checkers rely on: all
    written values of a key differ, and a process does one thing at a time.
    """
    records = []
    written: dict[tuple[str, str], int] = {}
    processes: dict[int | str, list[tuple[int, int, int]]] = {}
    for number, line in enumerate(lines, start=1):
        record = record_of(line, number)
        if record is None:
            if number > 1 and line.strip():
                raise InvalidRequest(f'line {number} is no operation of a history: it has no "f"')
            continue
        records.append(record)
        processes.setdefault(record.process, []).append((record.call, record.returned, number))
        if record.f in ("write", "cas"):
            earlier = written.setdefault((record.key, record.args[-1]), number)
            if earlier != number:
                what = f"writes {record.args[-1]!r} to {record.key}, as line {earlier} does"
                raise InvalidRequest(f"line {number} {what}: a value that was read has to say who wrote it")
    for process, spans in processes.items():
        _check_that_they_follow(process, spans)
    return records


def _check_that_they_follow(process: int | str, spans: list[tuple[int, int, int]]) -> None:
    """Raise InvalidRequest unless each of a process's operations, (call, return, line), ends before the next begins."""
    spans.sort()
    for (_, returned, earlier), (call, _, number) in pairwise(spans):
        if call < returned:
            why = "of which the outcome is not known" if returned == FOREVER else "has not ended"
            raise InvalidRequest(
                f"line {number} is called by process {process} while its operation in line {earlier} {why}: "
                "a process does one thing at a time, and another one goes on after an unknown outcome"
            )


def _fields_in(line: str, number: int) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"line {number} is no operation of a history: {error!r}") from None
    if not isinstance(fields, dict):
        raise InvalidRequest(f"line {number} is no operation of a history: an object was expected")
    return fields


def _version(value: Any) -> Version | None:
    if value is None:
        return None
    epoch, sequence = value
    return int(epoch), int(sequence)


def _what_is_wrong(record: Record) -> str:
    """What a line that can be read as a record says that cannot be; empty if nothing."""
    f, args = record.f, record.args
    if f not in FUNCTIONS or record.result not in RESULTS:
        return "f or result is wrong"
    if len(args) != FUNCTIONS[f]:
        return f"a {f} has {FUNCTIONS[f]} args"
    if record.call > record.returned or (record.returned == FOREVER and record.result != "info"):
        return "the times are wrong"
    if not isinstance(record.process, int | str):
        return "process is neither a number nor a name"
    if f == "incr" and type(args[0]) is not int:
        return "a delta is an integer"
    if f in ("write", "cas") and type(args[-1]) is not str:
        return "a written value is a text"
    if f == "cas" and (args[0] is None) != (record.expected is None):
        return "a cas names an old value and its version, or neither"
    if f == "read" and record.result == "ok":
        if (record.value is None) != (record.version is None):
            return "a read has a value and its version, or neither"
        if record.value is not None and type(record.value) not in (int, str):
            return "a value is a text or (a sum) an integer"
    if record.mismatch and (f != "cas" or record.result != "fail"):
        return "mismatch is said of a cas that failed"
    return ""


def by_key(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each key, in the order in which they were called. Keys do not influence each other."""
    keys: dict[str, list[Record]] = {}
    for record in records:
        keys.setdefault(record.key, []).append(record)
    for own in keys.values():
        own.sort(key=attrgetter("call"))
    return keys
