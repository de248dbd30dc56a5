"""Rows of the table: the longest time for which a writing client gets no answer, when its primary is killed, frozen, or
asked to give its role away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from benchmarks.cluster import local_cluster
from benchmarks.comparing import Bound, Comparison
from benchmarks.frames import LoadError
from twistedkv.blocking import Client
from twistedkv.slots import slot_of

KEY = b"outage"
HEALTHY_SECONDS_MAX = 30.0


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """Milliseconds, of a cluster of three servers with the default settings."""
    killed, frozen, switched = [], [], []
    with local_cluster(("--servers", "3", "--copies", "2")) as (host, port), Client(f"{host}:{port}") as client:
        for _ in range(runs):
            killed.append(_longest(client, lambda: _signal(client, signal.SIGKILL), seconds))
            _wait_healthy(client)
            frozen.append(_longest(client, lambda: _signal(client, signal.SIGSTOP), seconds + 2))
            _wait_healthy(client)
            switched.append(_longest(client, lambda: _switch(client), seconds))
            _wait_healthy(client)
    return [
        Bound("outage of a killed primary", "ms", killed, 150.0),
        Bound("outage of a frozen primary", "ms", frozen, 1500.0),
        Bound("longest stall of a planned switch", "ms", switched, 50.0),
    ]


def _longest(client: Client, disturb: Callable[[], None], seconds: float) -> float:
    """The longest write, in milliseconds, around a disturbance. An error is one of `twistedkv.errors`, and ends it."""
    longest = 0.0
    timer = threading.Timer(0.3, disturb)
    timer.start()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.monotonic()
        client.put(KEY, b"v" * 100)
        longest = max(longest, time.monotonic() - began)
    timer.join()
    return longest * 1000


def _primary(client: Client) -> tuple[int, int, int, list[int]]:
    """Shard, server id and pid of the key's primary, and the ids of the secondaries."""
    known = client.refresh()
    (shard,) = [shard for shard in known.shards if slot_of(KEY) in shard.slots]
    server = known.servers[shard.primary.server_id]
    return shard.shard, server.server_id, server.pid, [member.server_id for member in shard.secondaries]


def _signal(client: Client, number: signal.Signals) -> None:
    os.kill(_primary(client)[2], number)


def _switch(client: Client) -> None:
    shard, _, _, secondaries = _primary(client)
    client.admin("switch", shard=shard, server=secondaries[0])


def _wait_healthy(client: Client) -> None:
    ends = time.monotonic() + HEALTHY_SECONDS_MAX
    while not client.admin("status")["healthy"]:
        if time.monotonic() > ends:
            raise LoadError("the cluster does not heal")
        time.sleep(0.1)
