"""Columns: what is encoded is decoded, in one form only, within its bounds, and anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.columns import COLUMN_HEAD_BYTES, column_bytes, decode_column, encode_column
from twistedkv.errors import ProtocolError

MOST = 12
COUNT_MAX = 6
STRINGS = st.lists(st.binary(max_size=MOST), max_size=COUNT_MAX) | st.integers(0, MOST).flatmap(
    lambda size: st.lists(st.binary(min_size=size, max_size=size), max_size=COUNT_MAX)
)
"""Of different sizes, and of one."""
NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 5, 255, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF])
COLUMN_LIKE = st.builds(
    lambda numbers, tail: b"".join(number.to_bytes(4, "big") for number in numbers) + tail,
    st.lists(NUMBERS, max_size=6),
    st.binary(max_size=20),
)
"""Numbers as columns have them, which mean nothing."""


def decoded(data: bytes, start: int = 0, least: int = 0, most: int = MOST, count_max: int = COUNT_MAX) -> list[bytes]:
    """The strings of the column that ends with the data."""
    strings, end = decode_column(data, start, least, most, count_max)
    assert end == len(data)
    return strings


@pytest.mark.parametrize(
    ("strings", "data"),
    [
        ([], "00000000 00000000"),
        ([b""], "00000001 00000000"),
        ([b"", b"", b""], "00000003 00000000"),
        ([b"abc"], "00000001 00000003 616263"),
        ([b"ab", b"cd"], "00000002 00000002 61626364"),
        ([b"a", b"bc"], "00000002 ffffffff 00000001 00000002 616263"),
        ([b"", b"a"], "00000002 ffffffff 00000000 00000001 61"),
    ],
)
def test_expected_bytes(strings: list[bytes], data: str) -> None:
    assert encode_column(strings) == bytes.fromhex(data)
    assert decoded(bytes.fromhex(data)) == strings


@given(STRINGS, st.binary(max_size=5), st.binary(max_size=5))
def test_what_is_encoded_is_decoded_wherever_it_stands(strings: list[bytes], before: bytes, behind: bytes) -> None:
    data = encode_column(strings)
    found, end = decode_column(before + data + behind, len(before), 0, MOST, COUNT_MAX)
    assert found == strings
    assert end == len(before) + len(data)
    assert all(type(string) is bytes for string in found)


@given(STRINGS)
def test_its_size_is_known_before_as_a_bound_that_is_met(strings: list[bytes]) -> None:
    size = len(encode_column(strings))
    if len({len(string) for string in strings}) > 1:
        assert column_bytes(strings) == size
    else:
        assert column_bytes(strings) >= size
    assert size >= COLUMN_HEAD_BYTES


def test_of_a_mapping_the_keys_are_counted() -> None:
    assert column_bytes({b"a": 1, b"bc": 2}) == len(encode_column([b"a", b"bc"]))


@given(STRINGS, st.binary(max_size=5))
def test_every_cut_is_refused(strings: list[bytes], before: bytes) -> None:
    data = before + encode_column(strings)
    for end in range(len(before), len(data)):
        with pytest.raises(ProtocolError, match="cut short"):
            decode_column(data[:end], len(before), 0, MOST, COUNT_MAX)


@given(STRINGS.filter(bool))
def test_sizes_and_count_are_bounded(strings: list[bytes]) -> None:
    data = encode_column(strings)
    sizes = [len(string) for string in strings]
    least, most = min(sizes), max(sizes)
    assert decoded(data, 0, least, most, len(strings)) == strings
    with pytest.raises(ProtocolError):
        decode_column(data, 0, least + 1, MOST, COUNT_MAX)
    with pytest.raises(ProtocolError):
        decode_column(data, 0, 0, most - 1, COUNT_MAX)
    with pytest.raises(ProtocolError, match="at most"):
        decode_column(data, 0, 0, MOST, len(strings) - 1)


@given(st.binary(max_size=60) | COLUMN_LIKE, st.integers(0, 5), st.integers(0, 4), st.integers(0, 8))
def test_any_bytes_are_a_column_in_its_only_form_or_a_protocol_error(
    data: bytes, start: int, least: int, span: int
) -> None:
    try:
        strings, end = decode_column(data, start, least, least + span, COUNT_MAX)
    except ProtocolError:
        return
    assert encode_column(strings) == data[start:end]
    assert len(strings) <= COUNT_MAX
    assert all(least <= len(string) <= least + span for string in strings)


@pytest.mark.parametrize(
    "data",
    [
        "00000000 00000001",
        "00000000 ffffffff",
        "00000001 ffffffff 00000001 61",
        "00000002 ffffffff 00000001 00000001 6162",
        "00000002 ffffffff 00000000 00000000",
    ],
    ids=["a size of none", "sizes of none", "the size of one", "equal sizes", "equal sizes of nothing"],
)
def test_what_could_be_said_shorter_is_refused(data: str) -> None:
    with pytest.raises(ProtocolError):
        decode_column(bytes.fromhex(data), 0, 0, MOST, COUNT_MAX)


@pytest.mark.parametrize("start", [1, 8, 9, 100])
def test_where_there_is_nothing_there_is_no_column(start: int) -> None:
    with pytest.raises(ProtocolError, match="cut short"):
        decode_column(bytes(8), start, 0, MOST, COUNT_MAX)


def test_a_column_of_very_many_strings_of_one_size_and_of_different_ones() -> None:
    for strings in ([b"%06d" % n for n in range(50_000)], [b"%d" % n for n in range(50_000)]):
        assert decoded(encode_column(strings), 0, 1, 6, 50_000) == strings
