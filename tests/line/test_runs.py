"""Commands of one name in a row, which are taken together: SETs as columns, GETs from the store at once.

Whatever becomes of them, each has the reply that it would have had alone, in its place.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.line.desks import Client, World
from tests.line.scene import Scene, Talker, plain
from tests.support.keyspace import DictKeyspace
from tests.support.redis_server import encode_request
from twistedkv.client.lanes import Lane
from twistedkv.clustermap import Configuration
from twistedkv.commands.execution import execute
from twistedkv.limits import BATCH_COMMANDS_MAX, KEY_BYTES_MAX, KEYS_MAX, RUN_REPLY_BYTES_MAX, WRITTEN_SLOTS_MAX
from twistedkv.line.reply import Reply, RunReply
from twistedkv.records import RECORD_HEAD_BYTES, record_value
from twistedkv.resp import replies
from twistedkv.resp.answers import AnswerDecoder
from twistedkv.slots import slot_of, slots_of

DOWN = b"-CLUSTERDOWN Hash slot not served\r\n"
TOO_FEW = "-NOREPLICAS Not enough good replicas to write."


def piped(*commands: list[bytes]) -> bytes:
    """Commands behind each other, as programs send them."""
    return b"".join(encode_request(command) for command in commands)


def sets(*pairs: tuple[bytes, bytes]) -> list[list[bytes]]:
    """A SET of each."""
    return [[b"SET", key, value] for key, value in pairs]


def gets(*keys: bytes) -> list[list[bytes]]:
    """A GET of each."""
    return [[b"GET", key] for key in keys]


# The place of their reply.


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def answered(self, reply: Reply) -> None:
        self.told.append(reply.data)


def lane(shard: int) -> Any:
    """Of a shard; what else is known of it is of no interest."""
    made = Lane.__new__(Lane)
    made.configuration = Configuration(shard, 0, 0, 1, 1, None, (), (), True, False, ())  # type: ignore[arg-type]
    return made


@given(st.lists(st.integers(0, 3), min_size=1, max_size=10), st.sets(st.integers(0, 3)), st.randoms())
def test_each_command_of_a_run_has_the_reply_of_its_shard_in_its_place(
    places: list[int], failing: set[int], chance: Any
) -> None:
    listener, lanes = Listener(), [lane(shard) for shard in range(4)]
    reply = RunReply(listener, [b"SET", b"k", b"v"], 0.0)
    parts = sorted(set(places))
    reply.begin([lanes[place] for place in places], len(parts))
    chance.shuffle(parts)
    for shard in parts:
        assert listener.told == [], "it is told when all of it is there"
        reply.part(lanes[shard], b"-ERR %d\r\n" % shard if shard in failing else b"")
    expected = [b"-ERR %d\r\n" % place if place in failing else replies.OK for place in places]
    assert listener.told == [b"".join(expected)]


KEYS = [b"a", b"b", b"c", b"d", b"e", b"{a}1", b"{b}1"]
COMMANDS = st.one_of(
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=9).map(lambda keys: sets(*((key, b"v") for key in keys))),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=9).map(lambda keys: gets(*keys)),
    st.lists(st.sampled_from([b"1", b"22"]), min_size=1, max_size=5).map(lambda words: [[b"ECHO", w] for w in words]),
    st.just([[b"SET", b"", b"v"]] * 4),
    st.just([[b"SET", b"a", b"v"]] * 3 + [[b"SET", bytes(KEY_BYTES_MAX + 1), b"v"]]),
    st.just([[b"GET", b"a"], [b"GET", b""], [b"GET", b"b"], [b"GET", b"c"], [b"GET", bytes(KEY_BYTES_MAX + 1)]]),
)


def answer_of(command: list[bytes], failing: set[int], world: World) -> bytes:
    """What a command is to be answered here, where each shard fails or does nothing but reply."""
    if command[0] == b"ECHO":
        return replies.bulk(command[1])
    if not 0 < len(command[1]) <= KEY_BYTES_MAX:
        return replies.error(f"ERR key of {len(command[1])} bytes: a key has 1 to {KEY_BYTES_MAX} bytes")
    if world.shards.shard(slot_of(command[1])) in failing:
        return DOWN
    return replies.OK if command[0] == b"SET" else replies.bulk(command[1])


@given(st.lists(COMMANDS, min_size=1, max_size=4), st.sets(st.integers(0, 5)), st.randoms())
def test_replies_keep_their_order_whatever_fails_and_whenever_it_ends(
    bursts: list[list[list[bytes]]], failing: set[int], chance: Any
) -> None:
    world = World()
    client = world.connect()
    commands = [command for burst in bursts for command in burst]
    expected = b"".join(answer_of(command, failing, world) for command in commands)
    client.conversation.received(piped(*commands))
    world.settle()
    while world.shards.begun:
        begun = world.shards.begun.pop(chance.randrange(len(world.shards.begun)))
        begun.answer(answer_of(begun.commands[0], failing, world))
        world.turn()
        assert expected.startswith(client.heard)
    world.settle()
    assert client.heard == expected
    assert client.conversation.commands == len(commands)
    assert client.conversation.idle and client.conversation.size == 0


def test_sets_in_a_row_are_one_part_for_each_shard(world: World, client: Client) -> None:
    keys = [b"%d" % number for number in range(40)]
    client.conversation.received(piped(*sets(*((key, b"v" + key) for key in keys))))
    begun = world.shards.take()
    assert len(begun) == len({world.shards.shard(slot_of(key)) for key in keys}) > 1
    for part in begun:
        shard = world.shards.shard(part.slot)
        assert part.commands == [[b"SET", key, b"v" + key] for key in keys if world.shards.shard(slot_of(key)) == shard]
        part.answer()
    world.settle()
    assert client.heard == replies.OK * 40
    assert client.conversation.commands == 40
    assert {world.shards.shard(slot) for slot in client.conversation.written} == {
        world.shards.shard(slot_of(key)) for key in keys
    }


def test_what_a_client_has_written_to_is_remembered_by_shard_and_not_by_slot(world: World, client: Client) -> None:
    """It grew with each slot, to a megabyte for each connection: the leak benchmark found it."""
    keys = [b"%d" % number for number in range(2000)]
    for key in keys:
        client.conversation.received(piped([b"SET", key, b"v"]))
        for begun in world.shards.take():
            begun.answer()
        world.settle()
    written = client.conversation.written
    assert {world.shards.shard(slot) for slot in written} == {world.shards.shard(slot_of(key)) for key in keys}
    shards = len({world.shards.shard(slot_of(key)) for key in keys})
    assert len(written) <= 2 * shards + WRITTEN_SLOTS_MAX + 1


def test_a_run_in_a_transaction_is_queued_one_by_one(world: World, client: Client) -> None:
    commands = sets(*((b"{t}%d" % number, b"v") for number in range(5)))
    client.conversation.received(piped([b"MULTI"], *commands, *gets(b"{t}0", b"{t}1", b"{t}2", b"{t}3"), [b"EXEC"]))
    world.settle()
    assert client.take() == replies.OK + replies.QUEUED * 9
    (begun,) = world.shards.take()
    assert begun.commands == commands + gets(b"{t}0", b"{t}1", b"{t}2", b"{t}3")
    begun.answer(replies.array([replies.OK] * 5 + [replies.bulk(b"v")] * 4))
    world.settle()
    assert client.heard == replies.array([replies.OK] * 5 + [replies.bulk(b"v")] * 4)


def test_what_follows_a_command_that_waits_waits_too(world: World, client: Client) -> None:
    client.conversation.received(piped([b"WATCH", b"k"], *sets(*((b"%d" % n, b"v") for n in range(6))), [b"PING"]))
    (watch,) = world.shards.take()
    assert not client.conversation.listening
    watch.answer(b"*1\r\n:7\r\n")
    world.settle()
    for begun in world.shards.take():
        begun.answer()
    world.settle()
    assert client.heard == replies.OK * 7 + replies.PONG


# What ends or stops short behind a command that is answered at once.


class ReadyShards(World):
    """A world in which every key is there, and can be told at once."""

    def __init__(self) -> None:
        super().__init__()
        record = bytes(RECORD_HEAD_BYTES) + b"v"
        self.shards.value = lambda slot, key: record  # type: ignore[assignment,misc,return-value]
        self.shards.values = lambda slots, keys: [record] * len(keys)  # type: ignore[assignment,misc,return-value]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_is_no_request_behind_commands_is_answered_and_ends_the_connection(count: int) -> None:
    world = ReadyShards()
    client = world.connect()
    client.ask(b"PING")
    world.settle()
    client.take()
    client.conversation.received(piped(*gets(*[b"k"] * count)) + b"*x\r\n")
    world.settle()
    assert client.heard == replies.bulk(b"v") * count + b"-ERR Protocol error: invalid multibulk length\r\n"
    assert client.closed


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", [b"GET", b"SET"])
def test_the_port_is_told_that_a_request_has_begun_behind_whole_ones(name: bytes, count: int) -> None:
    """Else its end would be waited for without a bound."""
    world = ReadyShards()
    client = world.connect()
    client.ask(b"PING")
    world.settle()
    commands = gets(*[b"k"] * count) if name == b"GET" else sets(*[(b"k", b"v")] * count)
    usual = client.conversation.received(piped(*commands) + b"*2\r\n$3\r\nGE")
    assert client.conversation.partial and not usual


# At the shards of a cluster.


def keys_of(scene: Scene, server_id: int, count: int, name: str = "k") -> list[bytes]:
    """So many keys of which this server is the primary, of at least one shard."""
    found = (f"{name}{number}".encode() for number in range(10_000))
    mine = [key for key in found if scene.primary_of(key) == server_id]
    return mine[:count]


def pipelined(talker: Talker, *commands: list[bytes]) -> list[Any]:
    """The answers to commands that are sent at once."""
    talker.send(piped(*commands))
    return talker.wait(len(commands))


def test_sets_and_gets_over_all_shards(scene: Scene) -> None:
    talker = scene.connect(1)
    keys = [b"key%d" % number for number in range(200)]
    assert len({scene.primary_of(key) for key in keys}) == 3
    assert pipelined(talker, *sets(*((key, b"v" + key) for key in keys))) == ["OK"] * 200
    for server_id in (1, 2, 3):
        other = scene.connect(server_id)
        missing = b"missing"
        assert pipelined(other, *gets(*keys, missing)) == [*(b"v" + key for key in keys), None]


def test_sets_in_a_row_are_one_update_of_their_shard(scene: Scene) -> None:
    talker = scene.connect(1)
    shard = scene.port(1).desk.shards.shard(slot_of(keys_of(scene, 1, 1)[0]))
    keys = [key for key in keys_of(scene, 1, 200) if scene.port(1).desk.shards.shard(slot_of(key)) == shard][:9]
    replica = scene.port(1).desk.server.core.replicas[shard]
    before = replica.sequence
    assert pipelined(talker, *sets(*((key, key) for key in keys))) == ["OK"] * 9
    assert replica.sequence == before + 1


@pytest.mark.parametrize("server_id", [1, 2])
def test_of_a_key_that_is_named_twice_the_last_value_stays(scene: Scene, server_id: int) -> None:
    talker = scene.connect(1)
    first, second = keys_of(scene, server_id, 2)
    pairs = [(first, b"1"), (second, b"1"), (first, b"2"), (second, b"2"), (first, b"3")]
    assert pipelined(talker, *sets(*pairs)) == ["OK"] * 5
    assert pipelined(talker, *gets(first, second, first, second)) == [b"3", b"2", b"3", b"2"]


@pytest.mark.parametrize("server_id", [1, 2], ids=["here", "elsewhere"])
def test_the_part_of_one_shard_fails_and_no_other(scene: Scene, server_id: int) -> None:
    """And each command has its own reply, also when other commands for the same shard are in the turn."""
    talker = scene.connect(1)
    shards = scene.port(1).desk.shards
    failing = shards.shard(slot_of(keys_of(scene, server_id, 1)[0]))
    scene.port(server_id).desk.server.core.replicas[failing].serving.min_copies = 9
    keys = [b"key%d" % number for number in range(60)]
    bad = [key for key in keys if shards.shard(slot_of(key)) == failing]
    assert 0 < len(bad) < 60
    answers = pipelined(talker, *sets(*((key, b"v") for key in keys)), [b"PING"])
    assert answers == [TOO_FEW if key in bad else "OK" for key in keys] + ["PONG"]
    mixed = pipelined(talker, *sets(*((key, b"5") for key in keys)), *([b"INCR", key] for key in keys))
    assert mixed[:60] == [TOO_FEW if key in bad else "OK" for key in keys]
    assert mixed[60:] == [TOO_FEW if key in bad else 6 for key in keys]
    assert pipelined(talker, *gets(*keys)) == [None if key in bad else b"6" for key in keys]


def test_what_is_not_committed_yet_is_not_told(scene: Scene) -> None:
    """A client that asks meanwhile waits for it."""
    keys = keys_of(scene, 1, 6)
    writer, reader = scene.connect(1), scene.connect(1)
    assert pipelined(writer, *sets(*((key, b"old") for key in keys))) == ["OK"] * 6
    others = [scene.cluster.host_of(2), scene.cluster.host_of(3)]
    for host in others:
        scene.cluster.network.cut(host, scene.cluster.host_of(1))
    writer.send(piped(*sets(*((key, b"new") for key in keys))))
    scene.pass_seconds(0.02)
    reader.send(piped(*gets(*keys, *keys)))
    scene.pass_seconds(0.05)
    assert (writer.answers, reader.answers) == ([], [])
    scene.cluster.network.heal_all()
    assert writer.wait(6) == ["OK"] * 6
    assert reader.wait(12) == [b"new"] * 12


@pytest.mark.parametrize("server_id", [1, 2], ids=["here", "elsewhere"])
def test_what_was_deleted_has_expired_or_never_was(scene: Scene, server_id: int) -> None:
    talker = scene.connect(1)
    there, gone, brief, never, long = keys_of(scene, server_id, 5)
    assert pipelined(talker, *sets((there, b"v"), (gone, b"v"), (brief, b"v"), (long, b"v"))) == ["OK"] * 4
    assert pipelined(talker, [b"PEXPIRE", brief, b"1"], [b"PEXPIRE", long, b"100000"], [b"DEL", gone]) == [1, 1, 1]
    asked = gets(there, gone, brief, never, long)
    scene.pass_seconds(0.05)
    assert pipelined(talker, *asked) == [b"v", None, None, None, b"v"]
    scene.pass_seconds(1.0)
    assert pipelined(talker, *asked) == [b"v", None, None, None, b"v"]
    assert pipelined(talker, [b"DEL", there], *asked, [b"SET", gone, b"w"], *asked) == [
        1,
        *[None, None, None, None, b"v"],
        "OK",
        *[None, b"w", None, None, b"v"],
    ]


@pytest.mark.parametrize("server_id", [1, 2], ids=["here", "elsewhere"])
def test_values_that_are_too_large_to_be_answered_together(scene: Scene, server_id: int) -> None:
    talker = scene.connect(1)
    keys = keys_of(scene, server_id, 8)
    value = b"x" * (RUN_REPLY_BYTES_MAX // 4)
    assert pipelined(talker, *sets(*((key, value) for key in keys))) == ["OK"] * 8
    assert pipelined(talker, *gets(*keys, b"missing", *keys)) == [*[value] * 8, None, *[value] * 8]


@pytest.mark.parametrize("protocol", [2, 3])
def test_in_both_protocols(scene: Scene, protocol: int) -> None:
    talker = scene.connect(1)
    talker.request("HELLO", protocol)
    talker.wait()
    keys = keys_of(scene, 1, 4)
    before = len(talker.heard)
    assert pipelined(talker, *sets(*((key, b"v") for key in keys))) == ["OK"] * 4
    assert pipelined(talker, *gets(*keys, b"nothing")) == [b"v"] * 4 + [None]
    nil = b"$-1\r\n" if protocol == 2 else b"_\r\n"
    assert talker.heard[before:] == replies.OK * 4 + replies.bulk(b"v") * 4 + nil


def test_a_run_that_is_longer_than_a_batch(scene: Scene) -> None:
    talker = scene.connect(2)
    keys = [b"k%d" % (number % 700) for number in range(4 * BATCH_COMMANDS_MAX)]
    assert len(keys) < KEYS_MAX
    assert pipelined(talker, *sets(*((key, b"%d" % n) for n, key in enumerate(keys)))) == ["OK"] * len(keys)
    last = {key: b"%d" % n for n, key in enumerate(keys)}
    assert pipelined(talker, *gets(*last)) == list(last.values())


def test_with_moved_only_the_keys_of_this_server_are_served() -> None:
    scene = Scene(moved=True)
    talker = scene.connect(1)
    near, far = keys_of(scene, 1, 3), keys_of(scene, 2, 2)
    keys = [near[0], far[0], near[1], far[1], near[2]]
    there = [f"-MOVED {slot_of(key)} 10.0.0.2:7379" for key in far]
    assert pipelined(talker, *sets(*((key, b"v") for key in keys))) == ["OK", there[0], "OK", there[1], "OK"]
    assert pipelined(talker, *gets(*keys)) == [b"v", there[0], b"v", there[1], b"v"]
    assert pipelined(scene.connect(2), *gets(*far, *far)) == [None] * 4
    scene.end()


@pytest.mark.parametrize("server_id", [1, 2], ids=["here", "elsewhere"])
def test_keys_that_are_no_keys_do_not_harm_the_others(scene: Scene, server_id: int) -> None:
    talker = scene.connect(1)
    first, second, third = keys_of(scene, server_id, 3)
    long = bytes(KEY_BYTES_MAX + 1)
    empty, too_long = (f"-ERR key of {size} bytes: a key has 1 to {KEY_BYTES_MAX} bytes" for size in (0, len(long)))
    keys = [first, b"", second, long, third]
    assert pipelined(talker, *sets(*((key, b"v") for key in keys))) == ["OK", empty, "OK", too_long, "OK"]
    assert pipelined(talker, *gets(*keys)) == [b"v", empty, b"v", too_long, b"v"]


def test_a_server_that_dies_leaves_each_command_done_or_of_unknown_outcome(scene: Scene) -> None:
    """They are sent again, with the number that they have."""
    talker = scene.connect(1)
    keys = keys_of(scene, 2, 30)
    assert pipelined(talker, *sets(*((key, b"old") for key in keys))) == ["OK"] * 30
    talker.send(piped(*sets(*((key, b"new") for key in keys)), *gets(*keys)))
    scene.pass_seconds(0.001)
    scene.cluster.server_process(2).kill()
    assert talker.wait(60) == [*["OK"] * 30, *[b"new"] * 30]


# In any order, with anything between.


def burst(chance: Random, keys: list[bytes]) -> list[list[bytes]]:
    """Some commands, often of one name in a row."""
    kind = chance.choice(("set", "set", "get", "get", "mixed", "one"))
    if kind == "set":
        return sets(*((chance.choice(keys), b"%d" % chance.randrange(99)) for _ in range(chance.randrange(1, 12))))
    if kind == "get":
        return gets(*(chance.choice(keys) for _ in range(chance.randrange(1, 12))))
    key = chance.choice(keys)
    several = [
        [b"INCR", key],
        [b"APPEND", key, b"1"],
        [b"DEL", key],
        [b"GETDEL", key],
        [b"SET", key, b"7", b"GET"],
        [b"SET", key, b"8", b"NX"],
        [b"MGET", key, chance.choice(keys)],
        [b"PEXPIRE", key, b"100000000"],
        [b"STRLEN", key],
        [b"SETNX", key, b"3"],
    ]
    return [chance.choice(several)] if kind == "one" else chance.sample(several, 3)


def check_values(scene: Scene, server_id: int, keys: list[bytes]) -> None:
    """What is told of several keys at once is what is told of each."""
    shards = scene.port(server_id).desk.shards
    slots = slots_of(keys)
    together = shards.values(slots, keys)
    singly = [shards.value(slot, key) for slot, key in zip(slots, keys, strict=True)]
    if together is None:
        return
    assert together == singly


@pytest.mark.parametrize("seed", range(12))
def test_pipelines_are_answered_as_if_each_command_came_alone(scene: Scene, seed: int) -> None:
    """Of each key the commands are executed in their order, whatever else is in the same turn, here and elsewhere."""
    chance = Random(seed)
    keys = [key for server_id in (1, 2, 3) for key in keys_of(scene, server_id, 3, f"s{seed}-")]
    talker = scene.connect(1 + seed % 3)
    model = DictKeyspace()
    for _ in range(25):
        commands = [command for _ in range(chance.randrange(1, 6)) for command in burst(chance, keys)]
        expected = [plain_reply(execute(model, command, 2)) for command in commands]
        talker.send(piped(*commands))
        check_values(scene, 1 + seed % 3, chance.sample(keys, 4))
        scene.pass_seconds(chance.choice((0.0, 0.0001, 0.002)))
        check_values(scene, 1 + seed % 3, chance.sample(keys, 4))
        assert talker.wait(len(commands)) == expected, commands
        check_values(scene, 1 + seed % 3, keys_of(scene, 1 + seed % 3, 3, f"s{seed}-"))


def plain_reply(reply: bytes) -> Any:
    """As `Talker.wait` gives it."""
    (answer,) = AnswerDecoder().feed(reply)
    return plain(answer)


def test_what_is_told_at_once_is_what_is_committed(scene: Scene) -> None:
    """And of several keys all or nothing."""
    shards = scene.port(1).desk.shards
    keys = keys_of(scene, 1, 3)
    slots = slots_of(keys)
    talker = scene.connect(1)
    scene.until(lambda: shards.values(slots, keys) == [b"", b"", b""])
    assert talker.ask("SET", keys[0], "v") == "OK"
    assert [record_value(record) if record else None for record in shards.values(slots, keys)] == [b"v", None, None]
    assert shards.values(*zip(*[(slot_of(key), key) for key in keys_of(scene, 2, 1)], strict=True)) is None
    assert shards.values([*slots, slot_of(keys_of(scene, 2, 1)[0])], [*keys, keys_of(scene, 2, 1)[0]]) is None
    talker.request("PEXPIRE", keys[1], "100")
    assert talker.wait() == [0]
    assert talker.ask("SET", keys[1], "v", "PX", "100000") == "OK"
    assert shards.values(slots, keys) is None, "whether it has expired is for the shard to say"
    assert shards.values(slots[::2], keys[::2]) is not None
