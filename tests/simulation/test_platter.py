"""Servers whose disks outlive them: power cuts on simulated time, in which everything else is the real program."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.test_cluster import done
from twistedkv.chunks import Chunk
from twistedkv.simulation.cluster import Cluster, Shape
from twistedkv.simulation.platter import Platter
from twistedkv.simulation.timeline import Timeline
from twistedkv.storage.disk import Batch

KEYS = [b"k%d" % number for number in range(40)]


def formed(seed: int = 1, **shape: Any) -> tuple[Cluster, Any]:
    """A durable cluster with some keys, and a client."""
    timeline = Timeline(seed)
    cluster = Cluster(timeline, Shape(durable=True, **shape))
    cluster.start_coordinator()
    for server_id in cluster.shape.server_ids:
        cluster.start_server(server_id)
    assert timeline.run_while(lambda: not cluster.serving, 5)
    client = cluster.start_client(1).program
    timeline.run_until(timeline.now + 0.1)
    for key in KEYS:
        done(cluster, client.client.put(key, b"value of " + key))
    done(cluster, client.client.delete(KEYS[0]))
    return cluster, client.client


def cut_the_power(cluster: Cluster) -> None:
    """Of all servers and of the coordinator."""
    for server_id in cluster.shape.server_ids:
        cluster.server_process(server_id).kill("lost its power", silent=True)
    cluster.processes["coordinator"].kill("lost its power", silent=True)


def everything_is_there(cluster: Cluster, client: Any) -> None:
    """What was acknowledged before."""
    for key in KEYS[1:]:
        assert done(cluster, client.get(key))[0] == b"value of " + key
    assert done(cluster, client.get(KEYS[0])) is None


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
@pytest.mark.parametrize("pause", [0.0, 30.0])
def test_a_cluster_comes_back_by_itself_in_any_order(order: tuple[int, ...], pause: float) -> None:
    cluster, client = formed()
    cut_the_power(cluster)
    timeline = cluster.timeline
    timeline.run_until(timeline.now + 1)
    cluster.start_coordinator()
    for server_id in order:
        cluster.start_server(server_id)
        timeline.run_until(timeline.now + pause)
    assert timeline.run_while(lambda: not cluster.status().get("healthy"), 30)
    everything_is_there(cluster, client)


def test_one_that_never_comes_back_is_not_needed() -> None:
    cluster, client = formed()
    cut_the_power(cluster)
    timeline = cluster.timeline
    timeline.run_until(timeline.now + 1)
    cluster.start_coordinator()
    for server_id in (2, 3):
        cluster.start_server(server_id)
    assert timeline.run_while(lambda: not cluster.serving, 30)
    everything_is_there(cluster, client)


def test_a_server_that_comes_back_gets_only_what_it_has_missed() -> None:
    cluster, client = formed()
    timeline = cluster.timeline
    cluster.server_process(1).kill()
    for key in KEYS[1:]:
        done(cluster, client.put(key, b"value of " + key))
    cluster.start_server(1)
    assert timeline.run_while(lambda: not cluster.status().get("healthy"), 30)
    everything_is_there(cluster, client)
    core = cluster.server_process(1).program.core
    assert core is not None
    assert all(replica.whole for replica in core.replicas.values() if replica.complete)
    assert all(
        source.records == 0 for each in (2, 3) for source in cluster.server_process(each).program.core.fills.values()
    )


def test_a_batch_is_stored_as_a_whole() -> None:
    platter = Platter(b"s" * 16)
    batch = Batch(1, shard_of=[0] * 16384)
    batch.records[5] = {b"k": b"record", b"gone": None}
    batch.chunks[0, 1] = Chunk(1, 2, 1, b"entries"), 1, 0
    batch.states[0] = b"state"
    batch.tables[0] = (2, [b"table"])
    platter.store(batch)
    assert platter.records == {0: {5: {b"k": b"record"}}}
    assert platter.chunks[0][1][1] == 1
    later = Batch(2, shard_of=[0] * 16384)
    later.dropped[0] = later.restarted[0] = None
    platter.store(later)
    assert (platter.records, platter.chunks, platter.tables) == ({}, {}, {})
    assert platter.states == {0: b"state"}
