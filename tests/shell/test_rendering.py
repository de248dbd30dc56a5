"""Answers on the screen."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.resp.answers import (
    Answer,
    ErrorAnswer,
    MapAnswer,
    PushAnswer,
    SetAnswer,
    StatusText,
    VerbatimText,
)
from twistedkv.resp.inline import split_line
from twistedkv.shell.rendering import is_text, painted, plain, quoted, raw_of, text_of

OK = StatusText(b"OK")


@pytest.mark.parametrize(
    ("answer", "text", "raw"),
    [
        (b"hello", '"hello"', b"hello"),
        (b'a"b\\c\r\n\x00\xff\x1b[2J', '"a\\"b\\\\c\\r\\n\\x00\\xff\\x1b[2J"', b'a"b\\c\r\n\x00\xff\x1b[2J'),
        ("Grüße \u202e".encode(), '"Grüße \\xe2\\x80\\xae"', "Grüße \u202e".encode()),
        (b"", '""', b""),
        (None, "(nil)", b""),
        (-7, "(integer) -7", b"-7"),
        (1.5, "(double) 1.5", b"1.5"),
        (3.0, "(double) 3", b"3"),
        (float("-inf"), "(double) -inf", b"-inf"),
        (True, "(true)", b"true"),
        (False, "(false)", b"false"),
        (OK, "OK", b"OK"),
        (ErrorAnswer(b"ERR no \x1b"), "(error) ERR no \\x1b", b"ERR no \x1b"),
        ([], "(empty array)", b""),
        (SetAnswer([]), "(empty set)", b""),
        (MapAnswer([]), "(empty map)", b""),
        (PushAnswer([]), "(empty push)", b""),
        (
            [b"a", None, [1, [2, b"b"]]],
            '1) "a"\n2) (nil)\n3) 1) (integer) 1\n   2) 1) (integer) 2\n      2) "b"',
            b"a\n\n1\n2\nb",
        ),
        (SetAnswer([OK, OK]), "1~ OK\n2~ OK", b"OK\nOK"),
        (PushAnswer([OK]), "1) OK", b"OK"),
        (MapAnswer([(b"k", b"v"), (b"l", [1])]), '1# "k" => "v"\n2# "l" =>\n   1) (integer) 1', b"k\nv\nl\n1"),
        (MapAnswer([([1, 2], 3)]), "1# 1) (integer) 1\n   2) (integer) 2 => (integer) 3", b"1\n2\n3"),
        (VerbatimText(b"txt", b"a\r\nb\n"), "a\nb", b"a\r\nb\n"),
        ([VerbatimText(b"txt", b"")], "1) ", b""),
    ],
)
def test_answers(answer: Answer, text: str, raw: bytes) -> None:
    assert text_of(answer) == text + "\n"
    assert raw_of(answer) == raw + b"\n"
    assert click.unstyle(text_of(answer, colour=True)) == text + "\n"


def test_the_numbers_of_a_long_list_are_aligned() -> None:
    lines = text_of([b"x"] * 10).splitlines()
    assert lines[0] == ' 1) "x"'
    assert lines[9] == '10) "x"'


def test_colours() -> None:
    assert text_of(ErrorAnswer(b"ERR"), colour=True) == click.style("(error) ERR", fg="red") + "\n"
    assert text_of(1, colour=True) == click.style("(integer) 1", fg="cyan") + "\n"
    assert painted("text", "x") == "x"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"info", True),
        (b"INFO server", True),
        (b"CLUSTER nodes", True),
        (b"CLUSTER slots", False),
        (b"CLUSTER", False),
        (b"client list", True),
        (b"GET info", False),
    ],
)
def test_texts_for_people(line: bytes, expected: bool) -> None:
    assert is_text(line.split()) is expected


def test_a_text_keeps_its_lines_and_loses_its_control_characters() -> None:
    assert (
        text_of(b"# Server\r\na:1\tx\r\n\r\nb:\x1b[1m\xff\r\n", as_text=True) == "# Server\na:1\tx\n\nb:\\x1b[1m\\xff\n"
    )
    assert text_of(ErrorAnswer(b"ERR a"), as_text=True) == "(error) ERR a\n"


@given(st.binary() | st.text().map(str.encode))
def test_what_is_quoted_can_be_typed_again(data: bytes) -> None:
    assert split_line(quoted(data).encode()) == [data]
    assert quoted(data).isprintable()
    assert plain(data).isprintable()
