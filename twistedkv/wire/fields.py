"""Fields of message bodies, and the layouts that are made of them.

A layout is a table: attribute, field. It encodes and decodes one attrs class, and it is what docs/protocol.md is
checked against. Messages on the path of every request have codecs written out by hand beside their tables.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, error
from typing import Any, Generic, Protocol, TypeVar

from twistedkv.columns import decode_column, encode_column
from twistedkv.errors import ProtocolError

T = TypeVar("T")


class Field(Protocol):
    """One field: how it is written and read."""

    label: str
    """Its size and form, as the tables of docs/protocol.md have it."""

    def write(self, value: Any, out: list[bytes]) -> None:
        """Append the encoded value. Raises ProtocolError when it does not fit."""

    def read(self, body: bytes, offset: int) -> tuple[Any, int]:
        """The value at `offset`, and where it ends. Raises ProtocolError when the body is too short or wrong."""


class Number:
    """An integer of fixed size."""

    def __init__(self, code: str, label: str) -> None:
        self._struct = Struct(">" + code)
        self.label = label

    def write(self, value: int, out: list[bytes]) -> None:
        try:
            out.append(self._struct.pack(value))
        except error as wrong:
            raise ProtocolError(f"{value!r} does not fit in {self.label}") from wrong

    def read(self, body: bytes, offset: int) -> tuple[int, int]:
        try:
            return self._struct.unpack_from(body, offset)[0], offset + self._struct.size
        except error as wrong:
            raise ProtocolError(f"the body ends in the middle of a {self.label}") from wrong


U8 = Number("B", "u8")
U16 = Number("H", "u16")
U32 = Number("I", "u32")
U64 = Number("Q", "u64")
I64 = Number("q", "i64")


class Flag:
    """A boolean in one byte."""

    label = "u8 (0 or 1)"

    def write(self, value: bool, out: list[bytes]) -> None:
        out.append(b"\x01" if value else b"\x00")

    def read(self, body: bytes, offset: int) -> tuple[bool, int]:
        value, end = U8.read(body, offset)
        if value > 1:
            raise ProtocolError(f"expected 0 or 1, got {value}")
        return bool(value), end


class Enumerated:
    """An IntEnum in one byte."""

    def __init__(self, kind: Callable[[int], Any]) -> None:
        self._kind = kind
        self.label = f"u8 ({kind.__name__})"

    def write(self, value: int, out: list[bytes]) -> None:
        U8.write(int(value), out)

    def read(self, body: bytes, offset: int) -> tuple[Any, int]:
        value, end = U8.read(body, offset)
        try:
            return self._kind(value), end
        except ValueError as wrong:
            raise ProtocolError(f"{value} is not one of {self._kind.__name__}") from wrong


class Fixed:
    """So many bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.label = f"{size} bytes"

    def write(self, value: bytes, out: list[bytes]) -> None:
        if len(value) != self._size:
            raise ProtocolError(f"expected {self._size} bytes, got {len(value)}")
        out.append(value)

    def read(self, body: bytes, offset: int) -> tuple[bytes, int]:
        end = offset + self._size
        if end > len(body):
            raise ProtocolError(f"the body ends in the middle of {self.label}")
        return body[offset:end], end


class Bytes:
    """A length, then so many bytes."""

    def __init__(self, length: Number, most: int) -> None:
        self._length = length
        self._most = most
        self.label = f"{length.label} length, bytes (at most {most})"

    def write(self, value: bytes, out: list[bytes]) -> None:
        if len(value) > self._most:
            raise ProtocolError(f"at most {self._most} bytes are allowed here, got {len(value)}")
        self._length.write(len(value), out)
        out.append(value)

    def read(self, body: bytes, offset: int) -> tuple[bytes, int]:
        length, start = self._length.read(body, offset)
        if length > self._most:
            raise ProtocolError(f"at most {self._most} bytes are allowed here, {length} were announced")
        end = start + length
        if end > len(body):
            raise ProtocolError(f"{length} bytes were announced, the body has {len(body) - start} left")
        return body[start:end], end


class Text:
    """A length, then UTF-8."""

    def __init__(self, length: Number, most: int) -> None:
        self._bytes = Bytes(length, most)
        self.label = f"{length.label} length, UTF-8 (at most {most})"

    def write(self, value: str, out: list[bytes]) -> None:
        self._bytes.write(value.encode("utf-8", "replace"), out)

    def read(self, body: bytes, offset: int) -> tuple[str, int]:
        raw, end = self._bytes.read(body, offset)
        try:
            return raw.decode("utf-8"), end
        except UnicodeDecodeError as wrong:
            raise ProtocolError("a text is not UTF-8") from wrong


class Rest:
    """All the bytes that are left."""

    label = "the rest"

    def write(self, value: bytes, out: list[bytes]) -> None:
        out.append(value)

    def read(self, body: bytes, offset: int) -> tuple[bytes, int]:
        return body[offset:], len(body)


class Many:
    """A count, then so many of something."""

    def __init__(self, count: Number, item: Field, most: int) -> None:
        self._count = count
        self._item = item
        self._most = most
        self.label = f"{count.label} count, each: {item.label}"

    def write(self, value: Any, out: list[bytes]) -> None:
        if len(value) > self._most:
            raise ProtocolError(f"at most {self._most} items are allowed here, got {len(value)}")
        self._count.write(len(value), out)
        for item in value:
            self._item.write(item, out)

    def read(self, body: bytes, offset: int) -> tuple[list[Any], int]:
        count, offset = self._count.read(body, offset)
        if count > self._most:
            raise ProtocolError(f"at most {self._most} items are allowed here, {count} were announced")
        items = []
        for _ in range(count):
            item, offset = self._item.read(body, offset)
            items.append(item)
        return items, offset


class Column:
    """A column (`twistedkv.columns`) of at most `count_max` strings, each of `least` to `most` bytes."""

    def __init__(self, least: int, most: int, count_max: int) -> None:
        self._bounds = least, most, count_max
        self.label = f"column of {least} to {most} bytes each"

    def write(self, value: Any, out: list[bytes]) -> None:
        least, most, count_max = self._bounds
        if len(value) > count_max:
            raise ProtocolError(f"at most {count_max} strings are allowed here, got {len(value)}")
        if value and not (least <= len(min(value, key=len)) and len(max(value, key=len)) <= most):
            raise ProtocolError(f"strings of {least} to {most} bytes are allowed here")
        out.append(encode_column(value))

    def read(self, body: bytes, offset: int) -> tuple[list[bytes], int]:
        return decode_column(body, offset, *self._bounds)


class Layout(Generic[T]):
    """The fields of one class, in order. Is itself a field, so that layouts nest."""

    def __init__(self, kind: Callable[..., T], *fields: tuple[str, Field]) -> None:
        self.kind = kind
        self.fields = fields
        self.label = kind.__name__

    def write(self, value: T, out: list[bytes]) -> None:
        """Append the encoded fields of `value`."""
        for name, field in self.fields:
            field.write(getattr(value, name), out)

    def read(self, body: bytes, offset: int) -> tuple[T, int]:
        """Make an instance of what stands at `offset`."""
        values = {}
        for name, field in self.fields:
            values[name], offset = field.read(body, offset)
        return self.kind(**values), offset

    def encode(self, value: T) -> bytes:
        """The whole body of a message."""
        out: list[bytes] = []
        self.write(value, out)
        return b"".join(out)

    def decode(self, body: bytes) -> T:
        """The message whose body this is. Raises ProtocolError when bytes are missing or left over."""
        value, end = self.read(body, 0)
        if end != len(body):
            raise ProtocolError(f"{self.label}: {len(body) - end} bytes too many")
        return value


class Family:
    """A set of messages that may come over one kind of connection: type numbers and layouts."""

    def __init__(self, name: str, *members: tuple[int, Layout[Any]]) -> None:
        self.name = name
        self.layouts: dict[int, Layout[Any]] = dict(members)
        self.types: dict[Any, int] = {layout.kind: number for number, layout in members}
        if len(self.layouts) != len(members) or len(self.types) != len(members):
            raise ValueError(f"{name}: a message type is named twice")

    def decode(self, message_type: int, body: bytes) -> Any:
        """The message. Raises ProtocolError for an unknown type or a wrong body."""
        layout = self.layouts.get(message_type)
        if layout is None:
            raise ProtocolError(f"message type 0x{message_type:02x} is not one of the {self.name} messages")
        return layout.decode(body)

    def encode(self, message: Any) -> tuple[int, bytes]:
        """Type number and body of a message of this family."""
        message_type = self.types[type(message)]
        return message_type, self.layouts[message_type].encode(message)
