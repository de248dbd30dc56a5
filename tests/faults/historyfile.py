"""A history that is written while it is made, so that nothing of it is lost when its process is killed.

The file is only ever appended to, one line with one `write`, by the load and by whoever makes the faults:

    {"commit": ...}                 first: a header, as in twistedkv/history/record.py
    {"begun": {...}}                an operation was called: its record as it is then, with the result "info"
    {"process": ...}                it has ended: a record
    {"fault": "...", "at_ns": n}    what was done to the cluster, and when

An operation that never ended has a line of the third kind as well, from the load at its end; for a load that was killed
`read` makes it from the second. `finished` gives the lines of the file that is kept, and that `twistedkv check` takes:
a header with all faults, and the records.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs

from twistedkv.history.record import Fault, Header, Record, header_line, line_of, read_header, record_of
from twistedkv.recording.history import History


def append(path: Path, line: str) -> None:
    """Add a line to a file that others append to at the same time."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)


def append_fault(path: Path, text: str) -> None:
    """Something is done to the cluster now."""
    append(path, json.dumps({"fault": text, "at_ns": time.monotonic_ns()}))


class FileHistory(History):
    """A history by the monotonic clock, which is the same for all processes of a host."""

    def __init__(
        self,
        path: Path,
        ended: Callable[[Record], object] = lambda record: None,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(now, self._write_end)
        self._told = ended
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._open: dict[int, Record] = {}

    def begin(self, *args: Any, **kwargs: Any) -> Record:
        record = super().begin(*args, **kwargs)
        self._open[record.op] = record
        self._write('{"begun":' + line_of(record) + "}")
        return record

    def _write_end(self, record: Record) -> None:
        self._open.pop(record.op, None)
        self._write(line_of(record))
        self._told(record)

    def close(self) -> None:
        """Say of what has not ended that nobody knows."""
        for record in list(self._open.values()):
            self.end(record, "info")
        os.close(self._descriptor)

    def _write(self, line: str) -> None:
        os.write(self._descriptor, line.encode() + b"\n")


@attrs.frozen
class Log:
    """What stands in a file."""

    header: Header
    """With all faults."""
    records: list[Record]
    """By the time of their calls, without reads of which nothing is known."""


def read(path: Path) -> Log:
    """Read a file, whatever its writer's end was. A last line that is not whole is left out."""
    header = Header()
    faults: list[Fault] = []
    begun: dict[int, Record] = {}
    ended: dict[int, Record] = {}
    *lines, _ = path.read_text("utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        fields = json.loads(line)
        if "fault" in fields:
            faults.append(Fault(fields["at_ns"], fields["fault"]))
        elif "begun" in fields or "f" in fields:
            record = record_of(json.dumps(fields.get("begun", fields)), number)
            assert record is not None
            (begun if "begun" in fields else ended)[record.op] = record
        elif number == 1:
            header = read_header(line) or header
    records = [record for record in (begun | ended).values() if record.f != "read" or record.result != "info"]
    return Log(attrs.evolve(header, faults=tuple(faults)), records)


def merged(logs: Iterable[Log]) -> Log:
    """The logs of several loads on one cluster as one, with the header of the first. No two processes have one name."""
    first, *others = logs
    records = list(first.records)
    for number, log in enumerate(others, 2):
        records += [attrs.evolve(record, process=f"{number}/{record.process}") for record in log.records]
    return Log(first.header, sorted(records, key=lambda record: record.call))


def finished(log: Log) -> list[str]:
    """The lines of the file that is kept."""
    return [header_line(log.header), *(line_of(record) for record in log.records)]
