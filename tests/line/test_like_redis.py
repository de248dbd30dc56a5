"""Differential tests: the same bytes to line ports of a cluster of processes and to a real redis-server, replies byte
for byte.

`python -m tests.line.long 1000000` is the long run of the same comparison.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.line import long
from tests.line.comparing import Difference, Pair, equal
from tests.line.speaking import pieces, written
from tests.line.streams import BROKEN, Stream
from tests.line.systems import Systems, systems
from tests.support.redis_server import RedisConnection, require_redis
from twistedkv.limits import INLINE_BYTES_MAX
from twistedkv.resp.requests import RequestParser, commands_of

both_protocols = pytest.mark.parametrize("protocol", [2, 3])


@pytest.fixture(scope="module")
def both() -> Iterator[Systems]:
    """A cluster and a Redis of their own."""
    require_redis()
    with systems() as found:
        yield found


@contextlib.contextmanager
def pair_of(both: Systems, server: int = 0, protocol: int = 2) -> Iterator[Pair]:
    """A client of a server of ours, and of Redis; both are empty."""
    pair = Pair(RedisConnection(both.ports[server]), RedisConnection(both.redis_port), Stream(Random(1)))
    with contextlib.closing(pair):
        assert pair.exchange([[b"FLUSHALL"], [b"HELLO", b"%d" % protocol]]) is None
        yield pair


def described(difference: Difference | None) -> str:
    """For the report of a failed test."""
    return "" if difference is None else difference.describe()


@pytest.mark.parametrize("seed", range(6))
def test_random_streams_are_answered_as_by_redis(both: Systems, seed: int) -> None:
    before = both.compared
    assert described(both.play(Random(seed), segments=20, requests_max=60)) == ""
    assert both.compared - before > 200


@pytest.mark.parametrize("seed", [101, 102])
def test_a_killed_server_changes_no_reply(both: Systems, seed: int) -> None:
    assert described(both.play(Random(seed), segments=12, requests_max=60, kill=True)) == ""


TYPED = r"""
WAIT 0 x|WAIT 9223372036854775808 0|WAIT 0 -1|WAIT 0|LOLWUT VERSION x|CLIENT|CLIENT FOO|CLIENT GETNAME x|AUTH|AUTH a
CLIENT SETNAME "a b"|AUTH a b|AUTH a b c|AUTH default x|HELLO x|HELLO 2 x|HELLO 2 AUTH default|HELLO 2 AUTH a b
HELLO 2 SETNAME a SETNAME b FOO|CLIENT GETNAME|HELLO 2 SETNAME "a b"|CLIENT GETNAME|HELLO 3 SETNAME ""|CLIENT GETNAME
EXEC|DISCARD|MULTI x|MULTI|MULTI|WATCH {t}a|EXEC|MULTI|FOO|EXEC|MULTI|GET|SET {t}a 1|EXEC|MULTI|EXEC x|EXEC|EXEC x
MULTI|DISCARD x|EXEC|MULTI|RESET|EXEC|MULTI|WATCH|EXEC|MULTI|UNWATCH x|EXEC|MULTI|CLIENT FOO|EXEC|MULTI|OBJECT FOO x
EXEC|MULTI|SLOWLOG GET x|EXEC|MULTI|SELECT 1|EXEC|MULTI|AUTH x|EXEC|MULTI|CLIENT SETNAME "a b"|CLIENT SETNAME ok
GET {t}a|CLIENT GETNAME|EXEC|CLIENT GETNAME|MULTI|DISCARD|WATCH {t}a|MULTI|GET|EXEC|SET {t}a 2|MULTI|GET {t}a|EXEC
SELECT 0 1|SELECT|SELECT 0x|SELECT 4294967296|SELECT x|DBSIZE x|FLUSHALL x y|FLUSHDB SYNC|FLUSHALL sync|ECHO|ECHO a b
FLUSHALL async x|RANDOMKEY x|KEYS|SCAN|SCAN x|TIME x|PING a b|CONFIG GET|CONFIG|CONFIG RESETSTAT x|LATENCY HISTORY|ROLE
LATENCY RESET a b|LATENCY LATEST|LATENCY DOCTOR x|MEMORY|MEMORY STATS x|SLOWLOG|SLOWLOG LEN x|SLOWLOG GET -2|DEBUG
SLOWLOG GET 99999999999999999999|SLOWLOG GET 1 2|SLOWLOG RESET|COMMAND COUNT x|COMMAND FOO|COMMAND GETKEYS|DEBUG SLEEP
COMMAND GETKEYS DEBUG FOO|COMMAND LIST FILTERBY|DEBUG FOO|CLIENT LIST TYPE foo|CLIENT LIST TYPE|CLIENT LIST ID
CLIENT LIST ID x|CLIENT LIST TYPE replica|CLIENT LIST ID 0|CLIENT NO-EVICT x|CLIENT NO-EVICT on|CLIENT INFO x|"" a
'get' 'x'|"SET" "{t}\x00\n" 'a\'b'|GET "{t}\x00\n"|SET|GET a b|RANDOMKEY|MSET a 1 b 2 c|MGET a b c|DBSIZE|RESET x|RESET
"""
"""Lines that are typed one after another, an option of each command wrong here and there."""


@both_protocols
def test_what_is_typed_is_answered_as_by_redis(both: Systems, protocol: int) -> None:
    different = []
    with pair_of(both, server=1, protocol=protocol) as pair:
        for line in TYPED.strip().replace("\n", "|").split("|"):
            for side in (pair.ours, pair.theirs):
                side.send(line.encode() + b"\n")
            ours, theirs = pair.ours.reply(), pair.theirs.reply()
            if not equal(line.encode().split(b" "), ours, theirs):
                different.append((line, ours, theirs))
    assert different == []


TOO_LONG = [
    b"x" * (INLINE_BYTES_MAX + 1),
    b"*" + b"1" * INLINE_BYTES_MAX,
    b"*1\r\n$" + b"1" * INLINE_BYTES_MAX,
]
"""What has no end. Redis looks when it has read so much, and leaves nothing unread."""


@pytest.mark.parametrize("tail", [*BROKEN, *TOO_LONG], ids=lambda tail: repr(tail[:20]))
def test_what_is_no_request_ends_the_connection_as_with_redis(both: Systems, tail: bytes) -> None:
    with pair_of(both) as pair:
        requests = [[b"PING"], [b"SET", b"a", b"1"], [b"GET", b"a"]]
        assert described(pair.exchange(requests, tail)) == ""
        assert described(pair.ending([tail])) == ""


@both_protocols
def test_nothing_is_done_after_quit(both: Systems, protocol: int) -> None:
    with pair_of(both, protocol=protocol) as pair:
        requests = [[b"MULTI"], [b"SET", b"a", b"1"], [b"QUIT"]]
        assert described(pair.exchange(requests, b"SET a 2\r\nPING\r\n")) == ""
        assert described(pair.ending([b"QUIT"])) == ""
    with pair_of(both) as pair:
        assert described(pair.exchange([[b"GET", b"a"]])) == ""


KNOWN = r"""
MULTI;DBSIZE|-ERR 'dbsize' is not of one shard: not allowed inside a transaction|+QUEUED
RENAME a b|-CROSSSLOT Keys in request|-ERR no such key
MULTI;DEBUG FOO|-ERR unknown subcommand|+QUEUED
WAIT 0 0|:1|:0
CLIENT SETINFO LIB-NAME x|+OK|-ERR unknown subcommand
CLIENT REPLY ON|-ERR unknown subcommand|+OK
CLUSTER KEYSLOT a|:15495|-ERR This instance has cluster support disabled
READONLY|+OK|-ERR This instance has cluster support disabled
GET ""|-ERR key of 0 bytes: a key has 1 to 500 bytes|$-1
GETV a|*-1|-ERR unknown command
LPUSH list a|-ERR unknown command|:1
WATCH {t}n;SET {t}n 1;DEL {t}n;MULTI;PING;EXEC|*1|*-1
"""
"""Lines, and what the last of them is answered by us and by Redis: what docs/line-protocol.md lists as different."""


@pytest.mark.parametrize("line", KNOWN.strip().split("\n"), ids=lambda line: line.split("|")[0])
def test_what_is_known_to_differ_still_does(both: Systems, line: str) -> None:
    asked, ours, theirs = line.encode().split(b"|")
    with pair_of(both) as pair:
        for side, expected in ((pair.ours, ours), (pair.theirs, theirs)):
            for one in asked.split(b";"):
                side.send(one + b"\r\n")
            *_, last = [side.reply() for _ in asked.split(b";")]
            assert last.startswith(expected)


def test_hello_in_a_transaction_is_known_to_come_after_the_commands_of_the_shard(both: Systems) -> None:
    requests = [[b"MULTI"], [b"HELLO", b"3"], [b"GET", b"a"], [b"EXEC"]]
    with pair_of(both) as pair:
        ours, theirs = pair.ours.run(requests)[-1], pair.theirs.run(requests)[-1]
    assert ours.startswith(b"*2\r\n%7\r\n") and ours.endswith(b"\r\n$-1\r\n")
    assert theirs.startswith(b"*2\r\n%7\r\n") and theirs.endswith(b"\r\n_\r\n")


def test_the_long_run_reports_what_it_compared(
    both: Systems, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both.compared = both.killed = 0
    monkeypatch.setattr(long, "systems", lambda: contextlib.nullcontext(both))
    assert long.main(["1500", "--seed", "3", "--kills", "0"]) == 0
    assert "no difference" in capsys.readouterr().out


@given(random=st.randoms(use_true_random=False))
def test_requests_are_read_back_however_they_are_written_and_cut(random: Random) -> None:
    stream = Stream(random)
    requests = [argv for _ in range(10) for argv in stream.requests()]
    data = b"".join(written(random, argv) for argv in requests)
    cut = pieces(random, data)
    assert b"".join(cut) == data
    parser = RequestParser()
    assert [argv for piece in cut for argv in commands_of(parser.feed(piece))] == requests
    assert not parser.partial and not parser.failed


@pytest.mark.parametrize(
    ("argv", "ours", "theirs"),
    [
        (b"GET a", b"$1\r\nx\r\n", b"$1\r\ny\r\n"),
        (b"PING", b"+PONG\r\n", b"$4\r\nPONG\r\n"),
        (b"HELLO 2", b"*2\r\n$5\r\nproto\r\n:2\r\n", b"*2\r\n$5\r\nproto\r\n:3\r\n"),
        (b"INFO", b"$0\r\n\r\n", b"=4\r\ntxt:\r\n"),
        (b"SLOWLOG GET -2", b"*0\r\n", b"-ERR no\r\n"),
        (b"TIME", b"*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n", b"*2\r\n$1\r\n1\r\n$1\r\n0\r\n"),
        (b"EXEC", b"*1\r\n:1\r\n", b"*1\r\n:2\r\n"),
        (b"CLIENT GETNAME", b"$1\r\na\r\n", b"$1\r\nb\r\n"),
    ],
)
def test_the_comparison_sees_differences(argv: bytes, ours: bytes, theirs: bytes) -> None:
    assert not equal(argv.split(), ours, theirs)
