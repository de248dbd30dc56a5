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
and in place of the record its version and then keys and records as two columns (`twistedkv.columns`). The chunks of
fills are two columns, too.
"""

from collections.abc import Iterator, Sequence
from struct import Struct

from twistedkv.columns import decode_column, encode_column
from twistedkv.errors import ProtocolError
from twistedkv.limits import KEY_BYTES_MAX, SLOTS, UPDATE_BYTES_MAX
from twistedkv.records import EXPIRES, EXPIRY_BYTES, RECORD_BYTES_MAX, RECORD_HEAD_BYTES, flagged

ENTRY_HEAD = Struct(">HHIIBQQ16s")
ENTRY_HEAD_BYTES = ENTRY_HEAD.size

ONE = 0
SEVERAL = 1

_EXPIRING_BYTES_MIN = RECORD_HEAD_BYTES + EXPIRY_BYTES
_VERSION_BYTES = 8
_KEYS_MAX = UPDATE_BYTES_MAX // RECORD_HEAD_BYTES
"""More do not fit."""

Entry = tuple[int, bytes, bytes, int, int, int, bytes, bytes]
"""(slot, key, record or version and columns, kind, number, oldest, client id, reply)."""


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
            if not 0 < key_bytes <= KEY_BYTES_MAX:
                raise ProtocolError(f"a key has 1 to {KEY_BYTES_MAX} bytes, not {key_bytes}")
            _check(record)
        elif kind != SEVERAL or key_bytes or record_bytes < _VERSION_BYTES:
            raise ProtocolError("a log entry is of an unknown kind, or one of several records that has a key")
        if record_bytes + reply_bytes > UPDATE_BYTES_MAX + (_VERSION_BYTES if kind else 0):
            raise ProtocolError(f"a log entry's records and reply of {record_bytes + reply_bytes} bytes are too long")
        yield slot, entries[start:middle], record, kind, number, oldest, client, entries[last:offset]
    if offset != end:
        raise ProtocolError(f"{count} log entries were announced, {end - offset} bytes are left over")


def encode_records(keys: Sequence[bytes], records: Sequence[bytes]) -> bytes:
    """Keys and their records, as two columns."""
    return encode_column(keys) + encode_column(records)


def decode_records(packed: bytes, start: int = 0) -> tuple[list[bytes], list[bytes]]:
    """Keys and records from `start` to the end. Raises ProtocolError when they are malformed, or a key comes twice."""
    keys, middle = decode_column(packed, start, 1, KEY_BYTES_MAX, _KEYS_MAX)
    records, end = decode_column(packed, middle, RECORD_HEAD_BYTES, RECORD_BYTES_MAX, _KEYS_MAX)
    if end != len(packed) or len(keys) != len(records) or len(set(keys)) != len(keys):
        raise ProtocolError(f"{len(keys)} keys, {len(records)} records and {len(packed) - end} bytes, or one key twice")
    if flagged(records):
        for record in records:
            _check(record)
    return keys, records


def records_of_update(record: bytes) -> tuple[list[bytes], list[bytes]]:
    """Keys and records of an entry of several, which stand behind its version. Raises ProtocolError."""
    return decode_records(record, _VERSION_BYTES)


def _check(record: bytes) -> None:
    size = len(record)
    if not RECORD_HEAD_BYTES <= size <= RECORD_BYTES_MAX or (record[8] & EXPIRES and size < _EXPIRING_BYTES_MIN):
        raise ProtocolError(f"a record of {size} bytes is cut short, or too long")
