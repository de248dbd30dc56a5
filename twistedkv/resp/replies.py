"""Replies as bytes, for both versions of RESP.

`protocol` is 2 or 3 everywhere. The versions differ for nothing, maps, doubles and booleans only, so most replies are
made without knowing it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
QUEUED = b"+QUEUED\r\n"
ZERO = b":0\r\n"
ONE = b":1\r\n"
EMPTY = b"$0\r\n\r\n"
EMPTY_ARRAY = b"*0\r\n"

_NIL = (b"", b"", b"$-1\r\n", b"_\r\n")
_NIL_ARRAY = (b"", b"", b"*-1\r\n", b"_\r\n")


def simple(text: bytes) -> bytes:
    """A status: one line."""
    return b"+%s\r\n" % text


def error(text: str) -> bytes:
    """An error. The first word of `text` is its kind (ERR, WRONGTYPE ...). Line ends in it become spaces."""
    line = text.encode("utf-8", "surrogateescape").replace(b"\r", b" ").replace(b"\n", b" ")
    return b"-%s\r\n" % line


def integer(number: int) -> bytes:
    """A number of 64 bits."""
    return b":%d\r\n" % number


def bulk(value: bytes) -> bytes:
    """A string of bytes."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def nil(protocol: int) -> bytes:
    """There is no value."""
    return _NIL[protocol]


def nil_array(protocol: int) -> bytes:
    """There is no list of values."""
    return _NIL_ARRAY[protocol]


def value_or_nil(value: bytes | None, protocol: int) -> bytes:
    """A string of bytes, or nothing."""
    return _NIL[protocol] if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def of_records(records: Sequence[bytes], head: int, protocol: int) -> bytes:
    """The values of records, behind each other; of one that is empty, nothing. A value begins after `head` bytes."""
    size = len(records[0])
    if size and list(map(len, records)).count(size) == len(records):
        begin = b"$%d\r\n" % (size - head)
        return begin + (b"\r\n" + begin).join([record[head:] for record in records]) + b"\r\n"
    return b"".join([bulk(record[head:]) if record else _NIL[protocol] for record in records])


def array(parts: Sequence[bytes]) -> bytes:
    """A list of replies that are encoded already."""
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def bulks(values: Iterable[bytes]) -> bytes:
    """A list of strings of bytes."""
    return array([bulk(value) for value in values])


def mapping(pairs: Mapping[bytes, bytes], protocol: int) -> bytes:
    """A map from strings to encoded replies; in RESP2 a list in which keys and values alternate."""
    parts = [part for key, value in pairs.items() for part in (bulk(key), value)]
    if protocol == 3:
        return b"%%%d\r\n%b" % (len(pairs), b"".join(parts))
    return array(parts)


def flags(names: Iterable[bytes], protocol: int) -> bytes:
    """A set of names, each a status."""
    parts = [simple(name) for name in names]
    return b"%b%d\r\n%b" % (b"~" if protocol == 3 else b"*", len(parts), b"".join(parts))


def double(number: float, protocol: int) -> bytes:
    """A floating point number; in RESP2 as text."""
    text = b"%.17g" % number
    return b",%b\r\n" % text if protocol == 3 else bulk(text)


def text(value: bytes, protocol: int) -> bytes:
    """A string for people to read: in RESP3 marked as plain text."""
    return b"=%d\r\ntxt:%b\r\n" % (len(value) + 4, value) if protocol == 3 else bulk(value)
