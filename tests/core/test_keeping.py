"""What a durable copy leaves behind, and how the next process goes on with it."""

from __future__ import annotations

import attrs
import pytest

from tests.support.disks import platter_of, write_out
from tests.support.servers import CLIENT, HEARTBEAT, TIMING, A, B, Desk, Pair, configuration, section, small_keys
from twistedkv.core.saved import SavedReplica, decode_saved, encode_saved
from twistedkv.errors import ProtocolError, Status
from twistedkv.messages.client import Delete, Execute, ExecuteMode, Put
from twistedkv.messages.coordinator import Remove, ReplicaRole, UpdatedSecondary
from twistedkv.messages.peer import BeginFill, FillKind
from twistedkv.records import is_tombstone, record_value, sequence_of
from twistedkv.slots import slot_of
from twistedkv.storage.durable import DurableStore
from twistedkv.wire.frames import RETRY

KEYS = small_keys(12)


def loaded(copies: int = 2, servers: int = 2) -> Pair:
    """A durable cluster with some keys, one of them deleted."""
    pair = Pair(servers, copies, durable=True)
    for number, key in enumerate(KEYS[:5], 1):
        pair.serving.put(number, key, b"v%d" % number)
    pair.serving.ask(Delete(6, 1, 0, KEYS[0]))
    pair.settle()
    return pair


def contents(desk: Desk) -> dict[bytes, bytes]:
    """Values by key."""
    return {key: record_value(record) for key, record in desk.contents.items()}


EXPECTED = {key: b"v%d" % number for number, key in enumerate(KEYS[:5], 1) if number > 1}


def test_a_write_is_answered_when_both_disks_have_it():
    pair = Pair(durable=True)
    pair.slow = {2}
    request = pair.serving.put(1, KEYS[0])
    pair.settle()
    assert pair.serving.status(request) is None
    pair.slow = {1}
    write_out(pair.desks[2].core.store)  # type: ignore[arg-type]
    pair.lose_connection(pair.desks[2].core.me)
    pair.settle()
    assert pair.serving.status(request) is Status.SUCCESS, "its own disk had it before"


def test_a_primary_does_not_count_what_its_own_disk_has_not_got():
    pair = Pair(durable=True)
    pair.slow = {1}
    request = pair.serving.put(1, KEYS[0])
    pair.settle()
    assert pair.desks[2].replica.sequence == 1
    assert pair.serving.status(request) is None
    assert pair.serving.replica.commit == 0
    pair.slow = set()
    pair.settle()
    assert pair.serving.status(request) is Status.SUCCESS


def test_a_slow_disk_does_not_cost_the_lease():
    pair = loaded()
    pair.slow = {2}
    pair.serving.put(7, KEYS[6])
    pair.pass_time(3 * TIMING.grace)
    assert pair.serving.replica.lease_until > pair.serving.now
    assert not pair.serving.told_of(Remove), "it hears everything, and its disk pauses"


def test_a_disk_that_stores_nothing_for_long_costs_the_copy():
    pair = loaded()
    pair.slow = {2}
    pair.serving.put(7, KEYS[6])
    pair.pass_time(TIMING.storing + 3 * HEARTBEAT)
    [first, *_] = pair.serving.told_of(Remove)
    assert "its disk has stored nothing" in first.reason


def test_a_primary_that_comes_back_waits_to_be_promoted_and_a_secondary_goes_on():
    pair = loaded()
    for server_id in (1, 2):
        pair.kill(server_id)
    back = [pair.start(server_id) for server_id in (1, 2)]
    assert [desk.role for desk in back] == [ReplicaRole.SEALED, ReplicaRole.SECONDARY]
    assert [desk.replica.sequence for desk in back] == [6, 6]
    assert all(contents(desk) in (EXPECTED, EXPECTED | {KEYS[0]: b""}) for desk in back)
    sealed = [desk.seal(2) for desk in back]
    assert all(answer.holds and sequence_of(answer.last) == 6 for answer in sealed)
    first, second = (desk.core.me for desk in back)
    pair.publish(configuration(2, second, (first,), released=True))
    assert pair.serving.role is ReplicaRole.PRIMARY
    pair.pass_time(2 * HEARTBEAT)
    assert contents(pair.desks[1]) == contents(pair.desks[2]) == EXPECTED
    assert not any(is_tombstone(record) for record in pair.desks[1].contents.values())


def test_who_led_does_not_lead_on_only_because_it_is_named():
    """The coordinator has dropped another copy, and has not noticed that a new process is here."""
    pair = Pair(3, 3, durable=True)
    pair.serving.put(1, KEYS[0])
    pair.settle()
    pair.kill(1)
    desk = pair.start(1)
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=2, secondaries=now.secondaries[:1]))
    assert desk.role is ReplicaRole.SEALED
    desk.seal(3)
    pair.publish(attrs.evolve(pair.configuration, epoch=3, released=True))
    assert desk.role is ReplicaRole.PRIMARY


def test_an_epoch_is_stored_before_anything_is_written_in_it():
    pair = Pair(durable=True)
    pair.slow = {1}
    pair.publish(attrs.evolve(pair.configuration, epoch=2, primary=pair.desks[1].core.me))
    sealed = pair.desks[1].seal(3)
    assert sealed.epoch == 3
    pair.publish(attrs.evolve(pair.configuration, epoch=3, released=True))
    assert pair.serving.role is ReplicaRole.RECONCILING
    pair.slow = set()
    pair.settle()
    assert pair.serving.role is ReplicaRole.PRIMARY


def test_a_promise_outlives_the_process():
    pair = loaded()
    pair.kill(2)
    desk = pair.start(2)
    assert desk.replica.promise_until == desk.now + TIMING.grace
    desk.seal(9)
    platter = platter_of(desk.core.store)  # type: ignore[arg-type]
    assert decode_saved(platter.states[0]).epoch == 1, "not stored yet, so not answered yet"
    write_out(desk.core.store)  # type: ignore[arg-type]
    pair.kill(2)
    desk = pair.start(2)
    assert (desk.replica.epoch, desk.role) == (9, ReplicaRole.SEALED)


def test_results_of_writes_are_known_after_a_power_cut():
    pair = loaded()
    for server_id in (1, 2):
        pair.kill(server_id)
    for server_id in (1, 2):
        pair.start(server_id)
    first, second = (pair.desks[i].core.me for i in (1, 2))
    for desk in pair.desks.values():
        desk.seal(2)
    pair.publish(configuration(2, first, (second,), released=True))
    again = pair.serving.ask(Put(3, 1, 0, KEYS[2], b"v3"), RETRY, CLIENT)
    pair.settle()
    answer = pair.serving.answer(again)
    assert (Status(answer.status), sequence_of(answer.version)) == (Status.SUCCESS, 3)
    assert pair.serving.replica.sequence == 6, "it was not executed again"


def test_records_that_were_only_in_the_log_are_there_again():
    pair = Pair(durable=True)
    stores = [desk.core.store for desk in pair.desks.values()]
    for number in range(1, 30):
        pair.serving.put(number, KEYS[number % 12], b"%d" % number)
        if number % 5 == 0:
            pair.serving.ask(Delete(number + 100, 1, 0, KEYS[number % 12]))
        pair.serving.flush()
        for desk in pair.desks.values():  # as the writer does it: the log, and records only when there are many
            store = desk.core.store
            assert isinstance(store, DurableStore)
            while (tail := store.take_tail()) is not None:
                store.disk.append(tail)
                store.written(tail)
            while (batch := store.take()) is not None:
                store.disk.write(batch)
                store.written(batch)
    pair.slow = {1, 2}
    assert all(platter_of(store).records.get(0, {}) == {} for store in stores[:1])  # type: ignore[arg-type]
    expected = contents(pair.desks[1])
    for server_id in (1, 2):
        pair.kill(server_id)
    pair.slow = set()
    desk = pair.start(1)
    assert {key: value for key, value in contents(desk).items() if value} == {
        key: value for key, value in expected.items() if value
    }


def removed_and_back(pair: Pair) -> Desk:
    """Server 2 is dropped, misses two updates, and becomes a learner with what it had."""
    pair.kill(2)
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, secondaries=(), preferred=(1, 2)))
    for number in (7, 8):
        pair.serving.put(number, KEYS[number], b"new")
    pair.settle()
    desk = pair.start(2)
    pair.pass_time(2 * HEARTBEAT)  # what its primary does not tell it, it takes from the coordinator
    assert desk.role is ReplicaRole.NONE
    assert desk.replica.whole
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, learners=(desk.core.me,)))
    return desk


def test_a_copy_that_comes_back_gets_only_what_it_has_missed():
    pair = loaded()
    desk = removed_and_back(pair)
    assert pair.serving.core.wanted_fills() == [], "nothing is streamed"
    now = pair.configuration
    assert UpdatedSecondary(0, now.epoch, desk.core.me) in pair.serving.told_of(UpdatedSecondary)
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, secondaries=now.learners, learners=()))
    assert desk.role is ReplicaRole.SECONDARY
    assert contents(desk) == contents(pair.serving) == EXPECTED | {KEYS[7]: b"new", KEYS[8]: b"new"}
    assert desk.replica.sequence == 8


def test_a_copy_with_an_update_that_was_never_committed_is_filled_anew():
    pair = loaded()
    lone = section(1, 7, (KEYS[9], b"never acknowledged"))
    assert pair.desks[2].replicate(lone) == []
    write_out(pair.desks[2].core.store)  # type: ignore[arg-type]
    desk = removed_and_back(pair)
    [source] = pair.serving.core.wanted_fills()
    assert desk.replica.fill == source.fill
    assert not desk.replica.whole
    assert pair.stream(source)
    pair.settle()
    assert contents(desk) == EXPECTED | {KEYS[7]: b"new", KEYS[8]: b"new"}


def test_a_copy_that_is_too_far_behind_is_filled_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("twistedkv.storage.archive.LOG_KEPT_BYTES", 200)
    monkeypatch.setattr("twistedkv.storage.durable.LOG_KEPT_BYTES", 200)
    pair = loaded()
    pair.kill(2)
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=2, secondaries=(), preferred=(1, 2)))
    for number in range(7, 40):
        pair.serving.put(number, KEYS[number % 12], b"%d" % number)
    pair.settle()
    desk = pair.start(2)
    pair.pass_time(2 * HEARTBEAT)
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=3, learners=(desk.core.me,)))
    [source] = pair.serving.core.wanted_fills()
    assert pair.stream(source)
    pair.settle()
    assert contents(desk) == contents(pair.serving)


def test_what_is_dropped_by_a_server_that_is_not_wanted_is_gone():
    pair = loaded()
    desk = pair.desks[2]
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=2, secondaries=(), preferred=(1, 3)))
    pair.pass_time(2 * HEARTBEAT)
    assert (desk.role, desk.replica.whole, desk.contents) == (ReplicaRole.NONE, False, {})


def test_a_learner_goes_on_with_its_fill_and_keeps_its_deletions():
    pair = loaded(copies=1)
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=2, learners=(pair.desks[2].core.me,)))
    [source] = pair.serving.core.wanted_fills()
    assert not pair.stream(source, chunks=1)
    pair.serving.ask(Delete(7, 1, 0, KEYS[1]))
    pair.settle()
    fill = pair.desks[2].replica.fill
    pair.kill(2)
    source.connection_lost()
    desk = pair.start(2)
    assert (desk.role, desk.replica.fill) == (ReplicaRole.LEARNER, fill)
    assert len(desk.replica.deletions) == 1
    pair.settle()
    assert pair.stream(source)
    pair.settle()
    assert contents(desk) == contents(pair.serving) | {KEYS[1]: b""}
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=3, secondaries=now.learners, learners=()))
    assert contents(desk) == contents(pair.serving)


def test_a_continued_fill_that_does_not_fit_is_refused():
    pair = loaded()
    desk = removed_and_back(pair)
    epoch = pair.configuration.epoch
    desk.core.begin_fill(BeginFill(0, epoch, FillKind.CONTINUED, 77, 5))
    assert desk.replica.fill == 0


def test_keys_that_expire_are_known_again():
    pair = loaded()
    command = [b"SET", KEYS[10], b"v", b"PX", b"1000"]

    pair.serving.ask(Execute(7, 1, 0, slot_of(KEYS[10]), 2, ExecuteMode.SINGLE, [], [command]))
    pair.settle()
    pair.kill(2)
    desk = pair.start(2)
    assert len(desk.replica.expiries) == 0
    while desk.replica.keeping.index():
        pass
    assert desk.replica.expiries.due(desk.wall + 2000, 9) == [KEYS[10]]


def test_what_was_acknowledged_too_soon_is_lost_and_nothing_else():
    """Durability `interval`: batches count before they are stored."""
    desk = Desk(store=DurableStore(Pair(durable=True).desks[1].core.store.disk, at_once=True))  # type: ignore[attr-defined]
    desk.adopt(configuration(3, desk.core.me, birth=3))
    write_out(desk.core.store)  # type: ignore[arg-type]
    desk.flush()
    assert desk.role is ReplicaRole.PRIMARY
    assert desk.status(desk.put(1)) is Status.SUCCESS
    assert platter_of(desk.core.store).records == {}  # type: ignore[arg-type]


def test_what_is_saved_is_found_again():
    saved = SavedReplica(7, ReplicaRole.LEARNER, True, 5, 99, configuration(6, A, (B,)))
    assert decode_saved(encode_saved(saved)) == saved
    with pytest.raises(ProtocolError):
        decode_saved(encode_saved(saved)[:-1])
