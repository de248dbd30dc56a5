"""What is printed: bytes for people, for programs, and unchanged."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from typing import IO, Any

import click

NEWLINE = b"\n"
_SHOWN_CHARACTERS_MAX = 200


def is_terminal(stream: IO[Any] | None = None) -> bool:
    """Whether a person is looking at the stream (default: standard output)."""
    return bool((stream or sys.stdout).isatty())


def write_bytes(data: bytes) -> None:
    """To standard output, unchanged."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def bytes_fields(name: str, data: bytes | None) -> dict[str, Any]:
    """A field of a JSON object: `{name: text}`, `{name_base64: ...}` if it is not UTF-8, or null."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def key_fields(key: bytes, value: bytes | None, version: int | None) -> dict[str, Any]:
    """`{"key", "value", "version"}` of a key; value and version are null for a key that does not exist."""
    return {**bytes_fields("key", key), **bytes_fields("value", value), "version": version}


def json_line(document: Mapping[str, Any]) -> str:
    """A document in one line."""
    return json.dumps(document, ensure_ascii=False)


def print_json(document: Mapping[str, Any]) -> None:
    """A document in one line, in UTF-8 whatever the terminal's encoding."""
    write_bytes(json_line(document).encode() + NEWLINE)


def shown(data: bytes | None) -> str:
    """Bytes as a quoted text for messages, shortened: control characters cannot reach the terminal."""
    if data is None:
        return "nothing"
    text = data.decode("utf-8", "backslashreplace")
    if len(text) > _SHOWN_CHARACTERS_MAX:
        text = text[:_SHOWN_CHARACTERS_MAX] + "..."
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) + '"'


def message(text: str) -> None:
    """A remark for people: on standard error, so that standard output stays what a program expects."""
    click.echo(text, err=True)


def amount(number: float, unit: str) -> str:
    """`1 record`, `60,000 records`."""
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"


def bytes_text(number: float) -> str:
    """A number of bytes for people: `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def seconds_text(seconds: float | None) -> str:
    """A duration for people: `4.2 s`, `3 min 05 s`; `-` if it is not known."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
