"""Commands on one key: get, put, delete, cas, incr, verify."""

from __future__ import annotations

from pathlib import Path

import click

from twistedkv.cli.arguments import (
    expected_version,
    file_option,
    hex_option,
    json_option,
    key_bytes,
    server_id,
    value_bytes,
)
from twistedkv.cli.output import (
    NEWLINE,
    bytes_fields,
    is_terminal,
    key_fields,
    message,
    print_json,
    shown,
    write_bytes,
)
from twistedkv.cli.session import Negative, NotDoneFailure, Session, connection_options, pass_session
from twistedkv.errors import VersionMismatch


@click.command("get")
@click.argument("key")
@hex_option
@json_option
@connection_options()
@pass_session
def get_command(session: Session, *, key: str, is_hex: bool, as_json: bool) -> None:
    """Print the value of a key.

    The value's bytes are printed as they are, and a line end after them only on a terminal, so that
    `twistedkv get KEY > FILE` gives exactly the value. Exit code 1 if there is no such key.

    \b
    Example:
      twistedkv get greeting
      twistedkv get greeting --json      {"key": "greeting", "value": "hello", "version": 1099511627777}

    In JSON, what is not UTF-8 is in "key_base64" and "value_base64".
    """
    name = key_bytes(key, is_hex)
    found = session.store.get(name)
    if found is None:
        raise no_such_key(name)
    if as_json:
        print_json(key_fields(name, found.value, found.version))
    else:
        write_bytes(found.value + (NEWLINE if is_terminal() else b""))


@click.command("put")
@click.argument("key")
@click.argument("value", required=False)
@file_option
@hex_option
@json_option
@connection_options()
@pass_session
def put_command(
    session: Session, *, key: str, value: str | None, file: Path | None, is_hex: bool, as_json: bool
) -> None:
    """Store a value.

    VALUE is text, stored as UTF-8; - reads it from standard input, byte for byte. A value that begins with a
    dash stands after --. When the command ends with exit code 0, every copy has the value.

    \b
    Example:
      twistedkv put greeting hello
      twistedkv put --file photo.jpg photo
      date | twistedkv put now -
      twistedkv put -- temperature -5
    """
    name = key_bytes(key, is_hex)
    _print_stored(name, session.store.put(name, value_bytes(value, is_hex, file)), as_json)


@click.command("delete")
@click.argument("key")
@hex_option
@json_option
@connection_options()
@pass_session
def delete_command(session: Session, *, key: str, is_hex: bool, as_json: bool) -> None:
    """Remove a key.

    Exit code 1 if there was no such key.

    \b
    Example:
      twistedkv delete greeting
    """
    name = key_bytes(key, is_hex)
    version = session.store.delete(name)
    if version is None:
        raise no_such_key(name)
    if as_json:
        print_json({**bytes_fields("key", name), "version": version})


@click.command("cas")
@click.argument("key")
@click.argument("value", required=False)
@click.option(
    "--expect",
    type=expected_version,
    required=True,
    metavar="VERSION|absent",
    help="The version that the key must have (as `get --json` prints it), or absent.",
)
@file_option
@hex_option
@json_option
@connection_options()
@pass_session
def cas_command(
    session: Session,
    *,
    key: str,
    value: str | None,
    expect: int,
    file: Path | None,
    is_hex: bool,
    as_json: bool,
) -> None:
    """Store a value if the key has not changed since it was read.

    Compare and set: exit code 1 if the key has another version; nothing is stored then. VALUE is read
    as by `twistedkv put`.

    \b
    Example:
      twistedkv cas greeting hello --expect absent
      twistedkv cas greeting "good day" --expect 1099511627777
    """
    name = key_bytes(key, is_hex)
    new_value = value_bytes(value, is_hex, file)
    try:
        version = session.store.cas(name, new_value, expect)
    except VersionMismatch as error:
        now = f"has version {error.found}" if error.found else "does not exist"
        raise Negative(f"not stored: {shown(name)} {now}; read it again and decide anew") from error
    _print_stored(name, version, as_json)


@click.command("incr", context_settings={"ignore_unknown_options": True})
@click.argument("key")
@click.argument("delta", type=int, default=1)
@hex_option
@json_option
@connection_options()
@pass_session
def incr_command(session: Session, *, key: str, delta: int, is_hex: bool, as_json: bool) -> None:
    """Add to an integer and print the sum.

    The value is a decimal integer of 64 bits; a key that does not exist counts as 0. DELTA is 1 unless it is
    given, and may be negative. Exit code 3 if the value is no such integer; it stays as it was.

    \b
    Example:
      twistedkv incr visitors
      twistedkv incr visitors -5
    """
    name = key_bytes(key, is_hex)
    total = session.store.incr(name, delta)
    if as_json:
        print_json({**bytes_fields("key", name), "value": total.value, "version": total.version})
    else:
        click.echo(total.value)


@click.command("verify")
@click.argument("key")
@click.argument("value", required=False)
@click.option("--absent", is_flag=True, help="The key must not exist, instead of a VALUE.")
@click.option(
    "--server",
    type=server_id,
    metavar="SERVER",
    help="Ask only this server (2 or server_2); it must hold a copy.",
)
@file_option
@hex_option
@json_option
@connection_options()
@pass_session
def verify_command(
    session: Session,
    *,
    key: str,
    value: str | None,
    absent: bool,
    server: int | None,
    file: Path | None,
    is_hex: bool,
    as_json: bool,
) -> None:
    """Compare what each copy holds for a key with a value, and print each copy's verdict.

    Every copy is asked itself, primary or not. Exit code 1 if one of them differs. VALUE is read as by
    `twistedkv put`.

    \b
    Example:
      twistedkv verify greeting hello
      twistedkv verify greeting --absent --server 2
    """
    name = key_bytes(key, is_hex)
    if absent and (value is not None or file is not None):
        raise click.UsageError("Give either a value or --absent.")
    expected = None if absent else value_bytes(value, is_hex, file)
    checks = session.store.verify(name, expected, server)
    if not checks:
        raise NotDoneFailure(f"no copy of {shown(name)} answered: see `twistedkv status`, and try again")
    matches = all(check.matches for check in checks)
    if as_json:
        copies = [
            {
                "server": check.server,
                "role": check.role,
                "matches": check.matches,
                **bytes_fields("value", check.value),
                "version": check.version,
            }
            for check in checks
        ]
        print_json({**bytes_fields("key", name), "matches": matches, "copies": copies})
    else:
        for check in checks:
            version = "" if check.value is None else f", version {check.version}"
            verdict = "matches" if check.matches else "DIFFERS"
            holds = f"holds {shown(check.value)}{version}"
            click.echo(f"server_{check.server}  {check.role:9}  {verdict}  {holds}")
    if not matches:
        differing = sum(not check.matches for check in checks)
        raise Negative(f"{differing} of {len(checks)} copies of {shown(name)} differ from {shown(expected)}")


def no_such_key(key: bytes) -> Negative:
    """The answer of get and delete for a key that does not exist."""
    return Negative(f"no such key: {shown(key)}")


def _print_stored(key: bytes, version: int, as_json: bool) -> None:
    if as_json:
        print_json({**bytes_fields("key", key), "version": version})
    elif is_terminal():
        message(f"stored, version {version}")
