"""Operations on many keys, on all copies, over all shards."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, ensureDeferred

from tests.client.fakes import FakeCluster, promoted
from tests.client.waiting import Outcome, done
from tests.support.transport import MemoryNetwork
from twistedkv.client import Client, CopyCheck, PartialFailure, gather
from twistedkv.errors import (
    NotDone,
    ShardLost,
    Status,
    Unavailable,
)
from twistedkv.messages.client import GetMany, PutMany
from twistedkv.slots import slot_of


class TestMany:
    def test_a_hundred_thousand_keys(self, network: MemoryNetwork, client: Client) -> None:
        pairs = {b"key%d" % n: b"%d" % n for n in range(100_000)}
        versions = done(network, client.mput(pairs))
        assert list(versions) == list(pairs)
        assert 100 <= len(set(versions.values())) <= 2000  # an update stores many
        values = done(network, client.mget([*pairs, b"none"]))
        assert values.pop(b"none") is None
        assert {key: value.value for key, value in values.items()} == pairs

    def test_nothing(self, network: MemoryNetwork, client: Client) -> None:
        assert done(network, client.mget([])) == {}
        assert done(network, client.mput({})) == {}

    def test_some_fail(self, network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
        for server in cluster.servers.values():
            server.answer = lambda request, retry: (
                (Status.OUT_OF_SPACE, 0, b"full") if isinstance(request, PutMany) and b"b" in request.keys else None
            )
        client.mget([b"a"])
        network.settle()
        failure = done(network, client.mput({b"a": b"1", b"b": b"2", b"{b}c": b"3", b"d": b"4"}))
        assert isinstance(failure, PartialFailure)
        assert list(failure.done) == [b"a", b"d"]
        assert set(failure.failed) == {b"b", b"{b}c"}
        assert all(isinstance(error, NotDone) for error in failure.failed.values())
        assert "2 of 4 keys failed" in str(failure)

    def test_few_large_values_are_under_way_at_a_time(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        most = 0

        def watch(request: Any, retry: bool) -> None:
            nonlocal most
            most = max(most, client.router.held)

        for server in cluster.servers.values():
            server.answer = watch
        large = bytes(gather.UNDER_WAY_BYTES // 4)
        versions = done(network, client.mput({b"%d" % n: large for n in range(20)}))
        assert len(versions) == 20 and 1 < most <= 4

    def test_records_that_do_not_fit_into_an_answer_are_asked_for_again(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        pairs = {b"{k}%d" % n: b"%d" % n for n in range(250)}
        done(network, client.mput(pairs))
        values = done(network, client.mget(pairs))
        assert [value.value for value in values.values()] == list(pairs.values())
        asked = [request for server in cluster.servers.values() for request, _ in server.requests]
        assert [len(each.keys) for each in asked if isinstance(each, GetMany)] == [250, 150, 50]

    def test_keys_that_are_not_of_one_shard_after_all_are_sent_one_by_one(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        """The shards were laid out anew between the grouping and the execution."""
        client.mget([b"a"])
        network.settle()
        for server in cluster.servers.values():
            server.answer = lambda request, retry: (
                (Status.INVALID_REQUEST, 0, b"the keys are not all of one shard")
                if isinstance(request, GetMany | PutMany) and len(request.keys) > 1
                else None
            )
        pairs = {b"%d" % n: b"%d" % n for n in range(50)}
        assert list(done(network, client.mput(pairs))) == list(pairs)
        assert {key: value.value for key, value in done(network, client.mget(pairs)).items()} == pairs

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

    def test_a_pause_between_two_rounds_ends_with_a_new_map(
        self, network: MemoryNetwork, cluster: FakeCluster, client: Client
    ) -> None:
        done(network, client.noop())
        outcome = Outcome(client.pause(5))
        network.pump_seconds(1)
        assert outcome.values == []
        cluster.coordinator.publish(promoted(cluster.map, 1))
        network.pump_seconds(0.05)
        assert outcome.value is None

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
