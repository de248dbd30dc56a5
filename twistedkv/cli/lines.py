r"""Records as lines of text: tab-separated values and JSON Lines. Any bytes survive the way there and back.

TSV: key, TAB, value, and for a key that expires TAB and the moment. In key and value, `\t \n \r \0 \\` stand for a tab,
a line feed, a carriage return, a zero byte and a backslash; all other bytes stand for themselves, whether they are
UTF-8 or not. No other escapes exist. A carriage return before the line's end is not part of the value (files made on
Windows).

JSON Lines: `{"key": text, "value": text}`, where `key_base64` and `value_base64` stand for what is not UTF-8, and for a
key that expires `"expires_at_ms"`. Further members are ignored, so that the output of `twistedkv scan --values --json`
can be loaded.

Moments are in milliseconds since 1970, as a decimal number; 0, and nothing, is never.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import IO, Any

from twistedkv.cli.output import bytes_fields, json_line
from twistedkv.errors import InvalidRequest
from twistedkv.limits import KEY_BYTES_MAX, VALUE_BYTES_MAX

RECORD_LINE_BYTES_MAX = 6 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) + 1024
r"""The longest line of a record: a value whose every byte is written as `\u0000` in JSON, and then some."""

TSV = "tsv"
JSONL = "jsonl"
FORMATS = (TSV, JSONL)

Parsed = tuple[bytes, bytes, int]
"""Key, value, and when the key expires, in milliseconds since 1970 (0: never)."""

_EXPIRY = "expires_at_ms"
_EXPIRY_MAX = 2**62
_DIGITS_MAX = 20
_JSONL_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_ESCAPES = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r", b"\0": b"\\0"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_TO_ESCAPE = re.compile(rb"[\\\t\n\r\0]")
_ESCAPED = re.compile(rb"\\.?", re.DOTALL)


class LineError(InvalidRequest):
    """A line of a file is not a record; the text says why. `line` is its number, from 1, or 0 if it has none."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.reason = message
        self.line = line


def escape(data: bytes) -> bytes:
    """One field of a line of TSV."""
    return _TO_ESCAPE.sub(lambda match: _ESCAPES[match[0]], data)


def unescape(field: bytes) -> bytes:
    """What a field of a line of TSV stands for. Raises LineError."""
    if b"\\" not in field:
        return field
    try:
        return _ESCAPED.sub(lambda match: _UNESCAPES[match[0]], field)
    except KeyError as error:
        raise LineError(
            f"{error.args[0].decode('utf-8', 'replace')!r} is no escape: there are \\t \\n \\r \\0 and \\\\"
        ) from None


def tsv_line(key: bytes, value: bytes, expiry: int = 0) -> bytes:
    """A record as a line of TSV, without line end."""
    line = escape(key) + b"\t" + escape(value)
    return line + b"\t%d" % expiry if expiry else line


def jsonl_line(key: bytes, value: bytes, expiry: int = 0) -> bytes:
    """A record as a line of JSON, without line end."""
    expires = {_EXPIRY: expiry} if expiry else {}
    return json_line({**bytes_fields("key", key), **bytes_fields("value", value), **expires}).encode()


def parse_tsv(line: bytes) -> tuple[bytes, bytes]:
    """Key and value of a line, with or without line end. Raises LineError."""
    return _two_of(_without_end(line).split(b"\t"))


def _two_of(fields: list[bytes]) -> tuple[bytes, bytes]:
    if len(fields) != 2:
        found = "there is no tab" if len(fields) == 1 else f"there are {len(fields) - 1} tabs"
        raise LineError(f"expected key, tab, value, but {found} (a tab within a value is written \\t)")
    return _checked(unescape(fields[0]), unescape(fields[1]))


def parse_tsv_record(line: bytes) -> Parsed:
    """Key, value and expiry of a line, with or without line end. Raises LineError."""
    fields = _without_end(line).split(b"\t")
    expiry = 0
    if len(fields) == 3 and fields[2].isdigit() and len(fields[2]) <= _DIGITS_MAX:
        expiry = int(fields.pop())
    return *_two_of(fields), _moment(expiry)


def parse_jsonl_record(line: bytes) -> Parsed:
    """Key, value and expiry of a line. Raises LineError."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LineError(f"this is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise LineError('expected an object: {"key": ..., "value": ...}')
    expiry = document.get(_EXPIRY, 0)
    return *_checked(_member(document, "key"), _member(document, "value")), _moment(expiry)


def _moment(expiry: object) -> int:
    if type(expiry) is not int or not 0 <= expiry <= _EXPIRY_MAX:
        raise LineError(f"a key expires so many milliseconds after 1970, or never (0), not {expiry!r:.30}")
    return expiry


def line_of(format_: str) -> Callable[[bytes, bytes, int], bytes]:
    """The function that writes a line of the format."""
    return jsonl_line if format_ == JSONL else tsv_line


def parser_of(format_: str) -> Callable[[bytes], Parsed]:
    """The function that reads a line of the format."""
    return parse_jsonl_record if format_ == JSONL else parse_tsv_record


def format_by_name(name: str) -> str:
    """The format of a file by the end of its name; TSV if it says nothing."""
    return JSONL if PurePath(name).suffix.lower() in _JSONL_SUFFIXES else TSV


def numbered_lines(stream: IO[bytes], bytes_max: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a stream with their numbers, from 1, without reading ahead. LineError for a longer one."""
    number = 0
    while line := stream.readline(bytes_max + 2):
        number += 1
        if len(_without_end(line)) > bytes_max:
            raise LineError(f"a line has at most {bytes_max:,} bytes", number)
        yield number, line


def _without_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _member(document: dict[str, Any], name: str) -> bytes:
    text, encoded = document.get(name), document.get(f"{name}_base64")
    if isinstance(text, str) and encoded is None:
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise LineError(f'"{name}" holds half a surrogate pair: use "{name}_base64"') from None
    if isinstance(encoded, str) and text is None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise LineError(f'"{name}_base64" is not base64: {error}') from None
    raise LineError(f'expected either "{name}" or "{name}_base64", with a text')


def _checked(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise LineError(f"a key has 1 to {KEY_BYTES_MAX} bytes, this one has {len(key):,}")
    if len(value) > VALUE_BYTES_MAX:
        raise LineError(f"a value has at most {VALUE_BYTES_MAX:,} bytes, this one has {len(value):,}")
    return key, value
