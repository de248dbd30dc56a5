"""Log entries: one update as it is replicated, and as it stands in the log.

size  field
2     slot
2     key length
4     record length
1     kind: 0 put, cas, delete; 1 incr (its result is the record's value)
8     number of the write, by its client; 0: not a client's
8     oldest unfinished number of that client
16    client id
      key
      record (records.py), with the version
"""

from collections.abc import Iterator
from struct import Struct

from twistedkv.errors import ProtocolError
from twistedkv.limits import KEY_BYTES_MAX, SLOTS, VALUE_BYTES_MAX
from twistedkv.records import RECORD_HEAD_BYTES

ENTRY_HEAD = Struct(">HHIBQQ16s")
ENTRY_HEAD_BYTES = ENTRY_HEAD.size

UPDATE = 0
INCREMENT = 1

RECORD_BYTES_MAX = RECORD_HEAD_BYTES + VALUE_BYTES_MAX
_SUM_RECORD_BYTES_MAX = RECORD_HEAD_BYTES + len(str(-(2**63)))

Entry = tuple[int, bytes, bytes, int, int, int, bytes]
"""(slot, key, record, kind, number, oldest, client id)."""


def encode_entry(slot: int, key: bytes, record: bytes, kind: int, number: int, oldest: int, client: bytes) -> bytes:
    """One entry."""
    return ENTRY_HEAD.pack(slot, len(key), len(record), kind, number, oldest, client) + key + record


def decode_entries(entries: bytes, count: int) -> Iterator[Entry]:
    """The entries, in order. Raises ProtocolError when there are not exactly `count`."""
    unpack = ENTRY_HEAD.unpack_from
    end = len(entries)
    offset = 0
    for _ in range(count):
        start = offset + ENTRY_HEAD_BYTES
        if start > end:
            raise ProtocolError(f"{count} log entries were announced, there are fewer")
        slot, key_bytes, record_bytes, kind, number, oldest, client = unpack(entries, offset)
        middle = start + key_bytes
        offset = middle + record_bytes
        if offset > end or not 0 < key_bytes <= KEY_BYTES_MAX or slot >= SLOTS:
            raise ProtocolError("a log entry is cut short, of a slot that does not exist, or of no key that could be")
        if not RECORD_HEAD_BYTES <= record_bytes <= RECORD_BYTES_MAX:
            raise ProtocolError(f"a log entry's record of {record_bytes} bytes is cut short, or too long")
        if kind and (kind != INCREMENT or record_bytes > _SUM_RECORD_BYTES_MAX):
            raise ProtocolError("a log entry is of an unknown kind, or the sum of an INCR is no number")
        yield slot, entries[start:middle], entries[middle:offset], kind, number, oldest, client
    if offset != end:
        raise ProtocolError(f"{count} log entries were announced, {end - offset} bytes are left over")
