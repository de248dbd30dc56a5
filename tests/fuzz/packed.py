"""What peer messages carry: log entries, streamed records, and the table of executed writes."""

from __future__ import annotations

import contextlib

from tests.support.servers import ME, SMALL, WALL, A, B, Desk, configuration, entry, small_keys
from tests.wire.examples import LOG_ENTRY, RECORDS, SESSIONS
from twistedkv.core.dedup import DedupTable
from twistedkv.core.entries import SEVERAL, decode_entries, encode_entry, encode_records, records_of_update
from twistedkv.core.evidence import decode_listing, encode_listing, judge
from twistedkv.errors import ProtocolError
from twistedkv.limits import SLOTS
from twistedkv.messages.client import Scan, ScanPage
from twistedkv.messages.peer import BeginFill, FillChunk, FillEnd, FillKind, FillSessions
from twistedkv.records import make_expiring_record, make_record, version_of
from twistedkv.slots import slot_of


def check_entries(data: bytes) -> None:
    """The first byte is the count that is announced, the rest the entries."""
    count, packed = (data[0] if data else 0), data[1:]
    try:
        entries = list(decode_entries(packed, count))
    except ProtocolError:
        return
    assert len(entries) == count
    assert b"".join(encode_entry(*found) for found in entries) == packed
    for found in entries:
        if found[3] == SEVERAL:
            check_records(found[2])


def check_records(data: bytes) -> None:
    """An update of several: a version, keys, and a record for each."""
    try:
        keys, records = records_of_update(data)
    except ProtocolError:
        return
    assert data[:8] + encode_records(keys, records) == data
    assert len(set(keys)) == len(keys) == len(records)


def entries_seeds() -> list[bytes]:
    """No entry, one, and some of each kind."""
    some = [
        entry(version_of(3, 1), b"key", b"value", 1),
        entry(version_of(3, 2), b"gone", None, 2),
        entry(version_of(3, 3), b"sum", b"-17", 3, reply=b"-17"),
        several(version_of(3, 4), 4),
    ]
    return [b"\x00", b"\x01" + LOG_ENTRY, b"\x04" + b"".join(some)]


def several(version: int, number: int) -> bytes:
    """An entry of a key that expires, one that does not, and one that is deleted."""
    records = [make_expiring_record(version, WALL, b"v"), make_record(version, 0, b"w"), make_record(version, 1, b"")]
    keys = small_keys(3)
    packed = version.to_bytes(8, "big") + encode_records(keys, records)
    return encode_entry(slot_of(keys[0]), b"", packed, SEVERAL, number, 1, b"d" * 16, b"+OK\r\n")


def check_sessions(data: bytes) -> None:
    """What a table has learnt it says in the same words, and learns nothing from hearing them again."""
    table = DedupTable()
    with contextlib.suppress(ProtocolError):
        table.merge(data)
    pieces = list(table.pack(64))
    other = DedupTable()
    for piece in pieces:
        other.merge(piece)
    assert list(other.pack(64)) == pieces
    for piece in pieces:
        table.merge(piece)
    assert list(table.pack(64)) == pieces


def sessions_seeds() -> list[bytes]:
    """An empty table, a client, several clients with results of each kind."""
    table = DedupTable()
    for number in range(1, 4):
        table.remember(bytes([number]) * 16, number, 1, number, version_of(2, number))
        table.remember(b"c" * 16, number, 1, number + 3, (version_of(2, number + 3), b"%d" % number))
    return [bytes(8), SESSIONS, b"".join(table.pack(1 << 20))]


def check_fill(data: bytes) -> None:
    """The first byte chooses the message, the second is the count that is announced.

    A learner that has received anything at all goes on: it can be read, reported and filled again.
    """
    which, count, packed = (data[0] if data else 0), (data[1] if len(data) > 1 else 0), data[2:]
    desk = Desk()
    rest = configuration(1, B, shard=1, slots=(SMALL, SLOTS - 1))
    desk.adopt(configuration(3, A, (B,), (ME,), birth=1, slots=(0, SMALL - 1)), rest)
    desk.core.begin_fill(BeginFill(0, 3, FillKind.FROM_NOTHING, 7, version_of(2, 5)))
    message = [
        FillChunk(0, 7, 1, count, packed),
        FillSessions(0, 7, 1, packed),
        FillEnd(0, 7, 1),
    ][which % 3]
    try:
        ack = desk.core.fill_received(message)
    except ProtocolError:
        pass
    else:
        assert not ack.refused
    desk.adopt(configuration(4, A, (B, ME), birth=1, slots=(0, SMALL - 1)))
    desk.adopt(configuration(5, ME, (), birth=1, slots=(0, SMALL - 1), released=True))
    for key in small_keys(2):
        assert desk.answer(desk.put(1, key)) is not None
    assert isinstance(desk.answer(desk.ask(Scan(0, b"", 10, b"", True))), ScanPage)
    assert list(desk.replica.dedup.pack(1 << 20))
    desk.flush()


def fill_seeds() -> list[bytes]:
    """A chunk with one record, a piece of the table, the end."""
    records = [make_record(version_of(2, 1), 0, b"value"), make_expiring_record(version_of(2, 2), WALL, b"value")]
    packed = encode_records(small_keys(2), records)
    return [b"\x00\x01" + RECORDS, b"\x00\x02" + packed, b"\x01\x00" + SESSIONS, b"\x02\x00"]


# Forms with many parts, for what decoding costs.


def packed_entries(count: int) -> bytes:
    """So many log entries."""
    return b"".join(entry(version_of(3, n), b"k", b"v", n) for n in range(1, count + 1))


def packed_records(count: int) -> bytes:
    """So many records as they are streamed, of different keys, which are of one slot."""
    record = make_record(version_of(2, 1), 0, b"v")
    (tag,) = small_keys(1)
    return encode_records([b"{%b}%04x" % (tag, n) for n in range(count)], [record] * count)


def stored(packed: bytes, count: int) -> None:
    """Have a learner store them."""
    desk = Desk()
    desk.adopt(configuration(3, A, (), (ME,), birth=1, slots=(0, SMALL - 1)))
    desk.core.begin_fill(BeginFill(0, 3, FillKind.FROM_NOTHING, 7, 0))
    assert not desk.core.fill_received(FillChunk(0, 7, 1, count, packed)).refused


def packed_sessions(count: int, clients: int = 0) -> bytes:
    """So many sessions with a result each, of so many clients (0: each its own)."""
    parts = [bytes(8)]
    for n in range(1, count + 1):
        client = (n % clients if clients else n).to_bytes(16, "big")
        head = (1).to_bytes(8, "big") + n.to_bytes(8, "big") + (1).to_bytes(4, "big")
        parts.append(client + head + n.to_bytes(8, "big") + version_of(2, n).to_bytes(8, "big") + bytes(4))
    return b"".join(parts)


def merged(packed: bytes) -> None:
    """Have a table learn them."""
    DedupTable().merge(packed)


def check_listing(data: bytes) -> None:
    """What a copy says of a slot."""
    try:
        listing = decode_listing(data)
    except ProtocolError:
        return
    assert decode_listing(encode_listing(listing)) == listing
    judge(listing, {1: {}})


def listing_seeds() -> list[bytes]:
    """Of nothing, and of records of which one is damaged."""
    return [encode_listing({}), encode_listing({b"a": (7, 8), b"bc": None})]
