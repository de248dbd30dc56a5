"""The rules, one by one: what happens to shards when servers fail, return, leave and join."""

from __future__ import annotations

import attrs
import pytest

from tests.support.planning import SETTINGS, H, ModelServer, World
from twistedkv.clustermap import Configuration, Member, ServerState
from twistedkv.core import commands
from twistedkv.core.coordinator import EpochConflict
from twistedkv.core.operations import Kind, Phase
from twistedkv.core.steps import Patience
from twistedkv.errors import InvalidRequest
from twistedkv.messages.coordinator import (
    Relinquished,
    Remove,
    ReplicaRole,
    Seal,
    Sealed,
    SwitchPrimary,
    UpdatedSecondary,
    UpdatePrimary,
    UpdatePrimaryFailed,
    UpdateSecondary,
)

COVERS = [
    "twistedkv.core.assignment",
    "twistedkv.core.configurations",
    "twistedkv.core.failover",
    "twistedkv.core.membership",
    "twistedkv.core.repair",
]


def formed(**changes: object) -> tuple[World, list[ModelServer]]:
    world = World(attrs.evolve(SETTINGS, **changes))
    return world, world.form()


def of(world: World, server_id: int) -> ModelServer:
    return next(s for s in world.servers if s.server_id == server_id and s.alive)


def filling(world: World) -> Configuration:
    """Start server 1 again, and stop when a shard has a learner."""
    world.start(1)
    while not (found := [c for c in world.planner.map.shards if c.learners]):
        for server in world.servers:
            while world.deliver(server):
                pass
            world.beat(server)
    return found[0]


def test_a_cluster_is_formed_when_enough_servers_are_there_and_not_before() -> None:
    world = World()
    world.start(1)
    world.start(0)
    assert world.planner.map.shards == ()
    world.start(0)
    shards = world.planner.map.shards
    assert len(shards) == 6
    assert {shard.epoch for shard in shards} == {1}
    assert {shard.birth for shard in shards} == {1}
    assert shards[0].first_slot == 0
    assert shards[-1].last_slot == 16383
    assert sorted(shard.primary.server_id for shard in shards) == [1, 1, 2, 2, 3, 3]
    world.settle()
    assert commands.healthy(world.planner.state)


def test_a_reaped_primary_is_sealed_in_the_same_step_and_its_successor_published_with_the_last_answer() -> None:
    world, servers = formed()
    victim = servers[0]
    own = [c for c in world.planner.map.shards if c.primary == victim.member]
    step = world.do(world.planner.process_ended(1, victim.pid, "killed", world.now))
    sealed = {message.shard for _, message in step.sends if isinstance(message, Seal)}
    assert sealed == {c.shard for c in own}
    assert step.failed == [(1, victim.pid)]
    victim.alive = False
    for c in own:
        successor = of(world, c.secondaries[0].server_id)
        while world.deliver(successor):
            pass
        new = world.configuration(c.shard)
        assert new.primary == c.secondaries[0]
        assert new.epoch == 2
        assert new.secondaries == ()
        assert new.released, "the old primary was reaped and had served: nobody can hold a lease"
        last = world.steps[-1]
        assert last.update is not None


def test_a_primary_that_is_only_silent_may_still_hold_a_lease() -> None:
    world, servers = formed()
    servers[0].frozen = True
    shard = next(c.shard for c in world.planner.map.shards if c.primary == servers[0].member)
    world.settle(1.5)
    assert world.state_of(1) is ServerState.FAILED
    assert not world.configuration(shard).released


def test_released_needs_that_the_reaped_primary_had_itself_waited() -> None:
    world, servers = formed(servers=4, copies=3, shards=4)
    shard = next(c.shard for c in world.planner.map.shards if c.primary == servers[0].member)
    servers[0].frozen = True
    world.disconnect(servers[0])
    for _ in range(9):
        world.tick()
    assert world.state_of(1) is ServerState.FAILED
    for server in servers[1:]:
        while world.deliver(server):
            pass
    second = of(world, world.configuration(shard).primary.server_id)
    assert not world.configuration(shard).released
    # It has not reported that it serves; so the first one's lease may still run when the second is reaped.
    world.kill(second, reaped=True)
    for server in servers[1:]:
        while world.deliver(server):
            pass
    third = world.configuration(shard)
    assert third.primary not in (servers[0].member, second.member)
    assert not third.released


def test_the_most_advanced_answer_is_promoted_and_who_does_not_answer_is_dropped() -> None:
    world, _servers = formed(servers=4, copies=4, shards=1)
    primary, *others = [of(world, m.server_id) for m in world.configuration(0).members]
    others[1].copy(0).last = 7
    world.kill(primary, reaped=True)
    others[2].frozen = True
    world.deliver(others[0]), world.deliver(others[1])
    while world.deliver(others[0]) or world.deliver(others[1]):
        pass
    assert world.configuration(0).primary == primary.member, "one member has not answered, and h has not passed"
    for _ in range(5):
        world.tick()
    after = world.configuration(0)
    assert after.primary == others[1].member
    assert after.secondaries == (others[0].member,)


def test_equal_answers_are_decided_by_preference() -> None:
    world, _ = formed(servers=3, copies=3, shards=1)
    first, second, third = world.configuration(0).preferred
    world.kill(of(world, first), reaped=True)
    world.settle(0.3)
    assert world.configuration(0).primary.server_id == second
    assert [m.server_id for m in world.configuration(0).secondaries] == [third]


def test_a_suspected_secondary_is_dropped_only_when_its_primary_has_been_heard_of_since() -> None:
    """Otherwise a wrong suspicion costs the only copy, when the primary has died without anybody having noticed yet."""
    world, servers = formed()
    c = next(c for c in world.planner.map.shards if c.secondaries[0] == servers[0].member)
    primary = of(world, c.primary.server_id)
    primary.alive = False
    servers[0].alive = False
    world.disconnect(servers[0])
    while world.state_of(1) is not ServerState.FAILED:
        world.tick()
    assert world.state_of(c.primary.server_id) is ServerState.ACTIVE
    assert world.configuration(c.shard) == c
    servers[0].alive = True
    world.settle(3)
    assert world.configuration(c.shard).primary == servers[0].member, "it was there all the time"
    assert commands.status(world.planner.state, world.now)["lost"] == []


def test_a_new_coordinator_does_not_drop_a_secondary_before_it_has_heard_of_the_primary() -> None:
    world, servers = formed()
    c = next(c for c in world.planner.map.shards if c.secondaries[0] == servers[0].member)
    servers[0].alive = False
    world.disconnect(servers[0])
    while world.state_of(1) is not ServerState.FAILED:
        world.tick()
    of(world, c.primary.server_id).alive = False
    world.restart_coordinator()
    for _ in range(12):
        world.tick()
    assert world.configuration(c.shard) == c
    servers[0].alive = True
    world.settle(6)
    assert world.configuration(c.shard).primary == servers[0].member


def test_a_suspected_secondary_is_dropped_within_a_beat_or_two_when_its_primary_lives() -> None:
    world, servers = formed()
    c = next(c for c in world.planner.map.shards if c.secondaries[0] == servers[0].member)
    servers[0].alive = False
    world.disconnect(servers[0])
    while world.state_of(1) is not ServerState.FAILED:
        world.tick()
    assert world.configuration(c.shard) == c
    world.settle(2 * H)
    assert world.configuration(c.shard).secondaries == ()


def test_a_failed_secondary_is_dropped_at_once() -> None:
    world, servers = formed()
    c = next(c for c in world.planner.map.shards if c.secondaries[0] == servers[0].member)
    world.kill(servers[0], reaped=True)
    after = world.configuration(c.shard)
    assert after.primary == c.primary
    assert after.secondaries == ()
    assert after.epoch == c.epoch + 1


def test_a_new_process_under_a_known_id_is_another_member_and_becomes_a_learner() -> None:
    world, servers = formed()
    before = world.planner.map.shards
    servers[0].alive = False
    again = world.start(1)
    for c in before:
        assert servers[0].member not in world.configuration(c.shard).everyone or c.shard in world.planner.state.seals
    world.settle(2)
    for c in before:
        after = world.configuration(c.shard)
        assert after.primary.server_id == c.primary.server_id
        assert {m.server_id for m in after.members} == {m.server_id for m in c.members}
    assert again.member in world.configuration(0).members
    operation = next(iter(world.planner.state.operations.values()))
    assert operation.kind is Kind.RECOVERY
    assert operation.phase is Phase.DONE


def test_the_newer_process_wins_the_id_and_the_older_one_is_refused_for_good() -> None:
    world, servers = formed()
    old = servers[0]
    world.start(1)
    assert not old.connected
    old.alive = True
    world.connect(old)
    assert not old.alive, "it was told to end"


def test_a_shard_whose_last_copy_is_gone_is_lost_and_says_so_until_the_loss_is_accepted() -> None:
    world, _servers = formed(shards=3, replace_after_seconds=1000.0)
    c = world.configuration(0)
    for member in c.members:
        world.kill(of(world, member.server_id), reaped=True)
    lost = world.configuration(0)
    assert lost.lost
    assert lost.members[0] in c.members
    assert world.planner.state.operations["recovery-1"].phase in (Phase.FAILED, Phase.ONGOING, Phase.USE_SECONDARY)
    assert any("accept-loss 0" in text for text in world.events("shard.lost"))
    status = commands.status(world.planner.state, world.now)
    assert status["lost"] == [0]
    assert not status["healthy"]
    with pytest.raises(InvalidRequest, match="nothing has to be accepted"):
        other = next(c.shard for c in world.planner.map.shards if not c.lost)
        world.planner.accept_loss(other, world.now)
    accepted, step = world.planner.accept_loss(None, world.now)
    world.do(step)
    assert accepted == [0]
    after = world.configuration(0)
    assert not after.lost
    assert after.birth == after.epoch > lost.epoch


def test_a_lost_shard_is_taken_back_when_a_process_returns_with_its_data() -> None:
    world, _servers = formed(shards=3, replace_after_seconds=1000.0)
    world.write(of(world, world.configuration(0).primary.server_id), 0)
    holders = [of(world, m.server_id) for m in world.configuration(0).members]
    holders[0].alive = False
    world.disconnect(holders[0])
    holders[1].frozen = True
    world.settle(2)
    assert world.configuration(0).lost
    holders[1].frozen = False
    world.settle(2)
    after = world.configuration(0)
    assert not after.lost
    assert after.primary == holders[1].member


def test_a_member_that_says_it_holds_nothing_is_not_promoted() -> None:
    world, _ = formed(servers=3, copies=3, shards=1)
    first, second, third = world.configuration(0).preferred
    of(world, second).copy(0).complete = False
    of(world, second).copy(0).last = 99
    world.kill(of(world, first), reaped=True)
    world.settle(0.2)
    assert world.configuration(0).primary.server_id == third


def test_members_that_hold_nothing_make_a_shard_lost_and_not_sealed_again_and_again() -> None:
    world, _ = formed(shards=3, replace_after_seconds=1000.0)
    c = world.configuration(0)
    of(world, c.secondaries[0].server_id).copy(0).complete = False
    world.kill(of(world, c.primary.server_id), reaped=True)
    world.settle(2)
    assert world.configuration(0).lost
    assert len([text for text in world.events("shard.sealed") if text.startswith("shard 0:")]) == 1


def test_a_higher_epoch_at_a_member_leads_to_a_seal_above_it() -> None:
    world, _ = formed()
    c = world.configuration(0)
    secondary = of(world, c.secondaries[0].server_id)
    secondary.copy(0).epoch = 40
    world.beat(secondary)
    assert world.planner.state.seals[0].epoch == 41
    world.settle(1)
    assert world.configuration(0).epoch >= 41
    assert world.configuration(0).primary.server_id == c.primary.server_id


def test_a_primary_that_has_stepped_down_for_too_long_is_failed_over() -> None:
    world, _ = formed()
    c = world.configuration(0)
    primary = of(world, c.primary.server_id)
    primary.copy(0).role = ReplicaRole.STEPPED_DOWN
    world.settle(0.5)
    assert 0 not in world.planner.state.seals
    assert world.configuration(0).epoch == c.epoch
    world.settle(0.5)
    assert world.configuration(0).epoch > c.epoch
    assert len(world.events("shard.sealed")) == 1


def test_old_news_is_ignored() -> None:
    world, servers = formed()
    world.kill(servers[0], reaped=True)
    c = filling(world)
    primary = c.primary.server_id
    before = world.planner.map
    stale = c.epoch - 1
    for message in (
        UpdatedSecondary(c.shard, stale, c.learners[0]),
        UpdatePrimaryFailed(c.shard, stale, c.learners[0], "no"),
        Remove(c.shard, stale, c.learners[0], "no"),
        Relinquished(c.shard, stale, 0),
        Sealed(c.shard, c.epoch, 0, True),
        UpdatedSecondary(99, 1, c.learners[0]),
    ):
        world.do(world.planner.messages(primary, [message], world.now))
    # And news of the present epoch from one who is not its primary.
    other = next(s.server_id for s in servers[1:] if s.server_id != primary)
    world.do(world.planner.messages(other, [UpdatedSecondary(c.shard, c.epoch, c.learners[0])], world.now))
    world.do(world.planner.messages(other, [Relinquished(c.shard, c.epoch, 0)], world.now))
    assert world.planner.map == before


def test_a_learner_is_asked_for_by_the_names_of_the_original() -> None:
    world, servers = formed()
    first = next(c.shard for c in world.planner.map.shards if c.primary == servers[0].member)
    second = next(c.shard for c in world.planner.map.shards if c.secondaries[0] == servers[0].member)
    world.kill(servers[0], reaped=True)
    world.steps.clear()
    world.start(1)
    world.settle(1)
    sends = [message for step in world.steps for _, message in step.sends]
    assert first in {m.configuration.shard for m in sends if isinstance(m, UpdatePrimary)}
    assert second in {m.configuration.shard for m in sends if isinstance(m, UpdateSecondary)}


def test_a_fill_that_fails_is_tried_again_later() -> None:
    world, servers = formed()
    world.kill(servers[0], reaped=True)
    c = filling(world)
    failed = UpdatePrimaryFailed(c.shard, c.epoch, c.learners[0], "no room")
    world.do(world.planner.messages(c.primary.server_id, [failed], world.now))
    assert world.configuration(c.shard).learners == ()
    world.tick()
    assert world.configuration(c.shard).learners == ()
    world.settle(2)
    assert len(world.configuration(c.shard).members) == 2


def test_a_fill_that_has_failed_many_times_is_tried_again_within_seconds() -> None:
    """Nobody is told when the cut link that made it fail is healed."""
    patience = Patience()
    for _ in range(20):
        patience.failed(100.0, 5 * H)
    assert patience.not_before - 100.0 <= 20 * H


def test_a_fill_that_the_primary_does_not_speak_of_is_asked_for_again() -> None:
    world, servers = formed()
    world.kill(servers[0], reaped=True)
    world.start(1)
    world.settle(0.05)
    for _ in range(60):
        for server in world.servers:
            world.beat(server)
            while world.deliver(server):
                pass
        world.tick()
    shard = next(c.shard for c in world.planner.map.shards if c.learners)
    sends = [m for step in world.steps for _, m in step.sends if isinstance(m, UpdatePrimary | UpdateSecondary)]
    assert len([m for m in sends if m.configuration.shard == shard]) > 1


def test_a_member_given_up_by_its_primary_comes_back_as_learner_after_a_pause() -> None:
    world, _ = formed()
    c = world.configuration(0)
    primary = of(world, c.primary.server_id)
    for _ in range(3):
        # Several in one read may all be old, and who said them dead.
        world.say(primary, Remove(0, c.epoch, c.secondaries[0], "silence"))
        assert world.configuration(0) == c
    world.now += H
    world.say(primary, Remove(0, c.epoch, c.secondaries[0], "silence"))
    assert world.configuration(0).secondaries == ()
    world.settle(0.5)
    assert world.configuration(0).everyone == (c.primary,)
    world.settle(2)
    assert world.configuration(0).members == c.members


def test_a_primary_cannot_remove_itself_or_a_stranger() -> None:
    world, _ = formed()
    c = world.configuration(0)
    world.say(of(world, c.primary.server_id), Remove(0, c.epoch, c.primary, "?"))
    world.say(of(world, c.primary.server_id), Remove(0, c.epoch, Member(9, b"x" * 16), "?"))
    assert world.configuration(0) == c


def test_an_operators_switch_moves_the_role_and_the_preference() -> None:
    world, _ = formed()
    c = world.configuration(0)
    target = c.secondaries[0]
    operation, step = world.planner.switch(0, target.server_id, world.now)
    world.do(step)
    assert operation is not None
    assert [m for _, m in step.sends] == [SwitchPrimary(0, c.epoch, target.server_id)]
    world.settle(0.1)
    after = world.configuration(0)
    assert after.primary == target
    assert after.secondaries == (c.primary,)
    assert after.preferred == (target.server_id, c.primary.server_id)
    assert after.released
    assert world.outcomes == {operation.id: ""}
    world.settle(2)
    assert world.configuration(0) == after, "and there it stays"


@pytest.mark.parametrize(
    ("shard", "server", "sentence"),
    [(77, 1, "there is no shard 77"), (0, 9, "there is no server 9"), (0, 3, "no in-sync copy of shard 0: choose one")],
)
def test_a_switch_that_cannot_be_is_refused_with_a_sentence(shard: int, server: int, sentence: str) -> None:
    world, _ = formed()
    before = world.planner.map
    with pytest.raises(InvalidRequest, match=sentence):
        world.planner.switch(shard, server, world.now)
    assert world.planner.map == before


def test_a_switch_to_the_present_primary_is_done_already() -> None:
    world, _ = formed()
    operation, step = world.planner.switch(0, world.configuration(0).primary.server_id, world.now)
    assert operation is None
    assert not step.change.shards


def test_a_switch_without_an_answer_is_given_up_and_tried_later() -> None:
    world, _ = formed()
    c = world.configuration(0)
    operation, step = world.planner.switch(0, c.secondaries[0].server_id, world.now)
    assert operation is not None
    world.do(attrs.evolve(step, sends=[]))
    for _ in range(41):
        for server in world.servers:
            world.beat(server)
        world.tick()
    assert 0 not in world.planner.state.switches
    assert world.outcomes[operation.id] == "no answer in time"
    assert world.configuration(0) == c


def test_a_late_relinquish_is_honoured() -> None:
    world, _ = formed()
    c = world.configuration(0)
    primary = of(world, c.primary.server_id)
    primary.copy(0).role = ReplicaRole.STEPPED_DOWN
    world.relinquished.add((0, c.epoch))
    world.say(primary, Relinquished(0, c.epoch, 0))
    after = world.configuration(0)
    assert after.epoch == c.epoch + 1
    assert after.released
    assert after.primary == c.primary, "it is the preferred one"


def test_when_the_target_of_a_switch_fails_the_old_primary_goes_on() -> None:
    world, _ = formed()
    c = world.configuration(0)
    operation, step = world.planner.switch(0, c.secondaries[0].server_id, world.now)
    world.do(step)
    world.kill(of(world, c.secondaries[0].server_id), reaped=True)
    assert operation is not None
    assert world.outcomes[operation.id]
    assert world.configuration(0).primary == c.primary


def test_a_standby_takes_the_place_of_a_failed_server() -> None:
    world, servers = formed()
    standby = world.start(0, standby=True)
    assert world.state_of(4) is ServerState.STANDBY
    world.settle(0.5)
    assert not any(4 in c.preferred for c in world.planner.map.shards)
    servers[1].alive = False
    world.disconnect(servers[1])
    world.settle(3)
    assert world.state_of(4) is ServerState.ACTIVE
    assert not any(2 in c.preferred for c in world.planner.map.shards)
    assert commands.healthy(world.planner.state)
    assert world.events("server.replaced")
    # The failed one returns, empty, and is given copies again: the fewest that make it even.
    world.start(2)
    world.settle(4)
    assert commands.healthy(world.planner.state)
    held = [sum(i in c.preferred for c in world.planner.map.shards) for i in (1, 2, 3, 4)]
    assert sorted(held) == [3, 3, 3, 3]
    assert standby.connected


def test_a_standby_takes_the_places_of_one_that_failed_before_it_had_them_all() -> None:
    world, servers = formed()
    first, _ = world.start(0, standby=True), world.start(0, standby=True)
    world.settle(0.5)
    servers[0].alive = False
    world.disconnect(servers[0])
    while world.state_of(1) is not ServerState.FAILED:
        world.tick()
    # Its connection breaks while shards of server 1 are still sealed: their places are given out in that moment.
    assert world.planner.state.seals
    first.alive = False
    world.disconnect(first)
    world.settle(1.5)
    assert world.state_of(4) is ServerState.FAILED
    assert not any({1, 4} & set(c.preferred) for c in world.planner.map.shards), "none is left to the survivors"
    assert commands.healthy(world.planner.state)


def test_a_standby_whose_connection_breaks_for_a_moment_keeps_the_place_that_it_took() -> None:
    world, servers = formed()
    first, _ = world.start(0, standby=True), world.start(0, standby=True)
    world.settle(0.5)
    servers[0].alive = False
    world.disconnect(servers[0])
    while world.state_of(1) is not ServerState.FAILED:
        world.tick()
    world.disconnect(first)
    world.tick()
    assert world.planner.state.seals
    world.settle(H / 2)  # in which it connects again
    world.settle(3)
    assert world.state_of(5) is ServerState.STANDBY
    assert not any(1 in c.preferred for c in world.planner.map.shards)
    assert commands.healthy(world.planner.state)


def test_without_a_standby_the_survivors_take_over_after_a_while() -> None:
    world, servers = formed(servers=4)
    world.kill(servers[3], reaped=False)
    world.settle(2)
    assert any(4 in c.preferred for c in world.planner.map.shards)
    world.settle(4)
    assert not any(4 in c.preferred for c in world.planner.map.shards)
    assert commands.healthy(world.planner.state)


def test_with_too_few_survivors_the_place_is_kept() -> None:
    world, servers = formed(servers=3, copies=3)
    world.kill(servers[2], reaped=False)
    world.settle(5)
    assert all(3 in c.preferred for c in world.planner.map.shards)
    assert all(len(c.members) == 2 for c in world.planner.map.shards)
    world.start(3)
    world.settle(3)
    assert commands.healthy(world.planner.state)


def test_a_falsely_suspected_server_is_taken_in_again() -> None:
    world, servers = formed()
    servers[0].frozen = True
    world.settle(1.5)
    assert world.state_of(1) is ServerState.FAILED
    servers[0].frozen = False
    world.beat(servers[0])
    assert world.state_of(1) is ServerState.ACTIVE
    world.settle(3)
    assert commands.healthy(world.planner.state)


def test_a_leaving_server_gives_its_roles_away_first() -> None:
    world, servers = formed()
    world.leave(servers[0])
    world.settle(0.5)
    assert world.departures == {1: ""}
    assert world.state_of(1) is ServerState.LEAVING
    assert not any(servers[0].member in c.everyone for c in world.planner.map.shards)
    assert not world.events("shard.sealed"), "nothing had to be failed over"
    servers[0].alive = False
    world.disconnect(servers[0])
    assert world.state_of(1) is ServerState.FAILED
    assert world.events("server.left")
    world.settle(5)
    assert commands.healthy(world.planner.state)


def test_a_drain_ends_when_its_server_has_ended_before_it_could_be_answered() -> None:
    world, servers = formed()
    world.leave(servers[0])
    servers[0].alive = False
    world.disconnect(servers[0])
    world.settle(1)
    [drain] = [o for o in world.planner.state.operations.values() if o.kind is Kind.DRAIN]
    assert not drain.running
    assert drain.phase is Phase.FAILED


def test_a_leaving_server_with_the_only_copy_is_kept_waiting_and_then_told() -> None:
    world, servers = formed(servers=1, copies=1, shards=2)
    world.leave(servers[0])
    world.settle(3)
    assert world.departures == {}
    world.settle(2)
    assert "0, 1" in world.departures[1]


def test_a_coordinator_that_was_stopped_judges_nobody() -> None:
    world, _ = formed()
    world.now += 60
    world.do(world.planner.tick(world.now))
    assert all(world.state_of(i) is ServerState.ACTIVE for i in (1, 2, 3))


def test_a_new_coordinator_goes_on_from_the_store_in_the_middle_of_a_seal() -> None:
    world, servers = formed()
    victim = servers[0]
    shard = next(c.shard for c in world.planner.map.shards if c.primary == victim.member)
    victim.alive = False
    world.do(world.planner.process_ended(1, victim.pid, "killed", world.now))
    promised = world.planner.state.seals[shard].epoch
    world.deliver(of(world, world.configuration(shard).secondaries[0].server_id))
    world.restart_coordinator()
    world.settle(4)
    after = world.configuration(shard)
    assert after.epoch > promised
    assert after.primary != victim.member


def sealed_by_a_new_coordinator() -> tuple[World, int, ModelServer, ModelServer]:
    """Three copies, the primary dead; of the others, which are well, one has connected to the new coordinator."""
    world, servers = formed(copies=3)
    victim = servers[0]
    c = next(c for c in world.planner.map.shards if c.primary == victim.member)
    first, second = (of(world, member.server_id) for member in c.secondaries)
    victim.alive = False
    world.do(world.planner.process_ended(1, victim.pid, "killed", world.now))
    world.restart_coordinator()
    for server in world.servers:
        world.disconnect(server)
    world.connect(first)
    for _ in range(40):
        world.tick()
        while world.deliver(first):
            pass
        world.beat(first)
        if world.now - world.planner.state.seals[c.shard].started > 3 * H:
            return world, c.shard, first, second
    raise AssertionError("no seal")


def test_who_has_not_yet_come_back_to_a_new_coordinator_is_waited_for() -> None:
    world, shard, first, second = sealed_by_a_new_coordinator()
    assert shard in world.planner.state.seals
    world.connect(second)
    while world.deliver(second):
        pass
    assert set(world.configuration(shard).members) == {first.member, second.member}


def test_who_does_not_come_back_to_a_new_coordinator_is_waited_for_until_it_is_taken_for_failed() -> None:
    world, shard, first, second = sealed_by_a_new_coordinator()
    second.alive = False
    while world.state_of(second.server_id) is not ServerState.FAILED:
        assert shard in world.planner.state.seals
        world.tick()
        world.beat(first)
    world.tick()
    assert world.configuration(shard).members == (first.member,)


def test_epochs_go_on_growing_when_a_cluster_is_begun_anew() -> None:
    world, _ = formed()
    world.kill(world.servers[0], reaped=True)
    world.settle(1)
    highest = max(c.epoch for c in world.planner.map.shards)
    world.servers.clear()
    world.do(world.planner.started(world.now, children_gone=True, anew=True))
    assert world.planner.map.shards == ()
    assert world.planner.map.servers == {}
    world.history.clear()
    world.form()
    assert all(c.epoch > highest for c in world.planner.map.shards)
    assert world.events("cluster.reborn")
    assert world.store.load().map.shards == world.planner.map.shards


def test_a_killed_cluster_is_lost_until_somebody_says_so() -> None:
    world, _ = formed()
    world.servers.clear()
    world.do(world.planner.started(world.now, children_gone=True, anew=False))
    assert all(c.lost for c in world.planner.map.shards)
    world.form()
    assert all(c.lost for c in world.planner.map.shards)
    accepted, step = world.planner.accept_loss(None, world.now)
    world.do(step)
    assert len(accepted) == 6
    world.settle(3)
    assert commands.healthy(world.planner.state)


def test_a_server_with_unknown_shards_is_not_admitted_to_an_empty_store() -> None:
    world, servers = formed()
    world.disk = type(world.disk)()
    world.restart_coordinator()
    world.connect(servers[0])
    assert not servers[0].connected
    assert servers[0].alive, "it may hold the last copy of something"


def test_more_copies_are_made_when_more_are_wanted_and_dropped_when_fewer_are() -> None:
    world, _ = formed()
    world.restart_coordinator(lambda settings: attrs.evolve(settings, copies=3))
    world.settle(5)
    assert all(len(c.members) == 3 for c in world.planner.map.shards)
    world.restart_coordinator(lambda settings: attrs.evolve(settings, copies=2))
    world.settle(5)
    assert all(len(c.members) == 2 for c in world.planner.map.shards)
    assert commands.healthy(world.planner.state)


def test_an_epoch_is_never_used_twice() -> None:
    world, _ = formed()
    c = world.configuration(0)
    with pytest.raises(EpochConflict):
        world.planner.state.set_shard(attrs.evolve(c, secondaries=()))
    world.planner.state.promise(0, 5)
    with pytest.raises(EpochConflict):
        world.planner.state.promise(0, 5)
    with pytest.raises(EpochConflict):
        world.planner.state.set_shard(attrs.evolve(c, epoch=4))


def test_the_phases_of_a_recovery_are_those_of_the_original() -> None:
    world, servers = formed()
    world.kill(servers[0], reaped=True)
    world.settle(0.5)
    world.start(1)
    world.settle(2)
    phases = [text.split(": ")[1] for text in world.events("operation.phase")]
    assert phases[0] == "USE_SECONDARY"
    assert "ONE_SET_COMPLETED" in phases
    assert world.events("operation.done") == ["recovery: DONE"]
    assert world.settings.heartbeat_seconds == H


def test_a_seal_is_sent_again_when_a_member_connects_again_and_when_it_does_not_answer() -> None:
    world, servers = formed()
    c = next(c for c in world.planner.map.shards if c.primary == servers[0].member)
    member = of(world, c.secondaries[0].server_id)
    world.kill(servers[0], reaped=True)
    assert Seal(c.shard, 2) in member.inbox
    world.disconnect(member)
    world.connect(member)
    assert Seal(c.shard, 2) in member.inbox, "what was sent to the old connection may never have arrived"
    member.inbox.clear()
    world.tick()
    assert Seal(c.shard, 2) not in member.inbox
    for _ in range(8):
        world.beat(member)
        world.tick()
    assert list(member.inbox).count(Seal(c.shard, 2)) == 1


def test_a_new_primary_counts_as_serving_only_when_it_says_so() -> None:
    world, _ = formed()
    c = world.configuration(0)
    target = of(world, c.secondaries[0].server_id)
    _, step = world.planner.switch(0, target.server_id, world.now)
    world.do(step)
    while world.deliver(of(world, c.primary.server_id)):
        pass
    assert world.configuration(0).primary == target.member
    assert not commands.serving(world.planner.state)
    with pytest.raises(InvalidRequest, match="not serving yet"):
        world.planner.switch(0, c.primary.server_id, world.now)
    while world.deliver(target):
        pass
    world.beat(target)
    assert commands.serving(world.planner.state)


def test_the_map_names_all_ports_of_a_server() -> None:
    world, servers = formed()
    server = servers[0]
    named = world.planner.map.servers[server.server_id]
    assert (named.port, named.line_port, named.course_port) == (7000 + server.pid, 8000 + server.pid, 9000 + server.pid)
