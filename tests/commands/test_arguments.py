"""Arguments, read as strictly as Redis reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.commands.arguments import INTEGER_MAX, INTEGER_MIN, integer_of, moment_of, options_of, text_of, word_of
from twistedkv.errors import CommandError


@given(st.integers(INTEGER_MIN, INTEGER_MAX))
def test_integers(number: int) -> None:
    assert integer_of(b"%d" % number) == number


@given(st.one_of(st.text("0123456789+-_ .ex", max_size=22).map(str.encode), st.binary(max_size=4)))
def test_an_integer_has_one_form(text: bytes) -> None:
    try:
        number = integer_of(text)
    except CommandError:
        return
    assert b"%d" % number == text


@pytest.mark.parametrize("text", [b"9223372036854775808", b"-9223372036854775809", b"9" * 5_000], ids=len)
def test_integers_have_64_bits(text: bytes) -> None:
    with pytest.raises(CommandError, match="ERR value is not an integer or out of range"):
        integer_of(text)


def test_words_end_at_a_zero_byte() -> None:
    assert word_of(b"nx\0rest") == b"NX"
    assert text_of(b"fo\xff\0rest") == "fo\udcff"
    assert text_of(b"abc", 2) == "ab"


def test_moments() -> None:
    assert moment_of(b"5", b"EX", 1_000, "set") == 6_000
    assert moment_of(b"5", b"PXAT", 1_000, "set") == 5
    assert moment_of(b"%d" % (INTEGER_MAX - 1_000), b"PX", 1_000, "set") == INTEGER_MAX
    for number, option in [
        (b"0", b"EX"),
        (b"-1", b"PXAT"),
        (b"%d" % INTEGER_MAX, b"PX"),
        (b"9223372036854776", b"EXAT"),
    ]:
        with pytest.raises(CommandError, match="ERR invalid expire time in 'set' command"):
            moment_of(number, option, 1_000, "set")


@pytest.mark.parametrize(
    "line", ["NX XX", "EX", "EX 1 PX 1", "KEEPTTL EX 1", "EX 1 KEEPTTL", "FOO", "PERSIST", "NX XX GET", ""]
)
def test_options_that_exclude_each_other(line: str) -> None:
    with pytest.raises(CommandError, match="ERR syntax error"):
        options_of([b"SET", b"k", b"v", *line.encode().split(b" ")], 3, (b"NX", b"XX", b"GET", b"KEEPTTL"))


def test_options_may_be_repeated() -> None:
    argv = b"SET k v nx NX get GET EX 1 ex 2".split()
    options = options_of(argv, 3, (b"NX", b"XX", b"GET", b"KEEPTTL"))
    assert (options.condition, options.get, options.time, options.number) == (b"NX", True, b"EX", b"2")
