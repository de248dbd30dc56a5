"""Log entries and rows: what is encoded is decoded, and what is cut or made up is refused as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.core.entries import (
    ENTRY_HEAD_BYTES,
    ONE,
    SEVERAL,
    decode_entries,
    decode_rows,
    encode_entry,
    encode_rows,
    rows_of_update,
)
from twistedkv.errors import ProtocolError
from twistedkv.limits import KEY_BYTES_MAX, REPLY_BYTES_MAX, SLOTS, UPDATE_BYTES_MAX, VALUE_BYTES_MAX
from twistedkv.records import EXPIRES, make_expiring_record, make_record

U64 = st.integers(0, 2**64 - 1)
RECORDS = st.one_of(
    st.builds(make_record, U64, st.integers(0, 1), st.binary(max_size=20)),
    st.builds(make_expiring_record, U64, U64, st.binary(max_size=20)),
)
ROWS = st.tuples(st.integers(0, SLOTS - 1), st.binary(min_size=1, max_size=20), RECORDS)
WRITES = st.tuples(U64, U64, st.binary(min_size=16, max_size=16), st.binary(max_size=20))
ENTRIES = st.one_of(
    st.builds(lambda row, write: (*row, ONE, *write), ROWS, WRITES),
    st.builds(
        lambda version, rows, write: (rows[0][0], b"", version.to_bytes(8, "big") + encode_rows(rows), SEVERAL, *write),
        U64,
        st.lists(ROWS, min_size=1, max_size=3),
        WRITES,
    ),
)
NOBODY = (0, 0, bytes(16), b"")


def test_an_entry_in_bytes():
    client = bytes(range(16))
    encoded = encode_entry(0x1234, b"key", make_record(5, 0, b"value"), ONE, 7, 6, client, b"+OK\r\n")
    assert encoded.hex() == (
        "1234" "0003" "0000000e" "00000005" "00" "0000000000000007" "0000000000000006"
        "000102030405060708090a0b0c0d0e0f"
        "6b6579" "0000000000000005" "00" "76616c7565" "2b4f4b0d0a"
    )  # fmt: skip
    assert len(encoded) == ENTRY_HEAD_BYTES + 3 + 14 + 5


def test_an_entry_of_several_records_in_bytes():
    rows = [(0x1234, b"a", make_record(5, 0, b"v")), (0x1235, b"b", make_expiring_record(5, 0x1122, b"w"))]
    encoded = encode_entry(0x1234, b"", (5).to_bytes(8, "big") + encode_rows(rows), SEVERAL, *NOBODY)
    assert encoded.hex() == (
        "1234" "0000" "00000036" "00000000" "01" "0000000000000000" "0000000000000000"
        "00000000000000000000000000000000"
        "0000000000000005"
        "1234" "0001" "0000000a" "61" "0000000000000005" "00" "76"
        "1235" "0001" "00000012" "62" "0000000000000005" "02" "0000000000001122" "77"
    )  # fmt: skip


@given(st.lists(ENTRIES, max_size=4))
def test_what_is_encoded_is_decoded(entries):
    encoded = b"".join(encode_entry(*each) for each in entries)
    assert list(decode_entries(encoded, len(entries))) == entries


@given(U64, st.lists(ROWS, max_size=4))
def test_rows_are_what_they_were_made_of_with_and_without_a_version(version, rows):
    packed = encode_rows(rows)
    assert list(decode_rows(packed)) == rows
    assert list(rows_of_update(version.to_bytes(8, "big") + packed)) == rows


@given(st.lists(ENTRIES, min_size=1, max_size=3), st.data())
def test_every_cut_and_every_wrong_count_is_refused(entries, data):
    encoded = b"".join(encode_entry(*each) for each in entries)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(ProtocolError):
        list(decode_entries(encoded[:cut], len(entries)))
    for count in (len(entries) - 1, len(entries) + 1):
        with pytest.raises(ProtocolError):
            list(decode_entries(encoded, count))
    with pytest.raises(ProtocolError):
        list(decode_entries(encoded + b"x", len(entries)))


@given(st.lists(ROWS, min_size=1, max_size=3), st.data())
def test_rows_that_are_cut_are_fewer_rows_or_refused(rows, data):
    encoded = encode_rows(rows)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    try:
        found = list(decode_rows(encoded[:cut]))
    except ProtocolError:
        return
    assert found == rows[: len(found)]
    assert encode_rows(found) == encoded[:cut]


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes_are_entries_or_a_protocol_error(data, count):
    try:
        entries = list(decode_entries(data, count))
    except ProtocolError:
        return
    assert b"".join(encode_entry(*each) for each in entries) == data
    assert all(len(each[2]) >= (9 if each[3] == ONE else 8) for each in entries)


@given(st.binary(max_size=100))
def test_any_bytes_are_rows_or_a_protocol_error(data):
    try:
        rows = list(decode_rows(data))
    except ProtocolError:
        return
    assert encode_rows(rows) == data


@pytest.mark.parametrize(
    ("key", "record"),
    [
        (b"k", bytes(8)),
        (b"k", bytes(8) + bytes([EXPIRES]) + bytes(7)),
        (b"k", bytes(9 + 8 + VALUE_BYTES_MAX + 1)),
        (b"", make_record(1, 0, b"v")),
        (b"k" * (KEY_BYTES_MAX + 1), make_record(1, 0, b"v")),
    ],
    ids=["no flags", "no moment", "too long", "no key", "too long a key"],
)
def test_what_could_not_be_stored_is_refused_alone_and_in_a_row(key, record):
    with pytest.raises(ProtocolError):
        list(decode_entries(encode_entry(1, key, record, ONE, *NOBODY), 1))
    with pytest.raises(ProtocolError):
        list(decode_rows(encode_rows([(1, key, record)])))


@pytest.mark.parametrize(("key", "record"), [(b"", bytes(7)), (b"k", bytes(8))], ids=["no version", "a key"])
def test_an_update_of_several_has_a_version_and_no_key(key, record):
    with pytest.raises(ProtocolError):
        list(decode_entries(encode_entry(1, key, record, SEVERAL, *NOBODY), 1))


@pytest.mark.parametrize("kind", [2, 255])
def test_an_unknown_kind_is_refused(kind):
    with pytest.raises(ProtocolError, match="unknown kind"):
        list(decode_entries(encode_entry(1, b"", bytes(8), kind, *NOBODY), 1))


@pytest.mark.parametrize("slot", [SLOTS, 65535])
def test_a_slot_that_does_not_exist_is_refused(slot):
    """The store would not find a place for it."""
    with pytest.raises(ProtocolError):
        list(decode_entries(encode_entry(slot, b"k", make_record(1, 0, b""), ONE, *NOBODY), 1))
    with pytest.raises(ProtocolError):
        list(decode_rows(encode_rows([(slot, b"k", make_record(1, 0, b""))])))


def test_records_and_reply_together_are_bounded():
    record = make_record(1, 0, b"v")
    client = bytes(16)
    largest = encode_entry(1, b"k", record, ONE, 1, 1, client, bytes(UPDATE_BYTES_MAX - len(record)))
    [found] = decode_entries(largest, 1)
    assert len(found[7]) > REPLY_BYTES_MAX - len(record)
    with pytest.raises(ProtocolError, match="too long"):
        list(decode_entries(encode_entry(1, b"k", record, ONE, 1, 1, client, bytes(UPDATE_BYTES_MAX)), 1))
