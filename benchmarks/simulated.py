"""A row of the table: how what passes between the processes grows with the number of servers, on simulated time.

Four shards for each server, two copies, heartbeats of 0.2 s, nobody writes but one client. A message is a write to a
connection. It is the same in every run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.comparing import Bound, Comparison
from benchmarks.frames import LoadError
from twistedkv.simulation.cluster import COORDINATOR_HOST, Cluster, Shape
from twistedkv.simulation.network import Channel
from twistedkv.simulation.timeline import Timeline

SERVERS = (4, 12, 36, 100)
SHARDS_EACH = 4
FORM_SECONDS_MAX = 60.0
WATCHED_SECONDS = 2.0
WRITES = 100


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """Messages and bytes in a second of an idle cluster, and messages for a write, by number of servers."""
    found: list[Comparison | Bound] = []
    for servers in SERVERS:
        figures = _watch(servers)
        found += [Bound(f"{servers} servers: {name}", unit, [value], None) for name, unit, value in figures]
    return found


def _watch(servers: int) -> list[tuple[str, str, float]]:
    timeline = Timeline(1)
    cluster = Cluster(timeline, Shape(servers=servers, shards=SHARDS_EACH * servers, clients=1))
    cluster.start_coordinator()
    for server_id in cluster.shape.server_ids:
        cluster.start_server(server_id)
    if not timeline.run_while(lambda: not cluster.serving, FORM_SECONDS_MAX):
        raise LoadError(f"{servers} simulated servers did not form a cluster in {FORM_SECONDS_MAX:g} s")
    formed = timeline.now
    process = cluster.start_client(1)
    timeline.run_until(timeline.now + WATCHED_SECONDS)
    with _counted() as (messages, sizes):
        timeline.run_until(timeline.now + WATCHED_SECONDS)
    idle = sum(messages.values()) / WATCHED_SECONDS
    to_coordinator = sum(count for link, count in messages.items() if link[1] == COORDINATOR_HOST) / WATCHED_SECONDS
    bytes_to = sum(size for link, size in sizes.items() if link[1] == COORDINATOR_HOST) / WATCHED_SECONDS
    done: list[Any] = []
    with _counted() as (messages, _):
        for number in range(WRITES):
            process.program.client.put(b"key%d" % number, b"value").addCallback(done.append)
            timeline.run_until(timeline.now + 0.01)
    if len(done) != WRITES:
        raise LoadError(f"{WRITES - len(done)} writes of {WRITES} have not been answered in time")
    more = sum(messages.values()) - idle * 0.01 * WRITES
    return [
        ("from start to serving", "s", formed),
        ("messages to the coordinator", "/s", to_coordinator),
        ("bytes to the coordinator", "B/s", bytes_to),
        ("messages between servers, for each", "/s", (idle - 2 * to_coordinator) / servers),
        ("messages for a write", "", more / WRITES),
    ]


@contextmanager
def _counted() -> Iterator[tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]]:
    """Messages and bytes by link, while this lasts."""
    messages: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    send = Channel.send

    def counting(channel: Channel, call: Any, *args: Any) -> None:
        if args and isinstance(args[0], bytes | bytearray):
            messages[channel.link] += 1
            sizes[channel.link] += len(args[0])
        send(channel, call, *args)

    Channel.send = counting  # type: ignore[method-assign,assignment]
    try:
        yield messages, sizes
    finally:
        Channel.send = send  # type: ignore[method-assign]
