"""Versions order like (epoch, sequence), and records are what they were made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.limits import EPOCH_MAX, SEQUENCE_BITS, SEQUENCE_MAX, VALUE_BYTES_MAX
from twistedkv.records import (
    EXPIRY_BYTES,
    NO_VERSION,
    RECORD_BYTES_MAX,
    RECORD_HEAD_BYTES,
    TOMBSTONE,
    epoch_of,
    flagged,
    is_tombstone,
    make_expiring_record,
    make_record,
    newest_version,
    record_expiry,
    record_value,
    record_version,
    sequence_of,
    version_of,
)

epochs = st.integers(0, EPOCH_MAX)
sequences = st.integers(0, SEQUENCE_MAX)


@given(epochs, sequences)
def test_a_version_holds_both_numbers_in_64_bits(epoch: int, sequence: int) -> None:
    version = version_of(epoch, sequence)
    assert (epoch_of(version), sequence_of(version)) == (epoch, sequence)
    assert 0 <= version < 1 << 64


@given(st.tuples(epochs, sequences), st.tuples(epochs, sequences))
def test_versions_order_as_epoch_then_sequence(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert (version_of(*a) < version_of(*b)) == (a < b)


def test_the_first_version_of_all_is_above_no_version() -> None:
    assert version_of(1, 1) > NO_VERSION
    assert version_of(1, 1) == 1 << SEQUENCE_BITS | 1


@given(epochs, sequences, st.sampled_from([0, TOMBSTONE]), st.binary(max_size=50))
def test_a_record_is_what_it_was_made_of(epoch: int, sequence: int, flags: int, value: bytes) -> None:
    record = make_record(version_of(epoch, sequence), flags, value)
    assert record_version(record) == version_of(epoch, sequence)
    assert is_tombstone(record) == (flags == TOMBSTONE)
    assert record_value(record) == value
    assert len(record) == RECORD_HEAD_BYTES + len(value)


@given(epochs, sequences, st.integers(1, 2**64 - 1), st.binary(max_size=50))
def test_a_record_that_expires_has_a_moment_besides(epoch: int, sequence: int, expiry: int, value: bytes) -> None:
    record = make_expiring_record(version_of(epoch, sequence), expiry, value)
    assert record_version(record) == version_of(epoch, sequence)
    assert (record_expiry(record), record_value(record), is_tombstone(record)) == (expiry, value, False)
    assert len(record) == RECORD_HEAD_BYTES + EXPIRY_BYTES + len(value)


@pytest.mark.parametrize("flags", [0, TOMBSTONE])
def test_other_records_never_expire(flags: int) -> None:
    assert record_expiry(make_record(1, flags, bytes([255]) * 20)) == 0


versions = st.builds(version_of, epochs, sequences)
records = st.builds(make_record, versions, st.sampled_from([0, 0, TOMBSTONE]), st.binary(max_size=5)) | st.builds(
    make_expiring_record, versions, st.integers(1, 2**64 - 1), st.binary(max_size=5)
)


@given(st.lists(records, max_size=6))
def test_many_records_are_flagged_if_one_is(many: list[bytes]) -> None:
    assert flagged(many) == any(is_tombstone(record) or record_expiry(record) > 0 for record in many)
    assert not flagged(make_record(record_version(record), 0, record_value(record)) for record in many)


@given(st.lists(records, min_size=1, max_size=6))
def test_the_newest_of_many_versions(many: list[bytes]) -> None:
    assert newest_version(many) == max(record_version(record) for record in many)
    assert newest_version(iter(many)) == newest_version(many)


def test_the_largest_record_is_that_of_the_largest_value_that_expires() -> None:
    assert len(make_expiring_record(1, 1, bytes(VALUE_BYTES_MAX))) == RECORD_BYTES_MAX


def test_expected_bytes() -> None:
    assert make_expiring_record(0x0102030405060708, 0x1112, b"v").hex() == (
        "0102030405060708" + "02" + "0000000000001112" + "76"
    )
    assert make_record(0x0102030405060708, TOMBSTONE, b"v").hex() == "0102030405060708" + "01" + "76"
