"""The client for Twisted programs against fakes, over a network in memory: operations, failovers, the map."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, ensureDeferred

from tests.client.fakes import FakeCluster, promoted, store_id, switched
from tests.client.waiting import ADDRESS, Outcome, done
from tests.support.transport import MemoryNetwork
from twistedkv.client import Client, Incremented, Value
from twistedkv.client.delivery import DRAIN_SECONDS_MAX
from twistedkv.errors import (
    InvalidRequest,
    Unavailable,
    VersionMismatch,
)
from twistedkv.limits import KEY_BYTES_MAX, PARKED_SECONDS_MAX


class TestOperations:
    def test_one_key(self, network: MemoryNetwork, client: Client) -> None:
        assert done(network, client.get(b"k")) is None
        version = done(network, client.put(b"k", b"v"))
        assert done(network, client.get(b"k")) == Value(b"v", version)
        newer = done(network, client.cas(b"k", b"w", version))
        assert newer > version
        mismatch = done(network, client.cas(b"k", b"x", version))
        assert isinstance(mismatch, VersionMismatch)
        assert mismatch.found == newer
        assert done(network, client.delete(b"k")) > newer
        assert done(network, client.delete(b"k")) is None
        assert done(network, client.incr(b"n", 5)).value == 5
        assert isinstance(done(network, client.incr(b"n", -7)), Incremented)
        assert done(network, client.get(b"n")).value == b"-2"

    def test_calls_can_be_awaited(self, network: MemoryNetwork, cluster: FakeCluster) -> None:
        async def use() -> Value | None:
            async with Client(ADDRESS, reactor=network) as client:
                await client.put(b"k", b"v")
                return await client.get(b"k")

        assert done(network, ensureDeferred(use())).value == b"v"

    @pytest.mark.parametrize(
        "call",
        [
            lambda client: client.get("text"),
            lambda client: client.get(bytes(KEY_BYTES_MAX + 1)),
            lambda client: client.put(b"k", None),
            lambda client: client.cas(b"k", b"", -1),
            lambda client: client.incr(b"k", 2**63),
            lambda client: client.get(b"k", deadline=-1),
            lambda client: client.mget([b"k", b""]),
            lambda client: client.mput({b"k": "v"}),
            lambda client: client.verify(b"k", 5),
            lambda client: client.scan_page(-1),
            lambda client: client.scan_page(0, page=0),
            lambda client: client.noop(77),
            lambda client: client.admin("status", thing=object()),
        ],
    )
    def test_wrong_arguments_fail_at_once(self, network: MemoryNetwork, client: Client, call: Any) -> None:
        network.settle()
        assert isinstance(Outcome(call(client)).value, InvalidRequest)

    def test_cancelling_ends_a_call_here(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        call = client.put(b"k", b"v")
        outcome = Outcome(call)
        call.cancel()
        assert isinstance(outcome.value, CancelledError)
        network.settle()
        assert client.router.held == 0


class TestFailover:
    def test_a_killed_primary(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        keys = [b"%d" % n for n in range(100)]
        done(network, client.mput(dict.fromkeys(keys, b"1")))
        cluster.servers[1].answer = lambda request, retry: "silent"  # executed, and the answer is lost
        puts = [Outcome(client.incr(b"n%d" % n)) for n in range(100)]
        network.settle()
        cluster.servers[1].stop()
        network.pump_seconds(0.05)
        assert not all(put.values for put in puts)
        cluster.coordinator.publish(promoted(cluster.map, 1))
        network.pump_seconds(0.02)
        assert [put.value.value for put in puts] == [1] * 100

    def test_a_frozen_primary_costs_until_the_map_says_so(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        done(network, client.put(b"k", b"1"))
        frozen = cluster.primary_of(b"k")
        frozen.frozen = True
        put, get = Outcome(client.put(b"k", b"2")), Outcome(client.get(b"k"))
        network.pump_seconds(1)
        assert not put.values
        cluster.coordinator.publish(promoted(cluster.map, frozen.server.server_id))
        network.settle()
        assert put.value > 0
        assert get.value == Value(b"2", put.value)
        cluster.store.results.clear()  # what it holds is of an epoch that is over
        frozen.held.clear()

    def test_a_primary_frozen_before_hello(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        frozen = cluster.primary_of(b"k")
        frozen.acceptor.buildProtocol = lambda _: _Mute()  # type: ignore[method-assign, assignment, return-value]
        put = Outcome(client.put(b"k", b"2"))
        network.pump_seconds(1)
        cluster.coordinator.publish(promoted(cluster.map, frozen.server.server_id))
        network.settle()
        assert put.value > 0

    def test_a_switch_under_way(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        for number in range(20):
            calls = [Outcome(client.incr(b"k")) for _ in range(5)]
            cluster.coordinator.publish(switched(cluster.map, cluster.shard_of(b"k").shard))
            calls += [Outcome(client.incr(b"k")) for _ in range(5)]
            network.settle()
            assert [call.value.value for call in calls] == list(range(number * 10 + 1, number * 10 + 11))

    def test_a_map_that_was_not_pushed(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        done(network, client.put(b"k", b"1"))
        cluster.coordinator.map = switched(cluster.map, cluster.shard_of(b"k").shard)
        before = cluster.coordinator.map_requests
        assert done(network, client.put(b"k", b"2")) > 0
        assert cluster.coordinator.map_requests == before + 1

    def test_without_a_coordinator(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        done(network, client.put(b"k", b"1"))
        cluster.coordinator.stop()
        network.pump_seconds(1)
        assert done(network, client.put(b"k", b"2")) > 0
        cluster.coordinator.map = switched(cluster.map, cluster.shard_of(b"k").shard)  # servers know, nobody pushes
        assert done(network, client.put(b"k", b"3"), 0.1) > 0
        cluster.coordinator.start()
        network.pump_seconds(1)
        assert done(network, client.admin("status")) == {"healthy": True}

    def test_a_wrong_server_at_the_address(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        fake = cluster.primary_of(b"k")
        fake.server = attrs.evolve(fake.server, store_id=store_id(9))
        failure = done(network, client.put(b"k", b"1", deadline=1), 1.1)
        assert type(failure) is Unavailable
        assert "other data" in str(failure)

    def test_the_reading_side_of_a_closed_connection(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        """A server that sends nonsense is left and tried again."""
        done(network, client.put(b"k", b"1"))
        server = cluster.primary_of(b"k")
        for session in server.sessions:
            session.connection.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        network.settle()
        assert done(network, client.put(b"k", b"2"), 0.1) > 0

    def test_the_drain_is_longer_than_servers_park(self) -> None:
        assert DRAIN_SECONDS_MAX > PARKED_SECONDS_MAX


class _Mute:
    """A protocol that accepts and says nothing."""

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        pass

    def connectionLost(self, reason: Any) -> None:
        pass


class TestCluster:
    def test_the_map(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        assert client.cluster_map == cluster.map
        assert done(network, client.refresh()) == cluster.map
        cluster.coordinator.publish(cluster.map.changed())
        network.settle()
        assert client.cluster_map.version == 2

    def test_another_cluster(self, network: MemoryNetwork, cluster: FakeCluster) -> None:
        client = Client(ADDRESS, reactor=network, cluster="other")
        failure = done(network, client.get(b"k"))
        assert isinstance(failure, Unavailable)
        assert "this is cluster 'test', not 'other'" in str(failure)
        done(network, client.close())

    def test_several_coordinators(self, network: MemoryNetwork, cluster: FakeCluster) -> None:
        client = Client(["127.0.0.1:1", "127.0.0.1:2", ADDRESS], reactor=network)
        assert done(network, client.put(b"k", b"v"), 1) > 0
        done(network, client.close())
