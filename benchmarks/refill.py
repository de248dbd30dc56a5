"""Rows of the table: how long a fresh replacement takes to get its copies while clients write, and what they notice.

Ours: a server of three is killed. Its replacement gets the copies that it had, which is the time from the coordinator's
first `learner.added` to its last `learner.completed`. Theirs: a fresh replica is given a master, which is the time from
REPLICAOF until both say that it is in sync. Both for 1,000,000 keys: the time is scaled by the keys that were copied.

The load is the same and goes on all the time: ten connections with one SET in flight each, on our side through the two
servers that stay. What clients wait is compared with what they waited just before; the failover that comes before a
refill is not part of it (benchmarks.outages has that).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import attrs

from benchmarks.cluster import local_cluster
from benchmarks.comparing import Bound, Comparison
from benchmarks.frames import LoadError
from benchmarks.loading import Running, run, running
from benchmarks.peers import ask, redis, wait_replication
from twistedkv.blocking import Client

SHAPE = ("--servers", "3", "--copies", "2", "--shards", "12")
KEYS_MAX = 1_000_000
KEYS_PER_SECOND = 500_000
"""Of `--seconds`: a short run moves fewer keys than KEYS_MAX."""
CONNECTIONS = 10
WARM_SECONDS = 1.0
REFILL_SECONDS_MAX = 120.0
TIME_TARGET, WAIT_TARGET = 1.5, 3.0


@attrs.frozen
class Refill:
    """What one refill took."""

    seconds: float
    keys: int
    p99_ratio: float
    """Of the clients' waits, during it to before it."""

    @property
    def seconds_per_million(self) -> float:
        """For 1,000,000 keys."""
        return self.seconds * 1e6 / self.keys if self.keys else 0.0


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """Milliseconds for 1,000,000 keys, and the 99th percentile during it as a multiple of that before."""
    copied = min(KEYS_MAX, int(KEYS_PER_SECOND * seconds))
    ours, theirs, healed = [], [], []
    with local_cluster(SHAPE) as (host, port), Client(f"{host}:{port}") as client, redis(replica=False) as master:
        keys = copied * 3 // 2  # two of three are on each server
        run("fill", [str(place) for place in _line_ports(client).values()], in_flight=64, keys=keys)
        run("fill", [str(master)], in_flight=64, keys=copied)
        for _ in range(runs):
            refill, until_healthy = _refill(client, keys, seconds)
            ours.append(refill)
            healed.append(until_healthy)
            theirs.append(_resync(master, copied, seconds))
    name = f"refill of a million keys, of {copied:,}, Redis resync"
    return [
        Comparison(name, "ms", _milliseconds(ours), _milliseconds(theirs), TIME_TARGET, more_is_better=False),
        Bound(
            "refill: clients' p99, to that before", "x", [each.p99_ratio for each in ours], WAIT_TARGET, by_median=True
        ),
        Bound("Redis resync: the same", "x", [each.p99_ratio for each in theirs], None),
        Bound("refill: from the kill until healthy", "ms", healed, None),
    ]


def _milliseconds(refills: Sequence[Refill]) -> list[float]:
    return [1000 * refill.seconds_per_million for refill in refills]


def _line_ports(client: Client) -> dict[int, int]:
    """By server id."""
    return {number: server.line_port for number, server in client.refresh().servers.items()}


@contextmanager
def _load(places: Sequence[int], keys: int, seconds: float) -> Iterator[tuple[Running, float]]:
    """The load, once it is warm, and what its 99th percentile is before anything happens."""
    with running(
        "set",
        [str(place) for place in places],
        connections=CONNECTIONS,
        in_flight=1,
        seconds_max=REFILL_SECONDS_MAX + seconds,
        keys=keys,
    ) as load:
        time.sleep(WARM_SECONDS)
        load.figures()
        time.sleep(seconds)
        yield load, float(max(1, load.figures().p99_us))


def _refill(client: Client, keys: int, seconds: float) -> tuple[Refill, float]:
    """Kill a server and wait until all is well; the refill, and milliseconds from the kill until then."""
    victim, server = max(client.refresh().servers.items())
    places = [port for number, port in _line_ports(client).items() if number != victim]
    seen = _newest_event(client)
    with _load(places, keys, seconds) as (load, before):
        killed = time.monotonic()
        os.kill(server.pid, signal.SIGKILL)
        _wait_event(client, seen, "learner.added")
        load.figures()
        _wait_filled(client, seen)
        during = load.figures()
        while not client.admin("status")["healthy"]:
            _in_time(killed)
            time.sleep(0.02)
        healthy = time.monotonic()
    if during.errors:
        raise LoadError(f"{during.errors} requests were answered by errors during the refill")
    filled = next(each["keys"] for each in client.admin("status")["servers"] if each["id"] == victim)
    refill = Refill(fill_seconds(_events(client, seen)), filled, during.p99_us / before)
    return refill, 1000 * (healthy - killed)


def fill_seconds(events: Sequence[dict[str, Any]]) -> float:
    """From the first fill's begin to the last one's end, by the coordinator's journal. Raises LoadError without one."""
    begun = [_time(event) for event in events if event["event"] == "learner.added"]
    ended = [_time(event) for event in events if event["event"] == "learner.completed"]
    if not begun or not ended:
        raise LoadError("the journal tells of no fill that came to its end")
    return max(ended) - min(begun)


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _events(client: Client, after: int) -> list[dict[str, Any]]:
    """What the journal has after an event, page by page."""
    events: list[dict[str, Any]] = []
    while page := client.admin("journal", after=events[-1]["number"] if events else after)["events"]:
        events += page
    return events


def _newest_event(client: Client) -> int:
    events = _events(client, 0)
    return int(events[-1]["number"]) if events else 0


def _wait_event(client: Client, after: int, kind: str) -> None:
    began = time.monotonic()
    while not any(event["event"] == kind for event in _events(client, after)):
        _in_time(began)
        time.sleep(0.01)


def _wait_filled(client: Client, after: int) -> None:
    """Until as many fills have ended as were begun, and none is under way."""
    began = time.monotonic()
    while True:
        kinds = [event["event"] for event in _events(client, after)]
        missing = any(shard["state"] in ("degraded", "filling") for shard in client.admin("status")["shards"])
        if not missing and kinds.count("learner.completed") >= kinds.count("learner.added") > 0:
            return
        _in_time(began)
        time.sleep(0.02)


def _in_time(began: float) -> None:
    if time.monotonic() - began > REFILL_SECONDS_MAX:
        raise LoadError(f"the refill has not come to its end in {REFILL_SECONDS_MAX:g} s")


def _resync(master: int, keys: int, seconds: float) -> Refill:
    """Give a fresh replica its master, and wait until both say that it is in sync."""
    with redis(replica=False) as replica, _load([master], keys, seconds) as (load, before):
        began = time.monotonic()
        ask(replica, "REPLICAOF", "127.0.0.1", str(master))
        load.figures()
        wait_replication(replica, b"master_link_status:up", REFILL_SECONDS_MAX)
        wait_replication(master, b"state=online", REFILL_SECONDS_MAX)
        took = time.monotonic() - began
        during = load.figures()
        copied = int(ask(replica, "DBSIZE").strip().lstrip(b":"))
    return Refill(took, copied, during.p99_us / before)
