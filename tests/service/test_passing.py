"""Who plays which role when a failpoint is passed."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from twisted.logger import globalLogPublisher

from tests.support.planning import SETTINGS, World
from twistedkv.core.steps import Change
from twistedkv.errors import Superseded
from twistedkv.failpoints import ACTIONS, DURABLE_NAMES, Failpoint, Failpoints, parse
from twistedkv.mapstore.interface import MapStore
from twistedkv.mapstore.memory import MemoryDisk, MemoryMapStore
from twistedkv.service.passing import pass_failpoints, passing_store


@pytest.mark.parametrize("target", ["S_b", "S_c"])
@pytest.mark.parametrize(
    ("name", "moment"),
    [("recovery.detected", "before"), ("recovery.epoch_stored", "stored"), ("recovery.sealed", "done")],
)
def test_from_the_first_step_on_there_are_those_who_hold_the_other_copies(name: str, moment: str, target: str) -> None:
    world = World(attrs.evolve(SETTINGS, servers=4, copies=2))
    servers = world.form()
    world.settle()
    killed: list[tuple[int, int]] = []
    failpoints = Failpoints(Failpoint(name, "kill", target), kill=lambda pid, number: killed.append((pid, number)))
    victim = servers[0]
    step = world.planner.process_ended(1, victim.pid, "killed", world.now)
    pass_failpoints(failpoints, world.planner.state, step, moment)
    assert [number for _, number in killed] == [ACTIONS["kill"]]
    assert killed[0][0] in {server.pid for server in servers[1:]}
    assert not failpoints.armed


def test_a_coordinator_that_kills_itself_says_so_before() -> None:
    said: list[str] = []

    def observe(event: dict[str, object]) -> None:
        said.append(str(event.get("log_format")))

    seen: list[int] = []
    globalLogPublisher.addObserver(observe)
    try:
        point = Failpoint("recovery.sealed", "kill", "coordinator")
        Failpoints(point, kill=lambda pid, number: seen.append(len(said))).passed("recovery.sealed", {})
    finally:
        globalLogPublisher.removeObserver(observe)
    assert (seen, len(said)) == ([1], 1)


def version_at_the_end(name: str, use: Callable[[MapStore], object]) -> tuple[int, int]:
    """(generation, map version) on the disk when the process ended at this failpoint."""
    disk = MemoryDisk()
    seen: list[tuple[int, int]] = []

    class _Ended(Exception):
        pass

    def end(code: int) -> None:
        seen.append((disk.generation, disk.version))
        raise _Ended

    failpoints = Failpoints(parse(name), end=end)
    with pytest.raises(_Ended):
        use(passing_store(lambda: MemoryMapStore(disk), failpoints)())
    return seen[0]


def test_a_change_is_not_stored_before_and_is_stored_after() -> None:
    def apply(store: MapStore) -> None:
        store.apply(Change(version=5))
        store.apply(Change(version=6))

    assert version_at_the_end("mapstore.before_open", apply) == (0, 0)
    assert version_at_the_end("mapstore.after_open", apply) == (1, 0)
    assert version_at_the_end("mapstore.before_apply", apply) == (1, 0)
    assert version_at_the_end("mapstore.after_apply:1", apply) == (1, 5)
    assert version_at_the_end("mapstore.before_apply:2", apply) == (1, 5)
    assert version_at_the_end("mapstore.after_apply:2", apply) == (1, 6)


def test_small_notes_are_durable_steps_as_well() -> None:
    disk = MemoryDisk()
    at: list[str] = []
    for name in DURABLE_NAMES:
        if name.endswith("note"):
            failpoints = Failpoints(parse(f"{name}:3"), end=lambda code, name=name: at.append(name))
            store = passing_store(lambda: MemoryMapStore(disk), failpoints)()
            store.set_heartbeat_ms(200)
            store.set_stopped_in_order(True)
            assert name not in at
            store.record_processes([])
    assert at == ["mapstore.before_note", "mapstore.after_note"]
    assert (store.heartbeat_ms(), store.stopped_in_order(), store.processes()) == (200, True, [])


def test_what_could_not_be_stored_has_not_passed() -> None:
    ended: list[int] = []
    store = passing_store(MemoryMapStore, Failpoints(parse("mapstore.after_apply"), end=ended.append))()
    with pytest.raises(Superseded):
        store.apply(Change(expected={0: 7}))
    assert ended == []
    store.apply(Change(version=1))
    assert len(ended) == 1
    assert (store.load().map.version, store.journal(0), store.generation, len(store.identity)) == (1, [], 1, 16)
    store.close()
