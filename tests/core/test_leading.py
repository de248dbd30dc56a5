"""The primary's side of the protocol, rule by rule: each test fails when its rule (I2 to I16) is taken away."""

from __future__ import annotations

import attrs
import pytest

from tests.support.servers import (
    HEARTBEAT,
    ME,
    TIMING,
    A,
    B,
    C,
    Desk,
    configuration,
    member,
    primary,
    secondary,
    section,
)
from twistedkv.core import leading as module
from twistedkv.errors import Status
from twistedkv.messages.client import Get, Put
from twistedkv.messages.coordinator import (
    Relinquished,
    Remove,
    ReplicaRole,
    SwitchPrimary,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimaryFailed,
    UpdateSecondaryFailed,
)
from twistedkv.messages.peer import BeginFill, Configure, FillAck, Refusal, RefusedSection, Replicate
from twistedkv.records import version_of


def promote(desk: Desk, *others, epoch: int = 5, released: bool = False, birth: int = 3) -> None:
    """The coordinator seals this core and makes it primary."""
    assert desk.seal(epoch).holds
    desk.adopt(configuration(epoch, ME, others, birth=birth, released=released))


def fill(desk: Desk, learner) -> None:
    """Stream everything that there is to a learner which has begun, and acknowledge it."""
    desk.ack(learner)
    source = next(each for each in desk.core.wanted_fills() if each.follower.member == learner)
    while (message := source.next_message()) is not None:
        source.acknowledged(FillAck(0, source.fill, message.number, False), desk.now)
    desk.flush()


# I3: when a write is committed.


def test_a_write_is_answered_when_every_member_has_it():
    desk = primary(A, B)
    asked = desk.put(1)
    assert desk.status(asked) is None
    desk.ack(A)
    assert (desk.status(asked), desk.replica.commit) == (None, 0)
    desk.ack(B)
    assert (desk.status(asked), desk.replica.commit) == (Status.SUCCESS, 1)


def test_a_sole_member_commits_at_the_end_of_the_turn():
    desk = primary()
    asked = desk.put(1, flush=False)
    assert desk.replica.commit == 0
    desk.flush()
    assert desk.status(asked) is Status.SUCCESS


def test_a_member_that_heard_of_a_configuration_first_is_sent_the_rest_at_once():
    desk = primary(A)
    desk.put(1)
    desk.adopt(configuration(4, ME, [A], learners=[B], birth=3))
    asked = desk.put(2)
    desk.ack(A, RefusedSection(0, Refusal.OLD_EPOCH, 4, 0))
    assert [section.first for section in desk.sections_to(A)][-2:] == [1, 2]
    desk.ack(A)
    assert desk.status(asked) is Status.SUCCESS


def test_such_a_member_that_is_a_learner_goes_on_with_its_fill():
    desk = primary(A, learners=[B])
    desk.ack_all()
    before = desk.follower(B).fill
    desk.put(1)
    desk.adopt(configuration(4, ME, learners=[B], birth=3))
    desk.ack(B, RefusedSection(0, Refusal.OLD_EPOCH, 4, 0))
    assert desk.follower(B).fill == before
    fill(desk, B)
    desk.put(2)
    desk.adopt(configuration(5, ME, learners=[B], birth=3))
    desk.ack(B, RefusedSection(0, Refusal.OLD_EPOCH, 5, 0))
    assert desk.told_of(UpdateSecondaryFailed) == []
    assert desk.follower(B).counted


def test_what_was_parked_at_one_who_is_to_be_a_sole_member_goes_to_its_learner_in_the_same_turn():
    desk = secondary((b"k", b"1"))
    desk.replica.promise_until = desk.now + 0.3
    assert desk.seal(5).holds
    desk.adopt(configuration(5, ME, learners=[B], birth=3))
    asked = desk.put(1)
    desk.tick(0.31)
    assert desk.status(asked) is Status.SUCCESS
    assert any(each.count for each in desk.sections_to(B))


def test_a_learner_does_not_hold_up_writes_before_its_fill_has_ended():
    desk = primary(A, learners=[B])
    asked = desk.put(1)
    desk.ack(A)
    assert desk.status(asked) is Status.SUCCESS


def test_a_write_waits_for_a_learner_that_is_counted():
    """I3, I10: it may be a member by now, and only the coordinator knows."""
    desk = primary(A, learners=[B])
    fill(desk, B)
    asked = desk.put(1)
    desk.ack(A)
    assert desk.status(asked) is None
    desk.ack(B)
    assert desk.status(asked) is Status.SUCCESS


def test_a_member_that_is_removed_is_not_waited_for_but_only_once_the_configuration_says_so():
    desk = primary(A, B)
    asked = desk.put(1)
    desk.ack(A)
    desk.pump(1.0, acked_by=[A])
    assert desk.status(asked) is None
    assert {message.member for message in desk.told_of(Remove)} == {B}
    desk.adopt(configuration(4, ME, [A], birth=3))
    assert desk.status(asked) is Status.SUCCESS


# I4: gaps.


def test_a_gap_is_filled_from_the_log():
    desk = primary(A)
    for number in (1, 2, 3):
        desk.put(number)
    desk.sent.clear()
    number = desk.core.peers[A]._number
    desk.ack(A, RefusedSection(0, Refusal.GAP, 3, 1), number=number)
    assert desk.sections_to(A) == [], "nothing is sent to one who refuses before the next beat"
    desk.tick(HEARTBEAT)
    assert [part.first for part in desk.sections_to(A)] == [2, 3]
    desk.ack(A)
    assert desk.replica.commit == 3


def test_a_member_that_is_behind_the_log_is_reported():
    desk = primary(A, B)
    desk.put(1)
    desk.ack_all()
    desk.ack(A, RefusedSection(0, Refusal.GAP, 3, 0))  # nothing was under way: it is ignored
    asked = desk.put(2)
    desk.ack(A, RefusedSection(0, Refusal.GAP, 3, 0))
    desk.tick(HEARTBEAT)
    [message] = desk.told_of(Remove)
    assert (message.member, message.epoch) == (A, 3)
    desk.ack(B)
    assert desk.status(asked) is None


def test_after_a_lost_connection_everything_unacknowledged_comes_again_and_the_configuration_first():
    desk = primary(A)
    desk.put(1)
    desk.ack(A)
    desk.put(2)
    desk.put(3)
    desk.core.peer_lost(A)
    desk.sent.clear()
    desk.put(4)
    assert A not in desk.sent
    desk.connect()
    desk.flush()
    assert isinstance(desk.sent[A][0], Configure)
    assert [part.first for part in desk.sections_to(A)] == [2, 3, 4]


# I6: a new primary brings its members level first.


def test_a_new_primary_serves_only_when_every_member_has_all_that_it_has():
    desk = secondary((b"k", b"1"), (b"k", b"2"), others=[A, B])
    desk.pump(2.0)
    promote(desk, A, B)
    assert desk.role is ReplicaRole.RECONCILING
    assert [part.first for part in desk.sections_to(A)] == [1], "what was not known to be committed is sent"
    asked = desk.ask(Get(b"k"))
    desk.ack(A)
    assert (desk.role, desk.status(asked)) == (ReplicaRole.RECONCILING, None)
    desk.ack(B)
    assert desk.role is ReplicaRole.PRIMARY
    assert desk.answer(asked).value == b"2"
    assert desk.replica.commit == 2


def test_members_are_asked_even_if_all_was_known_to_be_committed():
    """I6: who was dropped and filled again in between may hold less than is thought."""
    desk = secondary((b"k", b"1"))
    desk.replicate(section(3, 2, commit=1))
    desk.pump(2.0)
    promote(desk, A)
    assert desk.replica.commit == desk.replica.sequence == 1
    assert desk.role is ReplicaRole.RECONCILING
    desk.ack(A)
    assert desk.role is ReplicaRole.PRIMARY


# I7: the lease.


def test_a_read_without_a_lease_is_held_and_answered_with_the_next_acknowledgement():
    desk = primary(A)
    desk.put(1)
    desk.ack(A)
    desk.pump(HEARTBEAT * 2)
    desk.now = desk.replica.lease_until
    asked = desk.ask(Get(b"k"))
    assert desk.status(asked) is None
    desk.tick(HEARTBEAT)
    assert desk.status(asked) is None
    desk.ack(A)
    assert desk.answer(asked).value == b"v"


def test_a_read_just_within_the_lease_is_answered_at_once():
    desk = primary(A)
    desk.now = desk.replica.lease_until - 0.001
    assert desk.status(desk.ask(Get(b"k"))) is Status.KEY_NOT_FOUND


def test_the_lease_is_that_of_the_member_heard_longest_ago():
    desk = primary(A, B)
    until = desk.replica.lease_until
    desk.pump(HEARTBEAT * 2, acked_by=[A])
    assert desk.replica.lease_until == until
    desk.now = until
    assert desk.status(desk.ask(Get(b"k"))) is None


def test_the_lease_is_counted_over_a_learner_that_is_counted():
    """I7, I10: it may be a member by now, and be promoted."""
    desk = primary(A, learners=[B])
    fill(desk, B)
    desk.ack_all()
    until = desk.replica.lease_until
    desk.pump(HEARTBEAT * 2, acked_by=[A])
    assert desk.replica.lease_until == until


@pytest.mark.parametrize("how", ["sealed", "superseded", "removed", "reborn"])
def test_a_held_read_is_turned_away_when_the_role_is_lost(how):
    desk = primary(A)
    desk.now = desk.replica.lease_until
    asked = desk.ask(Get(b"k"))
    if how == "sealed":
        desk.seal(9)
    elif how == "superseded":
        desk.tick(HEARTBEAT)
        desk.ack(A, RefusedSection(0, Refusal.OLD_EPOCH, 9, 0))
    elif how == "removed":
        desk.adopt(configuration(4, A, [B], birth=3))
    else:
        desk.adopt(configuration(4, ME, [A], birth=4))
    desk.ack(A)
    assert desk.status(asked) in (Status.WRONG_SERVER, Status.NOT_PRIMARY_YET)
    assert desk.replica.lease_until <= desk.now or desk.role is ReplicaRole.PRIMARY


def test_a_write_does_not_renew_a_lease_by_being_sent():
    desk = primary(A)
    until = desk.replica.lease_until
    desk.now += HEARTBEAT
    desk.put(1)
    assert desk.replica.lease_until == until


# I8: the wait for the old primary's lease.


def test_a_promoted_secondary_waits_out_its_promise():
    desk = secondary((b"k", b"1"))
    promised = desk.now + TIMING.grace
    assert desk.replica.promise_until == pytest.approx(promised)
    desk.now += 0.1
    promote(desk, A)
    desk.ack(A)
    assert desk.role is ReplicaRole.RECONCILING
    asked = desk.ask(Put(1, 1, 0, b"k", b"2"))
    desk.pump(promised - desk.now - 0.01, acked_by=[A])
    assert (desk.role, desk.status(asked)) == (ReplicaRole.RECONCILING, None)
    desk.pump(0.06, acked_by=[A])
    assert desk.role is ReplicaRole.PRIMARY
    desk.ack(A)
    assert desk.status(asked) is Status.SUCCESS


def test_a_promoted_secondary_does_not_wait_when_the_old_primary_is_certainly_gone():
    desk = secondary((b"k", b"1"))
    promote(desk, A, released=True)
    desk.ack(A)
    assert desk.role is ReplicaRole.PRIMARY


def test_a_beacon_renews_the_promise_and_a_refused_one_does_not():
    desk = secondary((b"k", b"1"))
    desk.now += 1.0
    desk.replicate(section(3, 2))
    assert desk.replica.promise_until == pytest.approx(desk.now + TIMING.grace)
    desk.now += 1.0
    before = desk.replica.promise_until
    assert desk.replicate(section(2, 2)) != []
    assert desk.replicate(section(3, 9)) != []
    assert desk.replica.promise_until == before


# I10: adding a learner.


def test_a_learner_is_counted_before_the_coordinator_is_told_of_it():
    desk = primary(A, learners=[B])
    desk.ack(B)
    assert not desk.told_of(UpdatedSecondary)
    fill(desk, B)
    assert desk.follower(B) in desk.replica.leading.counted
    assert desk.told_of(UpdatedSecondary) == [UpdatedSecondary(0, 3, B)]


def test_a_learner_is_reported_only_when_its_log_has_passed_the_end_of_the_stream():
    """The stream may hold records of updates that its log has not reached; promoted then, it would lack others."""
    desk = primary(A, learners=[B])
    desk.ack(B)
    desk.put(1)
    desk.put(2)
    [source] = desk.core.wanted_fills()
    numbers = []
    while (message := source.next_message()) is not None:
        numbers.append(message.number)
    source.acknowledged(FillAck(0, source.fill, numbers[-1], False), desk.now)
    desk.flush()
    assert desk.follower(B).counted
    assert desk.told_of(UpdatedSecondary) == []
    desk.tick(HEARTBEAT)
    assert desk.told_of(UpdatedSecondary) == []
    first = [message.number for message in desk.sent[B] if isinstance(message, Replicate)][1]
    desk.ack(B, number=first)
    assert desk.told_of(UpdatedSecondary) == []
    desk.ack(B)
    assert desk.told_of(UpdatedSecondary) == [UpdatedSecondary(0, 3, B)]


def test_a_learner_that_is_counted_is_reported_at_each_beat_and_in_each_epoch_until_it_is_settled():
    desk = primary(A, learners=[B])
    fill(desk, B)
    desk.told.clear()
    desk.pump(3 * HEARTBEAT, acked_by=[A, B])
    assert 2 <= len(desk.told_of(UpdatedSecondary)) <= 4
    desk.told.clear()
    desk.adopt(configuration(4, ME, [A], [B], birth=3))
    assert desk.told_of(UpdatedSecondary) == [UpdatedSecondary(0, 4, B)]
    assert desk.follower(B).counted
    desk.ack_all()
    desk.told.clear()
    desk.adopt(configuration(5, ME, [A, B], birth=3))
    desk.pump(3 * HEARTBEAT, acked_by=[A, B])
    assert desk.told_of(UpdatedSecondary) == []
    asked = desk.put(1)
    desk.ack(A)
    assert desk.status(asked) is None
    desk.ack(B)
    assert desk.status(asked) is Status.SUCCESS


def test_a_learner_that_is_counted_is_counted_until_a_configuration_without_it():
    desk = primary(A, learners=[B])
    fill(desk, B)
    asked = desk.put(1)
    desk.ack(A)
    # Whatever becomes of it: refusals, a lost connection, silence.
    desk.ack(B, RefusedSection(0, Refusal.NOT_A_MEMBER, 3, 0))
    desk.core.peer_lost(B)
    desk.connect()
    desk.replica.leading.fill_refused(desk.follower(B))
    desk.pump(2.0, acked_by=[A])
    assert desk.follower(B).counted
    assert desk.status(asked) is None
    assert {type(message) for message, _ in desk.told} >= {UpdateSecondaryFailed}
    desk.adopt(configuration(4, ME, [A], birth=3))
    assert desk.status(asked) is Status.SUCCESS


def test_a_learner_after_a_missed_configuration_begins_again():
    """I10: it may have been dropped and taken in again in between, and then its data is gone."""
    desk = primary(A, learners=[B])
    fill(desk, B)
    begun = [message for message in desk.sent[B] if isinstance(message, BeginFill)]
    desk.told.clear()
    desk.adopt(configuration(5, ME, [A], [B], birth=3))
    assert not desk.follower(B).counted
    assert desk.told_of(UpdatedSecondary) == []
    again = [message for message in desk.sent[B] if isinstance(message, BeginFill)]
    assert len(again) == len(begun) + 1
    assert again[-1].fill not in {message.fill for message in begun}


def test_the_one_that_is_to_lead_is_reported_as_such():
    desk = primary(A, learners=[B], preferred=[B.server_id, 1, 2])
    fill(desk, B)
    assert desk.told_of(UpdatedPrimary) == [UpdatedPrimary(0, 3, B)]
    desk.ack(B, RefusedSection(0, Refusal.NOT_A_MEMBER, 3, 0))
    desk.put(1)
    desk.ack(B, RefusedSection(0, Refusal.NOT_A_MEMBER, 3, 0))
    assert desk.told_of(UpdatePrimaryFailed)[0].learner == B


def test_fills_of_different_primaries_have_different_numbers():
    """I11: a late chunk of a deposed primary must not be taken for the new one's."""
    numbers = set()
    for epoch in (3, 4, 5):
        desk = primary(A, epoch=epoch, learners=[B])
        for _ in range(3):
            numbers |= {message.fill for message in desk.sent[B] if isinstance(message, BeginFill)}
            desk.replica.leading.fill_refused(desk.follower(B))
            desk.flush()
    assert len(numbers) == 9
    assert 0 not in numbers


def test_a_learner_that_is_too_far_behind_begins_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LOG_BYTES_MAX", 10)
    desk = primary(A, learners=[B])
    desk.ack(B)
    assert desk.follower(B).joined
    desk.put(1, value=bytes(100))
    desk.pump(HEARTBEAT, acked_by=[A])
    assert len([message for message in desk.sent[B] if isinstance(message, BeginFill)]) == 2
    assert not desk.follower(B).joined
    assert desk.follower(B).acked == desk.replica.sequence


def test_a_learner_whose_connection_breaks_before_it_has_joined_begins_again():
    desk = Desk()
    desk.adopt(configuration(3, ME, [A], [B], birth=3))
    desk.core.peer_lost(B)
    desk.connect()
    desk.flush()
    assert len([message for message in desk.sent[B] if isinstance(message, BeginFill)]) == 2
    desk.ack(B)
    desk.put(1)
    desk.core.peer_lost(B)
    desk.sent.clear()
    desk.connect()
    desk.flush()
    assert [type(message) for message in desk.sent[B]] == [Configure, Replicate], "it goes on where it was"
    assert [(part.first, part.count) for part in desk.sections_to(B)] == [(1, 1)]


# I2 and the way out.


def test_a_primary_that_hears_of_a_higher_epoch_stops_in_the_same_turn():
    desk = primary(A, B)
    asked = desk.put(1)
    read = desk.ask(Get(b"k"))
    desk.ack(A, RefusedSection(0, Refusal.OLD_EPOCH, 7, 0))
    assert desk.role is ReplicaRole.STEPPED_DOWN
    assert (desk.status(asked), desk.status(read)) == (Status.SUPERSEDED, Status.NOT_PRIMARY_YET)
    assert desk.replica.lease_until <= desk.now
    assert desk.replica.epoch == 3
    desk.ack(A)
    desk.ack(B)
    assert desk.replica.commit == 0


def test_an_equal_epoch_in_a_refusal_does_not_depose():
    """The member has heard of the configuration first: it was refused for the epoch before."""
    desk = primary(A)
    desk.put(1)
    desk.adopt(configuration(4, ME, [A], birth=3))
    desk.ack(A, RefusedSection(0, Refusal.OLD_EPOCH, 4, 0))
    assert desk.role is ReplicaRole.PRIMARY
    desk.tick(HEARTBEAT)
    desk.ack(A)
    assert desk.replica.commit == 1


# Giving the role away.


def test_a_switch_waits_for_what_is_in_flight_and_parks_what_comes():
    desk = primary(A)
    before = desk.put(1)
    desk.core.switch(SwitchPrimary(0, 3, A.server_id), 77, desk.now)
    after = desk.put(2)
    desk.flush()
    assert desk.role is ReplicaRole.SWITCHING
    assert desk.told == []
    desk.ack(A)
    assert desk.role is ReplicaRole.STEPPED_DOWN
    assert desk.told == [(Relinquished(0, 3, version_of(3, 1)), 77)]
    assert (desk.status(before), desk.status(after)) == (Status.SUCCESS, None)
    assert desk.replica.lease_until <= desk.now
    desk.adopt(configuration(4, A, [ME], birth=3, released=True))
    assert desk.role is ReplicaRole.SECONDARY
    assert desk.status(after) is Status.WRONG_SERVER


def test_one_who_has_stepped_down_never_serves_in_that_epoch_again():
    desk = primary(A)
    desk.core.switch(SwitchPrimary(0, 3, A.server_id), 77, desk.now)
    desk.flush()
    assert desk.role is ReplicaRole.STEPPED_DOWN
    read = desk.ask(Get(b"k"))
    desk.replica.configure(configuration(3, ME, [A], birth=3), desk.now)
    desk.pump(2.0, acked_by=[A])
    assert desk.role is ReplicaRole.STEPPED_DOWN
    assert desk.status(read) is Status.NOT_PRIMARY_YET, "its clients are sent away when no successor comes"
    late = desk.put(1)
    desk.pump(2.0, acked_by=[A])
    assert desk.status(late) is Status.NOT_PRIMARY_YET


def test_a_switch_that_takes_too_long_is_given_up_and_what_was_parked_is_executed():
    desk = primary(A)
    before = desk.put(1)
    desk.core.switch(SwitchPrimary(0, 3, A.server_id), 77, desk.now)
    after = desk.put(2)
    desk.pump(TIMING.switch + HEARTBEAT)
    assert desk.role is ReplicaRole.PRIMARY
    [(text, request_id)] = [each for each in desk.told if isinstance(each[0], str)]
    assert request_id == 77
    assert "took too long" in text
    desk.ack(A)
    assert (desk.status(before), desk.status(after)) == (Status.SUCCESS, Status.SUCCESS)


@pytest.mark.parametrize("how", ["configured", "sealed", "superseded"])
def test_a_switch_that_is_overtaken_is_answered_once(how):
    desk = primary(A, B)
    desk.put(1)
    desk.core.switch(SwitchPrimary(0, 3, A.server_id), 77, desk.now)
    if how == "configured":
        desk.adopt(configuration(4, ME, [A], birth=3))
        assert desk.role is ReplicaRole.PRIMARY
    elif how == "sealed":
        desk.seal(9)
    else:
        desk.ack(A, RefusedSection(0, Refusal.OLD_EPOCH, 9, 0))
    desk.ack_all()
    desk.pump(2.0)
    assert len([text for text, request_id in desk.told if request_id == 77]) == 1
    assert not desk.told_of(Relinquished)


@pytest.mark.parametrize(("epoch", "target"), [(2, 2), (4, 2), (3, 1), (3, 4), (3, 99)])
def test_a_switch_that_makes_no_sense_is_refused(epoch, target):
    desk = primary(A, learners=[C])
    desk.core.switch(SwitchPrimary(0, epoch, target), 77, desk.now)
    desk.flush()
    [(text, request_id)] = desk.told
    assert request_id == 77
    assert text.startswith("shard 0:")
    assert desk.role is ReplicaRole.PRIMARY


# I16, and who is silent.


def test_after_a_stall_nobody_is_judged():
    desk = primary(A, B)
    desk.tick(HEARTBEAT / 4)
    desk.tick(30.0)
    assert desk.told_of(Remove) == []
    desk.pump(TIMING.peer_silence - HEARTBEAT, acked_by=[A])
    assert desk.told_of(Remove) == []
    desk.pump(3 * HEARTBEAT, acked_by=[A])
    assert {message.member for message in desk.told_of(Remove)} == {B}


def test_silence_is_told_at_each_beat_until_the_coordinator_acts():
    desk = primary(A)
    desk.pump(TIMING.peer_silence + 5 * HEARTBEAT)
    assert len(desk.told_of(Remove)) >= 3


def test_who_was_silent_is_still_sent_everything_and_can_come_back_without_the_coordinator():
    desk = primary(A)
    desk.pump(TIMING.peer_silence + 5 * HEARTBEAT)
    asked = desk.put(1)
    told = len(desk.told_of(Remove))
    assert [part.count for part in desk.sections_to(A)][-1] == 1
    desk.ack(A)
    assert desk.status(asked) is Status.SUCCESS
    desk.pump(4 * HEARTBEAT, acked_by=[A])
    assert len(desk.told_of(Remove)) == told


def test_a_new_connection_is_used_at_once_also_after_a_refusal():
    desk = primary(A)
    asked = desk.put(1)
    desk.ack(A, RefusedSection(0, Refusal.NOT_A_MEMBER, 3, 0))
    desk.core.peer_lost(A)
    desk.core.peer_connected(A)
    desk.flush()
    desk.ack(A)
    assert desk.status(asked) is Status.SUCCESS


def test_nothing_stays_in_the_log_for_one_who_has_acknowledged_later():
    desk = primary(A, learners=[B])
    desk.put(1)
    desk.ack(A)
    assert desk.replica.commit == 1
    desk.ack(B)
    assert desk.replica.log.bytes == 0


# Configurations while primary.


def test_a_primary_that_stays_primary_keeps_its_followers_and_serves_on():
    desk = primary(A, B)
    held = desk.put(1)
    desk.ack(A)
    desk.adopt(configuration(4, ME, [A], [C], birth=3))
    assert desk.role is ReplicaRole.PRIMARY
    assert desk.follower(A).acked == 1
    assert desk.status(held) is Status.SUCCESS
    assert {type(message) for message in desk.sent[C]} == {Configure, BeginFill, Replicate}


def test_a_member_with_a_new_store_is_another_follower():
    """I9: what the old one acknowledged the new one does not have."""
    desk = primary(A)
    desk.put(1)
    desk.ack(A)
    again = member(A.server_id, 2)
    desk.adopt(attrs.evolve(configuration(4, ME, birth=3), learners=(again,)))
    assert A not in desk.replica.leading.followers
    [begun] = [message for message in desk.sent[again] if isinstance(message, BeginFill)]
    assert begun.start == desk.replica.last
    assert not desk.follower(again).counted


def test_a_secondary_that_becomes_a_learner_begins_again():
    desk = primary(A, B)
    desk.adopt(configuration(4, ME, [A], [B], birth=3))
    assert not desk.follower(B).counted
    assert any(isinstance(message, BeginFill) for message in desk.sent[B])
