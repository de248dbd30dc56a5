"""Rows of the table: this project's Python client, against redis-py with hiredis: the same script, the same promise.

One caller, one operation after the other, and in batches. A write to Redis is followed by a WAIT 1, as ours is on two
copies before it is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from benchmarks.cluster import local_cluster
from benchmarks.comparing import Bound, Comparison, alternate
from benchmarks.frames import LoadError
from benchmarks.lines import SHAPE
from benchmarks.peers import redis
from twistedkv.blocking import Client

BATCH = 1000
VALUE = b"v" * 100


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """PUT and GET, singly and in batches of a thousand."""
    try:
        import_module("hiredis")
        redis_py: Any = import_module("redis")
    except ImportError:
        raise LoadError("redis-py with hiredis is not installed: pip install redis hiredis") from None
    with ExitStack() as stack:
        host, port = stack.enter_context(local_cluster(SHAPE))
        client = stack.enter_context(Client(f"{host}:{port}"))
        peer: Any = redis_py.Redis(port=stack.enter_context(redis(replica=True)))
        stack.callback(peer.close)
        keys = [b"key:%012d" % number for number in range(10 * BATCH)]
        batches = [keys[first : first + BATCH] for first in range(0, len(keys), BATCH)]
        pairs = [dict.fromkeys(batch, VALUE) for batch in batches]

        def put_redis(key: bytes) -> None:
            peer.set(key, VALUE)
            peer.wait(1, 0)

        def put_redis_batch(batch: dict[bytes, bytes]) -> None:
            pipeline = peer.pipeline(transaction=False)
            for key, value in batch.items():
                pipeline.set(key, value)
            pipeline.wait(1, 0)
            pipeline.execute()

        table: list[tuple[str, Callable[[Any], Any], Callable[[Any], Any], list[Any], int]] = [
            ("put, one after the other", lambda key: client.put(key, VALUE), put_redis, keys, 1),
            ("get, one after the other", client.get, peer.get, keys, 1),
            (f"put, {BATCH} at a time", client.mput, put_redis_batch, pairs, BATCH),
            (f"get, {BATCH} at a time", client.mget, peer.mget, batches, BATCH),
        ]
        found: list[Comparison | Bound] = []
        for name, ours, theirs, arguments, size in table:
            mine, other = alternate(
                runs,
                lambda call=ours, on=arguments, n=size: [_rate(call, on, n, seconds)],  # type: ignore[misc]
                lambda call=theirs, on=arguments, n=size: [_rate(call, on, n, seconds)],  # type: ignore[misc]
            )
            found.append(Comparison(f"Python client, {name}, redis-py", "/s", mine[0], other[0], 1.0))
        return found


def _rate(call: Callable[[Any], Any], arguments: list[Any], size: int, seconds: float) -> float:
    """Operations in a second, over about so many seconds."""
    began = time.perf_counter()
    calls = 0
    while time.perf_counter() - began < seconds:
        call(arguments[calls % len(arguments)])
        calls += 1
    return calls * size / (time.perf_counter() - began)
