"""Answers on the screen, as users of Redis know them: strings quoted, lists numbered, each kind in its colour.

What comes from a server never reaches the terminal as it is: everything that is not printable is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import click

from twistedkv.resp.answers import Answer, ErrorAnswer, MapAnswer, PushAnswer, SetAnswer, StatusText, VerbatimText

Fragment = tuple[str, str]
"""(kind, text); the kind decides the colour."""

_COLOURS: Mapping[str, Mapping[str, str | bool]] = {
    "string": {"fg": "green"},
    "number": {"fg": "cyan"},
    "status": {"bold": True},
    "error": {"fg": "red"},
    "nil": {"dim": True},
    "index": {"dim": True},
    "text": {},
    "remark": {"fg": "yellow"},
}

_TEXTS = {
    b"INFO": None,
    b"LOLWUT": None,
    b"CLUSTER": {b"INFO", b"NODES"},
    b"CLIENT": {b"INFO", b"LIST"},
    b"MEMORY": {b"DOCTOR", b"MALLOC-STATS"},
    b"LATENCY": {b"DOCTOR", b"GRAPH"},
}
"""Commands whose answer is a text with lines, by their subcommands; None: whatever follows."""
_LINE_END = re.compile(r"\r\n|\n|\r")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b"}


def is_text(words: Sequence[bytes]) -> bool:
    """Whether the answer to a command is a text for people, of several lines."""
    name = words[0].upper()
    if name not in _TEXTS:
        return False
    subcommands = _TEXTS[name]
    return subcommands is None or (len(words) > 1 and words[1].upper() in subcommands)


def plain(data: bytes) -> str:
    """Bytes in one line, without quotes; what is not printable is escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in data.decode("utf-8", "surrogateescape"))


def quoted(data: bytes) -> str:
    r"""Bytes in double quotes, as `split_line` reads them: `"a\x00\n"`. Printable UTF-8 stays as it is."""
    text = data.decode("utf-8", "surrogateescape")
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else _escaped(c)) for c in text) + '"'


def lines_of(answer: Answer, as_text: bool = False) -> Iterator[list[Fragment]]:
    """An answer in lines. `as_text`: a string is a text for people (see `is_text`)."""
    if isinstance(answer, VerbatimText) or (as_text and isinstance(answer, bytes)):
        text = answer.text if isinstance(answer, VerbatimText) else answer
        lines = _LINE_END.split(text.decode("utf-8", "surrogateescape"))
        if len(lines) > 1 and not lines[-1]:
            lines.pop()  # the text ends with a line end
        for line in lines:
            yield [("text", "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in line))]
    elif isinstance(answer, MapAnswer):
        yield from _pairs(answer)
    elif isinstance(answer, list):
        yield from _numbered(answer, ")", "(empty array)")
    elif isinstance(answer, SetAnswer):
        yield from _numbered(answer.members, "~", "(empty set)")
    elif isinstance(answer, PushAnswer):
        yield from _numbered(answer.items, ")", "(empty push)")
    else:
        yield [_single(answer)]


def text_of(answer: Answer, as_text: bool = False, colour: bool = False) -> str:
    """An answer for a terminal, with line ends."""
    paint = painted if colour else _unpainted
    return "".join("".join(paint(*fragment) for fragment in line) + "\n" for line in lines_of(answer, as_text))


def raw_of(answer: Answer) -> bytes:
    """An answer for programs: values as they are, one a line; nothing is an empty line."""
    return b"".join(value + b"\n" for value in _raw(answer))


def painted(kind: str, text: str) -> str:
    """A text in the colour of its kind."""
    return _paint_of(kind)(text) if text and kind != "text" else text


@lru_cache
def _paint_of(kind: str) -> Callable[[str], str]:
    before, after = click.style("\0", **_COLOURS[kind]).split("\0")  # type: ignore[arg-type]
    return lambda text: before + text + after


def _unpainted(kind: str, text: str) -> str:
    return text


def _single(answer: Answer) -> Fragment:
    match answer:
        case None:
            return "nil", "(nil)"
        case bool():
            return "number", "(true)" if answer else "(false)"
        case int():
            return "number", f"(integer) {answer}"
        case float():
            return "number", f"(double) {_double(answer)}"
        case StatusText():
            return "status", plain(answer.text)
        case ErrorAnswer():
            return "error", f"(error) {plain(answer.text)}"
        case bytes():
            return "string", quoted(answer)
    raise AssertionError(answer)


def _numbered(items: list[Answer], mark: str, empty: str) -> Iterator[list[Fragment]]:
    if not items:
        yield [("nil", empty)]
        return
    width = len(str(len(items)))
    indent = " " * (width + 2)
    for number, item in enumerate(items, 1):
        head: Fragment = ("index", f"{number:{width}}{mark} ")
        for line in lines_of(item):
            yield [head, *line]
            head = ("text", indent)


def _pairs(answer: MapAnswer) -> Iterator[list[Fragment]]:
    if not answer.pairs:
        yield [("nil", "(empty map)")]
        return
    width = len(str(len(answer.pairs)))
    indent: Fragment = ("text", " " * (width + 2))
    for number, (key, value) in enumerate(answer.pairs, 1):
        lines = list(lines_of(key))
        lines[0] = [("index", f"{number:{width}}# "), *lines[0]]
        lines[1:] = [[indent, *line] for line in lines[1:]]
        arrow: Fragment = ("index", " => ")
        if isinstance(value, (list, MapAnswer, SetAnswer, PushAnswer, VerbatimText)):
            lines[-1] = [*lines[-1], ("index", " =>")]
            yield from lines
            for line in lines_of(value):
                yield [indent, *line]
        else:
            lines[-1] = [*lines[-1], arrow, _single(value)]
            yield from lines


def _raw(answer: Answer) -> Iterator[bytes]:
    match answer:
        case None:
            yield b""
        case bool():
            yield b"true" if answer else b"false"
        case int():
            yield b"%d" % answer
        case float():
            yield _double(answer).encode()
        case bytes():
            yield answer
        case StatusText() | ErrorAnswer() | VerbatimText():
            yield answer.text
        case list() | SetAnswer() | PushAnswer() | MapAnswer():
            parts = _parts(answer)
            for part in parts:
                yield from _raw(part)
            if not parts:
                yield b""


def _parts(answer: list[Answer] | SetAnswer | PushAnswer | MapAnswer) -> list[Answer]:
    if isinstance(answer, MapAnswer):
        return [part for pair in answer.pairs for part in pair]
    if isinstance(answer, SetAnswer):
        return answer.members
    return answer.items if isinstance(answer, PushAnswer) else answer


def _double(number: float) -> str:
    return repr(number).removesuffix(".0")


def _escaped(character: str) -> str:
    data = character.encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in data)
