"""redis-py, the plain client."""

from __future__ import annotations

import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.clients.script import Script, Tally, same, through_kill

KEYS = 3_000
EVERY_BYTE = bytes(range(256))


def strings(r: redis.Redis) -> None:
    """Strings, counters, expiry."""
    same(r.ping(), True)
    same(r.set("greeting", "hello"), True)
    same(r.get("greeting"), b"hello")
    same(r.get("nothing"), None)
    same(r.set("greeting", "again", nx=True), None)
    same(r.set("greeting", "again", xx=True, get=True), b"hello")
    same((r.append("greeting", "!"), r.strlen("greeting"), r.getrange("greeting", 1, -2)), (6, 6, b"gain"))
    same((r.setrange("greeting", 1, "GAIN"), r.getset("greeting", "once")), (6, b"aGAIN!"))
    same((r.getdel("greeting"), r.exists("greeting")), (b"once", 0))
    same((r.incr("n"), r.incrby("n", 41), r.decr("n"), r.incrbyfloat("f", 0.5)), (1, 42, 41, 0.5))
    same(r.set("bytes", EVERY_BYTE) and r.get("bytes"), EVERY_BYTE)
    same(r.set(EVERY_BYTE, b"\r\n$-1\r\n") and r.get(EVERY_BYTE), b"\r\n$-1\r\n")
    same(r.set("empty", "") and r.get("empty"), b"")
    large = EVERY_BYTE * 4096
    same(r.set("large", large) and r.get("large"), large)
    same((r.set("short", "x", ex=100), 98 <= r.ttl("short") <= 100), (True, True))
    same((r.expire("short", 50, gt=True), r.pexpire("short", 9_000, lt=True), r.pttl("short") <= 9_000), (0, 1, True))
    same((r.persist("short"), r.ttl("short"), r.ttl("nothing")), (True, -1, -2))
    same((r.set("gone", "x", px=30), r.set("gone", "x", keepttl=True), r.getex("short", ex=10)), (True, True, b"x"))
    time.sleep(0.05)
    same((r.get("gone"), r.exists("gone", "short")), (None, 1))
    same((r.type("short"), r.object("encoding", "short"), r.memory_usage("short") > 1), (b"string", b"embstr", True))
    try:
        r.incr("bytes")
    except redis.ResponseError as error:
        same(str(error), "value is not an integer or out of range")


def many(r: redis.Redis) -> None:
    """Keys of all shards, pipelines, transactions."""
    pairs = {f"many:{number}": str(number) for number in range(500)}
    same(r.mset(pairs), True)
    same(r.mget(list(pairs)), [value.encode() for value in pairs.values()])
    same((r.exists(*pairs), r.delete(*pairs), r.exists(*pairs)), (500, 500, 0))
    with r.pipeline(transaction=False) as pipe:
        for number in range(1_000):
            pipe.set(f"pipe:{number}", number).incr("sum").get(f"pipe:{number}")
        results = pipe.execute()
    same(results[2::3], [b"%d" % number for number in range(1_000)])
    same(results[1::3], list(range(1, 1_001)))
    with r.pipeline() as pipe:
        pipe.set("{cart}total", 7).incrby("{cart}total", 3).get("{cart}total").expire("{cart}total", 60)
        same(pipe.execute(), [True, 10, b"10", True])
    same(r.msetnx({"{cart}a": 1, "{cart}b": 2}), True)
    same((r.rename("{cart}a", "{cart}c"), r.copy("{cart}c", "{cart}d"), r.get("{cart}d")), (True, True, b"1"))

    def double(pipe: redis.client.Pipeline) -> None:
        now = int(pipe.get("{cart}total"))
        if now == 10:
            r.set("{cart}total", 11)  # somebody is faster
        pipe.multi()
        pipe.set("{cart}total", now * 2)

    same((r.transaction(double, "{cart}total"), r.get("{cart}total")), ([True], b"22"))
    with r.pipeline() as pipe:
        pipe.set("one", 1).incr("greeting:text")
        try:
            pipe.execute()
        except redis.RedisError as error:
            assert "hash tag" in str(error), error
        else:
            raise AssertionError("a transaction over two shards")


def walks(r: redis.Redis) -> None:
    """All keys."""
    r.flushall()
    names = {b"walk:%d" % number for number in range(KEYS)}
    with r.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.set(name, "x")
        pipe.execute()
    found = list(r.scan_iter(match="walk:*", count=100))
    same((len(found), set(found)), (KEYS, names))
    same(
        (r.dbsize(), set(r.keys("walk:1?")), r.randomkey() in names),
        (KEYS, {b"walk:%d" % n for n in range(10, 20)}, True),
    )


def tells(r: redis.Redis) -> None:
    """What the server says of itself."""
    same(r.echo("hello"), b"hello")
    info = r.info()
    same((info["redis_version"], info["role"], info["loading"]), ("7.0.15", "master", 0))
    assert info["db0"]["keys"] > 0, info["db0"]
    assert r.info("memory")["used_memory"] > 0
    same(r.client_setname("clients") and r.client_getname() in ("clients", b"clients"), True)
    mine = [each for each in r.client_list() if each["id"] == str(r.client_id())]
    same((len(mine), mine[0]["lib-name"].startswith("redis-py"), r.client_info()["name"]), (1, True, "clients"))
    commands = r.command()
    same((r.command_count() == len(commands), commands["get"]["arity"], commands["mset"]["step_count"]), (True, 2, 2))
    same(r.command_getkeys("MSET", "a", 1, "b", 2), ["a", "b"])
    assert r.config_get("max*")["maxmemory"] == "0", r.config_get("max*")
    assert abs(r.time()[0] - time.time()) < 60, r.time()
    try:
        r.lpush("list", "x")
    except redis.ResponseError as error:
        assert str(error).startswith("unknown command 'LPUSH'"), error
    same((r.wait(1, 1000), r.role()[0], r.slowlog_len() >= 0, r.lolwut() != ""), (1, b"master", True, True))


def threads(r: redis.Redis) -> None:
    """A pool that several threads use."""

    def count() -> None:
        for _ in range(200):
            r.incr("threads")

    workers = [threading.Thread(target=count) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    same(r.get("threads"), b"1600")


def main() -> None:
    """The whole script."""
    script = Script()
    port = script.ports[0]
    with redis.Redis("127.0.0.1", port) as r:
        strings(r)
        many(r)
        walks(r)
        tells(r)
        threads(r)
        script.did(
            f"redis-py {redis.__version__}, RESP3: strings, pipelines, transactions, {KEYS:,} keys scanned, 8 threads"
        )
    with redis.Redis("127.0.0.1", port, protocol=2, decode_responses=True) as r:
        same((r.set("text", "žluťoučký"), r.get("text"), r.info()["loading"]), (True, "žluťoučký", 0))
        same(
            (r.mget("text", "nothing"), r.client_setname("two"), r.command_count() > 0),
            (["žluťoučký", None], True, True),
        )
        script.did("RESP2, decoded")

    # Repeated increments would be counted twice, and rightly so. Hence no retries in this one.
    once = redis.Redis("127.0.0.1", port, retry=Retry(NoBackoff(), 0))
    tallies = [Tally("tally:1"), Tally("tally:0")]
    through_kill(script, 1, tallies[0], once.incrby, (redis.ResponseError,), lambda: time.sleep(0.02))
    script.did(f"another server killed: {tallies[0]}, on one connection")
    through_kill(script, 0, tallies[1], once.incrby, (redis.RedisError,), lambda: time.sleep(0.05))
    for tally in tallies:
        tally.judge(dict(zip(tally.keys, once.mget(tally.keys), strict=True)))
    script.did(f"its server killed: {tallies[1]}")
    once.close()

    # With the retries that are the default, a program that only sets and gets sees no error of a short absence.
    with redis.Redis("127.0.0.1", port) as r:
        same((r.set("after", "all"), r.get("after"), r.flushall()), (True, b"all", True))
    script.end()


if __name__ == "__main__":
    main()
