"""The table of commands and how one is found."""

from __future__ import annotations

import re

import pytest

from tests.support.keyspace import DictKeyspace
from twistedkv.commands import data_commands, own_commands, server_commands
from twistedkv.commands.command import CATEGORIES, FLAGS, commands_of
from twistedkv.commands.execution import execute
from twistedkv.commands.strings import get
from twistedkv.commands.syntax import arguments_of
from twistedkv.commands.table import COMMANDS, Command, keys_of, lookup
from twistedkv.errors import CommandError

EVERY = [one for top in COMMANDS.values() for one in (top, *top.subcommands.values())]


def found(line: str) -> bytes:
    return lookup(line.encode().split()).name


def refusal(argv: list[bytes]) -> str:
    with pytest.raises(CommandError) as raised:
        lookup(argv)
    return str(raised.value)


def test_commands_are_found_in_any_case() -> None:
    assert [found(line) for line in ("GET k", "get k", "GeT k", "object ENCODING k", "Config Get x y")] == [
        *(b"get", b"get", b"get", b"object|encoding", b"config|get"),
    ]
    assert found("COMMAND") == b"command"


def test_no_name_stands_in_two_tables() -> None:
    tables = [data_commands.TABLE, server_commands.TABLE, own_commands.TABLE]
    assert len(COMMANDS) == sum(map(len, tables))


@pytest.mark.parametrize("command", EVERY, ids=lambda command: command.name.decode())
def test_every_entry_makes_sense(command: Command) -> None:
    assert command.flags <= set(FLAGS)
    assert set(command.categories) <= set(CATEGORIES)
    assert command.summary
    assert not command.summary.endswith(".")
    assert command.group
    assert arguments_of(command.arguments) or not command.arguments
    assert (command.run is not None) + bool(command.subcommands) <= 1
    assert not {"write", "readonly"} <= command.flags
    if command.arity > 0 and command.first:
        assert command.first < command.arity
    words = command.name.count(b"|") + 1
    alone = len(re.sub(r"\[.*\]|<.*>", lambda match: "x x" if match[0][0] == "<" else "", command.arguments).split())
    if not command.subcommands and command.name not in (b"client|setinfo", b"client|no-evict"):
        assert abs(command.arity) == words + alone


def test_keys() -> None:
    for line, keys in [
        ("GET a", "a"),
        ("MSET a 1 b 2", "a b"),
        ("DEL a b c", "a b c"),
        ("RENAME a b", "a b"),
        ("COPY a b REPLACE", "a b"),
        ("OBJECT ENCODING a", "a"),
        ("MEMORY USAGE a SAMPLES 5", "a"),
        ("WATCH a b", "a b"),
        ("PING", ""),
        ("SCAN 0", ""),
        ("0", ""),
        ("0 a", "a"),
        ("CAS a 1 v", "a"),
    ]:
        argv = line.encode().split()
        assert keys_of(lookup(argv), argv) == keys.encode().split(), line


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([b"FOO", b"a", b"b"], "unknown command 'FOO', with args beginning with: 'a' 'b' "),
        ([b""], "unknown command '', with args beginning with: "),
        ([b"x" * 200, b"y" * 200], f"unknown command '{'x' * 128}', with args beginning with: '{'y' * 128}' "),
        ([b"FOO", b"a" * 126, b"bb"], f"unknown command 'FOO', with args beginning with: '{'a' * 126}' "),
        ([b"FOO", b"a" * 120, b"bbbbbb"], f"unknown command 'FOO', with args beginning with: '{'a' * 120}' 'bbbbb' "),
        ([b"f\x00o", b"x\x00y"], "unknown command 'f', with args beginning with: 'x' "),
        ([b"get|x"], "unknown command 'get|x', with args beginning with: "),
        ([b"flushslots", b"0"], "unknown command 'flushslots', with args beginning with: '0' "),
        ([b"object", b"foo"], "unknown subcommand 'foo'. Try OBJECT HELP."),
        ([b"debug", b"foo"], "unknown subcommand or wrong number of arguments for 'foo'. Try DEBUG HELP."),
        ([b"debug", b"sleep"], "unknown subcommand or wrong number of arguments for 'sleep'. Try DEBUG HELP."),
        ([b"get"], "wrong number of arguments for 'get' command"),
        ([b"GET", b"a", b"b"], "wrong number of arguments for 'get' command"),
        ([b"OBJECT"], "wrong number of arguments for 'object' command"),
        ([b"object", b"Encoding"], "wrong number of arguments for 'object|encoding' command"),
    ],
)
def test_refusals_have_the_texts_of_redis(argv: list[bytes], text: str) -> None:
    assert refusal(argv) == f"ERR {text}"


def test_internal_commands_are_found_by_servers_only() -> None:
    assert lookup([b"FLUSHSLOTS", b"0"], internal=True).name == b"flushslots"
    assert execute(DictKeyspace(), [b"FLUSHSLOTS", b"0"], 2) == b":0\r\n"


def test_execution() -> None:
    keyspace = DictKeyspace()
    assert execute(keyspace, [b"FOO\xff"], 2) == b"-ERR unknown command 'FOO\xff', with args beginning with: \r\n"
    assert execute(keyspace, [b"PING"], 2) == b"-ERR 'ping' is not executed by a shard\r\n"
    for argv in (
        [b"GET", b""],
        [b"MSET", b"a", b"1", b"", b"2"],
        [b"OBJECT", b"ENCODING", b""],
        [b"RENAME", b"a", b""],
    ):
        assert execute(keyspace, argv, 2) == b"-ERR key of 0 bytes: a key has 1 to 500 bytes\r\n"
    assert execute(keyspace, [b"SET", b"k" * 500, b""], 2) == b"+OK\r\n"
    assert execute(keyspace, [b"SET", b"k" * 501, b""], 2) == b"-ERR key of 501 bytes: a key has 1 to 500 bytes\r\n"
    assert execute(keyspace, [b"DEL", b"k", b"k" * 501], 2) == b"-ERR key of 501 bytes: a key has 1 to 500 bytes\r\n"
    assert keyspace.updates == 1


def test_a_table_with_a_mistake_is_refused() -> None:
    good = "GET 2 readonly ; string ; 1 RO ; 1.0.0\n    key ; A value"
    assert list(commands_of("x", good, {"GET": get})) == [b"GET"]
    with pytest.raises(ValueError, match="functions of no command: GETT"):
        commands_of("x", good, {"GETT": get})
    with pytest.raises(ValueError, match="unknown flags"):
        commands_of("x", good.replace("readonly", "readable"), {})
    with pytest.raises(ValueError, match="not a name and an arity"):
        commands_of("x", good.replace("GET 2", "GET two"), {})
