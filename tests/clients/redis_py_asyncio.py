"""redis-py under asyncio, the plain client: many tasks at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import redis
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.clients.script import Script, Tally, rounds, same

TASKS = 20

LOST = (redis.RedisError, AttributeError, TypeError)
"""Errors of a lost connection. The last two come up in redis-py 8.1 when a task is about to send (its issue 4287)."""

Kinds = type[Exception] | tuple[type[Exception], ...]


async def uses(r: Redis) -> None:
    """What a program does with the plain client."""
    same((await r.ping(), await r.set("a", b"\x00\xff", ex=60), await r.get("a")), (True, True, b"\x00\xff"))
    pairs = {f"many:{number}": str(number) for number in range(300)}
    same((await r.mset(pairs), await r.mget(list(pairs))), (True, [value.encode() for value in pairs.values()]))
    async with r.pipeline(transaction=False) as pipe:
        for number in range(300):
            pipe.incrby("sum", number)
        same((await pipe.execute())[-1], sum(range(300)))
    async with r.pipeline(transaction=True) as pipe:
        same(await pipe.set("{t}a", 1).incr("{t}a").get("{t}a").execute(), [True, 2, b"2"])
    async with r.pipeline() as pipe:
        await pipe.watch("{t}a")
        await r.set("{t}a", 5)
        pipe.multi()
        pipe.set("{t}a", 6)
        try:
            await pipe.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key was changed, and nothing was noticed")
    same({key async for key in r.scan_iter(match="many:*")}, {key.encode() for key in pairs})
    same((await r.info("server"))["redis_mode"], "cluster")
    same(sorted(await asyncio.gather(*(r.incr("together") for _ in range(90)))), list(range(1, 91)))


async def through_kill(
    script: Script, place: int, tally: Tally, increment: Callable[[str, int], Any], kinds: Kinds
) -> None:
    """Increments by several tasks, while a server is killed."""
    turns = rounds(script, place)

    async def go_on() -> None:
        for _ in turns:
            key, by = tally.next()
            try:
                await increment(key, by)
            except kinds as error:
                tally.failed(key, by, error)
                await asyncio.sleep(0.3)
            else:
                tally.done(key, by)

    await asyncio.gather(*(go_on() for _ in range(TASKS)))


async def main() -> None:
    """The whole script."""
    script = Script()
    port = script.ports[0]
    async with Redis(port=port) as r:
        await uses(r)
        script.did(f"redis-py {redis.__version__}, asyncio: pipelines, transactions, WATCH, 90 at a time")

    # Repeated increments would be counted twice, and rightly so. Hence no retries in this one.
    async with Redis(port=port, retry=Retry(NoBackoff(), 0)) as once:
        tallies = []
        for place, kinds in ((1, redis.ResponseError), (0, LOST)):
            tallies.append(tally := Tally(f"tally:{place}"))
            await through_kill(script, place, tally, once.incrby, kinds)
            for each in tallies:
                each.judge(dict(zip(each.keys, await once.mget(each.keys), strict=True)))
            script.did(f"{'its' if place == 0 else 'another'} server killed, {TASKS} tasks: {tally}")
    async with Redis(port=port) as r:
        await r.flushall()
    script.end()


if __name__ == "__main__":
    asyncio.run(main())
