"""Log entries: one update as it is replicated, and as it stands in the log.

size  field
2     slot
2     key length
4     record length
4     reply length
1     kind: 0 one record, 1 several
8     number of the write, by its client; 0: not a client's
8     oldest unfinished number of that client
16    client id
      key
      record (records.py), with the version
      reply: what the client is answered besides the version, if that is more than nothing

An update of several keys is one entry, so that no copy ever has a part of it. It has the slot of one of them, no key,
and in place of the record its version and then the records as *rows*. Rows are also what fills are made of:

size  field
2     slot
2     key length
4     record length
      key
      record
"""

from collections.abc import Iterable, Iterator, Mapping
from struct import Struct

from twistedkv.errors import ProtocolError
from twistedkv.limits import KEY_BYTES_MAX, SLOTS, UPDATE_BYTES_MAX, VALUE_BYTES_MAX
from twistedkv.records import EXPIRES, EXPIRY_BYTES, RECORD_HEAD_BYTES

ENTRY_HEAD = Struct(">HHIIBQQ16s")
ENTRY_HEAD_BYTES = ENTRY_HEAD.size
ROW_HEAD = Struct(">HHI")
ROW_HEAD_BYTES = ROW_HEAD.size

ONE = 0
SEVERAL = 1

RECORD_BYTES_MAX = RECORD_HEAD_BYTES + EXPIRY_BYTES + VALUE_BYTES_MAX
_EXPIRING_BYTES_MIN = RECORD_HEAD_BYTES + EXPIRY_BYTES
_VERSION_BYTES = 8

Entry = tuple[int, bytes, bytes, int, int, int, bytes, bytes]
"""(slot, key, record or version and rows, kind, number, oldest, client id, reply)."""

Row = tuple[int, bytes, bytes]
"""(slot, key, record)."""


def encode_entry(
    slot: int, key: bytes, record: bytes, kind: int, number: int, oldest: int, client: bytes, reply: bytes
) -> bytes:
    """One entry."""
    head = ENTRY_HEAD.pack(slot, len(key), len(record), len(reply), kind, number, oldest, client)
    return head + key + record + reply


def decode_entries(entries: bytes, count: int) -> Iterator[Entry]:
    """The entries, in order. Raises ProtocolError when there are not exactly `count`."""
    unpack = ENTRY_HEAD.unpack_from
    end = len(entries)
    offset = 0
    for _ in range(count):
        start = offset + ENTRY_HEAD_BYTES
        if start > end:
            raise ProtocolError(f"{count} log entries were announced, there are fewer")
        slot, key_bytes, record_bytes, reply_bytes, kind, number, oldest, client = unpack(entries, offset)
        middle = start + key_bytes
        last = middle + record_bytes
        offset = last + reply_bytes
        if offset > end or slot >= SLOTS:
            raise ProtocolError("a log entry is cut short, or of a slot that does not exist")
        record = entries[middle:last]
        if kind == ONE:
            _check(key_bytes, record)
        elif kind != SEVERAL or key_bytes or record_bytes < _VERSION_BYTES:
            raise ProtocolError("a log entry is of an unknown kind, or one of several records that has a key")
        if record_bytes + reply_bytes > UPDATE_BYTES_MAX:
            raise ProtocolError(f"a log entry's records and reply of {record_bytes + reply_bytes} bytes are too long")
        yield slot, entries[start:middle], record, kind, number, oldest, client, entries[last:offset]
    if offset != end:
        raise ProtocolError(f"{count} log entries were announced, {end - offset} bytes are left over")


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Records behind each other."""
    return b"".join(
        part for slot, key, record in rows for part in (ROW_HEAD.pack(slot, len(key), len(record)), key, record)
    )


def encode_changes(changes: Mapping[bytes, tuple[int, bytes]]) -> bytes:
    """Slots and records by key, as rows."""
    pack = ROW_HEAD.pack
    parts: list[bytes] = []
    for key, (slot, record) in changes.items():
        parts += (pack(slot, len(key), len(record)), key, record)
    return b"".join(parts)


def decode_rows(packed: bytes, offset: int = 0) -> Iterator[Row]:
    """The records from `offset` to the end. Raises ProtocolError where they are malformed."""
    end = len(packed)
    while offset < end:
        start = offset + ROW_HEAD_BYTES
        if start > end:
            raise ProtocolError("a row is cut short")
        slot, key_bytes, record_bytes = ROW_HEAD.unpack_from(packed, offset)
        middle = start + key_bytes
        offset = middle + record_bytes
        if offset > end or slot >= SLOTS:
            raise ProtocolError("a row is cut short, or of a slot that does not exist")
        record = packed[middle:offset]
        _check(key_bytes, record)
        yield slot, packed[start:middle], record


def rows_of_update(record: bytes) -> Iterator[Row]:
    """The records of an entry of several, which stand behind its version. Raises ProtocolError."""
    return decode_rows(record, _VERSION_BYTES)


def _check(key_bytes: int, record: bytes) -> None:
    if not 0 < key_bytes <= KEY_BYTES_MAX:
        raise ProtocolError(f"a key has 1 to {KEY_BYTES_MAX} bytes, not {key_bytes}")
    size = len(record)
    if not RECORD_HEAD_BYTES <= size <= RECORD_BYTES_MAX or (record[8] & EXPIRES and size < _EXPIRING_BYTES_MIN):
        raise ProtocolError(f"a record of {size} bytes is cut short, or too long")
