"""Replies read back: what a client makes of the bytes that a server of RESP2 or RESP3 sends.

A string of bytes is `bytes`, a list `list`, nothing `None`; numbers and booleans are Python's own. What RESP tells
apart and Python does not has a class here. Maps and sets keep the order of the wire, and may hold lists as keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias, Union

import attrs

from twistedkv.errors import ProtocolError
from twistedkv.limits import ANSWER_BYTES_MAX, ANSWER_DEPTH_MAX, ANSWER_LINE_BYTES_MAX, ANSWER_VALUES_MAX

Answer: TypeAlias = Union[
    bytes,
    int,
    float,
    bool,
    "list[Answer]",
    "StatusText",
    "ErrorAnswer",
    "VerbatimText",
    "MapAnswer",
    "SetAnswer",
    "PushAnswer",
    None,
]
"""One reply, or a part of one."""

Pair: TypeAlias = tuple[Answer, Answer]


@attrs.frozen
class StatusText:
    """A status, such as `OK`: one line."""

    text: bytes


@attrs.frozen
class ErrorAnswer:
    """An error. As a reply it means that the command was not done; it may also be a part of a list (EXEC)."""

    text: bytes

    @property
    def kind(self) -> bytes:
        """Its first word: ERR, MOVED, TRYAGAIN ..."""
        return self.text.partition(b" ")[0]


@attrs.frozen
class VerbatimText:
    """Text for people."""

    form: bytes
    """`txt` or `mkd` (Markdown): three bytes."""
    text: bytes


@attrs.frozen
class MapAnswer:
    """Keys and their values."""

    pairs: list[Pair]


@attrs.frozen
class SetAnswer:
    """Members without an order that means anything."""

    members: list[Answer]


@attrs.frozen
class PushAnswer:
    """What the server says without having been asked. It answers no request."""

    items: list[Answer]


_LINE_END = b"\r\n"
_INT64_MAX = 2**63 - 1
_INTEGER = re.compile(rb"-?[0-9]{1,19}")
_LENGTH = re.compile(rb"[0-9]{1,10}")
_DOUBLE = re.compile(rb"[-+]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?(?:[eE][-+]?[0-9]{1,4})?|inf)|-?nan")
_BIG_NUMBER = re.compile(rb"[-+]?[0-9]{1,4000}")  # Python's own limit on the digits of an int is 4,300
_LINES, _BLOBS, _LISTS = b"+-:_#,(", b"$!=", b"*%~>|"
_ATTRIBUTE = ord("|")


@attrs.define
class _Open:
    """A list, map, set or push whose parts are still coming."""

    kind: int
    missing: int
    # Invariant: missing > 0 while it is on the stack.
    parts: list[Answer] = attrs.Factory(list)


class AnswerDecoder:
    """Bytes in, replies out, however the bytes are cut. Holds at most one incomplete reply."""

    def __init__(
        self,
        bytes_max: int = ANSWER_BYTES_MAX,
        values_max: int = ANSWER_VALUES_MAX,
        depth_max: int = ANSWER_DEPTH_MAX,
        line_bytes_max: int = ANSWER_LINE_BYTES_MAX,
    ) -> None:
        self._bytes_max = bytes_max
        self._values_max = values_max
        self._depth_max = depth_max
        self._line_bytes_max = line_bytes_max
        self._buffer = bytearray()
        self._offset = 0
        self._searched = 0
        """No line end begins before this offset of the current value."""
        self._awaited = 0
        """With fewer bytes in the buffer than this, the current string is not complete."""
        self._open: list[_Open] = []
        self._bytes = 0
        """Read of the current reply."""
        self._values = 0
        """Begun or announced in the current reply."""

    @property
    def waiting(self) -> bool:
        """Whether a part of a reply has come, and the rest has not."""
        return bool(self._bytes or self._buffer)

    def feed(self, data: bytes) -> list[Answer]:
        """Take received bytes, return the replies that they complete, in order.

        Raises ProtocolError for what is no reply or is over a limit. The decoder is of no use afterwards.
        """
        self._buffer += data
        answers: list[Answer] = []
        while self._step(answers):
            pass
        del self._buffer[: self._offset]
        self._searched = max(self._searched - self._offset, 0)
        self._awaited = max(self._awaited - self._offset, 0)
        self._offset = 0
        return answers

    def _step(self, answers: list[Answer]) -> bool:
        """Read one value, or the head of a list, if all of it is there."""
        buffer, start = self._buffer, self._offset
        if len(buffer) <= start or len(buffer) < self._awaited:
            return False
        kind = buffer[start]
        if kind not in _LINES and kind not in _BLOBS and kind not in _LISTS:
            raise ProtocolError(f"a reply begins with one of +-:$*_#,(!=%~>| and not with {bytes([kind])!r}")
        end = buffer.find(_LINE_END, max(self._searched, start))
        if end < 0:
            if len(buffer) - start > self._line_bytes_max:
                raise ProtocolError(f"a line of a reply has at most {self._line_bytes_max} bytes")
            self._searched = len(buffer) - 1
            return False
        if end - start > self._line_bytes_max:
            raise ProtocolError(f"a line of a reply has at most {self._line_bytes_max} bytes")
        line = bytes(buffer[start + 1 : end])
        after = end + 2
        if kind in _LINES:
            self._read(after)
            self._add(_line_value(kind, line), answers)
        elif line == b"-1" and kind in b"$*":
            self._read(after)
            self._add(None, answers)
        elif kind in _BLOBS:
            length = _length(line)
            stop = after + length + 2
            if self._bytes + stop - start > self._bytes_max:
                raise ProtocolError(f"a reply has at most {self._bytes_max} bytes, this one announces more")
            if stop > len(buffer):
                self._searched, self._awaited = end, stop
                return False
            if buffer[stop - 2 : stop] != _LINE_END:
                raise ProtocolError("a string of a reply is longer than it says")
            blob = bytes(buffer[after : stop - 2])
            self._read(stop)
            self._add(_blob_value(kind, blob), answers)
        else:
            self._read(after)
            self._begin(kind, _length(line), answers)
        return True

    def _read(self, offset: int) -> None:
        """All before the offset has been read."""
        self._bytes += offset - self._offset
        self._offset = offset
        if self._bytes > self._bytes_max:
            raise ProtocolError(f"a reply has at most {self._bytes_max} bytes")

    def _begin(self, kind: int, length: int, answers: list[Answer]) -> None:
        """The head of a list was read."""
        if len(self._open) >= self._depth_max:
            raise ProtocolError(f"a reply has at most {self._depth_max} lists within each other")
        parts = length * 2 if kind in b"%|" else length
        self._values += parts
        if self._values > self._values_max:
            raise ProtocolError(f"a reply has at most {self._values_max} values")
        if parts:
            self._open.append(_Open(kind, parts))
        elif kind != _ATTRIBUTE:
            self._add(_list_value(kind, []), answers)

    def _add(self, value: Answer, answers: list[Answer]) -> None:
        """A value was read: a reply, or the next part of the innermost list, and perhaps its last."""
        stack = self._open
        while stack:
            innermost = stack[-1]
            innermost.parts.append(value)
            innermost.missing -= 1
            if innermost.missing:
                return
            stack.pop()
            if innermost.kind == _ATTRIBUTE:
                return  # it says something about the value that follows it, which nobody here asks for
            value = _list_value(innermost.kind, innermost.parts)
        self._bytes = self._values = 0
        answers.append(value)


def split(data: bytes, count: int) -> list[int]:
    """Where each of `count` replies that stand behind each other ends.

    Looks at lengths only and builds no values, for replies of our own making that are cut apart or put together. Raises
    ProtocolError when the data ends before the last of them, or a length is none.
    """
    ends: list[int] = []
    offset = 0
    size = len(data)
    find = data.find
    for _ in range(count):
        missing = 1
        while missing:
            missing -= 1
            end = find(_LINE_END, offset)
            if end < 0:
                raise ProtocolError(f"{count} replies were expected, and the data ends in number {len(ends) + 1}")
            kind = data[offset]
            if kind in _LINES:
                offset = end + 2
                continue
            line = data[offset + 1 : end]
            offset = end + 2
            if line == b"-1" and kind in b"$*":
                continue
            length = _length(line)
            if kind in _BLOBS:
                offset += length + 2
                if offset > size:
                    raise ProtocolError(f"{count} replies were expected, and the data ends in number {len(ends) + 1}")
            elif kind in b"*~>":
                missing += length
            elif kind in b"%|":
                missing += 2 * length + (kind == _ATTRIBUTE)
            else:
                raise ProtocolError(f"a reply begins with one of +-:$*_#,(!=%~>| and not with {bytes([kind])!r}")
        ends.append(offset)
    return ends


def _length(line: bytes) -> int:
    if _LENGTH.fullmatch(line) is None:
        raise ProtocolError(f"{line[:40]!r} is no length")
    return int(line)


def _line_value(kind: int, line: bytes) -> Answer:
    if b"\r" in line or b"\n" in line:
        raise ProtocolError("a line of a reply has a line end within it")
    match chr(kind):
        case "+":
            return StatusText(line)
        case "-":
            return ErrorAnswer(line)
        case ":":
            if _INTEGER.fullmatch(line) and -_INT64_MAX - 1 <= (number := int(line)) <= _INT64_MAX:
                return number
        case "_":
            if not line:
                return None
        case "#":
            if line in (b"t", b"f"):
                return line == b"t"
        case ",":
            if _DOUBLE.fullmatch(line):
                return float(line)
        case _:
            if _BIG_NUMBER.fullmatch(line):
                return int(line)
    raise ProtocolError(f"{line[:40]!r} is no value of the kind {chr(kind)!r}")


def _blob_value(kind: int, blob: bytes) -> Answer:
    if kind == ord("$"):
        return blob
    if kind == ord("!"):
        return ErrorAnswer(blob)
    if blob[3:4] != b":":
        raise ProtocolError("a verbatim text begins with its form, three bytes and a colon")
    return VerbatimText(blob[:3], blob[4:])


def _list_value(kind: int, parts: list[Answer]) -> Answer:
    match chr(kind):
        case "*":
            return parts
        case "%":
            return MapAnswer(list(_pairs(parts)))
        case "~":
            return SetAnswer(parts)
        case _:
            return PushAnswer(parts)


def _pairs(parts: list[Answer]) -> Iterator[Pair]:
    both = iter(parts)
    return zip(both, both, strict=True)
