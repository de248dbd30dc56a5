"""The client for Twisted programs against fakes, over a network in memory: real frames, no sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.python.failure import Failure

from tests.client.fakes import FakeCluster, FakeCoordinator, make_map, promoted, store_id, switched
from tests.conftest import LoggedErrors
from tests.support.transport import MemoryNetwork, random_pieces
from twistedkv.client import Client, CopyCheck, Incremented, PartialFailure, Value, dialing, gather, journal, rim
from twistedkv.client.delivery import DRAIN_SECONDS_MAX
from twistedkv.clustermap import ClusterMap
from twistedkv.errors import (
    InvalidRequest,
    NotDone,
    OperationError,
    OutcomeUnknown,
    ShardLost,
    Status,
    Unavailable,
    VersionMismatch,
)
from twistedkv.limits import KEY_BYTES_MAX, PARKED_SECONDS_MAX
from twistedkv.messages.client import Get, Put
from twistedkv.slots import slot_of

ADDRESS = "127.0.0.1:7400"


class Outcome:
    """Of a Deferred."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.values: list[Any] = []
        deferred.addBoth(self._ended)

    def _ended(self, value: Any) -> None:
        self.values.append(value.value if isinstance(value, Failure) else value)

    @property
    def value(self) -> Any:
        """The result, or the exception."""
        [value] = self.values
        return value


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


def done(network: MemoryNetwork, deferred: Deferred[Any], seconds: float = 0) -> Any:
    """The end of a call, after so much time."""
    outcome = Outcome(deferred)
    network.pump_seconds(seconds)
    return outcome.value


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

    def test_frames_may_come_in_any_pieces(self) -> None:
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

    def test_a_turn_is_one_write_for_each_server(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        done(network, client.mget([b"%d" % n for n in range(50)]))  # connects
        for server in cluster.servers.values():
            server.reads.clear()
        calls = [Outcome(client.get(b"%d" % n)) for n in range(50)]
        network.settle()
        assert all(call.values == [None] for call in calls)
        assert [len(server.reads) for server in cluster.servers.values()] == [1, 1, 1]

    def test_cancelling_ends_a_call_here(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        call = client.put(b"k", b"v")
        outcome = Outcome(call)
        call.cancel()
        assert isinstance(outcome.value, CancelledError)
        network.settle()
        assert client.router.held == 0

    def test_a_caller_that_fails_does_not_harm_the_others(
        self, network: MemoryNetwork, client: Client, logged_errors: LoggedErrors
    ) -> None:
        class Broken:
            def callback(self, result: Any) -> None:
                raise RuntimeError("broken")

            errback = callback

        operation = rim.Operation(0x11, b"k", slot_of(b"k"), 10.0, Broken())
        client.begin(operation)
        other = Outcome(client.get(b"k"))
        network.settle()
        assert other.values == [None]
        assert [str(error) for error in logged_errors.flush(RuntimeError)] == ["broken"]


class TestMany:
    def test_a_hundred_thousand_keys(self, network: MemoryNetwork, client: Client) -> None:
        pairs = {b"key%d" % n: b"%d" % n for n in range(100_000)}
        versions = done(network, client.mput(pairs))
        assert list(versions) == list(pairs)
        assert len(set(versions.values())) == 100_000
        values = done(network, client.mget([*pairs, b"none"]))
        assert values.pop(b"none") is None
        assert {key: value.value for key, value in values.items()} == pairs

    def test_nothing(self, network: MemoryNetwork, client: Client) -> None:
        assert done(network, client.mget([])) == {}
        assert done(network, client.mput({})) == {}

    def test_some_fail(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        for server in cluster.servers.values():
            server.answer = lambda request, retry: (
                (Status.OUT_OF_SPACE, 0, b"full") if isinstance(request, Put) and request.key in (b"b", b"c") else None
            )
        failure = done(network, client.mput({b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4"}))
        assert isinstance(failure, PartialFailure)
        assert list(failure.done) == [b"a", b"d"]
        assert set(failure.failed) == {b"b", b"c"}
        assert all(isinstance(error, NotDone) for error in failure.failed.values())
        assert "2 of 4 keys failed" in str(failure)

    def test_few_large_values_are_asked_for_at_a_time(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        most = 0
        large = bytes(gather.UNDER_WAY_BYTES // 4)

        def large_answer(request: Any, retry: bool) -> Any:
            nonlocal most
            most = max(most, len(client.router.links) and client.router.held)
            return Status.SUCCESS, 1, large

        for server in cluster.servers.values():
            server.answer = large_answer
        done(network, client.mget([b"%d" % n for n in range(gather.UNDER_WAY_FIRST)]))
        most = 0
        done(network, client.mget([b"%d" % n for n in range(3 * gather.UNDER_WAY_FIRST)]))
        assert most <= gather.UNDER_WAY_FIRST

    def test_cancelling(self, network: MemoryNetwork, client: Client) -> None:
        call = client.mput({b"%d" % n: b"" for n in range(1000)})
        outcome = Outcome(call)
        call.cancel()
        assert isinstance(outcome.value, CancelledError)
        network.settle()
        assert client.router.held == 0

    def test_a_scan_lists_all_shards_in_order(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        pairs = {b"%s%d" % (prefix, n): b"v%d" % n for prefix in (b"a", b"b") for n in range(200)}
        done(network, client.mput(pairs))

        async def scan(**options: Any) -> list[Any]:
            return [item async for item in client.scan(b"a", **options)]

        items = done(network, ensureDeferred(scan(page=7)))
        wanted = sorted((key for key in pairs if key.startswith(b"a")), key=lambda key: (slot_of(key), key))
        assert [item.key for item in items] == wanted
        assert {item.value for item in items} == {b""}
        items = done(network, ensureDeferred(scan(values=True)))
        assert {item.key: item.value for item in items} == {key: pairs[key] for key in wanted}

    def test_a_scan_goes_on_after_a_failover(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        pairs = {b"%d" % n: b"" for n in range(100)}
        done(network, client.mput(pairs))
        seen = []

        async def scan() -> None:
            async for item in client.scan(page=10):
                seen.append(item.key)
                if len(seen) == 35:
                    cluster.servers[1].stop()
                    cluster.coordinator.publish(promoted(cluster.map, 1))

        done(network, ensureDeferred(scan()), 1)
        assert len(seen) == 100
        assert set(seen) == set(pairs)


class TestCopies:
    def test_all_copies(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        version = done(network, client.put(b"k", b"v"))
        shard = cluster.shard_of(b"k")
        checks = done(network, client.verify(b"k", b"v"))
        assert checks == [
            CopyCheck(shard.primary.server_id, "primary", True, b"v", version),
            CopyCheck(shard.secondaries[0].server_id, "secondary", True, b"v", version),
        ]
        assert [check.matches for check in done(network, client.verify(b"k", b"w"))] == [False, False]
        assert [check.matches for check in done(network, client.verify(b"k", None))] == [False, False]
        assert [check.matches for check in done(network, client.verify(b"none", None))] == [True, True]

    def test_one_copy(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        shard = cluster.shard_of(b"k")
        [check] = done(network, client.verify(b"k", None, shard.secondaries[0].server_id))
        assert check == CopyCheck(shard.secondaries[0].server_id, "secondary", True, None, 0)
        other = ({1, 2, 3} - {member.server_id for member in shard.members}).pop()
        failure = done(network, client.verify(b"k", None, other))
        assert isinstance(failure, NotDone)
        assert f"server {other} holds no copy" in str(failure)

    def test_a_lost_shard_is_said_at_once(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        for member in cluster.shard_of(b"k").members:
            cluster.coordinator.publish(promoted(cluster.map, member.server_id))
        network.pump_seconds(0.1)
        failure = done(network, client.verify(b"k", b"v"))
        assert isinstance(failure, ShardLost)
        assert "accept-loss" in str(failure)

    def test_a_copy_that_fails_meanwhile_is_not_waited_for(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        failing = cluster.primary_of(b"k")
        failing.frozen = True
        outcome = Outcome(client.verify(b"k", None))
        network.pump_seconds(1)
        assert outcome.values == []
        cluster.coordinator.publish(promoted(cluster.map, failing.server.server_id))
        network.pump_seconds(0.1)
        [check] = outcome.value
        assert check.role == "primary"
        assert check.server != failing.server.server_id

    def test_a_copy_that_never_answers(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        cluster.primary_of(b"k").stop()
        failure = done(network, client.verify(b"k", None, deadline=2), 2.1)
        assert isinstance(failure, Unavailable)
        assert "VERIFY b'k'" in str(failure)

    def test_noop(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        assert done(network, client.noop()) is None
        assert done(network, client.noop(2)) is None
        cluster.servers[2].stop()
        outcome = Outcome(client.noop(2, deadline=1))
        anybody = Outcome(client.noop(deadline=1))
        network.pump_seconds(1.1)
        assert isinstance(outcome.value, Unavailable)
        assert anybody.value is None


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

    def test_commands(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        cluster.coordinator.commands["switch"] = lambda shard, server: {"shard": shard, "server": server}
        assert done(network, client.admin("switch", shard=3, server=1)) == {"shard": 3, "server": 1}
        failure = done(network, client.admin("frobnicate"))
        assert type(failure) is OperationError
        assert str(failure) == "no such command: frobnicate"
        assert failure.status is Status.INVALID_REQUEST

    def test_a_command_whose_answer_is_lost(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        cluster.coordinator.frozen = True
        changing, reading = Outcome(client.admin("switch", shard=1, server=1)), Outcome(client.admin("status"))
        network.settle()
        cluster.coordinator.stop()
        cluster.coordinator.frozen = False
        cluster.coordinator.start()
        network.pump_seconds(1)
        assert isinstance(changing.value, OutcomeUnknown)
        assert reading.value == {"healthy": True}

    def test_a_command_without_a_coordinator(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        cluster.coordinator.stop()
        failure = done(network, client.admin("status", deadline=1), 1.1)
        assert isinstance(failure, Unavailable)
        assert ADDRESS in str(failure)

    def test_following_the_journal(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        seen: list[int] = []
        following = client.admin_follow(lambda event: seen.append(event["number"]), after=3)
        ended = Outcome(following.done)
        network.settle()
        cluster.coordinator.tell(*({"number": n} for n in range(1, 6)))
        network.settle()
        assert seen == [4, 5]
        cluster.coordinator.stop()
        cluster.coordinator.start()
        network.pump_seconds(1)
        cluster.coordinator.tell(*({"number": n} for n in range(1, 8)))
        network.settle()
        assert seen == [4, 5, 6, 7]
        assert cluster.coordinator.given[-1]["after"] == 5
        following.stop()
        assert ended.values == [None]
        cluster.coordinator.tell({"number": 8})
        network.settle()
        assert seen == [4, 5, 6, 7]

    def test_following_ends_with_the_client(self, network: MemoryNetwork, cluster: FakeCluster) -> None:
        client = Client(ADDRESS, reactor=network)
        ended = Outcome(client.admin_follow(lambda event: None).done)
        network.settle()
        done(network, client.close())
        assert isinstance(ended.value, Unavailable)
        assert journal.READ_ONLY

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

    def test_names_are_resolved_and_each_address_is_tried(self, network: MemoryNetwork, cluster: FakeCluster) -> None:
        class Resolver:
            def resolveHostName(self, receiver: Any, name: str, portNumber: int = 0, **_: Any) -> Any:
                for host in () if name == "nowhere" else ("127.0.0.9", "127.0.0.1"):
                    receiver.addressResolved(dialing_address(host, portNumber))
                receiver.resolutionComplete()

        network.nameResolver = Resolver()  # type: ignore[assignment]
        client = Client("somewhere:7400", reactor=network)
        assert done(network, client.put(b"k", b"v"), 1) > 0
        done(network, client.close())
        lost = Client("nowhere:7400", reactor=network)
        assert "no address was found for the name 'nowhere'" in str(done(network, lost.get(b"k", deadline=1), 1.1))
        done(network, lost.close())
        assert dialing.connect


def dialing_address(host: str, port: int) -> Any:
    from twisted.internet.address import IPv4Address

    return IPv4Address("TCP", host, port)


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
        closed = []
        client.get(b"k").addCallback(lambda _: client.close()).addCallback(closed.append)
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
        assert Get
