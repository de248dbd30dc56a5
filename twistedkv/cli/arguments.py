"""Arguments of several commands: keys and values as bytes, server ids, versions."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from twistedkv.limits import KEY_BYTES_MAX, VALUE_BYTES_MAX

STANDARD_INPUT = "-"
_DIGITS_MAX = 20
"""Of the largest version. Python makes no number of more than 4300."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
hex_option = click.option("--hex", "is_hex", is_flag=True, help="Keys and values are given in hexadecimal.")


def text_bytes(text: str, is_hex: bool = False) -> bytes:
    """The bytes of an argument: its UTF-8, or what its hexadecimal digits say. Raises click.UsageError."""
    if not is_hex:
        # Bytes that are not UTF-8 arrive as surrogates, and go back to what the shell passed.
        return text.encode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.UsageError(f"{text[:40]!r} is not pairs of hexadecimal digits, as in 6b6579.") from None


def key_bytes(text: str, is_hex: bool = False) -> bytes:
    """A key. Raises click.UsageError when it is too short or too long."""
    key = text_bytes(text, is_hex)
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise click.UsageError(f"A key has 1 to {KEY_BYTES_MAX} bytes, this one has {len(key)}.")
    return key


def value_bytes(text: str | None, is_hex: bool = False, file: Path | None = None) -> bytes:
    """A value: an argument, a file's content, or (`-`) standard input's. Raises click.UsageError."""
    if (text is None) == (file is None):
        raise click.UsageError("Give either a VALUE (- for standard input) or --file PATH.")
    if file is not None:
        with file.open("rb") as stream:
            value = stream.read(VALUE_BYTES_MAX + 1)
    elif text == STANDARD_INPUT:
        value = sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)
    else:
        value = text_bytes(text or "", is_hex)
    if len(value) > VALUE_BYTES_MAX:
        raise click.UsageError(f"A value has at most {VALUE_BYTES_MAX:,} bytes.")
    return value


file_option = click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the value from this file, byte for byte.",
)


def server_id(text: str) -> int:
    """The number in `2` or `server_2`. Raises click.BadParameter."""
    digits = text.removeprefix("server_")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        raise click.BadParameter(f"{text[:40]!r} is not a server: write 2 or server_2.")
    return int(digits)


def expected_version(text: str) -> int:
    """The number of a version; 0 for `absent`. Raises click.BadParameter."""
    if text == "absent":
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX and int(text) < 1 << 64):
        raise click.BadParameter(f"{text[:40]!r} is not a version as `get --json` prints it, nor absent.")
    return int(text)
