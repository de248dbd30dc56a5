"""What COMMAND and HELP tell. That it is what Redis tells is compared in test_like_redis.py."""

from __future__ import annotations

import pytest

from twistedkv.commands.introspection import SHOWN, command_reply, help_reply, named
from twistedkv.commands.table import COMMANDS
from twistedkv.errors import CommandError
from twistedkv.resp.replies import integer


def reply(line: str, protocol: int = 2) -> bytes:
    return command_reply(line.encode().split(), protocol)


def test_internal_commands_are_not_shown() -> None:
    hidden = {name for name, command in COMMANDS.items() if "internal" in command.flags}
    assert b"FLUSHSLOTS" in hidden
    assert set(SHOWN) == set(COMMANDS) - hidden
    assert reply("COMMAND COUNT") == integer(len(SHOWN))
    assert reply("COMMAND").startswith(b"*%d\r\n*10\r\n" % len(SHOWN))
    assert reply("COMMAND") == reply("COMMAND INFO")
    for line in ("COMMAND", "COMMAND LIST", "COMMAND DOCS"):
        assert b"flushslots" not in reply(line)
    assert reply("COMMAND INFO flushslots", 3) == b"*1\r\n_\r\n"
    with pytest.raises(CommandError, match="Invalid command specified"):
        reply("COMMAND GETKEYS flushslots 0")


def test_names() -> None:
    assert [one and one.name for one in map(named, (b"Get", b"OBJECT|encoding", b"get|x", b"object|", b"|", b"x"))] == [
        *(b"get", b"object|encoding", None, None, None, None),
    ]


def test_an_entry() -> None:
    assert reply("COMMAND INFO g") == (
        b"*1\r\n*10\r\n$1\r\ng\r\n:-2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n"
        b"*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
        b"$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n"
        b"$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    )


def test_docs() -> None:
    assert reply("COMMAND DOCS getv none", 3) == (
        b"%1\r\n$4\r\ngetv\r\n%4\r\n$7\r\nsummary\r\n$23\r\nA value and its version\r\n$5\r\nsince\r\n$5\r\n0.1.0\r\n"
        b"$5\r\ngroup\r\n$9\r\ntwistedkv\r\n$9\r\narguments\r\n*1\r\n%3\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n"
        b"$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n"
    )
    assert b"object|encoding" in reply("COMMAND DOCS object")
    assert reply("COMMAND DOCS").startswith(b"*%d\r\n" % (2 * len(SHOWN)))


def test_lists() -> None:
    assert reply("COMMAND LIST FILTERBY PATTERN GETV") == b"*1\r\n$4\r\ngetv\r\n"
    assert b"object|encoding" in reply("COMMAND LIST")
    assert reply("command list filterby aclcat transaction").startswith(b"*5\r\n")
    with pytest.raises(CommandError, match="ERR syntax error"):
        reply("COMMAND LIST FILTERBY COLOUR red")


def test_keys() -> None:
    assert reply("COMMAND GETKEYS MSET a 1 b 2") == b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"
    for line, text in [
        ("get a b", "Invalid number of arguments specified for command"),
        ("object foo x", "Invalid command specified"),
        ("dbsize x", "The command has no key arguments"),
        ("dbsize", "The command has no key arguments"),
    ]:
        with pytest.raises(CommandError, match=text):
            reply(f"COMMAND GETKEYS {line}")


def test_help_names_every_subcommand() -> None:
    containers = [name for name, command in COMMANDS.items() if command.subcommands]
    assert len(containers) == 9
    for name in containers:
        lines = help_reply(name).split(b"\r\n")
        assert lines[1].startswith(b"+" + name + b" <subcommand>")
        assert b"+HELP" in lines
        assert len(lines) == 3 + 2 * len(COMMANDS[name].subcommands)
    assert reply("COMMAND HELP") == help_reply(b"COMMAND")
