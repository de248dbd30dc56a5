"""The coordinator daemon on a network in memory: steps in order, errors survived, a start from what was stored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.error import CannotListenError

from tests.conftest import LoggedErrors
from tests.service.coordinating import OPTIONS, WALL, Coordination, Operator
from twistedkv.clustermap import ServerState
from twistedkv.core.steps import Change
from twistedkv.errors import ConfigurationError
from twistedkv.failpoints import Failpoints, parse
from twistedkv.mapstore.memory import MemoryMapStore
from twistedkv.messages.client import MapUpdate, Result
from twistedkv.messages.coordinator import Leaving, Seal
from twistedkv.service.coordinator import CoordinatorService


@pytest.fixture
def coordination() -> Iterator[Coordination]:
    """Three servers, formed; stopped at the end, with nothing left scheduled."""
    coordination = Coordination().start()
    yield coordination
    coordination.stop()
    for server in coordination.servers:
        assert server.connection is None
    assert coordination.machine.getDelayedCalls() == []
    assert coordination.machine.ports == {}


def test_servers_register_and_get_the_map_and_then_what_changes(coordination: Coordination) -> None:
    first = coordination.servers[0]
    assert [type(message).__name__ for message in first.received[:2]] == ["StartedReply", "MapUpdate"]
    assert first.received[0].server_id == 1
    assert first.received[0].heartbeat_ms == 200
    assert len(first.map.shards) == 6
    assert first.map.servers[3].pid == coordination.servers[2].pid
    whole, *deltas = first.got(MapUpdate)
    assert whole.map.shards == ()
    assert [update.map.version for update in deltas] == [2, 3]


def test_a_client_that_subscribes_gets_the_whole_map_and_each_change_in_one_write(coordination: Coordination) -> None:
    operator = Operator(coordination)
    operator.subscribe()
    assert operator.maps[0][0] == 1
    assert len(operator.maps[0][1].shards) == 6
    coordination.servers[0].connection.abort()  # type: ignore[union-attr]
    coordination.pump(1)
    assert {request_id for request_id, _ in operator.maps[1:]} == {0}
    delta = operator.maps[1][1]
    assert 0 < max(len(update.shards) for _, update in operator.maps[1:]) <= 6
    assert len(delta.servers) == 3
    merged = operator.maps[0][1]
    for _, update in operator.maps[1:]:
        merged = merged.merged(update)
    assert merged == coordination.service.whole_map()


def test_what_is_published_was_stored_before(coordination: Coordination) -> None:
    service = coordination.service
    order: list[str] = []
    apply, publish = service.store.apply, service.connections.publish
    service.store.apply = lambda change: (order.append("stored"), apply(change))[1]  # type: ignore[method-assign]
    service.connections.publish = lambda *a: (order.append("published"), publish(*a))[1]  # type: ignore[method-assign,func-returns-value]
    coordination.servers[0].connection.abort()  # type: ignore[union-attr]
    coordination.pump(0.6)
    assert order[:2] == ["stored", "published"]
    assert order.count("published") <= order.count("stored")


def test_a_step_that_cannot_be_stored_changes_nothing_and_is_made_again(
    coordination: Coordination, logged_errors: LoggedErrors
) -> None:
    service = coordination.service
    before = service.whole_map()
    apply = service.store.apply

    def full(change: Change) -> None:
        raise OSError("no space left on device")

    service.store.apply = full  # type: ignore[method-assign]
    coordination.servers[0].connection.abort()  # type: ignore[union-attr]
    coordination.pump(0.6)
    operator = Operator(coordination)
    assert "recovering from an error" in operator.ask("status")["error"]
    assert service.planner is None
    assert all(server.map == before for server in coordination.servers)
    late = coordination.server()
    assert late.received == []
    service.store.apply = apply  # type: ignore[method-assign]
    coordination.pump(3)
    assert logged_errors.flush(OSError)
    assert service.planner is not None
    assert late.received[0].server_id == 4, "who came meanwhile was not forgotten"
    assert not any(c.primary.server_id == 1 for c in service.whole_map().shards), "and what had happened was done"


def test_an_error_in_the_planner_is_survived_too(coordination: Coordination, logged_errors: LoggedErrors) -> None:
    service = coordination.service
    before = service.whole_map()

    def broken(planner: Any, now: float) -> Any:
        planner.state.shards.clear()
        raise ZeroDivisionError

    assert not service.perform(broken)
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    coordination.pump(2)
    assert service.whole_map().shards == before.shards


def test_who_is_registered_again_hears_of_what_that_changes(
    coordination: Coordination, logged_errors: LoggedErrors
) -> None:
    service = coordination.service
    service.perform(lambda planner, now: 1 / 0)  # type: ignore[arg-type,return-value]
    logged_errors.flush(ZeroDivisionError)
    server = coordination.servers[0]
    stored = coordination.disk.servers
    stored[1] = attrs.evolve(stored[1], state=ServerState.FAILED)
    coordination.pump(2)
    assert service.whole_map().servers[1].state is ServerState.ACTIVE
    assert server.map == service.whole_map()


def test_a_store_that_cannot_be_read_is_tried_again(coordination: Coordination, logged_errors: LoggedErrors) -> None:
    service = coordination.service
    load = service.store.load
    service.store.load = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    service.perform(lambda planner, now: 1 / 0)  # type: ignore[arg-type,return-value]
    coordination.pump(2.5)
    assert len(logged_errors.flush(ZeroDivisionError)) >= 2
    service.store.load = load  # type: ignore[method-assign]
    coordination.pump(1.5)
    assert service.planner is not None


def test_a_superseded_coordinator_stops_at_once(coordination: Coordination, logged_errors: LoggedErrors) -> None:
    newer = MemoryMapStore(coordination.disk)
    coordination.servers[0].connection.abort()  # type: ignore[union-attr]
    coordination.pump(0.6)
    assert coordination.machine.stopped
    assert coordination.service.planner is None
    assert [event["log_level"].name for event in logged_errors.events] == ["critical"]
    logged_errors.events.clear()
    assert newer.load().map.version == coordination.servers[1].map.version


def test_a_new_coordinator_takes_the_servers_back(coordination: Coordination) -> None:
    before = coordination.service.whole_map()
    coordination.stop()
    assert all(server.closed is not None and not server.told_to_end for server in coordination.servers)
    coordination.machine.advance(60)
    coordination.restart()
    for server in coordination.servers:
        server.connect()
    coordination.pump(3)
    after = coordination.service.whole_map()
    assert after.shards == before.shards
    assert coordination.service.store.generation == 2
    assert Operator(coordination).ask("status")["healthy"]


def test_who_does_not_come_back_to_a_new_coordinator_is_failed_after_a_while(coordination: Coordination) -> None:
    coordination.stop()
    coordination.restart()
    for server in coordination.servers[1:]:
        server.connect()
    coordination.pump(0.8)
    assert any(c.primary.server_id == 1 for c in coordination.service.whole_map().shards)
    coordination.pump(2)
    assert not any(c.primary.server_id == 1 for c in coordination.service.whole_map().shards)


def test_the_ready_file_is_written_when_every_shard_is_served(tmp_path: Path) -> None:
    coordination = Coordination(attrs.evolve(OPTIONS, ready_file=tmp_path / "ready"))
    coordination.start(2)
    assert not (tmp_path / "ready").exists()
    coordination.server(3)
    assert not (tmp_path / "ready").exists()
    coordination.pump(0.5)
    assert json.loads((tmp_path / "ready").read_text()) == {"address": "127.0.0.1:7400", "pid": os.getpid()}
    coordination.stop()


def test_a_start_that_cannot_be_ends_with_a_sentence(logged_errors: LoggedErrors) -> None:
    coordination = Coordination().start()
    second = coordination.make()

    def taken(*args: Any, **kwargs: Any) -> None:
        raise CannotListenError("127.0.0.1", 7400, OSError("in use"))

    coordination.machine.listenTCP = taken  # type: ignore[method-assign,assignment]
    with pytest.raises(SystemExit, match=r"cannot listen on 127.0.0.1:7400.*choose another --port"):
        second.startService()

    def locked() -> MemoryMapStore:
        raise ConfigurationError("map.sqlite: is in use by another coordinator (pid 1)")

    third = CoordinatorService(coordination.machine, OPTIONS, open_store=locked, failpoints=Failpoints())
    with pytest.raises(SystemExit, match=r"twistedkv: map.sqlite: is in use by another coordinator"):
        third.startService()
    assert len(logged_errors.events) == 2, "a daemon has only its log to say so"
    logged_errors.events.clear()


def test_a_map_store_that_cannot_be_written_ends_the_start(logged_errors: LoggedErrors) -> None:
    coordination = Coordination()

    class Full(MemoryMapStore):
        def apply(self, change: Change) -> None:
            raise OSError("full")

    service = CoordinatorService(
        coordination.machine, OPTIONS, open_store=lambda: Full(coordination.disk), failpoints=Failpoints()
    )
    with pytest.raises(SystemExit, match="map store cannot be written"):
        service.startService()
    logged_errors.events.clear()


@pytest.mark.parametrize(
    ("name", "stored"), [("mapstore.before_apply", []), ("mapstore.after_apply", ["coordinator.started"])]
)
def test_a_coordinator_can_end_before_and_after_each_commit(name: str, stored: list[str]) -> None:
    coordination = Coordination()

    class _Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise _Ended

    service = CoordinatorService(
        coordination.machine,
        OPTIONS,
        open_store=lambda: MemoryMapStore(coordination.disk),
        failpoints=Failpoints(parse(name), end=end),
    )
    with pytest.raises(_Ended):
        service.startService()
    assert [event.event for event in coordination.disk.journal] == stored


def test_times_in_the_journal_are_those_of_the_wall(coordination: Coordination) -> None:
    assert all(event.time == pytest.approx(WALL, abs=10) for event in coordination.service.store.journal(0))


def test_a_leaving_server_is_answered(coordination: Coordination) -> None:
    server = coordination.servers[0]
    server.send(Leaving(1), 77)
    coordination.pump(1)
    assert [result.status for result in server.got(Result)] == [0]
    assert not any(1 in {m.server_id for m in c.everyone} for c in coordination.service.whole_map().shards)


def test_failpoints_are_passed_with_the_processes_of_the_recovery() -> None:
    signalled: list[int] = []
    points = Failpoints(parse("recovery.promoted:kill:S_b"), lambda pid, number: signalled.append(pid))
    coordination = Coordination(failpoints=points).start()
    victim = coordination.servers[0]
    shard = next(c for c in coordination.service.whole_map().shards if c.primary.server_id == 1)
    coordination.service.process_ended(1, victim.pid, "killed")
    coordination.machine.settle()
    assert signalled == [coordination.servers[shard.secondaries[0].server_id - 1].pid]
    coordination.stop()


def test_a_reaped_primary_means_seal_in_the_same_call(coordination: Coordination) -> None:
    victim = coordination.servers[0]
    victim.obeys = False
    coordination.service.process_ended(1, victim.pid, "killed")
    coordination.machine.step()
    sealed = [seal.shard for server in coordination.servers[1:] for seal in server.got(Seal)]
    assert len(sealed) == 2
    coordination.machine.settle()
    assert not any(c.primary.server_id == 1 for c in coordination.servers[1].map.shards), "and published without a tick"
