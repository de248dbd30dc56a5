"""txredisapi, a client on Twisted."""

from __future__ import annotations

from typing import Any

import txredisapi
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater, react

from tests.clients.script import Script, Tally, rounds, same

TASKS = 10


async def uses(r: Any) -> None:
    """What a program does with it."""
    same((await r.ping(), await r.set("a", b"\x00\xff\r\n"), await r.get("a")), ("PONG", "OK", b"\x00\xff\r\n"))
    same((await r.set("b", "text"), await r.append("b", "s"), await r.get("b")), ("OK", 5, "texts"))
    same((await r.incr("n"), await r.incr("n", 41), await r.decr("n"), await r.get("n")), (1, 42, 41, 41))
    same((await r.setex("e", 100, "x"), await r.ttl("e"), await r.persist("e"), await r.ttl("e")), ("OK", 100, 1, -1))
    pairs = {f"many:{number}": f"v{number}" for number in range(200)}
    same((await r.mset(pairs), await r.mget(list(pairs))), ("OK", list(pairs.values())))
    same((await r.exists("many:1"), await r.delete(list(pairs)), await r.exists("many:1")), (1, 200, 0))
    same(sorted(await gatherResults([r.incr("together") for _ in range(500)])), list(range(1, 501)))
    transaction = await r.multi("{t}a")  # WATCH and MULTI
    await transaction.set("{t}a", 7)
    await transaction.incr("{t}a")
    same(await transaction.commit(), ["OK", 8])
    transaction = await r.multi("{t}a")
    await r.set("{t}a", 1)
    await transaction.set("{t}a", 9)
    try:
        await transaction.commit()
    except txredisapi.WatchError:
        same(await r.get("{t}a"), 1)
    else:
        raise AssertionError("a watched key was changed, and nothing was noticed")
    pipe = await r.pipeline()
    for number in range(1_000):
        pipe.set(f"pipe:{number}", number)
    same(set(await pipe.execute_pipeline()), {"OK"})
    found: list[str] = []
    cursor = 0
    while True:
        cursor, keys = await r.scan(cursor, "pipe:*", 100)
        found += keys
        if not cursor:
            break
    same((len(found), set(found)), (1_000, {f"pipe:{number}" for number in range(1_000)}))
    same((await r.info("replication"))["role"], "master")
    try:
        await r.lpush("list", "x")
    except txredisapi.ResponseError as error:
        assert "unknown command" in str(error), error


async def through_kill(script: Script, place: int, tally: Tally, r: Any, kinds: tuple[type[Exception], ...]) -> None:
    """Increments by several tasks, while a server is killed."""
    turns = rounds(script, place)

    async def go_on() -> None:
        for _ in turns:
            key, by = tally.next()
            try:
                await r.incr(key, by)
            except kinds as error:
                tally.failed(key, by, error)
                await deferLater(reactor, 0.1)  # type: ignore[arg-type]
            else:
                tally.done(key, by)

    await gatherResults([ensureDeferred(go_on()) for _ in range(TASKS)], consumeErrors=True)


async def main(_: object) -> None:
    """The whole script."""
    script = Script()
    r = await txredisapi.ConnectionPool("127.0.0.1", script.ports[0], poolsize=4)
    await uses(r)
    script.did("txredisapi: strings, WATCH and MULTI, 500 at a time, a pipeline, 1,000 keys scanned")
    tallies = []
    lost = (txredisapi.ResponseError, txredisapi.ConnectionError)
    for place, kinds in ((1, (txredisapi.ResponseError,)), (0, lost)):
        tallies.append(tally := Tally(f"tally:{place}"))
        await through_kill(script, place, tally, r, kinds)
        for each in tallies:
            each.judge(dict(zip(each.keys, await r.mget(each.keys), strict=True)))
        script.did(f"{'its' if place == 0 else 'another'} server killed, {TASKS} tasks: {tally}")
    same(await r.flushall(), "OK")
    await r.disconnect()
    script.end()


if __name__ == "__main__":
    react(lambda _: ensureDeferred(main(_)))
