"""Checksums: what was stored is found again, and everything else is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.errors import DamagedRecord, StorageFailed
from twistedkv.records import make_record
from twistedkv.storage.checked import CHECKSUM_BYTES, intact, open_item, open_record, seal_item


@given(key=st.binary(max_size=40), item=st.binary(max_size=200))
def test_what_was_stored(key: bytes, item: bytes) -> None:
    stored = seal_item(key, item)
    assert len(stored) == CHECKSUM_BYTES + len(item)
    assert intact(key, stored) and open_item(key, stored, "it") == item


@given(key=st.binary(max_size=20), item=st.binary(max_size=60), data=st.data())
def test_each_bit_counts(key: bytes, item: bytes, data: st.DataObject) -> None:
    stored = bytearray(seal_item(key, item))
    bit = data.draw(st.integers(0, 8 * len(stored) - 1))
    stored[bit // 8] ^= 1 << bit % 8
    assert not intact(key, bytes(stored))
    with pytest.raises(StorageFailed, match="it is damaged: its checksum is wrong"):
        open_item(key, bytes(stored), "it")


@pytest.mark.parametrize("stored", [b"", b"\0\0\0", seal_item(b"key", b"item")[:-1]])
def test_what_was_cut_off(stored: bytes) -> None:
    assert not intact(b"key", stored)


def test_what_belongs_to_another_key() -> None:
    assert not intact(b"kez", seal_item(b"key", b"item"))


def test_a_record() -> None:
    record = make_record(7, 0, b"value")
    stored = seal_item(b"key", record)
    assert open_record(3, b"key", stored) == record
    for wrong in (b"", stored[:-1], stored + b"x", seal_item(b"key", b"short")):
        with pytest.raises(DamagedRecord) as damaged:
            open_record(3, b"key", wrong)
        assert (damaged.value.slot, damaged.value.key) == (3, b"key")
