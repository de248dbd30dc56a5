r"""Inline commands: a request as one line of text, for telnet, and for the shell.

Words have blanks between them. A word may end in a part in quotes, in which blanks stand for themselves:

    "..."  \n \r \t \b \a are the control characters, \xHH is the byte of two hexadecimal digits, and a backslash before
           any other byte is that byte (\" is a quote, \\ a backslash)
    '...'  \' is a quote; every other byte, also a backslash, is itself

A closing quote is followed by a blank or the line's end. A zero byte ends the line. These are Redis' rules, so that a
line means the same to both.
"""

from __future__ import annotations

import re

from twistedkv.errors import CommandError

UNBALANCED_QUOTES = "ERR Protocol error: unbalanced quotes in request"

_UNUSUAL = re.compile(rb"[\"'\0\v\f]")
_BLANKS = re.compile(rb"[ \t\n\r\v\f]*+")
# Only four of the six blanks end a word that has no quotes: Redis asks isspace() before a word, and not within it.
_WORD = re.compile(
    rb"""([^ \t\n\r"']*+)(?:"((?:\\.|[^"\\])*+)"(?=[ \t\n\r\v\f]|\Z)|'((?:\\'|[^'])*+)'(?=[ \t\n\r\v\f]|\Z))?""",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_line(line: bytes) -> list[bytes]:
    """The words of a line (with or without its line end). Raises CommandError when the quotes in it do not match."""
    if _UNUSUAL.search(line) is None:
        return line.split()
    line = line.partition(b"\0")[0]
    words: list[bytes] = []
    offset = _BLANKS.match(line).end()  # type: ignore[union-attr]  # it matches everywhere
    while offset < len(line):
        match = _WORD.match(line, offset)
        assert match is not None
        plain, double, single = match.groups()
        if double is not None:
            plain += _ESCAPE.sub(_unescaped, double) if b"\\" in double else double
        elif single is not None:
            plain += single.replace(b"\\'", b"'")
        offset = match.end()
        after = _BLANKS.match(line, offset).end()  # type: ignore[union-attr]
        if after == offset < len(line):
            raise CommandError(UNBALANCED_QUOTES)  # an unclosed quote, or something right behind a closed one
        words.append(plain)
        offset = after
    return words


def _unescaped(match: re.Match[bytes]) -> bytes:
    escape: bytes = match[1]
    return bytes.fromhex(escape[1:].decode()) if len(escape) == 3 else _CONTROLS.get(escape, escape)
