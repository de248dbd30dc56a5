"""Lines split into words as Redis does it: beside a plain state machine, and hand-written cases."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twistedkv.errors import CommandError
from twistedkv.resp.inline import UNBALANCED_QUOTES, split_line

SPACES = b" \t\n\r\v\f"
HEX = b"0123456789abcdefABCDEF"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b" \t\v\f\r\n", []),
        (b"GET key", [b"GET", b"key"]),
        (b"  GET\t key \r\n", [b"GET", b"key"]),
        (b'SET "a b" "c\\r\\nd"', [b"SET", b"a b", b"c\r\nd"]),
        (b"\"\" ''", [b"", b""]),
        (b'"\\x41\\x0a\\x4g\\xFF" x', [b"A\nx4g\xff", b"x"]),
        (b'"\\n\\r\\t\\b\\a\\q\\"\\\\"', [b'\n\r\t\b\aq"\\']),
        (b"'it\\'s \\n'", [b"it's \\n"]),
        (b"pre'fix ed' x", [b"prefix ed", b"x"]),
        (b'pre"fix ed"', [b"prefix ed"]),
        (b"back\\slash \\x41", [b"back\\slash", b"\\x41"]),
        (b"a\vb \vc", [b"a\vb", b"c"]),
        (b'"a"\vb', [b"a", b"b"]),
        (b"a\0b", [b"a"]),
        (b"\0", []),
        ("SET Schlüssel „Wert“".encode(), [b"SET", "Schlüssel".encode(), "„Wert“".encode()]),
    ],
)
def test_words(line: bytes, words: list[bytes]) -> None:
    assert split_line(line) == words


@pytest.mark.parametrize(
    "line",
    [
        b'"',
        b"'",
        b'a "b',
        b"a 'b",
        b'"a"b',
        b"'a'b",
        b'"a""b"',
        b'"a\\"',
        b"'a\\'",
        b"'a\\\\'",
        b'"a\\',
        b'"a\0b"',
        b"a'b",
    ],
)
def test_quotes_that_do_not_match(line: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        split_line(line)
    assert str(caught.value) == UNBALANCED_QUOTES == "ERR Protocol error: unbalanced quotes in request"


def test_a_long_line_takes_no_long() -> None:
    assert split_line(b'"' + b"\\" * 65_536 + b'"') == [b"\\" * 32_768]
    assert split_line(b"' " + b"x" * 65_536 + b"'") == [b" " + b"x" * 65_536]
    with pytest.raises(CommandError):
        split_line(b'"' + b"\\" * 65_537)


def byte_by_byte(line: bytes) -> list[bytes] | None:
    """The rules once more, as a state machine that looks at one byte after the other. None: unbalanced."""
    line = line.split(b"\0")[0]
    words = []
    at = 0
    while True:
        while line[at : at + 1] and line[at] in SPACES:
            at += 1
        if at == len(line):
            return words
        word = bytearray()
        quote = b""
        while True:
            byte, following = line[at : at + 1], line[at + 1 : at + 2]
            if quote and not byte:
                return None
            if quote == b'"' and byte == b"\\" and following:
                code = line[at + 2 : at + 4]
                if following == b"x" and len(code) == 2 and all(digit in HEX for digit in code):
                    word.append(int(code, 16))
                    at += 4
                else:
                    word += {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}.get(following, following)
                    at += 2
            elif quote == b"'" and byte == b"\\" and following == b"'":
                word += b"'"
                at += 2
            elif quote and byte == quote:
                if following and following not in SPACES:
                    return None
                at += 1
                break
            elif not quote and (not byte or byte in b" \n\r\t"):
                break
            elif not quote and byte in b"\"'":
                quote = byte
                at += 1
            else:
                word += byte
                at += 1
        words.append(bytes(word))


LINES = st.lists(
    st.sampled_from([bytes([byte]) for byte in b"\"'\\ \t\n\r\v\f\0xnrtbaq14fG"] + [b"\\x4", b"\\x41", b"\\'", b'\\"'])
).map(b"".join)


@given(LINES | st.binary())
@example(b"'\\\\'")
@example(b'"\\x4"')
def test_the_words_are_those_of_a_plain_state_machine(line: bytes) -> None:
    try:
        words: list[bytes] | None = split_line(line)
    except CommandError:
        words = None
    assert words == byte_by_byte(line)
