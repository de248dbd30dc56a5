"""Rows of the table: the line port against Redis, with the same load generator."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.cluster import local_cluster
from benchmarks.comparing import Bound, Comparison, alternate
from benchmarks.frames import LoadError
from benchmarks.loading import Load, places_of, run
from benchmarks.peers import ask, redis
from twistedkv.blocking import Client
from twistedkv.core.dedup import DedupTable
from twistedkv.limits import SESSIONS_MAX

PUT_TARGETS = {1: 1.0, 16: 1.25, 128: 1.25}
GET_TARGETS = {1: 0.75, 16: 0.9, 128: 0.9}
KEYS = 100_000
MEMORY_KEYS = 1_000_000
SHAPE = ("--servers", "2", "--copies", "2", "--shards", "8")
"""Two servers on two cores; each is primary of half of the shards and secondary of the other half."""


@contextmanager
def line_cluster(*options: str) -> Iterator[int]:
    """A cluster; the line port of one of its servers."""
    with local_cluster(options or SHAPE) as (host, port), Client(f"{host}:{port}") as client:
        servers = client.refresh().servers
        yield next(server.line_port for _, server in sorted(servers.items()) if server.line_port)


def figures(load: Load) -> list[float]:
    """Requests in a second, and the 99th percentile of a burst in microseconds. Raises LoadError after errors."""
    if load.errors:
        raise LoadError(f"{load.errors} requests were answered by errors")
    return [load.per_second, float(load.p99_us)]


def put(runs: int, seconds: float) -> list[Comparison | Bound]:
    """SET on two copies, against Redis with a replica and a WAIT 1 for each burst."""
    rows: list[Comparison | Bound] = []
    with ExitStack() as stack:
        port, peer = stack.enter_context(line_cluster()), stack.enter_context(redis(replica=True))
        places = places_of(port)
        for in_flight, target in PUT_TARGETS.items():
            ours, theirs = alternate(
                runs,
                lambda n=in_flight: figures(run("set", places, in_flight=n, seconds=seconds, keys=KEYS)),  # type: ignore[misc]
                lambda n=in_flight: figures(run("setwait", [str(peer)], in_flight=n, seconds=seconds, keys=KEYS)),  # type: ignore[misc]
            )
            name = f"put, 2 copies, P={in_flight}, Redis + WAIT 1"
            rows.append(Comparison(name, "/s", ours[0], theirs[0], target))
            rows.append(Comparison(f"{name}, p99", "us", ours[1], theirs[1], 1.0, more_is_better=False))
    return rows


def get(runs: int, seconds: float) -> list[Comparison | Bound]:
    """GET of keys that are there, against Redis."""
    rows: list[Comparison | Bound] = []
    with ExitStack() as stack:
        port, peer = stack.enter_context(line_cluster()), stack.enter_context(redis(replica=False))
        places = places_of(port)
        for where in (places, [str(peer)]):
            run("fill", where, in_flight=64, keys=KEYS)
        for in_flight, target in GET_TARGETS.items():
            ours, theirs = alternate(
                runs,
                lambda n=in_flight: figures(run("get", places, in_flight=n, seconds=seconds, keys=KEYS)),  # type: ignore[misc]
                lambda n=in_flight: figures(run("get", [str(peer)], in_flight=n, seconds=seconds, keys=KEYS)),  # type: ignore[misc]
            )
            rows.append(Comparison(f"get, P={in_flight}, Redis", "/s", ours[0], theirs[0], target))
    return rows


def memory(runs: int, seconds: float) -> list[Comparison | Bound]:
    """Resident bytes for each key of 16 bytes with a value of 100, and each copy."""
    with ExitStack() as stack:
        port, peer = stack.enter_context(line_cluster()), stack.enter_context(redis(replica=False))
        places = places_of(port)
        ports = [int(place.partition(":")[0]) for place in places]
        before = sum(resident(each) for each in ports), resident(peer)
        for where in (places, [str(peer)]):
            run("fill", where, in_flight=64, keys=MEMORY_KEYS)
        ours = (sum(resident(each) for each in ports) - before[0]) / MEMORY_KEYS / 2
        theirs = (resident(peer) - before[1]) / MEMORY_KEYS
    return [
        Comparison("memory for each key and copy, Redis", "bytes", [ours], [theirs], 1.3, more_is_better=False),
        Bound("dedup table, for each client and shard", "bytes", [session_bytes()], None),
    ]


def session_bytes() -> float:
    """What a shard remembers of a client with one unfinished write, of as many clients as it remembers."""
    tracemalloc.start()
    table = DedupTable()
    for number in range(1, SESSIONS_MAX + 1):
        table.remember(number.to_bytes(16, "big"), number, number, number, 1 << 42 | number)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(table)


def resident(port: int) -> int:
    """Bytes of memory that the server with this port has, by its own word. Raises LoadError when it does not tell."""
    for line in ask(port, "INFO", "memory").split(b"\r\n"):
        if line.startswith(b"used_memory_rss:"):
            return int(line.partition(b":")[2])
    raise LoadError("INFO memory does not tell the resident memory")
