"""The syntax texts of the table as trees, in which COMMAND DOCS tells clients what they may complete.

    key [NX | XX] [EX seconds | PX milliseconds] [key ...] <ON | OFF>

Words in capitals are written as they are, the others stand for values. Brackets set off what may be left out, angle
brackets only keep alternatives together, and `[key ...]` says that the arguments of these names before it may be given
again and again.
"""

from __future__ import annotations

import re

import attrs

_WORDS = re.compile(r"[][<>|]|[^][<>|\s]+")
_CLOSING = {"[": "]", "<": ">"}
_REPEATED = "..."

_INTEGERS = {
    *("seconds", "milliseconds", "cursor", "count", "increment", "decrement", "offset", "start", "end", "len", "slot"),
    *("numreplicas", "timeout", "protover", "index", "client-id", "version", "destination-db"),
}
_KEYS = {"key": 0, "key1": 0, "key2": 0, "source": 0, "newkey": 1, "destination": 1}
"""Names of keys, and which of the command's key specs they belong to."""


@attrs.frozen
class Argument:
    """An argument, or several that belong together."""

    name: str
    type: str
    """string, integer, unix-time, pattern, key, pure-token, oneof or block."""
    token: str = ""
    """The word before the value, in capitals."""
    optional: bool = False
    multiple: bool = False
    parts: tuple[Argument, ...] = ()
    """Of a oneof its alternatives, of a block what stands in it."""

    @property
    def spec(self) -> int:
        """Of a key: the index of its key spec."""
        return _KEYS[self.name]


def arguments_of(text: str) -> tuple[Argument, ...]:
    """The arguments that a syntax text describes. Raises ValueError when it is not well formed."""
    words = _WORDS.findall(text)
    alternatives, following = _alternatives(words, 0, "")
    if following <= len(words) or len(alternatives) != 1:
        raise ValueError(f"not a syntax: {text!r}")
    return tuple(alternatives[0])


def _alternatives(words: list[str], index: int, end: str) -> tuple[list[list[Argument]], int]:
    """What stands up to the closing bracket `end`, and the index after it."""
    found: list[list[Argument]] = [[]]
    tokens: list[str] = [""]
    while True:
        word = words[index] if index < len(words) else ""
        index += 1
        if word == end:
            return [_with_token(token, arguments) for token, arguments in zip(tokens, found, strict=True)], index
        if word == "|":
            found.append([])
            tokens.append("")
        elif word in _CLOSING:
            inner, index = _alternatives(words, index, _CLOSING[word])
            if word == "[" and words[index - 2] == _REPEATED:
                found[-1] = _repeated(found[-1], len(inner[0]))
            else:
                found[-1].append(attrs.evolve(_together(inner), optional=word == "["))
        elif word == _REPEATED:
            continue
        elif not word or word in "]>":
            raise ValueError(f"a bracket is missing, or one too many: {' '.join(words)!r}")
        elif word.isupper():
            tokens[-1] = word
        else:
            found[-1].append(Argument(word, _type_of(word)))


def _type_of(name: str) -> str:
    if name in _KEYS:
        return "key"
    if name in _INTEGERS:
        return "integer"
    if name.startswith("unix-time"):
        return "unix-time"
    return "pattern" if name == "pattern" else "string"


def _with_token(token: str, arguments: list[Argument]) -> list[Argument]:
    """The arguments after a word in capitals as one."""
    if not token:
        return arguments
    if not arguments:
        return [Argument(token.lower(), "pure-token", token)]
    return [attrs.evolve(_together([arguments]), token=token)]


def _together(alternatives: list[list[Argument]]) -> Argument:
    """What stands in brackets as one argument."""
    each = [one[0] if len(one) == 1 else _block(one) for one in alternatives]
    return each[0] if len(each) == 1 else Argument("_".join(one.name for one in each), "oneof", parts=tuple(each))


def _block(arguments: list[Argument]) -> Argument:
    return Argument("_".join(one.name for one in arguments), "block", parts=tuple(arguments))


def _repeated(arguments: list[Argument], count: int) -> list[Argument]:
    """The same with the last ones given again and again."""
    last = arguments[-count:]
    return [*arguments[:-count], attrs.evolve(last[0] if count == 1 else _block(last), multiple=True)]
