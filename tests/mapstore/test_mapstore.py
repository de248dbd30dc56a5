"""One suite for every map store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import attrs
import pytest

from twistedkv.clustermap import Configuration, Member, Server, ServerState
from twistedkv.core.operations import Event, Kind, Operation, Phase
from twistedkv.core.steps import Change
from twistedkv.errors import Superseded
from twistedkv.mapstore.interface import MapStore, SpawnedProcess
from twistedkv.mapstore.memory import MemoryDisk, MemoryMapStore
from twistedkv.mapstore.rows import server_of, server_text
from twistedkv.mapstore.sqlite import SqliteMapStore

STORE_ID = bytes(range(16))
SERVER = Server(3, STORE_ID, "127.0.0.1", 4000, ServerState.LEAVING, 77, 7379, 9000)
CONFIGURATION = Configuration(
    shard=5,
    first_slot=10,
    last_slot=20,
    epoch=4,
    birth=1,
    primary=Member(3, STORE_ID),
    secondaries=(Member(1, b"s" * 16), Member(2, b"t" * 16)),
    learners=(Member(4, b"l" * 16),),
    released=True,
    lost=False,
    preferred=(3, 1),
)
OPERATION = Operation("move-2", 2, Kind.MOVE, None, (1, 5), (5,), Phase.ONGOING, 12.5)

Opener = Callable[[int], MapStore]


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same store again and again; the argument bounds the journal."""
    disk = MemoryDisk()
    opened: list[MapStore] = []

    def open_it(journal_rows_max: int = 100_000) -> MapStore:
        for store in opened:
            store.close()
        if request.param == "memory":
            store: MapStore = MemoryMapStore(disk, journal_rows_max)
        else:
            store = SqliteMapStore(tmp_path / "deep" / "map.sqlite", journal_rows_max)
        opened.append(store)
        return store

    request.addfinalizer(lambda: [store.close() for store in opened])
    return open_it


def test_a_new_store_is_empty_and_has_an_identity(opener: Opener) -> None:
    store = opener(100)
    assert len(store.identity) == 16
    assert store.generation == 1
    saved = store.load()
    assert saved.map.version == 0
    assert saved.map.shards == ()
    assert saved.map.servers == {}
    assert saved.promised == {}
    assert saved.operations == ()
    assert (saved.epoch_floor, saved.last_event, saved.last_operation) == (0, 0, 0)
    assert store.journal(0) == []
    assert not store.stopped_in_order()
    assert store.processes() == []


def test_everything_comes_back_from_another_opening(opener: Opener) -> None:
    store = opener(100)
    identity = store.identity
    event = Event(1, 99.25, "shard.promoted", "text with ü", 5, 4, 3, "move-2")
    store.apply(
        Change(
            version=7,
            servers={3: SERVER},
            shards={5: CONFIGURATION},
            expected={5: 0},
            promised={5: 6, 9: 1},
            epoch_floor=2,
            operations={"move-2": OPERATION},
            last_operation=2,
            events=[event],
        )
    )
    store.set_stopped_in_order(True)
    store.set_heartbeat_ms(250)
    processes = [SpawnedProcess(1, 100, 200, "boot"), SpawnedProcess(2, 101, 201, "boot")]
    store.record_processes(processes)
    again = opener(100)
    assert again.identity == identity
    assert again.generation == 2
    saved = again.load()
    assert saved.map.version == 7
    assert saved.map.servers == MappingProxyType({3: SERVER})
    assert saved.map.shards == (CONFIGURATION,)
    assert saved.promised == {5: 6, 9: 1}
    assert saved.operations == (OPERATION,)
    assert (saved.epoch_floor, saved.last_event, saved.last_operation) == (2, 1, 2)
    assert again.journal(0) == [event]
    assert again.stopped_in_order()
    assert again.heartbeat_ms() == 250
    assert again.processes() == processes
    again.set_stopped_in_order(False)
    again.record_processes([])
    assert not again.stopped_in_order()
    assert again.processes() == []


def test_a_configuration_needs_the_epoch_that_was_expected(opener: Opener) -> None:
    store = opener(100)
    store.apply(Change(version=1, shards={5: CONFIGURATION}, expected={5: 0}))
    with pytest.raises(Superseded, match="shard 5"):
        store.apply(Change(version=2, servers={3: SERVER}, shards={5: CONFIGURATION}, expected={5: 3}))
    assert store.load().map.version == 1, "all of a change or nothing"
    assert store.load().map.servers == {}
    newer = attrs.evolve(CONFIGURATION, epoch=5)
    store.apply(Change(version=2, shards={5: newer}, expected={5: 4}))
    assert store.load().map.shards == (newer,)


def test_a_change_that_fails_leaves_no_trace(opener: Opener) -> None:
    store = opener(100)
    store.apply(Change(version=1, events=[Event(1, 0.0, "a", "b")]))
    broken = Change(version=2, servers={3: SERVER}, shards={5: CONFIGURATION}, expected={5: 9})
    with pytest.raises(Superseded):
        store.apply(broken)
    assert store.load().map.version == 1
    store.apply(Change(version=2, servers={3: SERVER}))
    assert store.load().map.servers == {3: SERVER}


def test_born_anew_forgets_servers_and_shards_but_not_the_journal(opener: Opener) -> None:
    store = opener(100)
    events = [Event(1, 0.0, "a", "b")]
    store.apply(
        Change(
            version=1, servers={3: SERVER}, shards={5: CONFIGURATION}, expected={5: 0}, promised={5: 4}, events=events
        )
    )
    newborn = attrs.evolve(CONFIGURATION, epoch=11, birth=11)
    store.apply(Change(version=2, born_anew=True, epoch_floor=10, shards={5: newborn}, expected={5: 0}))
    saved = store.load()
    assert saved.map.servers == {}
    assert saved.map.shards == (newborn,)
    assert saved.promised == {}
    assert saved.epoch_floor == 10
    assert store.journal(0) == events


def test_old_operations_are_forgotten_when_that_is_wanted(opener: Opener) -> None:
    store = opener(100)
    store.apply(Change(operations={"move-2": OPERATION}))
    done = attrs.evolve(OPERATION, phase=Phase.DONE, ended=13.0)
    store.apply(Change(operations={"move-2": done}))
    assert store.load().operations == (done,)
    store.apply(Change(forgotten=["move-2"]))
    assert store.load().operations == ()


def test_the_journal_is_bounded_and_read_in_pages(opener: Opener) -> None:
    store = opener(10)
    for first in (1, 8, 15):
        store.apply(Change(events=[Event(i, float(i), "e", str(i)) for i in range(first, first + 7)]))
    assert [event.number for event in store.journal(0)] == list(range(12, 22))
    assert [event.number for event in store.journal(15, limit=2)] == [16, 17]
    assert store.journal(21) == []
    assert store.load().last_event == 21


def test_an_older_opening_can_change_nothing_any_more(tmp_path: Path) -> None:
    disk = MemoryDisk()
    older, newer = MemoryMapStore(disk), MemoryMapStore(disk)
    for act in (
        lambda: older.apply(Change(version=1)),
        lambda: older.set_stopped_in_order(True),
        lambda: older.set_heartbeat_ms(1),
        lambda: older.record_processes([]),
    ):
        with pytest.raises(Superseded, match="another coordinator"):
            act()
    newer.apply(Change(version=1))


def test_a_server_that_was_stored_before_there_were_line_ports_has_none() -> None:
    fields = json.loads(server_text(SERVER))
    del fields["line_port"], fields["course_port"]
    assert server_of(json.dumps(fields)) == attrs.evolve(SERVER, line_port=0, course_port=0)
