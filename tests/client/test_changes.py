"""Keys that expire and deletions, many at a time; and the requests of a backup."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client.fakes import FakeCluster, promoted
from tests.client.waiting import done
from tests.support.transport import MemoryNetwork
from twistedkv.client import Client, PartialFailure
from twistedkv.client.gather import PART_KEYS_MAX
from twistedkv.errors import InvalidRequest, Lapsed, NotDone, Status
from twistedkv.limits import VALUE_BYTES_MAX
from twistedkv.messages.client import (
    BackupBegin,
    BackupBegun,
    BackupEnd,
    BackupEntries,
    BackupLog,
    BackupPage,
    BackupRecords,
    Execute,
    PutMany,
)
from twistedkv.resp import replies

COVERS = ["twistedkv.client.changes", "twistedkv.client.backup"]


class Commands:
    """What the servers have executed."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.sizes: list[int] = []
        self.done: dict[bytes, list[bytes]] = {}
        self.errors: set[bytes] = set()
        self.not_of_one_shard = False
        for server in cluster.servers.values():
            server.answer = self.answer

    def answer(self, request: Any, retry: bool) -> Any:
        if not isinstance(request, Execute):
            return None
        if self.not_of_one_shard and len(request.commands) > 1:
            return Status.INVALID_REQUEST, 0, b"the keys are not all of one shard"
        self.sizes.append(len(request.commands))
        assert len({self.cluster.shard_of(command[1]).shard for command in request.commands}) == 1
        parts = []
        for command in request.commands:
            if command[1] in self.errors:
                parts.append(replies.error("ERR no"))
            else:
                self.done[command[1]] = command
                parts.append(replies.simple(b"OK") if command[0] == b"SET" else replies.integer(1))
        return Status.SUCCESS, 0, replies.array(parts)


@pytest.fixture
def commands(cluster: FakeCluster) -> Commands:
    return Commands(cluster)


def test_each_as_it_has_to_be(network: MemoryNetwork, cluster: FakeCluster, client: Client, commands: Commands) -> None:
    changes: dict[bytes, Any] = {b"plain%d" % n: (b"v", 0) for n in range(50)}
    changes |= {b"fleeting%d" % n: (b"f", 1_700_000_000_000 + n) for n in range(50)}
    changes |= {b"gone%d" % n: (None, 0) for n in range(50)}
    assert done(network, client.apply(changes)) is None
    assert {key: value for key, (_, value) in cluster.store.data.items()} == {b"plain%d" % n: b"v" for n in range(50)}
    assert commands.done[b"fleeting7"] == [b"SET", b"fleeting7", b"f", b"PXAT", b"1700000000007"]
    assert commands.done[b"gone7"] == [b"DEL", b"gone7"]
    assert len(commands.done) == 100
    assert len(commands.sizes) == 6
    assert done(network, client.apply({})) is None


def test_without_a_map_it_is_asked_for(network: MemoryNetwork, cluster: FakeCluster, commands: Commands) -> None:
    client = Client(cluster.address, reactor=network)
    assert done(network, client.apply({b"%d" % n: (None, 0) for n in range(20)})) is None
    assert len(commands.done) == 20
    assert len(commands.sizes) <= 6
    done(network, client.close())


def test_parts_are_bounded(network: MemoryNetwork, client: Client, commands: Commands) -> None:
    done(network, client.apply({b"{a}%d" % n: (None, 0) for n in range(PART_KEYS_MAX + 1)}))
    assert commands.sizes == [PART_KEYS_MAX, 1]
    commands.sizes.clear()
    done(network, client.apply({b"{a}%d" % n: (bytes(100_000), 1) for n in range(5)}))
    assert commands.sizes == [2, 2, 1]


def test_some_fail(network: MemoryNetwork, cluster: FakeCluster, client: Client, commands: Commands) -> None:
    commands.errors = {b"b"}
    execute = commands.answer
    for server in cluster.servers.values():
        server.answer = lambda request, retry: (
            (Status.OUT_OF_SPACE, 0, b"full")
            if isinstance(request, PutMany) and b"plain" in request.keys
            else execute(request, retry)
        )
    failure = done(network, client.apply({b"a": (b"1", 5), b"b": (b"2", 5), b"plain": (b"3", 0), b"d": (None, 0)}))
    assert isinstance(failure, PartialFailure)
    assert set(failure.failed) == {b"b", b"plain"}
    assert all(isinstance(error, NotDone) for error in failure.failed.values())
    assert "ERR no" in str(failure.failed[b"b"])
    assert set(failure.done) == {b"a", b"d"}


def test_keys_that_are_not_of_one_shard_any_more(network: MemoryNetwork, client: Client, commands: Commands) -> None:
    commands.not_of_one_shard = True
    assert done(network, client.apply({b"%d" % n: (b"v", 5) for n in range(20)})) is None
    assert commands.sizes == [1] * 20


def test_a_reply_that_is_none(network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
    for server in cluster.servers.values():
        server.answer = lambda request, retry: (Status.SUCCESS, 0, b"+OK\r\n")
    assert "no list of as many" in str(done(network, client.apply({b"a": (None, 0)})))


@pytest.mark.parametrize(
    "changes",
    [
        {b"": (None, 0)},
        {b"k": (bytes(VALUE_BYTES_MAX + 1), 0)},
        {b"k": (b"v", -1)},
        {b"k": (b"v", 2**63)},
        {b"k": (b"v", 1.5)},
    ],
)
def test_wrong_arguments(network: MemoryNetwork, client: Client, changes: Any) -> None:
    assert isinstance(done(network, client.apply(changes)), InvalidRequest)


# Backups.


def test_the_requests_of_a_backup(network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
    answers: dict[type, Any] = {
        BackupBegin: BackupBegun(5, 6, 7),
        BackupRecords: BackupPage(6, 9, b"a", b"records"),
        BackupLog: BackupEntries(3, 1, b"entries"),
        BackupEnd: (Status.SUCCESS, 0, b""),
    }
    for server in cluster.servers.values():
        server.answer = lambda request, retry: answers[type(request)]
    assert done(network, client.backup_begin(3)) == BackupBegun(5, 6, 7)
    assert done(network, client.backup_records(3, b"k", 5, b"p")) == BackupPage(6, 9, b"a", b"records")
    assert done(network, client.backup_log(3, 5, 2)) == BackupEntries(3, 1, b"entries")
    assert done(network, client.backup_end(3, 5)) is None
    asked = [request for request, _ in cluster.primary_of_slot(3).requests]
    assert asked == [BackupBegin(3), BackupRecords(3, b"k", 5, b"p"), BackupLog(3, 5, 2), BackupEnd(3, 5)]
    answers[BackupLog] = Status.LAPSED, 0, b"begin it again"
    assert isinstance(done(network, client.backup_log(3, 5, 2)), Lapsed)
    assert isinstance(done(network, client.backup_begin(16384)), InvalidRequest)


def test_a_backup_follows_the_primary(network: MemoryNetwork, cluster: FakeCluster, client: Client) -> None:
    done(network, client.refresh())
    for server in cluster.servers.values():
        server.answer = lambda request, retry: (Status.LAPSED, 0, b"")
    first = cluster.primary_of_slot(0)
    first.answer = lambda request, retry: "drop"
    asked = client.backup_records(0, b"", 5)
    network.pump_seconds(0.1)
    cluster.coordinator.publish(promoted(cluster.map, first.server.server_id))
    assert isinstance(done(network, asked, 1.0), Lapsed)


def test_an_answer_to_something_else_ends_the_connection(
    network: MemoryNetwork, cluster: FakeCluster, client: Client
) -> None:
    server = cluster.primary_of_slot(0)
    wrong: list[Any] = [BackupEntries(1, 0, b""), (Status.SUCCESS, 0, b"")]
    server.answer = lambda request, retry: wrong.pop() if wrong else BackupBegun(1, 2, 3)
    assert done(network, client.backup_begin(0), 2.0) == BackupBegun(1, 2, 3)
    assert not wrong
