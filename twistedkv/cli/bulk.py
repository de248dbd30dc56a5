"""Whole files of text: import (and load), export."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from copy import copy
from pathlib import Path
from typing import IO

import attrs
import click

from twistedkv.cli.arguments import STANDARD_INPUT, hex_option, json_option, text_bytes
from twistedkv.cli.lines import (
    FORMATS,
    RECORD_LINE_BYTES_MAX,
    TSV,
    LineError,
    Parsed,
    format_by_name,
    line_of,
    numbered_lines,
    parser_of,
)
from twistedkv.cli.many import failures_of, put_all
from twistedkv.cli.measure import Meter
from twistedkv.cli.output import NEWLINE, amount, is_terminal, message, print_json, seconds_text
from twistedkv.cli.progress import Progress, progress_bar
from twistedkv.cli.session import FAILURES, USAGE, Session, Store, connection_options, exit_code_of, pass_session
from twistedkv.core.entries import decode_records
from twistedkv.limits import SLOTS
from twistedkv.records import record_expiry, record_value

WINDOW_RECORDS = 512
"""Records on their way at a time. Larger is faster over a slow network, and loses more time to a failed server."""
WINDOW_BYTES = 4 * 1024 * 1024

format_option = click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="tsv or jsonl (default: by the end of the file's name, .jsonl .ndjson .json; else tsv).",
)


@attrs.define
class Record:
    """A line of the file being loaded."""

    number: int
    line: bytes
    key: bytes
    value: bytes
    expiry: int


class Load:
    """One run of `import`: windows of records are stored, one after the other, and failures counted.

    Within a window the last line for a key wins, as it does between windows; so the result is that of storing line by
    line, and no key is written twice at the same time.
    """

    def __init__(
        self,
        session: Session,
        *,
        go_on: bool,
        failures: IO[bytes] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._go_on = go_on
        self._failures = failures
        self._clock = clock
        self._window: dict[bytes, Record] = {}
        self._window_records = 0
        self._window_bytes = 0
        self.meter = Meter(clock())
        self.records = 0
        """Lines stored, or replaced by a later line for the same key."""
        self.failed = 0
        self.exit_code = 0

    def run(self, lines: Iterator[tuple[int, bytes]], parse: Callable[[bytes], Parsed]) -> None:
        """Store all lines. With `go_on`, failures are counted; else the first one ends it, as a ClickException."""
        while True:
            try:
                number, line = next(lines)
            except StopIteration:
                break
            except LineError:
                self._flush()
                raise
            if not line.strip(b"\r\n"):
                continue
            try:
                key, value, expiry = parse(line)
            except LineError as error:
                self._flush()
                self._fail(number, line, error.reason, USAGE)
                continue
            self._window[key] = Record(number, line, key, value, expiry)
            self._window_records += 1
            self._window_bytes += len(line)
            if self._window_records >= WINDOW_RECORDS or self._window_bytes >= WINDOW_BYTES:
                self._flush()
        self._flush()

    def _flush(self) -> None:
        if not self._window:
            return
        window, records = self._window, self._window_records
        self._window, self._window_records, self._window_bytes = {}, 0, 0
        began = self._clock()
        failed = self._store(window)
        self.meter.completed(began, self._clock())
        self.records += records - len(failed)
        for record in sorted((window[key] for key in failed), key=lambda record: record.number):
            error = failed[record.key]
            self._fail(record.number, record.line, str(error), exit_code_of(error))

    def _store(self, window: Mapping[bytes, Record]) -> Mapping[bytes, Exception]:
        """The errors of what was not stored."""
        if not any(record.expiry for record in window.values()):
            return put_all(self._session, {key: record.value for key, record in window.items()})[1]
        changes: dict[bytes, tuple[bytes | None, int]] = {
            key: (record.value, record.expiry) for key, record in window.items()
        }
        return failures_of(lambda: self._session.store.apply(changes))

    def _fail(self, number: int, line: bytes, reason: str, exit_code: int) -> None:
        self.failed += 1
        self.exit_code = max(self.exit_code, exit_code)
        text = f"line {number}: {reason}"
        if not self._go_on:
            raise FAILURES[exit_code](f"{text} ({amount(self.records, 'record')} stored; --continue goes on)")
        message(text)
        if self._failures is not None:
            self._failures.write(line.removesuffix(NEWLINE) + NEWLINE)


@click.command("import")
@click.argument("file", metavar="FILE")
@format_option
@click.option("--continue", "go_on", is_flag=True, help="Go on after a line that fails, and name each of them.")
@click.option(
    "--failures",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the lines that failed to this file, to be loaded again. Implies --continue.",
)
@json_option
@connection_options()
@pass_session
def import_command(
    session: Session, *, file: str, format_: str | None, go_on: bool, failures: Path | None, as_json: bool
) -> None:
    """Store all records of a file, as `export` writes it.

    FILE may be - for standard input.

    TSV: a key, a tab and a value on each line. Tabs, line feeds, carriage returns, zero bytes and backslashes
    within them are written \\t \\n \\r \\0 \\\\; all other bytes stand for themselves. Of a key that expires, another
    tab and the moment follow, in milliseconds since 1970.

    JSON Lines: {"key": "text", "value": "text"} on each line, with "key_base64" and "value_base64" for what is
    not UTF-8, and "expires_at_ms" of a key that expires.

    The file may be larger than memory. Of several lines with the same key the last one wins. Servers that fail
    meanwhile are waited for, up to the deadline for each record. It ends at the first line that fails, with its
    number; what came before is stored. The summary (records, seconds, records/s, and the longest time in which
    nothing could be stored, in ms) goes to standard error, or with --json to standard output.

    \b
    Example:
      twistedkv import users.tsv
      twistedkv import events.jsonl --failures again.jsonl
      zcat dump.tsv.gz | twistedkv import -
    """
    parse = parser_of(format_ or format_by_name(file))
    with input_stream(file) as stream, _failures_file(failures) as failures_stream, _bar(stream, "loading") as bar:
        session.store  # noqa: B018  (without a cluster say so at once; connecting is not part of what is measured)
        load = Load(session, go_on=go_on or failures is not None, failures=failures_stream)
        try:
            load.run(_counted(numbered_lines(stream, RECORD_LINE_BYTES_MAX), bar), parse)
        except KeyboardInterrupt:
            message(f"interrupted: {amount(load.records, 'record')} stored")
            raise
    summary = load.meter.summary(time.monotonic())
    rate = load.records / summary.seconds if summary.seconds > 0 else 0.0
    if as_json:
        print_json(
            {
                "records": load.records,
                "failed": load.failed,
                "seconds": round(summary.seconds, 6),
                "records_per_second": round(rate, 1),
                "longest_stall_ms": round(summary.longest_stall_ms, 3),
            }
        )
    else:
        message(
            f"loaded {amount(load.records, 'record')} in {summary.seconds:.2f} s ({rate:,.0f} records/s), "
            f"longest stall {summary.longest_stall_ms:.0f} ms"
        )
    if load.failed:
        raise FAILURES[load.exit_code](f"{amount(load.failed, 'line')} failed, named above; the others are stored")


load_command = copy(import_command)
load_command.name = "load"
load_command.help = (
    (import_command.help or "")
    .replace("Store all records of a file, as `export` writes it.", "Another name of `import`.")
    .replace("twistedkv import", "twistedkv load")
)


@click.command("export")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The same as FILE.")
@format_option
@click.option("--prefix", default="", metavar="TEXT", help="Only keys that begin so.")
@click.option("--sorted", "in_order", is_flag=True, help="Sort by the keys' bytes; all records must fit into memory.")
@hex_option
@connection_options()
@pass_session
def export_command(
    session: Session,
    *,
    file: str | None,
    output: Path | None,
    format_: str | None,
    prefix: str,
    in_order: bool,
    is_hex: bool,
) -> None:
    """Write all records to a file, as text.

    Without FILE, or if it is -, they go to standard output. The formats are those of `twistedkv import`, which reads
    the file back exactly, whatever the bytes, expiries included. Without --sorted the order is that of the keys' slots.
    A file appears under its name only when it is complete. Keys that are written while the export runs may be in it
    with the old or the new value (for copies of one moment see `twistedkv backup`). --hex is for --prefix.

    \b
    Example:
      twistedkv export all.jsonl
      twistedkv export --prefix user: --sorted > users.tsv
    """
    if file is not None and output is not None:
        raise click.UsageError("Give the file once: as FILE, or with --output.")
    if file not in (None, STANDARD_INPUT):
        output = Path(str(file))
    line = line_of(format_ or (format_by_name(output.name) if output else TSV))
    items = _items(session.store, text_bytes(prefix, is_hex), lambda: int(time.time() * 1000))
    records = 0
    began = time.monotonic()
    with output_stream(output) as stream, _bar(None, "exporting", wanted=output is not None) as bar:
        for key, value, expiry in sorted(items) if in_order else items:
            stream.write(line(key, value, expiry) + NEWLINE)
            records += 1
            bar.advance(1, records)
    seconds = time.monotonic() - began
    if output is not None or is_terminal(sys.stderr):
        message(f"exported {amount(records, 'record')} in {seconds_text(seconds)}")


def _items(store: Store, prefix: bytes, wall: Callable[[], int]) -> Iterator[Parsed]:
    """All keys with the prefix that have not expired, a page at a time."""
    slot, after = 0, b""
    while slot < SLOTS:
        page = store.backup_records(slot, after, 0, prefix)
        now = wall()
        for key, record in zip(*decode_records(page.records), strict=True):
            expiry = record_expiry(record)
            if not 0 < expiry <= now:
                yield key, record_value(record), expiry
        slot, after = page.next_slot, page.next_after


@contextmanager
def input_stream(file: str) -> Iterator[IO[bytes]]:
    """A file opened to be read, or (`-`) standard input. Raises click.UsageError when it cannot be opened."""
    if file == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115  (closed below; errors of the body are not errors of open)
    except OSError as error:
        raise click.UsageError(f"Cannot read {file}: {error.strerror}.") from None
    with stream:
        yield stream


@contextmanager
def output_stream(path: Path | None) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when all has been written, or standard output."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("wb") as stream:
            yield stream
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise click.UsageError(f"Cannot write {path}: {error.strerror}.") from None
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _failures_file(path: Path | None) -> AbstractContextManager[IO[bytes] | None]:
    if path is None:
        return nullcontext()
    try:
        return path.open("wb")
    except OSError as error:
        raise click.UsageError(f"Cannot write {path}: {error.strerror}.") from None


def _bar(stream: IO[bytes] | None, title: str, wanted: bool = True) -> AbstractContextManager[Progress]:
    total: float | None = None
    if stream is not None and stream.seekable():
        with suppress(OSError):
            total = os.fstat(stream.fileno()).st_size
    return progress_bar(title, total, shown=wanted and is_terminal(sys.stderr))


def _counted(lines: Iterator[tuple[int, bytes]], bar: Progress) -> Iterator[tuple[int, bytes]]:
    for number, line in lines:
        yield number, line
        bar.advance(len(line), number)
