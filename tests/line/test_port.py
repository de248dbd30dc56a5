"""The line port as its clients see it: any server, any key, any way of writing a command."""

from __future__ import annotations

import pytest

from tests.line.scene import Scene
from twistedkv.line import port
from twistedkv.simulation.cluster import COORDINATOR_HOST


def test_a_person_types(scene: Scene) -> None:
    talker = scene.connect()
    assert talker.type("ping") == "PONG"
    assert talker.type('set greeting "hello world"') == "OK"
    assert talker.type("GET greeting") == b"hello world"
    assert talker.type("del greeting missing") == 1
    assert talker.type("get greeting") is None
    talker.send(b"\r\n\nping\n")
    assert talker.wait() == ["PONG"]


@pytest.mark.parametrize("server_id", [1, 2, 3])
def test_any_server_answers_for_any_key(scene: Scene, server_id: int) -> None:
    keys = [scene.key_of(i) for i in (1, 2, 3)]
    talker = scene.connect(server_id)
    assert [talker.ask("SET", key, key) for key in keys] == ["OK"] * 3
    assert talker.ask("MGET", *keys, "missing", keys[0]) == [*(key.encode() for key in keys), None, keys[0].encode()]
    assert talker.ask("MSET", *[word for key in keys for word in (key, "new")]) == "OK"
    assert talker.ask("MGET", *keys) == [b"new"] * 3
    assert talker.ask("EXISTS", *keys, keys[0]) == 4
    assert talker.ask("TOUCH", *keys) == 3
    assert talker.ask("DBSIZE") == 3
    assert sorted(talker.ask("KEYS", "*")) == sorted(key.encode() for key in keys)
    assert talker.ask("DEL", *keys, "missing") == 3
    assert talker.ask("DBSIZE") == 0
    assert talker.ask("RANDOMKEY") is None


def test_replies_keep_the_order_of_the_requests(scene: Scene) -> None:
    talker = scene.connect()
    near, far = scene.key_of(1), scene.key_of(2)
    for number in range(20):
        talker.request("SET", far, number)
        talker.request("GET", near)
        talker.request("GET", far)
        talker.request("PING")
    expected = [answer for number in range(20) for answer in ("OK", None, str(number).encode(), "PONG")]
    assert talker.wait(80) == expected
    scene.end()


def test_a_scan_finds_every_key_once(scene: Scene) -> None:
    talker = scene.connect()
    for number in range(200):
        talker.request("SET", f"key:{number}", number)
    talker.wait(200)
    for count in (1, 7, 1000):
        found, cursor = [], b"0"
        while True:
            cursor, page = talker.ask("SCAN", cursor, "COUNT", count, "MATCH", "key:*")
            found += page
            if cursor == b"0":
                break
        assert sorted(found) == sorted(f"key:{number}".encode() for number in range(200))
    assert talker.ask("SCAN", "0", "MATCH", "none*", "COUNT", "1000")[1] == []
    assert talker.ask("RANDOMKEY").startswith(b"key:")
    assert talker.ask("FLUSHALL") == "OK"
    assert talker.ask("DBSIZE") == 0


def test_a_transaction_of_one_shard_is_executed_as_a_whole(scene: Scene) -> None:
    talker = scene.connect()
    for command in ("MULTI", "SET {t}a 1", "INCR {t}a", "PING", "GET {t}b", "INCR {t}c x"):
        talker.type(command)
    assert talker.type("EXEC") == "-EXECABORT Transaction discarded because of previous errors."
    for command in ("MULTI", "SET {t}a 1", "INCR {t}a", "PING", "GET {t}b", "SET {t}s word", "INCR {t}s"):
        talker.type(command)
    assert talker.type("EXEC") == ["OK", 2, "PONG", None, "OK", "-ERR value is not an integer or out of range"]
    assert talker.type("MULTI") == "OK"
    assert talker.type("MULTI") == "-ERR MULTI calls can not be nested"
    assert talker.type("DISCARD") == "OK"
    assert talker.type("EXEC") == "-ERR EXEC without MULTI"


def test_a_transaction_of_several_shards_names_the_hash_tag(scene: Scene) -> None:
    talker = scene.connect()
    near, far = scene.key_of(1), scene.key_of(2)
    talker.type("MULTI")
    talker.type(f"SET {near} 1")
    talker.type(f"SET {far} 1")
    answer = talker.type("EXEC")
    assert answer.startswith("-CROSSSLOT Keys in request don't hash to the same slot")
    assert "hash tag" in answer
    assert talker.ask("MGET", near, far) == [None, None]
    for command in (f"RENAME {near} {far}", f"MSETNX {near} 1 {far} 1", f"COPY {near} {far}"):
        assert talker.type(command).startswith("-CROSSSLOT")


def test_a_watched_key_that_changes_fails_the_transaction(scene: Scene) -> None:
    talker, other = scene.connect(1), scene.connect(2)
    assert talker.type("SET {w}a 1") == "OK"
    assert talker.type("WATCH {w}a {w}b") == "OK"
    assert other.type("SET {w}b 1") == "OK"
    talker.send(b"MULTI\r\nSET {w}a 2\r\nEXEC\r\nGET {w}a\r\n")
    assert talker.wait(4) == ["OK", "QUEUED", None, b"1"]
    talker.send(b"WATCH {w}a\r\nMULTI\r\nSET {w}a 3\r\nEXEC\r\nGET {w}a\r\n")
    assert talker.wait(5) == ["OK", "OK", "QUEUED", ["OK"], b"3"]


def test_keys_expire(scene: Scene) -> None:
    talker, other = scene.connect(1), scene.connect(2)
    key = scene.key_of(2)
    assert talker.ask("SET", key, "v", "PX", "5000") == "OK"
    assert 4000 < other.ask("PTTL", key) <= 5000
    scene.pass_seconds(2.5)
    assert talker.ask("GET", key) == b"v"
    scene.pass_seconds(2.6)
    assert [talker.ask("GET", key), other.ask("EXISTS", key), talker.ask("TTL", key)] == [None, 0, -2]
    for number in range(500):
        talker.request("SET", f"gone{number}", "v", "PX", "100")
    talker.wait(500)
    scene.pass_seconds(3.0)
    assert talker.ask("DBSIZE") == 0, "what has expired is removed although nobody asks for it"
    for server_id in (1, 2, 3):
        server = scene.cluster.server(server_id)
        assert server is not None and server.core is not None and server.core.store.keys == 0


def test_expiry_survives_the_primary(scene: Scene) -> None:
    talker = scene.connect(1)
    key = scene.key_of(2)
    assert talker.ask("SET", key, "v", "PX", "8000") == "OK"
    scene.cluster.server_process(2).kill()
    assert talker.ask("GET", key) == b"v"
    assert 0 < talker.ask("PTTL", key) <= 8000
    scene.pass_seconds(10.0)
    assert talker.ask("GET", key) is None


def test_wait_tells_how_many_copies_there_are(scene: Scene) -> None:
    talker = scene.connect(1)
    key = scene.key_of(1)
    talker.request("SET", key, "v")
    talker.request("WAIT", "1", "100")
    assert talker.wait(2) == ["OK", 1]
    before = scene.timeline.now
    assert talker.ask("WAIT", "2", "500") == 1
    assert scene.timeline.now - before >= 0.5
    assert talker.ask("WAIT", "1", "-1") == "-ERR timeout is negative"


def test_resp3(scene: Scene) -> None:
    talker = scene.connect(1)
    hello = talker.ask("HELLO", "3")
    assert hello[b"proto"] == 3 and hello[b"server"] == b"redis"
    assert talker.ask("GET", scene.key_of(2)) is None
    assert talker.heard.endswith(b"_\r\n")
    assert talker.ask("HELLO", "4") == "-NOPROTO unsupported protocol version"
    assert talker.ask("CONFIG", "GET", "save") == {b"save": b""}
    talker.ask("HELLO", "2")
    talker.ask("GET", scene.key_of(2))
    assert talker.heard.endswith(b"$-1\r\n")


def test_a_dead_primary_costs_a_pause_and_no_error(scene: Scene) -> None:
    talker = scene.connect(1)
    keys = [scene.key_of(2, f"n{n}") for n in range(5)]
    for key in keys:
        assert talker.ask("INCR", key) == 1
    scene.cluster.server_process(2).kill()
    for key in keys:
        talker.request("INCR", key)
    assert talker.wait(5) == [2] * 5
    assert [talker.ask("GET", key) for key in keys] == [b"2"] * 5


def test_a_server_that_loses_its_shards_hands_what_it_has_begun_to_the_next(scene: Scene) -> None:
    """A write that was executed here and could not be committed is sent to the new primary, and executed once."""
    talker = scene.connect(2)
    key = scene.key_of(2)
    assert talker.ask("INCR", key) == 1
    network = scene.cluster.network
    own = scene.cluster.host_of(2)
    for host in (scene.cluster.host_of(1), scene.cluster.host_of(3), COORDINATOR_HOST):
        network.cut(own, host)
        network.cut(host, own)
    talker.request("INCR", key)
    scene.pass_seconds(4.0)
    assert not talker.answers
    network.heal_all()
    assert talker.wait() == [2]
    assert scene.connect(1).ask("GET", key) == b"2"


def test_protocol_errors_end_the_connection(scene: Scene) -> None:
    talker = scene.connect()
    # Nothing after it: what is not read when a connection is closed has the kernel reset it, and answers are lost.
    talker.send(b"PING\r\n*1\r\n+bad\r\n")
    assert talker.wait(2) == ["PONG", "-ERR Protocol error: expected '$', got '+'"]
    scene.until(lambda: not talker.open)
    talker = scene.connect()
    talker.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert talker.wait() == ["-ERR Protocol error: this port does not speak HTTP"]
    scene.until(lambda: not talker.open)


def test_quit(scene: Scene) -> None:
    talker = scene.connect()
    key = scene.key_of(2)
    talker.send(f"SET {key} 1\r\nQUIT\r\nSET {key} 2\r\n".encode())
    assert talker.wait(2) == ["OK", "OK"]
    scene.until(lambda: not talker.open)
    assert scene.connect().ask("GET", key) == b"1"


def test_who_says_nothing_is_cut_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "LINE_FIRST_SECONDS_MAX", 5.0)
    silent, begun, other = scene.connect(), scene.connect(), scene.connect()
    other.ask("PING")
    begun.ask("PING")
    begun.send(b"*2\r\n$3\r\nGET\r\n")
    scene.pass_seconds(3.0)
    assert silent.open and begun.open
    scene.pass_seconds(4.0)
    assert not silent.open and not begun.open and other.open


def test_there_are_no_more_than_so_many(scene: Scene) -> None:
    scene.port(1).desk.connections_max = 2
    talkers = [scene.connect() for _ in range(2)]
    assert [talker.ask("PING") for talker in talkers] == ["PONG", "PONG"]
    third = scene.connect()
    scene.until(lambda: not third.open)
    assert third.heard == b"-ERR max number of clients reached\r\n"


def test_a_server_that_ends_before_it_has_begun_has_no_line_port_to_close() -> None:
    """It was asserted that the port was open (seed 88)."""
    line = port.LinePort(Scene().cluster.server(1))  # type: ignore[arg-type]
    done: list[None] = []
    line.stopService().addCallback(done.append)
    assert done == [None]
