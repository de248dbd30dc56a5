"""A network in memory, a cluster of fakes in it, and a client of that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.fakes import FakeCluster
from tests.client.waiting import ADDRESS, Outcome
from tests.support.transport import MemoryNetwork
from twistedkv.client import Client


@pytest.fixture
def network() -> Iterator[MemoryNetwork]:
    network = MemoryNetwork()
    yield network
    network.settle()
    assert network.getDelayedCalls() == []


@pytest.fixture
def cluster(network: MemoryNetwork) -> Iterator[FakeCluster]:
    cluster = FakeCluster(network)
    yield cluster
    assert cluster.store.problems == []
    cluster.stop()
    network.pump_seconds(3)


@pytest.fixture
def client(network: MemoryNetwork, cluster: FakeCluster) -> Iterator[Client]:
    client = Client(ADDRESS, reactor=network)
    network.settle()
    yield client
    closed = Outcome(client.close())
    network.settle()
    assert closed.values == [None]
