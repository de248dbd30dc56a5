"""What a tick looks at (I17): shards at rest are left alone, and whatever could matter to one disturbs it.

Beside these, every fifth tick of a `World` is compared with one that looks at every shard: in all tests of the planner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
import pytest

from tests.core.test_recovery import formed, of
from tests.support.planning import H, World
from twistedkv.clustermap import Member, ServerState
from twistedkv.core import membership, recovery, repair
from twistedkv.core.configurations import set_members
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.messages.coordinator import FillReport, Heartbeat, ReplicaRole


@pytest.fixture
def reviewed(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """By shard: how often the rules were applied to it."""
    counts: Counter[int] = Counter()
    review = recovery.review_shard

    def counted(state: CoordinatorState, shard: int, now: float) -> None:
        counts[shard] += 1
        review(state, shard, now)

    for module in (membership, recovery):
        monkeypatch.setattr(module, "review_shard", counted)
    return counts


def at_rest(**changes: object) -> World:
    """A cluster in which all is well, just after a tick."""
    world, _ = formed(**changes)
    assert not world.planner.state.restless
    return world


def pass_ticks(world: World, ticks: int) -> None:
    """Time passes, and every server beats at every fourth tick."""
    for tick in range(1, ticks + 1):
        world.tick()
        if tick % 4 == 0:
            for server in world.servers:
                world.beat(server)


# What is looked at.


@pytest.mark.parametrize("ticks", [4, 6, 24, 400])
def test_when_all_is_well_a_tick_looks_at_nothing_but_its_part_of_the_sweep(
    ticks: int, reviewed: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "SWEEP_TICKS", ticks)
    monkeypatch.setattr("tests.support.planning.COMPARED_TICKS", 10**9)
    world = at_rest()
    for _ in range(2):
        reviewed.clear()
        pass_ticks(world, ticks)
        assert reviewed == dict.fromkeys(range(6), 1)
    assert not world.planner.state.restless


def test_the_placement_is_not_looked_at_again_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_rest()
    monkeypatch.setattr(membership, "rebalance", lambda *_: pytest.fail("nothing has changed"))
    monkeypatch.setattr("tests.support.planning.COMPARED_TICKS", 10**9)
    pass_ticks(world, 12)


def test_a_new_coordinator_looks_at_every_shard_until_its_primary_has_said_that_it_serves() -> None:
    world = at_rest()
    world.restart_coordinator()
    state = world.planner.state
    world.tick()
    assert state.restless == set(range(6))
    for server in world.servers:
        world.connect(server)
    world.tick()
    assert not state.restless, "Started said it of all"


def test_a_new_coordinator_hears_anew_what_was_told_to_another_one() -> None:
    world = at_rest()
    reports = {server.server_id: world.planner.state.view(server.server_id).told for server in world.servers}
    world.restart_coordinator()
    for server in world.servers:
        known = server.copies
        server.copies = {}
        world.connect(server)
        server.copies = known
    world.tick()
    assert world.planner.state.restless == set(range(6))
    for server in world.servers:
        told = reports[server.server_id]
        assert told
        world.say(server, Heartbeat(server.server_id, server.store_id, 1, 0, 0, 0, told, []))
    assert not world.planner.state.restless


# What disturbs.


def _changes_a_server(state: CoordinatorState) -> None:
    state.set_server(attrs.evolve(state.servers[2], port=1))


def _loses_a_connection(state: CoordinatorState) -> None:
    state.set_connected(2, False)


@pytest.mark.parametrize("change", [_changes_a_server, _loses_a_connection])
def test_a_server_or_a_connection_that_changes_disturbs_every_shard(change: Callable[[CoordinatorState], None]) -> None:
    state = at_rest().planner.state
    changes = state.changes
    change(state)
    assert state.restless == set(range(6))
    assert state.changes > changes


def test_what_stays_as_it_is_disturbs_nobody() -> None:
    state = at_rest().planner.state
    changes = state.changes
    state.set_server(attrs.evolve(state.servers[2]))
    state.set_connected(2, True)
    state.end_switch(3, "there is none")
    assert not state.restless
    assert state.changes == changes


def test_a_configuration_and_a_switch_disturb_their_shard() -> None:
    world = at_rest()
    state = world.planner.state
    happenings: list[Callable[[], None]] = [
        lambda: set_members(state, state.shards[3]),
        lambda: repair.start_switch(state, state.shards[3], state.shards[3].secondaries[0].server_id, world.now),
        lambda: state.end_switch(3, "it is over"),
    ]
    for happen in happenings:
        state.restless.clear()
        changes = state.changes
        happen()
        assert state.restless == {3}
        assert state.changes > changes


def test_a_cluster_that_is_begun_anew_has_no_shards_to_look_at() -> None:
    world = at_rest()
    changes = world.planner.state.changes
    world.do(world.planner.started(world.now, children_gone=True, anew=True))
    assert not world.planner.state.restless
    assert world.planner.state.changes > changes
    world.tick()


@pytest.mark.parametrize("changed", [{"epoch": 1_000}, {"role": ReplicaRole.SEALED}])
def test_a_heartbeat_that_says_something_else_of_a_shard_has_it_looked_at(
    changed: dict[str, object], reviewed: Counter[int]
) -> None:
    world = at_rest()
    c = world.configuration(4)
    primary = of(world, c.primary.server_id)
    for name, value in changed.items():
        setattr(primary.copy(4), name, value)
    reviewed.clear()
    world.beat(primary)
    assert reviewed == {4: 1}
    assert world.planner.state.restless == {4}
    world.settle(4)
    assert world.configuration(4).epoch > c.epoch
    assert not world.planner.state.restless


def test_a_heartbeat_that_says_the_same_has_nothing_looked_at(reviewed: Counter[int]) -> None:
    world = at_rest()
    server = world.servers[0]
    told = world.planner.state.view(1).told
    reviewed.clear()
    for shard in server.copies:
        world.write(server, shard)
    world.beat(server)
    assert not reviewed
    assert world.planner.state.view(1).told is told


def test_a_report_that_disappears_disturbs_its_shard() -> None:
    world = at_rest()
    server = world.servers[0]
    shard = min(shard for shard, copy in server.copies.items() if copy.role is not ReplicaRole.NONE)
    changes = world.planner.state.changes
    server.copies[shard].role = ReplicaRole.NONE
    world.beat(server)
    assert world.planner.state.restless == {shard}
    assert world.planner.state.changes > changes
    assert shard not in world.planner.state.view(1).reports


def test_of_a_restless_shard_what_was_said_before_is_looked_at_again() -> None:
    """As when the shard has another primary, which has served before that was known."""
    world = at_rest()
    state = world.planner.state
    primary = of(world, world.configuration(2).primary.server_id)
    state.settled.discard(2)
    state.disturb(2)
    world.beat(primary)
    assert 2 in state.settled
    assert not state.restless


def test_fills_are_heard_of_although_the_reports_are_those_that_are_known() -> None:
    world = at_rest()
    told = world.planner.state.view(1).told
    assert told
    fill = FillReport(3, Member(2, bytes(16)), 1, 2, 3)
    world.say(world.servers[0], Heartbeat(1, world.servers[0].store_id, 1, 0, 0, 0, told, [fill]))
    assert world.planner.state.fill_seen[3] == world.now


def test_a_process_that_registers_again_is_asked_for_all_of_its_reports() -> None:
    world = at_rest()
    server = world.servers[0]
    world.disconnect(server)
    world.connect(server)
    assert world.planner.state.view(1).told is None
    world.tick()
    assert not world.planner.state.restless


# What is not at rest.


def test_a_shard_whose_server_is_away_is_looked_at_until_it_is_back_or_replaced() -> None:
    world = at_rest()
    world.disconnect(world.servers[0])
    own = {c.shard for c in world.planner.map.shards if world.servers[0].member in c.members}
    world.tick()
    assert world.planner.state.restless == own
    world.servers[0].alive = False
    pass_ticks(world, 16)
    assert world.state_of(1) is ServerState.FAILED
    assert world.planner.state.restless == own
    world.start(1)
    world.settle(4)
    assert not world.planner.state.restless


def test_a_lost_shard_is_looked_at() -> None:
    world = at_rest(copies=1)
    world.kill(world.servers[0], reaped=True)
    pass_ticks(world, 4)
    lost = {c.shard for c in world.planner.map.shards if c.lost}
    assert lost
    assert world.planner.state.restless == lost


def test_a_switch_that_is_given_up_does_not_leave_a_primary_alone_that_has_stepped_down() -> None:
    world = at_rest()
    c = world.configuration(5)
    primary = of(world, c.primary.server_id)
    _, step = world.planner.switch(5, c.secondaries[0].server_id, world.now)
    world.do(attrs.evolve(step, sends=[]))
    primary.copy(5).role = ReplicaRole.STEPPED_DOWN
    world.beat(primary)
    pass_ticks(world, 4 * repair.SWITCH_GIVEN_UP_BEATS + 1)
    assert 5 not in world.planner.state.switches
    assert world.configuration(5) == c
    assert world.planner.state.restless == {5}
    world.settle(2)
    assert world.configuration(5).epoch > c.epoch
    assert primary.copy(5).role is ReplicaRole.PRIMARY
    assert not world.planner.state.restless


def test_a_placement_that_is_made_smaller_is_made_even_by_the_next_tick() -> None:
    world = at_rest()
    for c in world.planner.map.shards:
        if c.primary.server_id == 3:
            world.do(world.planner.switch(c.shard, c.secondaries[0].server_id, world.now)[1])
            world.settle()
    world.restart_coordinator(lambda settings: attrs.evolve(settings, copies=1))
    for server in world.servers:
        world.connect(server)
    assert not world.planner.state.restless
    assert {c.preferred for c in world.planner.map.shards} == {(1,), (2,)}, "and server 3 has none"
    world.tick()
    assert {c.preferred for c in world.planner.map.shards} == {(1,), (2,), (3,)}


# What was overlooked.


@pytest.mark.parametrize("shard", [0, 3, 5])
def test_what_is_overlooked_is_repaired_with_the_next_sweep(shard: int) -> None:
    world = at_rest()
    state = world.planner.state
    state.shards[shard] = attrs.evolve(state.shards[shard], secondaries=())  # and nobody is told
    for tick in range(1, membership.SWEEP_TICKS + 1):
        world.now += H / 4
        world.do(world.planner.tick(world.now))
        if state.shards[shard].learners:
            break
        if tick % 4 == 0:
            for server in world.servers:
                world.beat(server)
    assert state.shards[shard].learners
    assert tick > 1
