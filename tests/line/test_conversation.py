"""One client of the line port: the order of its replies, and every bound on what it may make a server keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.line.desks import Client, World
from tests.line.scene import Scene
from twistedkv.limits import (
    CLIENT_OUTPUT_BYTES_MAX,
    COMMANDS_MAX,
    COMMANDS_PER_TURN_MAX,
    FORWARDED_VALUES_MAX,
    LINE_HELD_BYTES_MAX,
    UNDER_WAY_FIRST,
    UNDER_WAY_MAX,
)
from twistedkv.line import port, shards
from twistedkv.resp import replies
from twistedkv.slots import slot_of

MEGABYTE = 1 << 20


# The order of replies.


@given(order=st.permutations(range(12)), kinds=st.lists(st.sampled_from("gp"), min_size=12, max_size=12))
def test_replies_keep_the_order_in_which_they_were_asked_for(order: list[int], kinds: list[str]) -> None:
    world = World()
    client = world.connect()
    expected = []
    for number, kind in enumerate(kinds):
        client.ask(*((b"GET", b"key%d" % number) if kind == "g" else (b"ECHO", b"%d" % number)))
        expected.append(replies.bulk(b"%d" % number))
    begun = {each.commands[0][1][3:]: each for each in world.shards.take()}
    for number in order:
        if kinds[number] == "g":
            begun[b"%d" % number].answer(expected[number])
        world.turn()
        assert b"".join(expected).startswith(client.heard)
    world.settle()
    assert client.heard == b"".join(expected)


def test_a_command_that_was_taken_apart_has_one_reply_in_its_place(world: World, client: Client) -> None:
    keys = [next(b"%d" % n for n in range(999) if world.shards.shard(slot_of(b"%d" % n)) == i) for i in (0, 3, 5)]
    client.ask(b"MGET", *keys, keys[0])
    client.ask(b"PING")
    parts = world.shards.take()
    assert [part.commands for part in parts] == [
        [[b"MGET", keys[0], keys[0]]],
        [[b"MGET", keys[1]]],
        [[b"MGET", keys[2]]],
    ]
    for part in reversed(parts):
        assert client.heard == b""
        part.answer(replies.bulks(part.commands[0][1:]))
        world.settle()
    assert client.heard == replies.bulks([*keys, keys[0]]) + replies.PONG


def test_mset_with_a_key_too_few_is_executed_nowhere(world: World, client: Client) -> None:
    client.ask(b"MSET", b"a", b"1", b"b", b"2", b"c")
    world.settle()
    assert client.heard == b"-ERR wrong number of arguments for 'mset' command\r\n"
    assert not world.shards.begun


def test_what_needs_all_before_it_holds_up_what_comes_after_it(world: World, client: Client) -> None:
    for words in ((b"GET", b"a"), (b"WATCH", b"k"), (b"GET", b"b"), (b"PING",)):
        client.ask(*words)
    first, watch = world.shards.take()
    assert [each.commands for each in (first, watch)] == [[[b"GET", b"a"]], [[b"VERSIONS", b"k"]]]
    assert client.conversation.held_up and not client.conversation.listening
    watch.answer(b"*1\r\n:7\r\n")
    world.settle()
    assert client.conversation.watched == {b"k": 7}
    (second,) = world.shards.take()
    second.answer(replies.ONE)
    first.answer(replies.ZERO)
    world.settle()
    assert client.heard == b":0\r\n+OK\r\n:1\r\n+PONG\r\n"
    assert client.conversation.listening


def test_what_the_connection_does_in_a_transaction_is_done_before_what_follows(world: World, client: Client) -> None:
    for words in ((b"MULTI",), (b"GET", b"k"), (b"CLIENT", b"SETNAME", b"me"), (b"EXEC",), (b"CLIENT", b"GETNAME")):
        client.ask(*words)
    world.settle()
    assert client.take() == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    (begun,) = world.shards.take()
    begun.answer(b"*1\r\n$-1\r\n")
    world.settle()
    assert client.heard == b"*2\r\n$-1\r\n+OK\r\n$2\r\nme\r\n"


@pytest.mark.parametrize("last", [(b"EXEC",), (b"EXEC", b"x"), (b"DISCARD",), (b"RESET",)])
def test_nothing_is_watched_after_a_transaction(world: World, client: Client, last: tuple[bytes, ...]) -> None:
    client.ask(b"WATCH", b"k")
    world.shards.take()[0].answer(b"*1\r\n:7\r\n")
    for words in ((b"MULTI",), (b"NOTHING",), last):
        client.ask(*words)
    client.ask(b"MULTI")
    client.ask(b"GET", b"k")
    client.ask(b"EXEC")
    world.settle()
    (begun,) = world.shards.take()
    assert begun.watched == {}


# Ends.


def test_quit_is_answered_after_all_before_it_and_nothing_after_it(world: World, client: Client) -> None:
    client.ask(b"GET", b"k")
    client.ask(b"QUIT")
    client.ask(b"SET", b"k", b"1")
    (begun,) = world.shards.take()
    world.settle()
    assert client.heard == b"" and not client.closed
    begun.answer(replies.ONE)
    world.settle()
    assert client.heard == b":1\r\n+OK\r\n" and client.closed


def test_an_error_of_the_protocol_comes_after_the_replies_before_it(world: World, client: Client) -> None:
    client.conversation.received(b"GET k\r\n*1\r\n$x\r\nGET k\r\n")
    (begun,) = world.shards.take()
    world.settle()
    assert client.heard == b""
    begun.answer(replies.ONE)
    world.settle()
    assert client.heard == b":1\r\n-ERR Protocol error: invalid bulk length\r\n" and client.closed


def test_who_has_gone_is_told_nothing(world: World, client: Client) -> None:
    client.ask(b"GET", b"a")
    client.ask(b"GET", b"b")
    first, second = world.shards.take()
    first.answer()
    client.conversation.lost()
    second.answer()
    world.settle()
    assert client.heard == b"" and not client.closed
    assert not world.desk.conversations and world.desk.commands == 2


def test_a_server_that_ends_gives_the_answers_that_are_due(world: World, client: Client) -> None:
    client.ask(b"GET", b"a")
    (begun,) = world.shards.take()
    client.conversation.end()
    client.ask(b"GET", b"b")
    world.settle()
    assert not client.closed and not world.shards.begun
    begun.answer(replies.ONE)
    world.settle()
    assert client.heard == b":1\r\n" and client.closed


# Bounds.


def test_so_many_commands_of_one_client_are_begun_in_one_turn(world: World, client: Client) -> None:
    other = world.connect()
    client.conversation.received(b"PING\r\n" * (2 * COMMANDS_PER_TURN_MAX + 500))
    assert client.conversation.commands == COMMANDS_PER_TURN_MAX
    assert not client.conversation.listening
    other.ask(b"PING")
    world.turn()
    assert other.heard == replies.PONG
    assert client.conversation.commands == 2 * COMMANDS_PER_TURN_MAX
    world.settle()
    assert client.heard == replies.PONG * (2 * COMMANDS_PER_TURN_MAX + 500)
    assert client.conversation.listening


def test_the_number_under_way_grows_with_what_has_been_answered(world: World, client: Client) -> None:
    client.conversation.received(b"GET k\r\n" * 4 * UNDER_WAY_MAX)
    room = UNDER_WAY_FIRST
    answered = 0
    while room < UNDER_WAY_MAX:
        assert len(world.shards.begun) == room
        for begun in world.shards.take(8):
            begun.answer()
        answered += 8
        world.settle()
        room = min(UNDER_WAY_FIRST + 2 * answered, UNDER_WAY_MAX)
    assert len(world.shards.begun) == UNDER_WAY_MAX
    assert not client.conversation.listening


def test_few_are_under_way_when_replies_are_large(world: World, client: Client) -> None:
    client.conversation.received(b"GET k\r\n" * 100)
    large = replies.bulk(b"x" * MEGABYTE)
    for begun in world.shards.take(UNDER_WAY_FIRST):
        begun.answer(large)
    world.settle()
    assert len(world.shards.begun) == CLIENT_OUTPUT_BYTES_MAX // MEGABYTE
    while world.shards.begun:
        for begun in world.shards.take():
            begun.answer(replies.ONE)
        world.settle()
    client.take()
    client.conversation.received(b"GET k\r\n" * 2000)
    assert len(world.shards.begun) > CLIENT_OUTPUT_BYTES_MAX // MEGABYTE, "that is forgotten in time"


def test_few_values_are_asked_of_other_servers_at_a_time(world: World, client: Client) -> None:
    grown(world, client)
    world.shards.here = False
    client.conversation.received((b"GET k\r\nSET k v XX GET\r\nMGET k k\r\nMULTI\r\nGETDEL k\r\nEXEC\r\n") * 50)
    assert len(world.shards.begun) == FORWARDED_VALUES_MAX and not client.conversation.listening
    world.shards.take(1)[0].answer(replies.ONE)
    world.settle()
    assert len(world.shards.begun) == FORWARDED_VALUES_MAX
    while world.shards.begun:
        for begun in world.shards.take():
            begun.answer(replies.ONE)
        world.settle()
    assert client.conversation.listening and client.take().count(replies.ONE) == 200
    client.conversation.received(b"STRLEN k\r\nSET k v\r\n" * 100)
    assert len(world.shards.begun) == 200, "what is answered in a few bytes is not meant"


def test_what_was_executed_here_has_a_bound_for_all_clients_of_a_turn(world: World, client: Client) -> None:
    client.ask(b"GET", b"k")
    world.shards.full = True
    client.ask(b"GET", b"k")
    assert len(world.shards.begun) == 1 and not client.conversation.listening
    world.settle()
    assert len(world.shards.begun) == 1, "and nothing is done meanwhile"
    world.shards.full = False
    world.desk.flush()
    assert len(world.shards.begun) == 2 and client.conversation.listening


def test_so_many_keys_are_watched(world: World, client: Client) -> None:
    client.ask(b"WATCH", *(b"{t}%d" % number for number in range(COMMANDS_MAX)))
    world.shards.take()[0].answer(replies.array([replies.ONE] * COMMANDS_MAX))
    client.ask(b"WATCH", b"{t}x")
    world.settle()
    assert client.heard == b"+OK\r\n-ERR a transaction watches at most 10000 keys\r\n"
    assert len(client.conversation.watched) == COMMANDS_MAX


def test_nothing_is_begun_for_a_client_that_does_not_read(world: World, client: Client) -> None:
    client.ask(b"GET", b"a")
    client.conversation.block(True)
    client.ask(b"GET", b"b")
    assert [each.commands for each in world.shards.begun] == [[[b"GET", b"a"]]]
    assert not client.conversation.listening
    world.shards.take()[0].answer(replies.ONE)
    world.settle()
    assert client.heard == b"" and client.conversation.size == len(replies.ONE), "its transport has enough"
    client.conversation.block(False)
    world.settle()
    assert client.heard == replies.ONE and len(world.shards.begun) == 1


def test_large_replies_wait_within_a_bound(world: World, client: Client) -> None:
    client.conversation.block(True)
    for _ in range(40):
        client.ask(b"ECHO", b"x" * MEGABYTE)
    assert client.conversation.commands == 0
    client.conversation.block(False)
    assert client.conversation.size <= CLIENT_OUTPUT_BYTES_MAX + 2 * MEGABYTE
    assert client.conversation.commands < 20
    world.settle()
    assert client.conversation.commands == 40 and client.conversation.size == 0


def grown(world: World, client: Client) -> None:
    """Let the client have many small replies, so that many commands may be under way."""
    for _ in range(UNDER_WAY_MAX):
        client.ask(b"GET", b"k")
        world.shards.take()[0].answer(replies.ONE)
        world.settle()
    client.take()


@pytest.mark.parametrize("first_answered", [0, 1], ids=["in order", "behind one that is missing"])
def test_who_does_not_read_what_grows_larger_is_cut_off(world: World, client: Client, first_answered: int) -> None:
    grown(world, client)
    client.conversation.received(b"GET k\r\n" * 500)
    assert len(world.shards.begun) == 500
    client.conversation.block(first_answered == 0)
    large = replies.bulk(b"x" * MEGABYTE)
    sizes = []
    for begun in world.shards.take()[first_answered:]:
        begun.answer(large)
        world.settle()
        sizes.append(client.conversation.size)
        if client.aborted:
            break
    assert client.aborted and client.conversation.gone
    assert max(sizes) <= LINE_HELD_BYTES_MAX + 2 * MEGABYTE
    assert len(sizes) < 70
    assert not world.desk.conversations


def test_who_reads_may_have_any_number_of_large_replies(world: World, client: Client) -> None:
    grown(world, client)
    client.conversation.received(b"GET k\r\n" * 200)
    large = replies.bulk(b"x" * MEGABYTE)
    for begun in world.shards.take():
        begun.answer(large)
        world.settle()
        assert client.take() == large
    assert not client.aborted


# On the network of the simulation, whose transports pause their producers.


def test_a_client_that_never_reads_costs_little_and_slows_nobody(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "LINE_STALLED_SECONDS_MAX", 5.0)
    greedy, other = scene.connect(1), scene.connect(1)
    for key in (scene.key_of(1), scene.key_of(2)):
        assert greedy.ask("SET", key, "x" * 200_000) == "OK"
        assert [other.ask("GET", key) for _ in range(3)]
    greedy.transport.pauseProducing()  # it reads no more
    conversations = scene.port(1).desk.conversations
    served = next(each for each in conversations.values() if each.commands == 2)
    most = 0
    for _ in range(200):
        for key in (scene.key_of(1), scene.key_of(2)):
            greedy.request("GET", key)
    for _ in range(30):
        assert other.ask("PING") == "PONG"
        assert len(other.ask("GET", scene.key_of(2))) == 200_000
        scene.pass_seconds(0.1)
        most = max(most, served.size)
    assert served.commands < 200, "what it asks is not executed"
    assert most <= CLIENT_OUTPUT_BYTES_MAX + 200_010
    scene.until(lambda: served.gone, 20.0)
    assert other.ask("PING") == "PONG"
    greedy.transport.resumeProducing()
    scene.until(lambda: not greedy.open)


def test_a_client_that_reads_slowly_gets_everything(scene: Scene) -> None:
    talker = scene.connect(1)
    near, far = scene.key_of(1), scene.key_of(2)
    value = "x" * 100_000
    assert [talker.ask("SET", key, value) for key in (near, far)] == ["OK"] * 2
    for _ in range(20):
        for words in (("GET", near), ("GET", far), ("PING",)):
            talker.request(*words)
    for _ in range(20):
        talker.transport.pauseProducing()
        scene.pass_seconds(0.2)
        talker.transport.resumeProducing()
        scene.pass_seconds(0.001)
    assert talker.wait(60) == [value.encode(), value.encode(), "PONG"] * 20


def test_what_is_executed_here_and_not_answered_has_a_bound(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many commands a client may have under way, and although they all wait for a write before them."""
    monkeypatch.setattr(shards, "CLIENT_OUTPUT_BYTES_MAX", MEGABYTE)
    talker = scene.connect(1)
    key = scene.key_of(1)
    box = scene.port(1).desk.shards._box
    made, held, result = [0], [0], box.result

    def counted(request_id: int, status: int, version: int = 0, value: bytes = b"") -> object:
        made.append(len(value))
        answer = result(request_id, status, version, value)
        held.append(box.size)
        return answer

    monkeypatch.setattr(box, "result", counted)
    assert talker.ask("SET", key, "x" * 100_000) == "OK"
    for _ in range(100):
        talker.request("STRLEN", key)
    assert talker.wait(100) == [100_000] * 100
    talker.request("APPEND", key, "y")
    for _ in range(40):
        talker.request("GET", key)
    assert talker.wait() == [100_001]
    assert [len(value) for value in talker.wait(40)] == [100_001] * 40
    assert MEGABYTE < max(held) <= MEGABYTE + 110_000
    assert box.size == 0
