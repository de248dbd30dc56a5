"""Numbers of 80 bits. What they are compared with here was computed exactly, by fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.commands.longdouble import ZERO, add, parse, text_of

LARGEST = (2**64 - 1, 16384 - 64)


def exact(number: tuple[int, int]) -> Fraction:
    return Fraction(number[0]) * Fraction(2) ** number[1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"0.1", b"0.1"),
        (b"-0.1", b"-0.1"),
        (b"1e-17", b"0.00000000000000001"),
        (b"1e-18", b"0"),
        (b"-1e-18", b"0"),
        (b"-0", b"0"),
        (b"0x1.8p1", b"3"),
        (b"+.5", b"0.5"),
        (b"5.", b"5"),
        (b"1e20", b"1" + b"0" * 20),
        (b"18446744073709551615", b"18446744073709551615"),
        (b"18446744073709551617", b"18446744073709551616"),
        (b"36893488147419103235", b"36893488147419103236"),
        (b"3.141592653589793238462643", b"3.14159265358979324"),
    ],
)
def test_texts(text: bytes, shown: bytes) -> None:
    number = parse(text)
    assert number is not None
    assert text_of(number) == shown


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b" 1",
            b"1 ",
            b"1\n",
            b"nan",
            b"1e",
            b".",
            b"0x",
            b"0x1p",
            b"1_0",
            b"--1",
            b"1e4933",
            b"1e99999999999",
            b"1e-5000",
        ),
        *(b"9" * 5_120, b"0x1p16384", b"0x1p-16446", b"infinit", b"1e-4951", b"1" * 5_000),
    ],
)
def test_what_is_no_number(text: bytes) -> None:
    assert parse(text) is None


@given(st.integers(-(10**30), 10**30), st.integers(-60, 60))
def test_a_number_is_the_nearest_one_that_has_64_bits(digits: int, exponent: int) -> None:
    number = parse(b"%de%d" % (digits, exponent))
    assert number is not None
    wanted = Fraction(digits) * Fraction(10) ** exponent
    assert number[0].bit_length() <= 64
    if digits:
        assert abs(exact(number) - wanted) * 2 <= Fraction(2) ** number[1]
        assert number[0].bit_length() == 64


def test_of_two_nearest_numbers_it_is_the_even_one() -> None:
    assert parse(b"%d" % (2**64 + 1)) == (2**63, 1)
    assert parse(b"%d" % (2**64 + 3)) == (2**63 + 2, 1)


def test_the_range() -> None:
    largest = parse(b"1.18973149535723176502e4932")
    assert largest == LARGEST
    assert add(largest, largest) is None
    assert len(text_of(LARGEST)) == 4_933
    assert parse(text_of(LARGEST)) == LARGEST
    smallest = parse(b"0x1p-16445")
    assert smallest == (1, -16445)
    assert parse(b"3.7e-4951") == smallest
    assert text_of(smallest) == b"0"


def test_infinite_numbers_are_read_and_have_no_sums() -> None:
    for text in (b"inf", b"-INF", b"+Infinity"):
        number = parse(text)
        assert number is not None
        assert add(number, ZERO) is None
        assert add(ZERO, number) is None


@given(*[st.tuples(st.integers(-(2**64) + 1, 2**64 - 1), st.integers(-200, 200))] * 2)
def test_a_sum_is_rounded_once(left: tuple[int, int], right: tuple[int, int]) -> None:
    total = add(left, right)
    assert total is not None
    difference = abs(exact(total) - exact(left) - exact(right))
    assert difference * 2 <= Fraction(2) ** total[1]
    assert total[0].bit_length() <= 64
    assert difference == 0 or total[0].bit_length() == 64


@given(st.integers(-(10**6), 10**6))
def test_decimals_that_fit_are_read_back(number: int) -> None:
    text = (b"%.6f" % (number / 10**6)).rstrip(b"0").rstrip(b".")
    parsed = parse(text)
    assert parsed is not None
    assert text_of(parsed) == (b"0" if text == b"-0" else text)
