"""Commands on several keys: scan, mget, mput."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from itertools import islice

import click

from twistedkv.cli.arguments import STANDARD_INPUT, hex_option, json_option, key_bytes, text_bytes, value_bytes
from twistedkv.cli.lines import RECORD_LINE_BYTES_MAX, LineError, escape, numbered_lines, parse_tsv, tsv_line
from twistedkv.cli.output import (
    NEWLINE,
    amount,
    bytes_fields,
    is_terminal,
    json_line,
    key_fields,
    message,
    print_json,
    shown,
    write_bytes,
)
from twistedkv.cli.session import (
    FAILURES,
    Negative,
    Session,
    connection_options,
    exit_code_of,
    pass_session,
)
from twistedkv.errors import OperationError

_SCAN_PAGE_KEYS = 1000


@click.command("scan")
@click.option("--prefix", default="", metavar="TEXT", help="Only keys that begin so.")
@click.option("--values", is_flag=True, help="Print the values as well.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many keys.")
@hex_option
@json_option
@connection_options()
@pass_session
def scan_command(
    session: Session, *, prefix: str, values: bool, limit: int | None, is_hex: bool, as_json: bool
) -> None:
    """List keys, in the order of their slots.

    One key a line; with --values a tab and the value follow. Tabs, line ends, zero bytes and backslashes are
    written \\t \\n \\r \\0 \\\\, so that the output can be loaded again. With --json one object a line. A key that is
    there during the whole scan is listed once; what is written meanwhile may be listed or not.

    \b
    Example:
      twistedkv scan --prefix user: --limit 20
      twistedkv scan --values --json
    """
    start = text_bytes(prefix, is_hex)
    page = min(limit or _SCAN_PAGE_KEYS, _SCAN_PAGE_KEYS)
    out = sys.stdout.buffer
    for item in islice(session.store.scan(start, values=values, page=page), limit):
        if as_json:
            fields = bytes_fields("value", item.value) if values else {}
            out.write(json_line({**bytes_fields("key", item.key), **fields, "version": item.version}).encode())
        else:
            out.write(tsv_line(item.key, item.value) if values else escape(item.key))
        out.write(NEWLINE)
    out.flush()


@click.command("mget")
@click.argument("keys", nargs=-1, required=True)
@hex_option
@json_option
@connection_options()
@pass_session
def mget_command(session: Session, *, keys: tuple[str, ...], is_hex: bool, as_json: bool) -> None:
    """Print the values of several keys.

    A line for each: the key, a tab, the value, with tabs, line ends, zero bytes and backslashes written
    \\t \\n \\r \\0 \\\\. With --json one object a line, where "value" and "version" are null for a key that does not
    exist. Exit code 1 if one of them does not exist.

    \b
    Example:
      twistedkv mget user:1 user:2
    """
    names = [key_bytes(key, is_hex) for key in keys]
    found = session.store.mget(names)
    for name in names:
        value = found[name]
        if value is None:
            if as_json:
                print_json(key_fields(name, None, None))
        elif as_json:
            print_json(key_fields(name, value.value, value.version))
        else:
            write_bytes(tsv_line(name, value.value) + NEWLINE)
    missing = [shown(name) for name in names if found[name] is None]
    if missing:
        raise Negative(f"no such key: {', '.join(missing)}")


@click.command("mput")
@click.argument("pairs", nargs=-1, metavar="[KEY VALUE]...")
@hex_option
@json_option
@connection_options()
@pass_session
def mput_command(session: Session, *, pairs: tuple[str, ...], is_hex: bool, as_json: bool) -> None:
    """Store several keys at once.

    Without arguments, the pairs come from standard input: a key, a tab and a value on each line, with tabs, line
    ends, zero bytes and backslashes within them written \\t \\n \\r \\0 \\\\. Each key is stored or not as one; the
    whole is not a transaction. Keys that fail are named one by one, and the others are stored. For files see
    `twistedkv load`.

    \b
    Example:
      twistedkv mput user:1 ann user:2 bob
      cut -d: -f1,5 --output-delimiter "$(printf '\\t')" /etc/passwd | twistedkv mput
    """
    if not pairs or pairs == (STANDARD_INPUT,):
        records = _records_of_standard_input()
    elif len(pairs) % 2:
        raise click.UsageError(f"Keys and values come in pairs: {pairs[-1]!r} has no value.")
    else:
        records = {
            key_bytes(key, is_hex): value_bytes_of_pair(value, is_hex)
            for key, value in zip(pairs[::2], pairs[1::2], strict=True)
        }
    if not records:
        return
    done, failed = put_all(session, records)
    if as_json:
        for name, version in done.items():
            print_json({**bytes_fields("key", name), "version": version})
    elif done and is_terminal():
        message(f"stored {amount(len(done), 'key')}")
    if failed:
        for error in failed.values():
            message(str(error))
        code = max(exit_code_of(error) for error in failed.values())
        unit = amount(len(records), "key")
        raise FAILURES[code](f"{len(failed):,} of {unit} failed, named above; the others are stored")


def value_bytes_of_pair(text: str, is_hex: bool) -> bytes:
    """A value among several: standard input cannot be meant, so - stands for itself."""
    return text_bytes(text, is_hex) if text == STANDARD_INPUT else value_bytes(text, is_hex)


def put_all(session: Session, records: Mapping[bytes, bytes]) -> tuple[Mapping[bytes, int], Mapping[bytes, Exception]]:
    """MPUT: the versions of what was stored, and the errors of what was not."""
    try:
        return session.store.mput(records), {}
    except OperationError as error:
        return error_parts(error)


def failures_of(store: Callable[[], None]) -> Mapping[bytes, Exception]:
    """Call what stores several keys. The errors of those that were not stored."""
    try:
        store()
    except OperationError as error:
        return error_parts(error)[1]
    return {}


def error_parts(error: OperationError) -> tuple[Mapping[bytes, int], Mapping[bytes, Exception]]:
    """What was done, and what was not, if the error says that. Else it is raised."""
    from twistedkv.client.results import PartialFailure

    if not isinstance(error, PartialFailure):
        raise error
    return error.done, error.failed


def _records_of_standard_input() -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    for number, line in numbered_lines(sys.stdin.buffer, RECORD_LINE_BYTES_MAX):
        if not line.strip(b"\r\n"):
            continue
        try:
            key, value = parse_tsv(line)
        except LineError as error:
            raise LineError(error.reason, number) from None
        records[key] = value
    return records
