"""What is printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.cli.output import amount, bytes_fields, bytes_text, seconds_text, shown


@given(st.binary(max_size=300))
def test_nothing_that_steers_a_terminal_is_shown(data: bytes) -> None:
    text = shown(data)
    assert text.isprintable()
    assert len(text) < 2100


def test_bytes_are_shown_as_quoted_text() -> None:
    assert shown(b"plain") == '"plain"'
    assert shown("\x1b[2Jü\n\x80".encode() + b"\xff") == '"\\x1b[2Jü\\n\\x80\\xff"'
    assert shown(b"x" * 300) == '"' + "x" * 200 + '..."'
    assert shown(None) == "nothing"


def test_fields() -> None:
    assert bytes_fields("key", b"k") == {"key": "k"}
    assert bytes_fields("key", b"\xff") == {"key_base64": "/w=="}
    assert bytes_fields("key", None) == {"key": None}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 * 1024, "1.5 MiB"), (1 << 42, "4096.0 GiB")],
)
def test_byte_counts(number: int, text: str) -> None:
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.04, "0.0 s"), (99.9, "99.9 s"), (185, "3 min 05 s"), (3600 * 26 + 60, "26 h 01 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


def test_amounts() -> None:
    assert [amount(number, "record") for number in (0, 1, 60_000)] == ["0 records", "1 record", "60,000 records"]
