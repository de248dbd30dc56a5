"""Columns: many strings as one."""

from __future__ import annotations

from twistedkv.columns import column_bytes, decode_column, encode_column
from twistedkv.errors import ProtocolError


def check_column(data: bytes) -> None:
    """The first four bytes are how much stands before the column, and its bounds; what is read can be written."""
    before, least, span, count_max = (data[i] if len(data) > i else 0 for i in range(4))
    start = before % 8
    packed = data[4:]
    try:
        strings, end = decode_column(packed, start, least % 16, least % 16 + span % 32, count_max)
    except ProtocolError:
        return
    assert packed[start:end] == encode_column(strings)
    assert len(strings) <= count_max
    assert all(least % 16 <= len(string) <= least % 16 + span % 32 for string in strings)
    assert end - start <= column_bytes(strings)


def column_seeds() -> list[bytes]:
    """None, one, some of one size, some of different ones, and with something before and behind."""
    columns = [[], [b""], [b"abc"], [b"ab", b"cd", b"ef"], [b"", b""], [b"a", b"", b"bcd"]]
    return [
        *(b"\x00\x00\x1f\x08" + encode_column(strings) for strings in columns),
        b"\x03\x01\x05\x02xyz" + encode_column([b"a", b"bc"]) + b"more",
    ]
