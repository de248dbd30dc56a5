"""Fields refuse what does not fit, in both directions, with ProtocolError and nothing else."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import attrs
import pytest

from twistedkv.errors import ProtocolError
from twistedkv.wire.fields import (
    I64,
    U8,
    U16,
    U32,
    U64,
    Bytes,
    Column,
    Enumerated,
    Family,
    Field,
    Fixed,
    Flag,
    Layout,
    Many,
    Rest,
    Text,
)


class Colour(IntEnum):
    RED = 1


@attrs.define
class Pair:
    a: int
    b: bytes


@attrs.define
class Other:
    a: int


PAIR = Layout(Pair, ("a", U8), ("b", Bytes(U8, 2)))


def written(field: Field, value: Any) -> bytes:
    out: list[bytes] = []
    field.write(value, out)
    return b"".join(out)


@pytest.mark.parametrize(
    ("field", "value", "data"),
    [
        (U8, 255, "ff"),
        (U16, 258, "0102"),
        (U32, 16909060, "01020304"),
        (U64, 2**64 - 1, "ffffffffffffffff"),
        (I64, -1, "ffffffffffffffff"),
        (I64, -(2**63), "8000000000000000"),
        (Flag(), True, "01"),
        (Flag(), False, "00"),
        (Enumerated(Colour), Colour.RED, "01"),
        (Fixed(3), b"abc", "616263"),
        (Bytes(U16, 4), b"ab", "00026162"),
        (Text(U8, 4), "é", "02c3a9"),
        (Rest(), b"ab", "6162"),
        (Many(U16, U8, 3), [1, 2], "00020102"),
        (Column(0, 3, 4), [], "0000000000000000"),
        (Column(0, 3, 4), [b"ab", b"cd"], "000000020000000261626364"),
        (Column(0, 3, 4), [b"ab", b""], "00000002ffffffff00000002000000006162"),
        (PAIR, Pair(7, b"x"), "070178"),
    ],
)
def test_expected_bytes(field: Field, value: Any, data: str) -> None:
    assert written(field, value).hex() == data
    assert field.read(b"\xee" + bytes.fromhex(data), 1) == (value, 1 + len(data) // 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (U8, 256),
        (U16, -1),
        (U64, 2**64),
        (I64, 2**63),
        (Fixed(3), b"ab"),
        (Bytes(U16, 4), b"abcde"),
        (Text(U8, 4), "abcde"),
        (Text(U8, 4), "ééé"),
        (Many(U16, U8, 3), [1, 2, 3, 4]),
        (Column(1, 3, 4), [b"a"] * 5),
        (Column(1, 3, 4), [b"a", b""]),
        (Column(1, 3, 4), [b"a", b"abcd"]),
    ],
)
def test_what_does_not_fit_is_not_written(field: Field, value: Any) -> None:
    with pytest.raises(ProtocolError):
        written(field, value)


@pytest.mark.parametrize(
    ("field", "data"),
    [
        (U8, ""),
        (U32, "010203"),
        (Flag(), "02"),
        (Enumerated(Colour), "02"),
        (Fixed(3), "6162"),
        (Bytes(U16, 4), "00036162"),
        (Bytes(U16, 4), "00056162636465"),
        (Text(U8, 4), "01ff"),
        (Many(U16, U8, 3), "000401020304"),
        (Many(U16, U8, 3), "000201"),
        (Column(1, 3, 4), "000000050000000161616161" + "61"),
        (Column(1, 3, 4), "000000010000000461626364"),
        (Column(1, 3, 4), "0000000100000000"),
        (Column(1, 3, 4), "00000002ffffffff000000010000000461" + "61626364"),
        (Column(1, 3, 4), "000000020000000161"),
        (Column(1, 3, 4), "00000001"),
        (PAIR, "07"),
    ],
)
def test_what_is_cut_off_or_out_of_bounds_is_not_read(field: Field, data: str) -> None:
    with pytest.raises(ProtocolError):
        field.read(bytes.fromhex(data), 0)


def test_bytes_left_over_are_refused() -> None:
    assert PAIR.decode(b"\x07\x01x") == Pair(7, b"x")
    with pytest.raises(ProtocolError, match="1 bytes too many"):
        PAIR.decode(b"\x07\x01xy")


def test_a_lone_surrogate_in_a_text_becomes_a_question_mark() -> None:
    assert written(Text(U8, 4), "a\udc80") == b"\x02a?"


def test_a_family_knows_its_messages_by_number_and_class() -> None:
    family = Family("test", (0x33, PAIR))
    assert family.encode(Pair(1, b"")) == (0x33, b"\x01\x00")
    assert family.decode(0x33, b"\x01\x00") == Pair(1, b"")
    with pytest.raises(ProtocolError, match="0x34 is not one of the test messages"):
        family.decode(0x34, b"")


@pytest.mark.parametrize("second", [(1, Layout(Other, ("a", U8))), (2, PAIR)])
def test_a_family_names_no_number_and_no_class_twice(second: Any) -> None:
    with pytest.raises(ValueError, match="named twice"):
        Family("test", (1, PAIR), second)
