"""What a server tells of itself and of its clients."""

from __future__ import annotations

import pytest

from tests.line.scene import Scene
from twistedkv.commands.table import COMMANDS
from twistedkv.line.functions import table
from twistedkv.line.info import sections
from twistedkv.storage.memory import MemoryStore


def test_every_command_is_answered_by_somebody() -> None:
    functions = table(None)  # type: ignore[arg-type]
    for command in COMMANDS.values():
        for each in command.subcommands.values() or (command,):
            if "internal" not in each.flags:
                assert each.run is not None or each.name in functions, each.name
    assert not set(functions) - {each.name for one in COMMANDS.values() for each in (one, *one.subcommands.values())}, (
        "functions of no command"
    )


def test_info(scene: Scene) -> None:
    talker = scene.connect(1)
    key = scene.key_of(1)
    talker.ask("SET", key, "v", "EX", "100")
    text = talker.ask("INFO").decode()
    fields = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    assert fields["redis_version"] == "7.0.15"
    assert (fields["loading"], fields["role"], fields["cluster_enabled"]) == ("0", "master", "1")
    assert fields["db0"] == "keys=1,expires=1,avg_ttl=0"
    assert fields["tcp_port"] == "7379"
    assert int(fields["total_commands_processed"]) >= 2
    assert talker.ask("INFO", "keyspace", "nothing").decode().startswith("# Keyspace\r\n")
    assert b"# CPU" in sections(scene.port(1).desk, [b"ALL"])


def test_info_counts_no_keys(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A durable server stood still for 25 ms with each INFO: it looked up every key that was not in its place yet."""
    talker = scene.connect(1)
    talker.ask("SET", scene.key_of(1), "v")
    monkeypatch.setattr(MemoryStore, "count", lambda *_: pytest.fail("it was asked for an exact count"))
    assert b"db0:keys=1," in talker.ask("INFO")


def test_clients(scene: Scene) -> None:
    talker, other = scene.connect(1), scene.connect(1)
    number = talker.ask("CLIENT", "ID")
    assert talker.ask("CLIENT", "GETNAME") is None
    assert talker.ask("CLIENT", "SETNAME", "me") == "OK"
    assert talker.ask("CLIENT", "GETNAME") == b"me"
    assert talker.ask("CLIENT", "SETNAME", "a b").startswith("-ERR Client names cannot contain spaces")
    assert talker.ask("CLIENT", "SETINFO", "LIB-NAME", "lib") == "OK"
    assert other.ask("PING") == "PONG"
    lines = talker.ask("CLIENT", "LIST").decode().splitlines()
    assert len(lines) == 2
    fields = dict(word.split("=", 1) for word in lines[0].split(" "))
    assert (fields["id"], fields["name"], fields["lib-name"]) == (str(number), "me", "lib")
    assert fields["cmd"] == "client|list" and fields["laddr"] == "10.0.0.1:7379"
    assert talker.ask("CLIENT", "LIST", "ID", "12345") == b""
    assert talker.ask("CLIENT", "LIST", "TYPE", "master") == b""
    assert talker.ask("CLIENT", "INFO").decode().split()[0] == f"id={number}"
    assert talker.ask("RESET") == "RESET"
    assert talker.ask("CLIENT", "GETNAME") is None


def test_what_took_long_is_remembered(scene: Scene) -> None:
    talker = scene.connect(1)
    key = scene.key_of(2)
    assert talker.ask("SLOWLOG", "RESET") == "OK"
    scene.cluster.server_process(2).kill()
    assert talker.ask("SET", key, "v" * 200) == "OK"
    assert talker.ask("SLOWLOG", "LEN") >= 1
    entry = talker.ask("SLOWLOG", "GET", "-1")[-1]
    assert entry[2] > 10_000
    assert entry[3] == [b"SET", key.encode(), b"v" * 128 + b"... (72 more bytes)"]
    assert talker.ask("SLOWLOG", "GET", "-2") == "-ERR count should be greater than or equal to -1"


def test_settings_and_the_rest(scene: Scene) -> None:
    talker = scene.connect(1)
    assert talker.ask("CONFIG", "GET", "max*", "SAVE") == [
        b"maxclients",
        b"10000",
        b"maxmemory",
        b"0",
        b"maxmemory-policy",
        b"noeviction",
        b"save",
        b"",
    ]
    seconds, microseconds = talker.ask("TIME")
    assert int(seconds) > 1_600_000_000 and 0 <= int(microseconds) < 1_000_000
    assert talker.ask("ROLE") == [b"master", 0, []]
    assert b"server_1" in talker.ask("LOLWUT")
    assert talker.ask("COMMAND", "COUNT") > 80
    assert talker.ask("CLUSTER", "HELP")[0].startswith("CLUSTER")
    assert talker.ask("CLUSTER", "KEYSLOT", "foo") == 12182
    assert talker.ask("CLUSTER", "MYID") == scene.port(1).desk.server.core.me.server_id.to_bytes(
        4, "big"
    ).hex().encode() + (scene.port(1).desk.server.core.me.store_id.hex().encode())
    assert talker.ask("CLUSTER", "COUNTKEYSINSLOT", "16384") == "-ERR Invalid slot"
    key = scene.key_of(2, "{slot}")
    slot = talker.ask("CLUSTER", "KEYSLOT", key)
    talker.ask("SET", key, "v")
    assert talker.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
    assert talker.ask("CLUSTER", "GETKEYSINSLOT", slot, "10") == [key.encode()]
    assert talker.ask("VERIFY", key, "v") == "OK"
    assert talker.ask("VERIFY", key, "w").startswith("-ERR not on all copies: server_")
    assert talker.ask("VERIFY", "missing", " ") == "OK"
    before = scene.timeline.now
    assert talker.ask("DEBUG", "SLEEP", "0.5") == "OK"
    assert scene.timeline.now - before >= 0.5
    assert talker.ask("MEMORY", "USAGE", key) > 0
    assert talker.ask("SELECT", "0") == "OK"
    assert talker.ask("SELECT", "1") == "-ERR DB index is out of range"
    assert talker.ask("AUTH", "x").startswith("-ERR AUTH <password> called without any password")
