"""Log entries, and keys with records: what is encoded is decoded, what is cut or made up is refused as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.columns import column_bytes
from twistedkv.core.entries import (
    ENTRY_HEAD_BYTES,
    ONE,
    SEVERAL,
    decode_entries,
    decode_records,
    encode_entry,
    encode_records,
    records_of_update,
)
from twistedkv.errors import ProtocolError
from twistedkv.limits import KEY_BYTES_MAX, REPLY_BYTES_MAX, SLOTS, UPDATE_BYTES_MAX, VALUE_BYTES_MAX
from twistedkv.records import EXPIRES, make_expiring_record, make_record

U64 = st.integers(0, 2**64 - 1)
RECORDS = st.one_of(
    st.builds(make_record, U64, st.integers(0, 1), st.binary(max_size=20)),
    st.builds(make_expiring_record, U64, U64, st.binary(max_size=20)),
)
KEYS = st.binary(min_size=1, max_size=20)
CHANGES = st.dictionaries(KEYS, RECORDS, max_size=4)
WRITES = st.tuples(U64, U64, st.binary(min_size=16, max_size=16), st.binary(max_size=20))
ENTRIES = st.one_of(
    st.builds(
        lambda slot, key, record, write: (slot, key, record, ONE, *write),
        st.integers(0, SLOTS - 1),
        KEYS,
        RECORDS,
        WRITES,
    ),
    st.builds(
        lambda slot, version, changes, write: (slot, b"", several(version, changes), SEVERAL, *write),
        st.integers(0, SLOTS - 1),
        U64,
        CHANGES,
        WRITES,
    ),
)
NOBODY = (0, 0, bytes(16), b"")


def packed(changes: dict[bytes, bytes]) -> bytes:
    """Keys and their records."""
    return encode_records(list(changes), list(changes.values()))


def several(version: int, changes: dict[bytes, bytes]) -> bytes:
    """What an entry of several has in place of a record."""
    return version.to_bytes(8, "big") + packed(changes)


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
    changes = {b"a": make_record(5, 0, b"v"), b"b": make_expiring_record(5, 0x1122, b"w")}
    encoded = encode_entry(0x1234, b"", several(5, changes), SEVERAL, *NOBODY)
    assert encoded.hex() == (
        "1234" "0000" "0000003e" "00000000" "01" "0000000000000000" "0000000000000000"
        "00000000000000000000000000000000"
        "0000000000000005"
        "00000002" "00000001" "61" "62"
        "00000002" "ffffffff" "0000000a" "00000012"
        "0000000000000005" "00" "76" "0000000000000005" "02" "0000000000001122" "77"
    )  # fmt: skip


@given(st.lists(ENTRIES, max_size=4))
def test_what_is_encoded_is_decoded(entries):
    encoded = b"".join(encode_entry(*each) for each in entries)
    assert list(decode_entries(encoded, len(entries))) == entries


@given(U64, CHANGES)
def test_keys_and_records_are_what_they_were_with_and_without_a_version(version, changes):
    assert decode_records(packed(changes)) == (list(changes), list(changes.values()))
    assert records_of_update(several(version, changes)) == (list(changes), list(changes.values()))


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


@given(CHANGES, st.binary(min_size=1, max_size=3), st.data())
def test_keys_and_records_that_are_cut_or_have_more_behind_them_are_refused(changes, more, data):
    encoded = packed(changes)
    for wrong in (encoded[: data.draw(st.integers(0, len(encoded) - 1))], encoded + more):
        with pytest.raises(ProtocolError):
            decode_records(wrong)


@given(CHANGES.filter(bool), RECORDS, st.data())
def test_each_key_has_one_record_and_is_named_once(changes, record, data):
    keys, records = list(changes), list(changes.values())
    again = data.draw(st.sampled_from(keys))
    for wrong in ((keys, [*records, record]), (keys, records[1:]), ([*keys, again], [*records, record])):
        with pytest.raises(ProtocolError):
            decode_records(encode_records(*wrong))


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes_are_entries_or_a_protocol_error(data, count):
    try:
        entries = list(decode_entries(data, count))
    except ProtocolError:
        return
    assert b"".join(encode_entry(*each) for each in entries) == data
    assert all(len(each[2]) >= (9 if each[3] == ONE else 8) for each in entries)


@given(st.binary(max_size=100) | st.binary(max_size=40).map(lambda tail: (1).to_bytes(4, "big") + tail))
def test_any_bytes_are_keys_with_records_or_a_protocol_error(data):
    try:
        keys, records = decode_records(data)
    except ProtocolError:
        return
    assert len(set(keys)) == len(keys) == len(records)
    assert encode_records(keys, records) == data


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
def test_what_could_not_be_stored_is_refused_alone_and_among_others(key, record):
    with pytest.raises(ProtocolError):
        list(decode_entries(encode_entry(1, key, record, ONE, *NOBODY), 1))
    with pytest.raises(ProtocolError):
        decode_records(encode_records([key], [record]))
    with pytest.raises(ProtocolError):
        decode_records(packed({b"a": make_record(1, 0, b"v"), key: record, b"z": make_record(1, 1, b"")}))


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


def test_records_and_reply_together_are_bounded():
    record = make_record(1, 0, b"v")
    client = bytes(16)
    largest = encode_entry(1, b"k", record, ONE, 1, 1, client, bytes(UPDATE_BYTES_MAX - len(record)))
    [found] = decode_entries(largest, 1)
    assert len(found[7]) > REPLY_BYTES_MAX - len(record)
    with pytest.raises(ProtocolError, match="too long"):
        list(decode_entries(encode_entry(1, b"k", record, ONE, 1, 1, client, bytes(UPDATE_BYTES_MAX)), 1))


def test_the_largest_update_of_several_that_may_be_asked_for_is_replicated():
    """Its version is no part of what the primary has counted (`ShardKeys.commit`, PUT_MANY)."""
    keys = [b"a", b"b" * KEY_BYTES_MAX, b"c"]
    empty = [make_record(1, 0, b"") for _ in keys]
    room = UPDATE_BYTES_MAX - column_bytes(keys) - column_bytes(empty) - 2 * VALUE_BYTES_MAX
    values = [bytes(VALUE_BYTES_MAX), bytes(VALUE_BYTES_MAX), bytes(room)]
    records = [record + value for record, value in zip(empty, values, strict=True)]
    assert column_bytes(keys) + column_bytes(records) == UPDATE_BYTES_MAX
    record = bytes(8) + encode_records(keys, records)
    [found] = decode_entries(encode_entry(1, b"", record, SEVERAL, *NOBODY), 1)
    assert records_of_update(found[2]) == (keys, records)
    with pytest.raises(ProtocolError, match="too long"):
        list(decode_entries(encode_entry(1, b"", record, SEVERAL, 0, 0, bytes(16), b"r"), 1))
