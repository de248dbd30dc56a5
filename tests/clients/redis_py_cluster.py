"""redis-py, RedisCluster: it goes to the server that has a key itself."""

from __future__ import annotations

import time

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

from tests.clients.redis_py import KEYS, strings
from tests.clients.script import Script, Tally, same, through_kill


def many(r: RedisCluster) -> None:
    """Keys of all shards, pipelines, transactions."""
    pairs = {f"many:{number}": str(number) for number in range(500)}
    assert all(r.mset_nonatomic(pairs)), "MSET"
    same(r.mget_nonatomic(list(pairs)), [value.encode() for value in pairs.values()])
    same((r.exists(*pairs), r.delete(*pairs), r.exists(*pairs)), (500, 500, 0))
    with r.pipeline() as pipe:
        for number in range(1_000):
            pipe.set(f"pipe:{number}", number)
            pipe.incr(f"sum:{number % 10}")
            pipe.get(f"pipe:{number}")
        results = pipe.execute()
    same(results[2::3], [b"%d" % number for number in range(1_000)])
    same([r.get(f"sum:{number}") for number in range(10)], [b"100"] * 10)
    with r.pipeline(transaction=True) as pipe:
        pipe.set("{cart}total", 7)
        pipe.incrby("{cart}total", 3)
        pipe.get("{cart}total")
        same(pipe.execute()[1:], [10, b"10"])
    same(r.msetnx({"{cart}a": 1, "{cart}b": 2}), True)
    same((r.rename("{cart}a", "{cart}c"), r.mget("{cart}b", "{cart}c")), (True, [b"2", b"1"]))


def walks(r: RedisCluster, *, moved: bool) -> None:
    """All keys. Without `--moved` every server answers for all of them."""
    r.flushall()
    names = {b"walk:%d" % number for number in range(KEYS)}
    with r.pipeline() as pipe:
        for name in names:
            pipe.set(name, "x")
        pipe.execute()
    found = list(r.scan_iter(match="walk:*", count=100))
    same(set(found), names)
    times = 1 if moved else len(r.get_primaries())
    same((len(found), r.dbsize(target_nodes=RedisCluster.PRIMARIES)), (KEYS * times, KEYS * times))


def tells(r: RedisCluster, ports: list[int]) -> None:
    """What is told of the cluster."""
    same(sorted(node.port for node in r.get_primaries()), ports)
    nodes = r.cluster_nodes()
    same(sorted(nodes), sorted(f"127.0.0.1:{port}" for port in ports))
    same({node["flags"].replace("myself,", "") for node in nodes.values()}, {"master"})
    info = r.cluster_info(target_nodes=RedisCluster.RANDOM)
    same((info["cluster_state"], info["cluster_slots_ok"], info["cluster_size"]), ("ok", "16384", "3"))
    same((r.cluster_keyslot("{cart}x"), r.keyslot("{cart}x")), (r.cluster_keyslot("cart"), r.cluster_keyslot("cart")))
    same(sum(last - first + 1 for first, last in r.cluster_slots()), 16384)
    same(sum(len(shard["nodes"]) for shard in r.cluster_shards()), 3)
    same(len(r.info(target_nodes=RedisCluster.PRIMARIES)), 3)
    same(r.ping(target_nodes=RedisCluster.ALL_NODES), True)


def main() -> None:
    """The whole script."""
    script = Script()
    start = [ClusterNode("127.0.0.1", port) for port in script.ports]
    with redis.Redis("127.0.0.1", script.ports[0]) as asked:
        moved = _moves(asked)
    with RedisCluster("127.0.0.1", script.ports[0]) as r:
        strings(r)
        many(r)
        walks(r, moved=moved)
        tells(r, script.ports)
        script.did(
            f"redis-py {redis.__version__}, RedisCluster: strings, pipelines, a transaction, {KEYS:,} keys scanned"
        )

    # Repeated increments would be counted twice, and rightly so. Hence no retries of what was sent in this one.
    once = RedisCluster(startup_nodes=start, retry=Retry(NoBackoff(), 0))
    tallies = []
    for place in (1, 0):
        tallies.append(tally := Tally(f"tally:{place}"))
        through_kill(script, place, tally, once.incrby, (redis.RedisError,), lambda: time.sleep(0.05))
        with RedisCluster("127.0.0.1", script.ports[2]) as r:
            for each in tallies:
                each.judge(dict(zip(each.keys, r.mget_nonatomic(each.keys), strict=True)))
        script.did(f"server {place + 1} killed: {tally}")
    once.close()

    # With the retries that are the default, nothing is seen of a server that dies. Sets may be repeated.
    with RedisCluster(startup_nodes=start) as r:
        same(r.ping(target_nodes=RedisCluster.ALL_NODES), True)
        values = Tally("value")
        last = dict.fromkeys(values.keys, -1)

        def put(key: str, by: int) -> None:
            last[key] += 1
            r.set(key, last[key])
            same(r.get(key), b"%d" % last[key])

        through_kill(script, 2, values, put, (redis.RedisError,), lambda: time.sleep(0.05))
        script.did(f"server 3 killed: {values.acknowledged} values set and read, {len(values.errors)} errors")
        r.flushall()
    script.end()


def _moves(asked: redis.Redis) -> bool:
    for number in range(100):
        try:
            asked.get(f"probe:{number}")
        except redis.exceptions.MovedError:
            return True
    return False


if __name__ == "__main__":
    main()
