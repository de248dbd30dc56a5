"""Who may register under which id, and what becomes of older connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import LoggedErrors
from tests.service.coordinating import Coordination, FakeServer
from twistedkv.limits import EPOCH_MAX
from twistedkv.messages.coordinator import (
    Heartbeat,
    Leaving,
    ReplicaRole,
    Sealed,
    ShardReport,
    Shutdown,
    StartedReply,
)

COVERS = [
    "twistedkv.net.coordinator",
]


@pytest.fixture
def coordination() -> Iterator[Coordination]:
    """Three servers, formed."""
    coordination = Coordination().start()
    yield coordination
    coordination.stop()


def test_a_newer_process_takes_the_id_and_the_older_one_is_told_to_end(
    coordination: Coordination, logged_errors: LoggedErrors
) -> None:
    older = coordination.servers[0]
    newer = coordination.server(1)
    coordination.pump(0.2)
    assert older.told_to_end
    assert older.closed is not None
    assert newer.server_id == 1
    assert coordination.service.connections.servers[1].store_id == newer.store_id
    older.received.clear()
    older.connect()
    reply = older.got(StartedReply)[0]
    assert reply.status != 0
    assert "another process has taken the place of server 1" in reply.text
    assert older.closed is not None
    assert len(logged_errors.events) == 1
    logged_errors.events.clear()


def test_a_new_connection_of_the_same_process_replaces_the_old_one(coordination: Coordination) -> None:
    server = coordination.servers[0]
    old = server.connection
    before = coordination.service.whole_map().shards
    server.connect()
    coordination.pump(1)
    assert server.connection is not None
    assert server.connection is not old
    assert old is not None
    assert old.closed
    assert not server.got(Shutdown)
    assert coordination.service.whole_map().shards == before


def test_a_server_without_an_id_gets_the_next_one(coordination: Coordination) -> None:
    server = coordination.server()
    assert server.server_id == 4
    assert server.got(StartedReply)[0].server_id == 4
    standby = coordination.server(standby=True)
    assert standby.server_id == 5
    assert coordination.service.whole_map().servers[5].state.name == "STANDBY"


def test_a_server_with_unknown_shards_is_left_alone(logged_errors: LoggedErrors) -> None:
    coordination = Coordination()
    coordination.service.startService()
    server = FakeServer.__new__(FakeServer)
    FakeServer.__init__(server, coordination, 1)
    assert server.got(StartedReply)
    other = FakeServer.__new__(FakeServer)
    other.reports = []
    stranger = coordination.server(2)
    stranger.connection.abort()  # type: ignore[union-attr]
    coordination.machine.settle()
    stranger.received.clear()
    stranger.reports = [ShardReport(0, 17, ReplicaRole.PRIMARY, 5, 5)]
    stranger.connect()
    assert stranger.got(StartedReply) == []
    assert stranger.closed is not None
    assert "nothing of" in logged_errors.events[0]["text"]
    logged_errors.events.clear()
    coordination.stop()


def test_a_stopping_coordinator_admits_nobody_and_lets_everybody_go(coordination: Coordination) -> None:
    coordination.service.stopping = True
    coordination.servers[0].send(Leaving(1), 9)
    late = coordination.server()
    assert late.got(StartedReply)[0].status != 0
    assert coordination.servers[0].received[-1].status == 0
    coordination.service.stopping = False


def test_a_server_must_introduce_itself_first(coordination: Coordination) -> None:
    server = coordination.servers[0]
    server.introduce()
    coordination.machine.settle()
    assert server.closed is not None, "twice is once too often"
    server.introduce = lambda: server.send(Sealed(0, 1, 0, True))  # type: ignore[method-assign]
    server.connect()
    assert server.closed is not None


def test_a_heartbeat_that_says_the_same_is_not_taken_apart_again(coordination: Coordination) -> None:
    coordination.pump(1)
    state = coordination.service.planner.state  # type: ignore[union-attr]
    told = {server_id: state.view(server_id).told for server_id in (1, 2, 3)}
    assert all(told.values())
    assert not state.restless
    coordination.pump(2)
    assert all(state.view(server_id).told is reports for server_id, reports in told.items())
    assert coordination.service.status()["healthy"]


def test_a_new_planner_hears_of_everything_although_the_servers_say_the_same(
    coordination: Coordination, logged_errors: LoggedErrors
) -> None:
    coordination.pump(1)

    def broken(planner: Any, now: float) -> Any:
        raise ZeroDivisionError

    assert not coordination.service.perform(broken)
    assert logged_errors.flush(ZeroDivisionError)
    coordination.pump(2)
    assert coordination.service.status()["healthy"]
    assert not coordination.service.planner.state.restless  # type: ignore[union-attr]


def test_an_epoch_that_no_version_can_have_is_refused_in_any_heartbeat(coordination: Coordination) -> None:
    server = coordination.servers[0]
    for beat, epoch in ((100, 1), (101, 1), (102, EPOCH_MAX + 1)):
        report = ShardReport(0, epoch, ReplicaRole.NONE, 7, 7)
        server.send(Heartbeat(server.server_id, server.store_id, beat, 0, 0, 0, [report], []))
        coordination.machine.settle()
        assert (server.closed is None) == (epoch == 1)
