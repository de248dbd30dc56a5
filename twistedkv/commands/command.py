"""What is known of a command: how it is called, what it does to which arguments, and the function that executes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

from twistedkv.commands.keyspace import Keyspace

Run = Callable[[Keyspace, list[bytes], int], bytes]
"""(keyspace, the command with its arguments, protocol 2 or 3) -> the whole reply. Raises CommandError."""


@attrs.frozen
class KeySpec:
    """Which arguments are keys, and what happens to them, in the terms of COMMAND INFO."""

    flags: tuple[str, ...]
    begin: int
    """Index of the first key."""
    last: int
    """Index of the last key, counted from the first; -1: the last argument."""
    step: int


@attrs.frozen
class Command:
    """One command, or one subcommand of a command."""

    name: bytes
    """In lower case; of a subcommand `command|subcommand`."""
    arity: int
    """Number of arguments with the name; negative: at least so many."""
    flags: frozenset[str]
    first: int
    """Index of the first key; 0: the command has none."""
    last: int
    """Index of the last key; negative: counted from the end."""
    step: int
    categories: tuple[str, ...]
    """Of the access control lists of Redis, without the "@"."""
    tips: tuple[str, ...]
    run: Run | None
    """None: answered by the connection and not by a shard."""
    subcommands: Mapping[bytes, Command]
    """By upper-case name."""
    summary: str
    group: str
    arguments: str
    """Syntax of the arguments, as in `key [EX seconds | PX milliseconds]`."""
    since: str
    """The version of Redis that brought it; of our own commands ours."""
    specs: tuple[KeySpec, ...]


FLAGS = [
    "write",
    "readonly",
    "denyoom",
    "admin",
    "noscript",
    "loading",
    "stale",
    "skip_slowlog",
    "fast",
    "no_auth",
    "allow_busy",
    "internal",
]
"""All flags, in the order in which COMMAND INFO shows them. `internal` is ours: of no client."""

CATEGORIES = ["keyspace", "read", "write", "string", "admin", "fast", "slow", "dangerous", "connection", "transaction"]
"""All categories, in the order in which COMMAND INFO shows them."""

_IMPLIED = {"write": ("write",), "readonly": ("read",), "admin": ("admin", "dangerous")}
"""Categories that follow from a flag."""
_ENTRY = re.compile(r"\n(?! )")
_HEAD = re.compile(r"(\S+(?: [A-Z-]+)?) (-?\d+)((?: [a-z_]+)*)")


def commands_of(group: str, text: str, runs: Mapping[str, Run]) -> dict[bytes, Command]:
    """The commands of a table, by upper-case name. Each has a line of facts, its fields set off by semicolons, and
    below it, indented and of as many lines as needed, its words:

        NAME arity flags ; categories ; keys ; since ; tips
            arguments ; summary

    NAME is `COMMAND SUBCOMMAND` for a subcommand, whose command stands before it. Categories that follow from the flags
    are left out. Keys are `first[:last[:step]] what happens to them`, and of several kinds with a slash between them;
    `last` counts from the first, and -1 is the last argument. Of tips, `request:` and `response:` are short for those
    policies. `runs` has the functions of the commands that shards execute.
    """
    found: dict[str, Command] = {}
    inside: dict[str, dict[bytes, Command]] = {}
    for entry in _ENTRY.split(text.strip()):
        facts, _, words = entry.partition("\n")
        name, one = _command_of(group, facts, " ".join(words.split()), runs, inside)
        container, _, subcommand = name.partition(" ")
        if subcommand:
            inside[container][subcommand.encode()] = one
        else:
            found[name] = one
    unknown = set(runs) - set(found) - {f"{name} {sub.decode()}" for name, subs in inside.items() for sub in subs}
    if unknown:
        raise ValueError(f"functions of no command: {', '.join(sorted(unknown))}")
    return {name.encode(): one for name, one in found.items()}


def _command_of(
    group: str, facts: str, words: str, runs: Mapping[str, Run], inside: dict[str, dict[bytes, Command]]
) -> tuple[str, Command]:
    """One command from its two lines, and its name. `inside` gets a place for its subcommands."""
    head, explicit, keys, since, *tips = (field.strip() for field in facts.split(";"))
    arguments, summary = (field.strip() for field in words.split(";"))
    match = _HEAD.fullmatch(head)
    if match is None:
        raise ValueError(f"not a name and an arity: {head!r}")
    name, flags = match[1], frozenset(match[3].split())
    if flags - set(FLAGS):
        raise ValueError(f"{name} has unknown flags: {flags - set(FLAGS)}")
    categories = {*explicit.split(), "fast" if "fast" in flags else "slow"}
    for flag, implied in _IMPLIED.items():
        if flag in flags:
            categories.update(implied)
    specs = tuple(_spec_of(part) for part in keys.split("/") if part.strip())
    return name, Command(
        name=name.lower().replace(" ", "|").encode(),
        arity=int(match[2]),
        flags=flags,
        first=specs[0].begin if specs else 0,
        last=max((-1 if spec.last < 0 else spec.begin + spec.last for spec in specs), default=0),
        step=specs[0].step if specs else 0,
        categories=tuple(one for one in CATEGORIES if one in categories),
        tips=tuple(re.sub(r"\b(request|response):", r"\1_policy:", " ".join(tips)).split()),
        run=runs.get(name),
        subcommands={} if " " in name else inside.setdefault(name, {}),
        summary=summary,
        group=group,
        arguments=arguments,
        since=since,
        specs=specs,
    )


def _spec_of(text: str) -> KeySpec:
    place, *flags = text.split()
    begin, last, step = [*map(int, place.split(":")), *(0, 1)[place.count(":") :]]
    return KeySpec(tuple(flags), begin, last, step)
