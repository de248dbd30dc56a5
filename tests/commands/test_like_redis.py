"""Differential tests: the same commands to our functions and to a real redis-server, replies byte for byte.

`python -m tests.commands.long 1000000` is the long run of the same comparison.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import long
from tests.commands.comparing import Comparison, drawn, equal
from tests.support.keyspace import DictKeyspace
from tests.support.redis_server import RedisConnection, free_port, redis_server, require_redis
from twistedkv.commands.execution import execute
from twistedkv.commands.introspection import SHOWN, command_reply
from twistedkv.errors import CommandError
from twistedkv.limits import VALUE_BYTES_MAX
from twistedkv.resp import replies

both_protocols = pytest.mark.parametrize("protocol", [2, 3])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server of its own."""
    require_redis()
    with redis_server() as found:
        yield found


@pytest.fixture(scope="module")
def redis(port: int) -> Iterator[RedisConnection]:
    """A connection to it."""
    with contextlib.closing(RedisConnection(port)) as connection:
        yield connection


@given(random=st.randoms(use_true_random=False), protocol=st.sampled_from((2, 3)))
def test_random_commands_are_answered_as_by_redis(redis: RedisConnection, random: Random, protocol: int) -> None:
    comparison = Comparison(redis, protocol)
    comparison.begin()
    difference = comparison.run([*drawn(random, random.randrange(1, 40)), *comparison.state()])
    assert difference is None, difference.describe()


@pytest.mark.parametrize("seed", range(4))
@both_protocols
def test_a_longer_run_is_answered_as_by_redis(redis: RedisConnection, protocol: int, seed: int) -> None:
    comparison = Comparison(redis, protocol)
    comparison.begin()
    random = Random(seed)
    for _ in range(10):
        difference = comparison.run([*drawn(random, 300), *comparison.state()])
        assert difference is None, difference.describe()
    assert comparison.compared > 3_000
    assert 0 < comparison.tolerated < comparison.compared / 20


CASES = """
SET k v EX 10 EX 20|TTL k|SET k v NX XX|SET k v EX|SET k v EX 10 PX 10|SET k v KEEPTTL EX 10|SET k w KEEPTTL|TTL k
SET k v EX 9223372036854775807|SET k v PX 9223372036854775807|SET k v PXAT 9223372036854775807|SET k v PX 0
SET k v GET|SET n v GET NX|SET n w XX GET|SET n w GET NX|SETEX k 0 v|SETEX k x v|PSETEX k -1 v|GETEX none EX 0
GETEX k EX 0|GETEX k FOO|EXPIRE k 9223372036854775|EXPIRE k 9223372036854776|EXPIRE k -9223372036854775808
PEXPIRE k 9223372036854775807|EXISTS k|EXPIREAT none 99999999999999999999|PEXPIREAT k -9223372036854775808
GETRANGE none 0 x|SETRANGE none 536870912 v|SETRANGE none 4294967296 v|SETRANGE none 9223372036854775807 v
SETRANGE k 4294967296 |DECRBY k -9223372036854775808|DECR k|INCRBY k 9223372036854775807|INCRBY k 9223372036854775807
COPY a a|RENAME none none|OBJECT|OBJECT HELP x|SCAN 0 COUNT|SET e 9999999999999999|OBJECT ENCODING e|SET e xyz
OBJECT ENCODING e|OBJECT FREQ e|OBJECT REFCOUNT e|TYPE e|TYPE none|MEMORY USAGE none SAMPLES -1
MEMORY USAGE none SAMPLES 9223372036854775807|LCS a b IDX LEN|COMMAND COUNT x|WATCH|EXPIRE k 1 +
"""


@both_protocols
def test_chosen_commands_are_answered_as_by_redis(redis: RedisConnection, protocol: int) -> None:
    comparison = Comparison(redis, protocol)
    comparison.begin()
    commands = [line.encode().split(b" ") for line in CASES.strip().replace("\n", "|").split("|")]
    difference = comparison.run(commands)
    assert difference is None, difference.describe()


@both_protocols
def test_the_largest_value_is_the_limit_of_redis_too(redis: RedisConnection, protocol: int) -> None:
    """The server was told that values have at most 8 MiB; without it only this limit would differ."""
    comparison = Comparison(redis, protocol)
    comparison.begin()
    last = b"%d" % (VALUE_BYTES_MAX - 1)
    commands = [[b"SETRANGE", b"k", last, b"x"], [b"STRLEN", b"k"], [b"APPEND", b"k", b"y"], [b"APPEND", b"k", b""]]
    commands += [[b"SETRANGE", b"k", last, b"xy"], [b"GETRANGE", b"k", b"-2", b"-1"], [b"DEL", b"k"]]
    assert comparison.run(commands) is None
    assert comparison.errors == 2


@both_protocols
def test_command_info_is_that_of_redis(redis: RedisConnection, protocol: int) -> None:
    redis.run([[b"HELLO", b"%d" % protocol]])
    ours = [one for top in SHOWN.values() if top.group != "twistedkv" for one in (top, *top.subcommands.values())]
    answers = redis.run([[b"COMMAND", b"INFO", one.name] for one in ours])
    unknown = []
    for one, theirs in zip(ours, answers, strict=True):
        reply = command_reply([b"COMMAND", b"INFO", one.name], protocol)
        if theirs in (b"*1\r\n$-1\r\n", b"*1\r\n_\r\n"):
            unknown.append(one.name)
        elif one.subcommands:  # Redis has more of them, in another order
            end = rb"\*\d+\r\n\*10\r\n.*|~0\r\n$|\*0\r\n$"
            assert re.sub(end, b"", reply[4:], flags=re.DOTALL) == re.sub(end, b"", theirs[4:], flags=re.DOTALL)
        else:
            # Redis has a remark on the keys of two commands.
            remark = rb"(?:%4|\*8)\r\n\$5\r\nnotes\r\n\$\d+\r\n[^\r]*\r\n"
            assert re.sub(remark, b"%3\r\n" if protocol == 3 else b"*6\r\n", theirs) == reply
    assert unknown == [b"client|setinfo", b"debug|sleep", b"debug|help"]


INTROSPECTION = """
GETKEYS foo a|GETKEYS ping a|GETKEYS get a b|GETKEYS object encoding x|GETKEYS object foo x|GETKEYS object help x
GETKEYS set a b get|GETKEYSANDFLAGS set a b get|GETKEYSANDFLAGS set a b|GETKEYSANDFLAGS copy a b|GETKEYS mset a b c d
GETKEYSANDFLAGS mset a b c d|LIST FILTERBY PATTERN GET?????|LIST FILTERBY MODULE x|LIST FILTERBY ACLCAT nothing|LIST a
LIST FILTERBY FOO a|LIST FILTERBY PATTERN|INFO foo get|GETKEYS object encoding|GETKEYS dbsize x|GETKEYS object x
GETKEYSANDFLAGS lcs a b|GETKEYS getset a b c|GETKEYSANDFLAGS rename a b|DOCS foo
"""


@both_protocols
def test_the_rest_of_command_is_that_of_redis(redis: RedisConnection, protocol: int) -> None:
    redis.run([[b"HELLO", b"%d" % protocol]])
    commands = [b"COMMAND " + line.encode() for line in INTROSPECTION.strip().replace("\n", "|").split("|")]
    for line in commands:
        argv = line.split(b" ")
        try:
            ours = command_reply(argv, protocol)
        except CommandError as error:
            ours = replies.error(str(error))
        assert (line, ours) == (line, redis.run([argv])[0])


@both_protocols
def test_keys_of_a_slot_are_those_of_redis(protocol: int) -> None:
    require_redis()
    keyspace = DictKeyspace()
    slots = (b"x", b"-1", b"16384", b"0", b"", b"15495", b"9223372036854775808")
    commands = [[b"CLUSTER", b"COUNTKEYSINSLOT", slot] for slot in slots]
    pairs = (b"x 1", b"-1 1", b"16384 x", b"0 -1", b"0 x", b"0 0", b"15495 5", b"15495 0", b"0 9223372036854775807")
    commands += [[b"CLUSTER", b"GETKEYSINSLOT", *pair.split(b" ")] for pair in pairs]
    with (
        redis_server("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as port,
        contextlib.closing(RedisConnection(port)) as connection,
    ):
        connection.run([[b"HELLO", b"%d" % protocol], [b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"]])
        store = [b"SET", b"a", b"v"]
        while connection.run([store]) != [b"+OK\r\n"]:  # "CLUSTERDOWN" until the slots are taken over
            pass
        execute(keyspace, store, protocol)
        assert [execute(keyspace, argv, protocol) for argv in commands] == connection.run(commands)


def test_the_long_run_reports_what_it_compared(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert long.main(["2500", "--seed", "3"]) == 0
    assert "commands compared in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "ours", "theirs"),
    [
        (b"GET a", b"$1\r\nx\r\n", b"$1\r\ny\r\n"),
        (b"GET a", b"$-1\r\n", b"_\r\n"),
        (b"TTL a", b":-1\r\n", b":1\r\n"),
        (b"TTL a", b":100\r\n", b":200\r\n"),
        (b"KEYS *", b"*1\r\n$1\r\na\r\n", b"*1\r\n$1\r\nb\r\n"),
        (b"KEYS *", b"*0\r\n", b"-ERR no\r\n"),
        (b"RANDOMKEY", b"$-1\r\n", b"$1\r\na\r\n"),
        (b"OBJECT FREQ a", b":1\r\n", b"-ERR no\r\n"),
        (b"OBJECT ENCODING a", b"$3\r\nint\r\n", b"$-1\r\n"),
        (b"LCS a b", b"-ERR no\r\n", b":1\r\n"),
    ],
)
def test_the_comparison_sees_differences(argv: bytes, ours: bytes, theirs: bytes) -> None:
    assert not equal(argv.split(), ours, theirs)
