"""Workload files: replay and generate-workload."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click

from twistedkv.cli.arguments import STANDARD_INPUT, json_option
from twistedkv.cli.bulk import input_stream, output_stream
from twistedkv.cli.lines import numbered_lines
from twistedkv.cli.measure import Meter, Summary
from twistedkv.cli.output import NEWLINE, amount, is_terminal, message, print_json
from twistedkv.cli.session import (
    Negative,
    NotDoneFailure,
    Session,
    Store,
    UnknownFailure,
    connection_options,
    pass_session,
)
from twistedkv.errors import OutcomeUnknown, TwistedKVError
from twistedkv.workload import (
    LINE_BYTES_MAX,
    OPERATIONS_DEFAULT,
    PUT_PERCENT_DEFAULT,
    SEED_DEFAULT,
    Operation,
    Verb,
    WorkloadError,
    format_operation,
    generate,
    parse_line,
)

MAX_FAILURES_DEFAULT = 2
PROMPT = "> "


class Replay:
    """Executes operations one after the other, reports each in the original's words, and counts.

    An operation's number counts from 1 through the whole run, repetitions included.
    """

    def __init__(
        self,
        store: Store,
        *,
        quiet: bool = False,
        print_line: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._quiet = quiet
        self._print = print_line
        self._clock = clock
        self.meter = Meter(clock())
        self.checks_passed = 0
        self.checks_failed = 0
        self.operations_failed = 0
        self.unknown = False
        """Whether one of the failed operations may have been executed."""
        self._number = 0
        self._line = 0

    @property
    def failures(self) -> int:
        """Failed operations and failed checks."""
        return self.operations_failed + self.checks_failed

    def run(self, operations: Iterator[tuple[int, Operation]], failures_max: int = 0) -> bool:
        """Execute all; whether it came to the end, which it does not after `failures_max` failures (0: never mind)."""
        for line, operation in operations:
            self._line = line
            for _ in range(operation.count):
                self.execute(operation)
                if failures_max and self.failures >= failures_max:
                    return False
        return True

    def execute(self, operation: Operation) -> None:
        """Execute an operation once and report it."""
        self._number += 1
        began = self._clock()
        try:
            verb = operation.verb
            if verb is Verb.VERIFY:
                copies = self._store.verify(operation.key, operation.expected)
                self.meter.completed(began, self._clock())
                self._report_copies(operation, copies)
            elif verb is Verb.PUT:
                self._store.put(operation.key, operation.value or b"")
                self.meter.completed(began, self._clock())
                if not self._quiet:
                    self._print(f'value["{_text(operation.key)}"] <- "{_text(operation.value)}"')
            elif verb is Verb.NOOP:
                self._store.noop()
                self.meter.completed(began, self._clock())
                if not self._quiet:
                    self._print("no operation")
            else:
                found = self._store.get(operation.key)
                self.meter.completed(began, self._clock())
                value = None if found is None else found.value
                if verb is Verb.CHECK:
                    self._report_check(operation, value == operation.expected, value)
                elif not self._quiet:
                    self._print(statement(operation.key, value))
        except TwistedKVError as error:
            self.meter.completed(began, self._clock())
            self.operations_failed += 1
            self.unknown = self.unknown or isinstance(error, OutcomeUnknown)
            self._print(f"Operation #{self._number} failed with: {error}{self._place()}")

    def summary(self) -> Summary:
        """How long it all took."""
        return self.meter.summary(self._clock())

    def as_json(self, complete: bool) -> dict[str, Any]:
        """The summary for programs."""
        return {
            **self.summary().as_json(),
            "operations_failed": self.operations_failed,
            "checks_passed": self.checks_passed,
            "checks_failed": self.checks_failed,
            "complete": complete,
        }

    def as_text(self) -> str:
        """The summary for people."""
        summary = self.summary()
        return (
            f"{amount(summary.operations, 'operation')} in {summary.seconds:.2f} s "
            f"({summary.operations_per_second:,.0f} operations/s), {self.operations_failed:,} failed\n"
            f"checks: {self.checks_passed:,} passed, {self.checks_failed:,} failed\n"
            f"latency: p50 {summary.p50_ms:.2f} ms, p99 {summary.p99_ms:.2f} ms\n"
            f"longest stall: {summary.longest_stall_ms:.0f} ms (longest operation "
            f"{summary.longest_operation_ms:.0f} ms, longest time without a completed one "
            f"{summary.longest_gap_ms:.0f} ms)"
        )

    def _report_copies(self, operation: Operation, copies: Sequence[Any]) -> None:
        if len({copy.value for copy in copies}) > 1:
            held = ", ".join(
                f"server_{copy.server} ({copy.role}) has {_quoted(copy.value)}"
                for copy in sorted(copies, key=lambda copy: copy.role != "primary")
            )
            self._print(f'primary-secondary mismatch for key "{_text(operation.key)}": {held}')
        wrong = [copy for copy in copies if not copy.matches]
        passed = bool(copies) and not wrong
        found = wrong[0].value if wrong else operation.expected
        self._report_check(operation, passed, found, none_answered=not copies)

    def _report_check(
        self, operation: Operation, passed: bool, found: bytes | None, none_answered: bool = False
    ) -> None:
        if passed:
            self.checks_passed += 1
            if not self._quiet:
                self._print(f"Check #{self._number} passed: {statement(operation.key, found)}")
            return
        self.checks_failed += 1
        what = "no copy answered" if none_answered else statement(operation.key, found)
        expected = _quoted(operation.expected) if operation.expected is not None else "that it does not exist"
        self._print(f"Check #{self._number} failed: {what}, expected {expected}{self._place()}")

    def _place(self) -> str:
        return f" (line {self._line})" if self._line else ""


def statement(key: bytes, value: bytes | None) -> str:
    """What a key holds, in the original's words."""
    if value is None:
        return f'value["{_text(key)}"] does not exist'
    return f'value["{_text(key)}"] == "{_text(value)}"'


@click.command("replay")
@click.argument("file", metavar="[FILE]", default=STANDARD_INPUT)
@click.option("--quiet", "-q", is_flag=True, help="Print only failures and the summary.")
@click.option(
    "--max-failures",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Stop after so many failed operations and checks; 0: never "
    f"(default {MAX_FAILURES_DEFAULT}, on a terminal 0).",
)
@json_option
@connection_options()
@pass_session
def replay_command(session: Session, *, file: str, quiet: bool, max_failures: int | None, as_json: bool) -> None:
    """Run the operations and checks of a workload file.

    The format is the original system's, one operation a line, up to 2048 characters. Without FILE it comes from
    standard input, on a terminal with a prompt:

    \b
      {0|G|P|C|V} "<key>" ["<value>" [<count>]]
      0  ask a server for a sign of life      P  store the value
      G  print the value                      C  check that GET finds the value
                                              V  check that every copy holds the value

    The value " " in C and V says that the key must not exist; count repeats the operation. Operations are
    executed one after the other, each retried until the deadline. The file is checked as a whole before it begins.

    At the end stand the numbers of operations and checks, operations/s, the latency's median and 99th percentile
    and the longest stall in ms: the longest operation, or the longest time in which none was completed. With
    --json this summary is the only output, in one object. Exit code 0 only if nothing failed; 1 if a check
    failed, 3 if an operation was not done, 4 if the outcome of one is unknown.

    \b
    Example:
      twistedkv generate-workload -o workload.txt
      twistedkv replay --quiet workload.txt
      echo 'V "greeting" "hello"' | twistedkv replay
    """
    with input_stream(file) as stream:
        interactive = file == STANDARD_INPUT and is_terminal(sys.stdin)
        operations = _interactive(stream) if interactive else _operations(stream)
        if file != STANDARD_INPUT and stream.seekable():
            # A mistake in a file is found before anything is executed.
            deque(_operations(stream), maxlen=0)
            stream.seek(0)
        replay = Replay(session.store, quiet=quiet or as_json, print_line=_printer(to_stderr=as_json))
        if interactive:
            operations = _resuming(operations, replay.meter)
        limit = max_failures if max_failures is not None else 0 if interactive else MAX_FAILURES_DEFAULT
        try:
            complete = replay.run(operations, limit)
        except (WorkloadError, KeyboardInterrupt):
            _finish(replay, complete=False, as_json=as_json)
            raise
    _finish(replay, complete, as_json)
    stopped = "" if complete else f"; stopped after {replay.failures}, see --max-failures"
    if replay.unknown:
        raise UnknownFailure(f"the outcome of an operation is unknown{stopped}")
    if replay.operations_failed:
        checks = f" and {amount(replay.checks_failed, 'check')}" if replay.checks_failed else ""
        raise NotDoneFailure(f"{amount(replay.operations_failed, 'operation')}{checks} failed{stopped}")
    if replay.checks_failed:
        raise Negative(f"{amount(replay.checks_failed, 'check')} failed{stopped}")


@click.command("generate-workload")
@click.option("--operations", type=click.IntRange(min=1), default=OPERATIONS_DEFAULT, show_default=True)
@click.option(
    "--put-percent",
    type=click.FloatRange(min=0, min_open=True, max=100),
    default=PUT_PERCENT_DEFAULT,
    show_default=True,
    help="Share of PUT operations; the others are VERIFY.",
)
@click.option("--keys", type=click.IntRange(min=1), help="Different keys (default: two thirds of the PUTs).")
@click.option("--seed", type=int, default=SEED_DEFAULT, show_default=True, help="The same seed, the same file.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
def generate_workload_command(
    *, operations: int, put_percent: float, keys: int | None, seed: int, output: Path | None
) -> None:
    """Write a workload file.

    It is one for `twistedkv replay`, with PUT and VERIFY mixed as in the original system's files: each VERIFY
    expects the value of the latest PUT before it, about a third of the PUTs overwrite. So a replay without a
    failed check, on a cluster that nobody else writes these keys to, shows that nothing was lost.

    \b
    Example:
      twistedkv generate-workload -o workload.txt
      twistedkv generate-workload --operations 1000 --put-percent 50 --seed 7 | twistedkv replay --quiet
    """
    with output_stream(output) as stream:
        for operation in generate(operations, put_percent, keys, seed):
            stream.write(format_operation(operation) + NEWLINE)


def _operations(stream: IO[bytes]) -> Iterator[tuple[int, Operation]]:
    for number, line in numbered_lines(stream, LINE_BYTES_MAX):
        operation = parse_line(line, number)
        if operation is not None:
            yield number, operation


def _interactive(stream: IO[bytes]) -> Iterator[tuple[int, Operation]]:
    """Operations from a terminal: a mistake is named, and the next line read."""
    while True:
        sys.stdout.write(PROMPT)
        sys.stdout.flush()
        line = stream.readline(LINE_BYTES_MAX)
        if not line:
            sys.stdout.write("\n")
            return
        try:
            operation = parse_line(line)
        except WorkloadError as error:
            message(str(error))
            continue
        if operation is not None:
            yield 0, operation


def _resuming(operations: Iterator[tuple[int, Operation]], meter: Meter) -> Iterator[tuple[int, Operation]]:
    for item in operations:
        meter.resumed(time.monotonic())
        yield item
    meter.resumed(time.monotonic())


def _printer(to_stderr: bool) -> Callable[[str], None]:
    """Lines are flushed by Python when its buffer is full: one system call each would slow the replay down."""
    stream = sys.stderr if to_stderr else sys.stdout

    def print_line(line: str) -> None:
        stream.write(line + "\n")

    return print_line


def _finish(replay: Replay, complete: bool, as_json: bool) -> None:
    sys.stdout.flush()
    if as_json:
        print_json(replay.as_json(complete))
    else:
        click.echo(replay.as_text())


def _quoted(value: bytes | None) -> str:
    return "nothing" if value is None else f'"{_text(value)}"'


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "backslashreplace")
