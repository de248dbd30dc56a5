"""Commands to the coordinator, and following its journal."""

from __future__ import annotations

from tests.client.fakes import FakeCluster
from tests.client.waiting import ADDRESS, Outcome, done
from tests.support.transport import MemoryNetwork
from twistedkv.client import Client
from twistedkv.errors import (
    OperationError,
    OutcomeUnknown,
    Status,
    Unavailable,
)


def test_commands(network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
    cluster.coordinator.commands["switch"] = lambda shard, server: {"shard": shard, "server": server}
    assert done(network, client.admin("switch", shard=3, server=1)) == {"shard": 3, "server": 1}
    failure = done(network, client.admin("frobnicate"))
    assert type(failure) is OperationError
    assert str(failure) == "no such command: frobnicate"
    assert failure.status is Status.INVALID_REQUEST


def test_a_command_whose_answer_is_lost(network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
    cluster.coordinator.frozen = True
    changing, reading = Outcome(client.admin("switch", shard=1, server=1)), Outcome(client.admin("status"))
    network.settle()
    cluster.coordinator.stop()
    cluster.coordinator.frozen = False
    cluster.coordinator.start()
    network.pump_seconds(1)
    assert isinstance(changing.value, OutcomeUnknown)
    assert reading.value == {"healthy": True}


def test_a_command_without_a_coordinator(network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
    cluster.coordinator.stop()
    failure = done(network, client.admin("status", deadline=1), 1.1)
    assert isinstance(failure, Unavailable)
    assert ADDRESS in str(failure)


def test_following_the_journal(network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
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


def test_following_ends_with_the_client(network: MemoryNetwork, cluster: FakeCluster) -> None:
    client = Client(ADDRESS, reactor=network)
    ended = Outcome(client.admin_follow(lambda event: None).done)
    network.settle()
    done(network, client.close())
    assert isinstance(ended.value, Unavailable)
