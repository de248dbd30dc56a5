"""A frame in hex, a field a line, each with its name and value: the examples of docs/protocol.md."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from tests.wire.examples import Example
from twistedkv.columns import COLUMN_HEAD_BYTES, STRING_HEAD_BYTES
from twistedkv.wire.fields import Column, Field, Fixed, Layout, Many
from twistedkv.wire.frames import HEADER_BYTES

_HEX_WIDTH = 34


def lines(example: Example) -> list[str]:
    """The header in one line, then each field of the body in its own."""
    frame = example.frame
    header = " ".join([*(f"{byte:02x}" for byte in frame[:4]), frame[4:8].hex(), frame[8:HEADER_BYTES].hex()])
    size = len(frame) - HEADER_BYTES
    said = f"header: request id {example.request_id}, body of {size} bytes"
    if example.flags:
        said += ", RETRY"
    made = [f"{header:{_HEX_WIDTH}} {said}"]
    for path, value, data in _leaves("", example.layout, example.message):
        made.append(f"{data[:16].hex():{_HEX_WIDTH}} {path}{_value(value)}")
        made += [data[start : start + 16].hex() for start in range(16, len(data), 16)]
    return made


def _leaves(path: str, field: Field, value: Any) -> Iterator[tuple[str, Any, bytes]]:
    """(path, value, bytes) of all that is written, in order."""
    if isinstance(field, Layout):
        for name, inner in field.fields:
            yield from _leaves(f"{path}.{name}" if path else name, inner, getattr(value, name))
    elif type(field).__name__ == "_Servers":
        yield from _leaves(path, field._many, [value[number] for number in sorted(value)])  # type: ignore[attr-defined]
    elif isinstance(field, Many):
        out: list[bytes] = []
        field._count.write(len(value), out)
        yield f"{path}, count", len(value), b"".join(out)
        for number, item in enumerate(value):
            yield from _leaves(f"{path}[{number}]", field._item, item)
    elif isinstance(field, Column):
        yield from _column(path, field, value)
    else:
        out = []
        field.write(value, out)
        if len(out) > 1:
            yield f"{path}, length", len(out[1]), out[0]
            out = out[1:]
        if b"".join(out):
            yield path, None if isinstance(field, Fixed) else value, b"".join(out)


def _column(path: str, field: Column, strings: list[bytes]) -> Iterator[tuple[str, Any, bytes]]:
    """The count, the size or the sizes, and the strings."""
    out: list[bytes] = []
    field.write(strings, out)
    (data,) = out
    half = COLUMN_HEAD_BYTES // 2
    yield f"{path}, count", len(strings), data[:half]
    if len({len(string) for string in strings}) == 1:
        yield f"{path}, size of each", len(strings[0]), data[half:COLUMN_HEAD_BYTES]
    else:
        yield f"{path}, sizes that differ", None, data[half:COLUMN_HEAD_BYTES]
        for number, string in enumerate(strings):
            start = COLUMN_HEAD_BYTES + STRING_HEAD_BYTES * number
            yield f"{path}[{number}], size", len(string), data[start : start + STRING_HEAD_BYTES]
    for number, string in enumerate(strings):
        yield f"{path}[{number}]", string, string


def _value(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return ": yes" if value else ": no"
        case IntEnum():
            return f": {value.name}"
        case int():
            return f": {value}" if abs(value) < 1 << 32 else f": {value:#x}"
        case bytes() if not value.isascii() or not value.decode().isprintable():
            return ""
        case bytes():
            return f': "{value.decode()}"'
    return f': "{value}"'
