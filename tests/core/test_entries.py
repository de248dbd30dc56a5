"""Log entries: what is encoded is decoded, and what is cut or made up is refused as a whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.core.entries import ENTRY_HEAD_BYTES, INCREMENT, UPDATE, decode_entries, encode_entry
from twistedkv.errors import ProtocolError
from twistedkv.limits import SLOTS
from twistedkv.records import make_record

U64 = st.integers(0, 2**64 - 1)
ENTRIES = st.tuples(
    st.integers(0, SLOTS - 1),
    st.binary(min_size=1, max_size=20),
    st.builds(make_record, U64, st.integers(0, 1), st.binary(max_size=20)),
    st.sampled_from([UPDATE, INCREMENT]),
    U64,
    U64,
    st.binary(min_size=16, max_size=16),
)


def test_an_entry_in_bytes():
    client = bytes(range(16))
    encoded = encode_entry(0x1234, b"key", make_record(5, 0, b"value"), INCREMENT, 7, 6, client)
    assert encoded.hex() == (
        "1234" "0003" "0000000e" "01" "0000000000000007" "0000000000000006" "000102030405060708090a0b0c0d0e0f"
        "6b6579" "0000000000000005" "00" "76616c7565"
    )  # fmt: skip
    assert len(encoded) == ENTRY_HEAD_BYTES + 3 + 14


@given(st.lists(ENTRIES, max_size=4))
def test_what_is_encoded_is_decoded(entries):
    encoded = b"".join(encode_entry(*each) for each in entries)
    assert list(decode_entries(encoded, len(entries))) == entries


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


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes_are_entries_or_a_protocol_error(data, count):
    try:
        entries = list(decode_entries(data, count))
    except ProtocolError:
        return
    assert b"".join(encode_entry(*each) for each in entries) == data
    assert all(len(each[2]) >= 9 for each in entries)


def test_a_record_without_room_for_its_version_is_refused():
    with pytest.raises(ProtocolError, match="cut short"):
        list(decode_entries(encode_entry(1, b"k", bytes(8), UPDATE, 0, 0, bytes(16)), 1))


@pytest.mark.parametrize("slot", [SLOTS, 65535])
def test_a_slot_that_does_not_exist_is_refused(slot):
    """The store would not find a place for it."""
    with pytest.raises(ProtocolError):
        list(decode_entries(encode_entry(slot, b"k", make_record(1, 0, b""), UPDATE, 0, 0, bytes(16)), 1))
