"""Connections, turns and callers; and the end of all of them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.client.fakes import FakeCluster, FakeCoordinator, make_map
from tests.client.waiting import ADDRESS, Outcome, done
from tests.conftest import LoggedErrors
from tests.support.transport import MemoryNetwork, random_pieces
from twistedkv.client import Client, PartialFailure
from twistedkv.client.operations import Operation
from twistedkv.clustermap import ClusterMap
from twistedkv.errors import (
    OutcomeUnknown,
    Unavailable,
)
from twistedkv.slots import slot_of


def test_a_turn_is_one_write_for_each_server(network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
    done(network, client.mget([b"%d" % n for n in range(50)]))  # connects
    for server in cluster.servers.values():
        server.reads.clear()
    calls = [Outcome(client.get(b"%d" % n)) for n in range(50)]
    network.settle()
    assert all(call.values == [None] for call in calls)
    assert [len(server.reads) for server in cluster.servers.values()] == [1, 1, 1]


def test_a_caller_that_fails_does_not_harm_the_others(
    network: MemoryNetwork, client: Client, logged_errors: LoggedErrors
) -> None:
    class Broken:
        def callback(self, result: Any) -> None:
            raise RuntimeError("broken")

        errback = callback

    operation = Operation(0x11, b"k", slot_of(b"k"), 10.0, Broken())
    client.begin(operation)
    other = Outcome(client.get(b"k"))
    network.settle()
    assert other.values == [None]
    assert [str(error) for error in logged_errors.flush(RuntimeError)] == ["broken"]


def test_frames_may_come_in_any_pieces() -> None:
    network = MemoryNetwork(random_pieces(1))
    cluster = FakeCluster(network)
    client = Client(ADDRESS, reactor=network)
    pairs = {b"k%d" % n: bytes(n) for n in range(100)}
    done(network, client.mput(pairs))
    values = done(network, client.mget(pairs))
    assert {key: value.value for key, value in values.items()} == pairs
    client.close()
    network.settle()
    cluster.stop()


class TestEnd:
    def test_closing_ends_everything(self, network: MemoryNetwork, cluster: FakeCluster) -> None:
        client = Client(ADDRESS, reactor=network)
        done(network, client.mget([b"%d" % n for n in range(20)]))
        for server in cluster.servers.values():
            server.frozen = True
        put, get = Outcome(client.put(b"k", b"v")), Outcome(client.get(b"k"))
        verify, noop = Outcome(client.verify(b"k", None)), Outcome(client.noop())
        command = Outcome(client.admin("status"))
        network.settle()
        cluster.servers[1].stop()
        unsent = Outcome(client.put(b"k", b"v"))
        closed = [Outcome(client.close()), Outcome(client.close())]
        assert isinstance(put.value, OutcomeUnknown)
        for outcome in (get, verify, noop):
            assert isinstance(outcome.value, Unavailable)
        assert unsent.values
        assert command.values
        network.settle()
        assert [outcome.values for outcome in closed] == [[None], [None]]
        assert isinstance(Outcome(client.get(b"k")).value, Unavailable)
        assert isinstance(Outcome(client.mget([b"k"])).value, PartialFailure)
        assert isinstance(Outcome(client.verify(b"k", None)).value, Unavailable)
        assert isinstance(Outcome(client.refresh()).value, Unavailable)
        assert network.getDelayedCalls() == []

    def test_closing_before_anything_is_connected(self, network: MemoryNetwork) -> None:
        client = Client("127.0.0.1:9", reactor=network)
        get = Outcome(client.get(b"k"))
        closed = Outcome(client.close())
        assert isinstance(get.value, Unavailable)
        network.settle()
        assert closed.values == [None]

    def test_closing_from_a_callback(self, network: MemoryNetwork, cluster: FakeCluster) -> None:
        client = Client(ADDRESS, reactor=network)
        closed: list[None] = []

        def close(_: object) -> Deferred[None]:
            return client.close().addCallback(closed.append)

        client.get(b"k").addCallback(close)
        others = [Outcome(client.get(b"k")) for _ in range(3)]
        network.settle()
        assert closed == [None]
        assert all(len(other.values) == 1 for other in others)

    def test_a_client_of_nothing(self, network: MemoryNetwork) -> None:
        coordinator = FakeCoordinator(network, ClusterMap.empty("test"))
        client = Client(ADDRESS, reactor=network)
        failure = done(network, client.verify(b"k", None, deadline=1), 1.1)
        assert isinstance(failure, Unavailable)
        assert "has not been formed" in str(failure)
        put = Outcome(client.put(b"k", b"v", deadline=1))
        network.pump_seconds(0.5)
        coordinator.publish(make_map(1, 1, version=5))
        network.pump_seconds(1)
        assert isinstance(put.value, Unavailable)
        assert "shard 0" in str(put.value)
        done(network, client.close())
        coordinator.stop()
        network.settle()
