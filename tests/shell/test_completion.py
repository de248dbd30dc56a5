"""What can be typed next."""

from __future__ import annotations

import pytest

from tests.shell.fakes import TABLE
from twistedkv.commands.table import COMMANDS
from twistedkv.shell.completion import Candidate, Help, candidates, help_line, only_reads


def texts(line: str) -> list[str]:
    return [candidate.text for candidate in candidates(TABLE, line)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ["CLIENT", "COPY", "GET", "INCR", "SET", "help", "timing", "quit"]),
        ("C", ["CLIENT", "COPY"]),
        ("c", ["client", "copy"]),
        ("  ge", ["get"]),
        ("GET", []),
        ("h", ["help"]),
        ("GET ", []),
        ("GET k", []),
        ("client ", ["GETNAME", "SETINFO"]),
        ("client g", ["getname"]),
        ("CLIENT G", ["GETNAME"]),
        ("client setinfo ", ["LIB-NAME", "LIB-VER"]),
        ("client setinfo lib-v", ["lib-ver"]),
        ("client setinfo lib-name x", []),
        ("help ", ["CLIENT", "COPY", "GET", "INCR", "SET"]),
        ("help client ", ["GETNAME", "SETINFO"]),
        ("help get ", []),
        ("set k ", []),
        ("set k v ", ["NX", "XX", "GET", "EX", "KEEPTTL"]),
        ("set k v k", ["keepttl"]),
        ("set k v nx ", ["XX", "GET", "EX", "KEEPTTL"]),
        ('set "k l" v EX', []),
        ('set "k l" v E', ["EX"]),
        ("COPY a b ", ["DB", "REPLACE"]),
        ("COPY a b DB 0 R", ["REPLACE"]),
        ("timing o", ["on", "off"]),
        ("nonsense ", []),
        ("set 'k", []),
        ('"', []),
    ],
)
def test_candidates(line: str, expected: list[str]) -> None:
    assert texts(line) == expected


def test_a_candidate_takes_the_place_of_what_was_begun_and_says_what_it_is() -> None:
    assert list(candidates(TABLE, "in")) == [Candidate("incr", 2, "Add one")]
    assert next(candidates(TABLE, "set k v ")) == Candidate("NX", 0, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", None),
        ("nonsense", None),
        ("get", Help("GET", "key", "The value of a key")),
        ("get k", Help("GET", "key", "The value of a key")),
        ("get 'k l", Help("GET", "key", "The value of a key")),
        ("client", Help("CLIENT", "GETNAME | SETINFO", "About connections")),
        ("client getname", Help("CLIENT GETNAME", "", "The name of this connection")),
        ("quit", Help("quit", "", "Leave the shell (Ctrl-D does, too)")),
    ],
)
def test_the_help_line(line: str, expected: Help | None) -> None:
    assert help_line(TABLE, line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [(b"get k", True), (b"SET k v", False), (b"nonsense", False), (b"PING", True), (b"multi", True), (b"EXEC", False)],
)
def test_what_may_be_sent_twice(line: bytes, expected: bool) -> None:
    assert only_reads(TABLE, line.split()) is expected
    assert only_reads(COMMANDS, line.split()) is expected


def test_no_command_that_writes_may_be_sent_twice() -> None:
    assert not [name for name, command in COMMANDS.items() if "write" in command.flags and only_reads(COMMANDS, [name])]


def test_every_command_of_the_table_is_offered_and_explained() -> None:
    for name in COMMANDS:
        assert name.decode() in [text for text, _, _ in candidates(COMMANDS, "")]
        found = help_line(COMMANDS, name.decode())
        assert found is not None
        assert found.summary
