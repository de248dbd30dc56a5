"""`twistedkv check`: what a history of operations proves."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from twistedkv.cli.output import amount, message, print_json
from twistedkv.errors import InvalidRequest

if TYPE_CHECKING:
    from twistedkv.history.record import Header, Record


@click.command("check")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the violation to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.pass_context
def check_command(ctx: click.Context, file: IO[str], svg: Path | None, as_json: bool) -> None:
    """Check whether a history of operations is linearizable.

    That is, whether it can come from one store that does one thing at a time. FILE has an operation in each line, as
    JSON; `-` is standard input. Two checkers look at it: one takes the order from the versions in the answers, the
    other searches for an order by itself. A violation is explained, and drawn as a timeline of the operations around
    it: of the first key that is wrong, if there are more. Exit code 1 says that the history is wrong.

    \b
    Example:
      twistedkv simulate --seed 7 --history history.jsonl
      twistedkv check history.jsonl --svg violation.svg
    """
    from twistedkv.history.drawing import draw_violation
    from twistedkv.history.verdict import check

    header, records = _read(file)
    verdict = check(records)
    if as_json:
        print_json(verdict.as_document(header))
    else:
        about = _about(header)
        click.echo("\n".join([*about, verdict.as_text()]))
    if verdict.linearizable:
        if svg is not None:
            message(f"nothing is wrong: there is nothing to draw, and {svg} was not written")
        return
    violation = verdict.violations[0]
    if svg is None:
        message(f"a drawing of it: twistedkv check {file.name if file.name != '<stdin>' else '-'} --svg violation.svg")
    else:
        _write(svg, draw_violation(violation, records, header.faults if header is not None else ()))
        message(f"{svg} shows key {violation.key!r}")
    ctx.exit(1)


def _read(file: IO[str]) -> tuple[Header | None, list[Record]]:
    from twistedkv.history.record import read_header, read_history

    try:
        first = file.readline()
        return read_header(first), read_history(chain([first], file))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the history is not UTF-8: {error}") from None


def _about(header: Header | None) -> list[str]:
    """Where the history comes from, in a line; no line if it does not say."""
    if header is None:
        return []
    parts = [f"commit {header.commit}"] if header.commit else []
    parts += [f"seed {header.seed}"] if header.seed is not None else []
    parts += [amount(len(header.faults), "fault")] if header.faults else []
    return [f"history of {', '.join(parts)}"] if parts else []


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InvalidRequest(f"cannot write {path}: {error.strerror}") from None
