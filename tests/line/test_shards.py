"""Where commands are executed, and what becomes of those that cannot be."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.line.scene import Scene
from twistedkv.errors import InvalidRequest, NotEnoughCopies, OutcomeUnknown, OutOfSpace, ShardLost, Unavailable
from twistedkv.line.failures import cross_shard, in_part, reply_of
from twistedkv.simulation.cluster import COORDINATOR_HOST


def test_the_primary_executes_its_own_commands_without_a_connection_to_itself(scene: Scene) -> None:
    talker = scene.connect(1)
    key = scene.key_of(1)
    for number in range(5):
        assert talker.ask("INCR", key) == number + 1
    links = scene.port(1).client.router.links
    assert 1 not in links


def test_commands_for_a_shard_are_executed_in_order_while_it_moves(scene: Scene) -> None:
    """They go to one server, then wait, then are executed here: an append must never overtake another."""
    talker = scene.connect(1)
    key = scene.key_of(2)
    expected = b""
    for number in range(300):
        word = f"{number},"
        expected += word.encode()
        talker.request("APPEND", key, word)
        if number == 150:
            scene.cluster.server_process(2).kill()
        scene.pass_seconds(0.005)
    lengths = talker.wait(300)
    assert lengths == sorted(lengths) and lengths[-1] == len(expected)
    assert talker.ask("GET", key) == expected


def test_a_write_without_an_answer_before_its_deadline_is_unknown(scene: Scene) -> None:
    """The primary is cut off from everybody but its client."""
    talker = scene.connect(2)
    key, network, own = scene.key_of(2), scene.cluster.network, scene.cluster.host_of(2)
    for host in (scene.cluster.host_of(1), scene.cluster.host_of(3), COORDINATOR_HOST):
        network.cut(own, host)
        network.cut(host, own)
    talker.request("SET", key, "v")
    talker.request("GET", key)
    unknown, unserved = talker.wait(2)
    assert unknown.startswith("-UNKNOWN whether it was executed, once or not at all: ")
    assert unserved.startswith("-CLUSTERDOWN Hash slot not served: not executed: ")
    network.heal_all()
    scene.until(lambda: scene.cluster.serving)


def test_too_few_copies(scene: Scene) -> None:
    scene = Scene(servers=2, copies=2, min_copies=2)
    talker = scene.connect(1)
    key = scene.key_of(1)
    assert talker.ask("SET", key, "v") == "OK"
    scene.cluster.server_process(2).kill()
    scene.pass_seconds(2.0)
    assert talker.ask("SET", key, "w") == "-NOREPLICAS Not enough good replicas to write."
    assert talker.ask("GET", key) == b"v"


@pytest.mark.parametrize("words", [("SET", "v"), ("APPEND", "v")], ids=["in a batch", "alone"])
def test_a_server_whose_store_fails_ends_before_it_answers(words: tuple[str, str], logged_errors: Any) -> None:
    """From wherever the command came to be executed (I15)."""
    scene = Scene()
    talker = scene.connect(1)
    key = scene.key_of(1)
    assert talker.ask("SET", key, "old") == "OK"
    scene.cluster.storage_faults = lambda server_id: server_id == 1
    talker.request(words[0], key, words[1])
    scene.until(lambda: not talker.open)
    assert not scene.cluster.server_process(1).alive
    assert not talker.answers
    scene.cluster.storage_faults = lambda server_id: False
    scene.until(lambda: scene.primary_of(key) != 1)
    assert scene.connect(2).ask("GET", key) == b"old"
    assert "its store has failed" in logged_errors.describe()
    logged_errors.events.clear()


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (OutcomeUnknown("x"), b"-UNKNOWN whether it was executed, once or not at all: x"),
        (NotEnoughCopies("x"), b"-NOREPLICAS "),
        (OutOfSpace("x"), b"-OOM "),
        (ShardLost("x"), b"-CLUSTERDOWN The cluster is down: not executed: x"),
        (InvalidRequest("x"), b"-ERR not executed: x"),
        (Unavailable("a\r\nb"), b"-CLUSTERDOWN Hash slot not served: not executed: a  b\r\n"),
    ],
)
def test_what_an_error_says(error: Exception, begins: bytes) -> None:
    reply = reply_of(error)
    assert reply.startswith(begins) and reply.endswith(b"\r\n") and reply.count(b"\n") == 1


def test_what_was_executed_in_part() -> None:
    down, unknown = b"-CLUSTERDOWN x\r\n", b"-UNKNOWN y\r\n"
    assert in_part(b"mset", [down], 0, 1, writes=True).startswith(b"-CLUSTERDOWN x (of the 1 shards")
    assert in_part(b"mset", [down], 1, 2, writes=True).startswith(b"-PARTIAL CLUSTERDOWN x (of the 2 shards")
    assert in_part(b"mset", [down, unknown], 1, 3, writes=True).startswith(b"-UNKNOWN y (of the 3 shards")
    assert in_part(b"mget", [down], 1, 2, writes=False).startswith(b"-CLUSTERDOWN x (")
    assert "{tag}" in cross_shard(b"rename")


@pytest.mark.parametrize("seed", range(8))
def test_a_read_never_sees_what_its_own_client_has_written_after_it(seed: int) -> None:
    """What was on its way to a primary that dies is sent again: a read is read again then, when a write behind it may
    have been executed already."""
    scene = Scene(seed)
    talker, chance = scene.connect(1), Random(seed)
    key = scene.key_of(2)
    assert talker.ask("SET", key, "0") == "OK"
    expected: list[object] = []
    for number in range(1, 40):
        talker.request("GET", key)
        scene.pass_seconds(chance.choice((0.0, 0.0001, 0.0003)))
        talker.request("SET", key, number)
        scene.pass_seconds(chance.choice((0.0, 0.0001, 0.0003)))
        expected += [str(number - 1).encode(), "OK"]
        if number == 20:
            scene.cluster.server_process(2).kill()
    assert talker.wait(len(expected)) == expected
    scene.end()
