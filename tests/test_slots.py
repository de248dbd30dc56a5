"""Slots are those of Redis Cluster."""

from __future__ import annotations

from binascii import crc_hqx

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.limits import SLOTS
from twistedkv.slots import slot_of, slot_ranges, slots_of


def crc16(data: bytes) -> int:
    """CRC16/XMODEM bit by bit, from its definition."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def test_the_check_value_of_the_redis_cluster_specification() -> None:
    assert crc_hqx(b"123456789", 0) == crc16(b"123456789") == 0x31C3
    assert slot_of(b"123456789") == 0x31C3 % SLOTS == 12739


@pytest.mark.parametrize(("key", "slot"), [(b"foo", 12182), (b"bar", 5061), (b"hello", 866), (b"", 0)])
def test_slots_that_redis_cluster_names(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"{user1000}.followers", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo{bar", b"foo{bar"),
        (b"foo}bar{", b"foo}bar{"),
        (b"}{a}", b"a"),
        (b"{a}", b"a"),
        (b"{}", b"{}"),
    ],
)
def test_the_hash_tag(key: bytes, hashed: bytes) -> None:
    assert slot_of(key) == crc16(hashed) % SLOTS


def test_keys_with_one_tag_are_in_one_slot() -> None:
    assert slot_of(b"{user1000}.following") == slot_of(b"{user1000}.followers")


@given(st.binary(max_size=100))
def test_any_key_has_the_slot_of_the_definition(key: bytes) -> None:
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    tagged = start >= 0 and end > start + 1
    assert slot_of(key) == crc16(key[start + 1 : end] if tagged else key) % 16384


KEYS = st.binary(max_size=20) | st.lists(st.sampled_from([b"{", b"}", b"a", b"bc"]), max_size=6).map(b"".join)


@given(st.lists(KEYS, max_size=8))
def test_many_keys_have_the_slots_that_each_has(keys: list[bytes]) -> None:
    """Also when only some of them have a tag, or a brace that begins none."""
    assert slots_of(keys) == [slot_of(key) for key in keys]


def test_a_tag_does_not_begin_in_one_key_and_end_in_the_next() -> None:
    assert slots_of([b"a{b", b"c}d"]) == [slot_of(b"a{b"), slot_of(b"c}d")] != [slot_of(b"bc")] * 2


@given(st.integers(1, SLOTS))
def test_ranges_cover_every_slot_once_and_evenly(shards: int) -> None:
    ranges = slot_ranges(shards)
    assert len(ranges) == shards
    assert [slot for first, last in ranges for slot in (first, last)][0::2] == [0] + [
        last + 1 for _, last in ranges[:-1]
    ]
    assert ranges[-1][1] == SLOTS - 1
    sizes = {last - first + 1 for first, last in ranges}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("shards", [0, -1, SLOTS + 1])
def test_there_are_no_other_numbers_of_shards(shards: int) -> None:
    with pytest.raises(ValueError, match="1 to 16384"):
        slot_ranges(shards)
