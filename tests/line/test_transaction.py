"""MULTI to EXEC."""

from __future__ import annotations

from tests.line.scene import Scene
from twistedkv.line import transaction
from twistedkv.line.wholes import CURSOR_SLOT_BITS
from twistedkv.slots import slot_of


def test_a_transaction_survives_the_primary_and_is_executed_once(scene: Scene) -> None:
    talker = scene.connect(1)
    tag = "{" + scene.key_of(2) + "}"
    for name in ("a", "b"):
        talker.ask("SET", tag + name, 10)
    scene.cluster.server_process(2).kill()
    talker.send(f"MULTI\r\nDECRBY {tag}a 3\r\nINCRBY {tag}b 3\r\nEXEC\r\n".encode())
    assert talker.wait(4) == ["OK", "QUEUED", "QUEUED", [7, 13]]
    assert talker.ask("MGET", tag + "a", tag + "b") == [b"7", b"13"]


def test_commands_of_no_key(scene: Scene) -> None:
    talker = scene.connect(1)
    talker.send(b"MULTI\r\nPING\r\nECHO x\r\nSELECT 1\r\nEXEC\r\nMULTI\r\nEXEC\r\n")
    assert talker.wait(7) == [
        "OK",
        "QUEUED",
        "QUEUED",
        "QUEUED",
        ["PONG", b"x", "-ERR DB index is out of range"],
        "OK",
        [],
    ]


def test_commands_about_all_keys_are_refused(scene: Scene) -> None:
    talker = scene.connect(1)
    talker.type("MULTI")
    assert talker.type("DBSIZE").startswith("-ERR 'dbsize' is not of one shard")
    assert talker.type("EXEC").startswith("-EXECABORT")


def test_a_transaction_is_bounded(scene: Scene, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(transaction, "COMMANDS_MAX", 2)
    talker = scene.connect(1)
    talker.send(b"MULTI\r\nPING\r\nPING\r\nPING\r\nEXEC\r\n")
    answers = talker.wait(5)
    assert answers[3].startswith("-ERR a transaction has at most 2 commands")
    assert answers[4].startswith("-EXECABORT")


def test_watched_keys_of_many_shards_can_be_looked_at_and_not_executed(scene: Scene) -> None:
    talker = scene.connect(1)
    near, far = scene.key_of(1), scene.key_of(2)
    assert talker.ask("WATCH", near, far) == "OK"
    talker.type("MULTI")
    talker.ask("SET", near, "v")
    assert talker.type("EXEC").startswith("-CROSSSLOT")
    assert talker.type("UNWATCH") == "OK"
    assert talker.ask("WATCH", near) == "OK"
    assert talker.ask("SET", near, "v") == "OK"
    talker.type("MULTI")
    assert talker.type("EXEC") is None


def test_a_cursor_is_a_slot_and_a_place() -> None:
    assert slot_of(b"foo") << CURSOR_SLOT_BITS < 1 << 47
