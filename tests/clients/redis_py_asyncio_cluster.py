"""redis-py under asyncio, RedisCluster: many tasks at a time."""

from __future__ import annotations

import asyncio

import redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.clients.redis_py_asyncio import LOST, TASKS, through_kill
from tests.clients.script import Script, Tally, same


async def uses_cluster(r: RedisCluster) -> None:
    """What a program does with the client of a cluster."""
    await asyncio.gather(*(r.set(f"c:{number}", number) for number in range(500)))
    same(await asyncio.gather(*(r.get(f"c:{number}") for number in range(500))), [b"%d" % n for n in range(500)])
    async with r.pipeline() as pipe:
        for number in range(500):
            pipe.incr(f"c:{number}")
        same(await pipe.execute(), list(range(1, 501)))
    same({key async for key in r.scan_iter(match="c:*")}, {b"c:%d" % number for number in range(500)})
    same(len(r.get_primaries()), 3)


async def main() -> None:
    """The whole script."""
    script = Script()
    async with RedisCluster(host="127.0.0.1", port=script.ports[0], max_connections=1_000) as r:
        await uses_cluster(r)
        script.did(f"redis-py {redis.__version__}, asyncio RedisCluster: 500 at a time, a pipeline, all keys scanned")

    # Repeated increments would be counted twice, and rightly so. Hence no retries of what was sent in this one.
    start = [ClusterNode("127.0.0.1", port) for port in script.ports]
    async with RedisCluster(startup_nodes=start, retry=Retry(NoBackoff(), 0)) as once:
        tallies = []
        for place in (1, 0):
            tallies.append(tally := Tally(f"tally:{place}"))
            await through_kill(script, place, tally, once.incrby, LOST)
            for each in tallies:
                values = await asyncio.gather(*(once.get(key) for key in each.keys))
                each.judge(dict(zip(each.keys, values, strict=True)))
            script.did(f"server {place + 1} killed, {TASKS} tasks: {tally}")
    script.end()


if __name__ == "__main__":
    asyncio.run(main())
