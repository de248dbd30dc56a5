"""What can be typed next, and what the help line says about it, from the table of commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from twistedkv.errors import CommandError
from twistedkv.resp.inline import split_line


class Described(Protocol):
    """What is known of a command here: `twistedkv.commands.command.Command` is one."""

    @property
    def flags(self) -> frozenset[str]:
        """Among them `readonly`."""

    @property
    def subcommands(self) -> Mapping[bytes, Described]:
        """By name in upper case."""

    @property
    def summary(self) -> str:
        """One sentence."""

    @property
    def group(self) -> str:
        """The heading under which it is listed."""

    @property
    def arguments(self) -> str:
        """Syntax, as in `key [EX seconds | PX milliseconds]`."""


Table = Mapping[bytes, Described]

LOCAL: Mapping[str, tuple[str, str]] = {
    "help": ("[command [subcommand]]", "Explain a command, or list them all"),
    "timing": ("[on | off]", "Show, or do not show, how long each command takes"),
    "quit": ("", "Leave the shell (Ctrl-D does, too)"),
}
"""Words that the shell itself understands: arguments, summary."""

_HARMLESS = set(b"PING ECHO TIME INFO COMMAND ROLE HELLO SELECT MULTI WATCH UNWATCH".split())
"""These change nothing but the connection, or nothing at all."""
_KEYWORD = re.compile(r"(?<![a-z-])[A-Z][A-Z0-9-]*(?![a-z])")
_PLACES = re.compile(r"[a-z][a-z0-9-]*( |\Z)")


class Candidate(NamedTuple):
    """One way to go on."""

    text: str
    replaced: int
    """How many characters before the cursor it takes the place of."""
    remark: str


class Help(NamedTuple):
    """The help line."""

    name: str
    arguments: str
    summary: str


def find(table: Table, words: Sequence[bytes]) -> tuple[str, Described] | None:
    """The command or subcommand that the words name, and that name in upper case."""
    if not words or (command := table.get(words[0].upper())) is None:
        return None
    name = words[0].upper().decode("ascii", "replace")
    if len(words) > 1 and (sub := command.subcommands.get(words[1].upper())) is not None:
        return f"{name} {words[1].upper().decode('ascii', 'replace')}", sub
    return name, command


def only_reads(table: Table, words: Sequence[bytes]) -> bool:
    """Whether a command may be sent twice, because it changes nothing."""
    found = find(table, words)
    return words[0].upper() in _HARMLESS or (found is not None and "readonly" in found[1].flags)


def help_line(table: Table, line: str) -> Help | None:
    """About the command that is being typed; None while it is not known."""
    words = _words(line)
    name = words[0].decode("utf-8", "replace").lower() if words else ""
    if name in LOCAL:
        return Help(name, *LOCAL[name])
    found = find(table, words)
    if found is None:
        return None
    arguments = found[1].arguments
    if found[1].subcommands:
        arguments = " | ".join(sorted(sub.decode() for sub in found[1].subcommands))
    return Help(found[0], arguments, found[1].summary)


def candidates(table: Table, line: str) -> Iterator[Candidate]:
    """How the last word of a line, up to the cursor, may go on, in the case (upper or lower) that was begun."""
    words = _words(line)
    typed = "" if not line or line[-1].isspace() else line.rsplit(maxsplit=1)[-1]
    before = words[:-1] if typed else words
    for text, remark in _texts(table, before):
        if text.upper().startswith(typed.upper()) and text.upper() != typed.upper():
            yield Candidate(text.lower() if typed.islower() else text, len(typed), remark)


def _texts(table: Table, before: list[bytes]) -> Iterator[tuple[str, str]]:
    """All that may stand behind these words, with remarks."""
    if not before or before[0].lower() == b"help":
        found = find(table, before[1:])
        if found is None:
            yield from ((name.decode(), table[name].summary) for name in sorted(table))
            if not before:
                yield from ((name, LOCAL[name][1]) for name in LOCAL)
        elif len(before) == 2:
            yield from ((name.decode(), sub.summary) for name, sub in sorted(found[1].subcommands.items()))
        return
    if before[0].lower() == b"timing":
        yield from (("on", ""), ("off", ""))
        return
    found = find(table, before)
    if found is None:
        return
    name, command = found
    if command.subcommands:
        if len(before) == 1:
            yield from ((sub.decode(), known.summary) for sub, known in sorted(command.subcommands.items()))
        return
    given = len(before) - len(name.split())
    if given >= _places(command.arguments):
        used = {word.upper().decode("utf-8", "replace") for word in before}
        for keyword in dict.fromkeys(_KEYWORD.findall(command.arguments)):
            if keyword not in used:
                yield keyword, ""


def _places(arguments: str) -> int:
    """How many arguments stand before the first optional or literal one."""
    count = offset = 0
    while match := _PLACES.match(arguments, offset):
        count += 1
        offset = match.end()
    return count


def _words(line: str) -> list[bytes]:
    data = line.encode("utf-8", "surrogateescape")
    try:
        return split_line(data)
    except CommandError:  # a quote is open: the words before it are known
        return split_line(re.split(rb"[\"']", data)[0])
