"""Patterns of keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.commands.patterns import pattern_of


def simply(pattern: bytes, key: bytes) -> bool:
    """What stars and question marks mean, without any shortcut."""
    if not pattern:
        return not key
    if pattern[:1] == b"*":
        return any(simply(pattern[1:], key[begin:]) for begin in range(len(key) + 1))
    return bool(key) and pattern[:1] in (b"?", key[:1]) and simply(pattern[1:], key[1:])


@given(st.text("ab*?", max_size=8), st.text("ab", min_size=1, max_size=10))
def test_stars_and_question_marks(pattern: str, key: str) -> None:
    matches = pattern_of(pattern.encode()).fullmatch(key.encode()) is not None
    assert matches == simply(pattern.encode(), key.encode())


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (b"[a-c]", b"a b c", b"d ab -"),
        (b"[c-a]", b"a b c", b"d"),
        (b"[^a-c]x", b"dx ^x", b"ax x"),
        (b"[a\\]]", b"a ]", b"\\"),
        (b"[ab", b"a b", b"["),
        (b"[a-", b"a -", b"b"),
        (b"[a-]", b"] ^ a", b"-"),
        (b"[]", b"", b"a ]"),
        (b"[^]", b"a ]", b""),
        (b"\\*", b"*", b"a"),
        (b"a\\", b"a\\", b"a"),
        (b"[\x7f-\x80]", b"\x00 \x7f \x80 \xff a", b"aa"),
        (b"h[ae]llo*", b"hallo hello-you", b"hillo ahallo"),
        (b".+", b".+", b"ab"),
        (b"", b"", b"a"),
    ],
)
def test_classes_and_backslashes(pattern: bytes, matching: bytes, others: bytes) -> None:
    fullmatch = pattern_of(pattern).fullmatch
    assert [key for key in matching.split(b" ") if key and not fullmatch(key)] == []
    assert [key for key in others.split(b" ") if key and fullmatch(key)] == []


def test_any_byte_matches_including_line_ends() -> None:
    assert pattern_of(b"?*\n").fullmatch(b"\n\xff\x00\n")


def test_many_stars_cost_no_more_than_a_few() -> None:
    """Without the atomic groups this would not end in the lifetime of anybody."""
    assert not pattern_of(b"*a" * 100 + b"*b").fullmatch(b"a" * 500)
    assert pattern_of(b"*a" * 100 + b"*b").fullmatch(b"a" * 499 + b"b")


def test_a_pattern_that_is_longer_than_any_key_matches_none() -> None:
    assert not pattern_of(b"?" * 501).fullmatch(b"a" * 500)
    assert not pattern_of(b"?" * 501).fullmatch(b"a" * 501)
    assert pattern_of(b"*" * 100_000).fullmatch(b"a")
