"""Commands of the line port at a shard: once, whole, and told only when every copy has what they changed."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.support.servers import (
    HEARTBEAT,
    ME,
    SMALL,
    WALL,
    A,
    Desk,
    Pair,
    configuration,
    primary,
    secondary,
    small_keys,
)
from twistedkv.columns import column_bytes
from twistedkv.core import shardkeys
from twistedkv.errors import Status
from twistedkv.limits import WRITE_WINDOW
from twistedkv.messages.client import Execute, ExecuteMode, Get, Incr, Put, Watched
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import make_expiring_record, make_record, record_expiry, version_of
from twistedkv.slots import slot_of
from twistedkv.wire.frames import RETRY

K, L, M = small_keys(3)
OK = b"+OK\r\n"


def command(number: int, *argv: bytes, since: int = 0, protocol: int = 2) -> Execute:
    """A single command; number 0: it does not write."""
    return Execute(number, min(number, 1), since, slot_of(K), protocol, ExecuteMode.SINGLE, [], [list(argv)])


def transaction(number: int, *commands: list[bytes], watched: tuple[tuple[bytes, int], ...] = ()) -> Execute:
    """Several commands at once."""
    watches = [Watched(key, version) for key, version in watched]
    return Execute(number, min(number, 1), 0, slot_of(K), 2, ExecuteMode.TRANSACTION, watches, list(commands))


def reply(desk: Desk, request: Execute, flags: int = 0) -> bytes:
    """What is answered once everybody has acknowledged."""
    answer = done(desk, request, flags)
    assert answer.status == Status.SUCCESS, answer
    value: bytes = answer.value
    return value


def done(desk: Desk, request: Any, flags: int = 0) -> Any:
    """The answer once everybody has acknowledged."""
    asked = desk.ask(request, flags)
    desk.ack_all()
    return desk.answer(asked)


# When it is told.


def test_a_reply_comes_after_the_commit_and_names_the_version():
    desk = primary(A)
    asked = desk.ask(command(1, b"SET", K, b"v"))
    assert desk.answer(asked) is None
    desk.ack(A)
    answer = desk.answer(asked)
    assert (answer.status, answer.version, answer.value) == (Status.SUCCESS, version_of(3, 1), OK)
    assert desk.value(K) == make_record(version_of(3, 1), 0, b"v")


def test_a_command_that_reads_waits_for_what_it_has_seen_and_for_nothing_else():
    desk = primary(A)
    reply(desk, command(1, b"SET", K, b"old"))
    desk.ask(command(2, b"SET", K, b"new"))
    read, other = desk.ask(command(0, b"GET", K)), desk.ask(command(0, b"GET", L))
    assert desk.answer(read) is None
    assert desk.answer(other).value == b"$-1\r\n"
    desk.ack(A)
    answer = desk.answer(read)
    assert (answer.value, answer.version) == (b"$3\r\nnew\r\n", 0)


def test_an_error_is_a_reply_and_waits_for_what_it_was_based_on():
    desk = primary(A)
    desk.ask(command(1, b"SET", K, b"no number"))
    asked = desk.ask(command(2, b"INCR", K))
    assert desk.answer(asked) is None
    desk.ack(A)
    assert desk.answer(asked).value.startswith(b"-ERR ")
    assert desk.replica.sequence == 1


def test_a_command_that_reads_needs_a_lease():
    desk = primary(A)
    desk.now = desk.replica.lease_until
    held = desk.ask(command(0, b"GET", K))
    assert desk.answer(held) is None
    desk.tick(HEARTBEAT)
    desk.ack(A)
    assert desk.answer(held).value == b"$-1\r\n"


def test_the_reply_is_of_the_version_that_was_asked_for():
    desk = primary()
    assert reply(desk, command(0, b"GET", K, protocol=2)) == b"$-1\r\n"
    assert reply(desk, command(0, b"GET", K, protocol=3)) == b"_\r\n"


def test_commands_are_parked_and_executed_in_their_order():
    desk = secondary((K, b"0"))
    desk.seal(5)
    desk.adopt(configuration(5, ME, [A], birth=3, released=True))
    assert desk.role is ReplicaRole.RECONCILING
    asked = [desk.ask(command(1, b"SET", K, b"v")), desk.ask(command(0, b"GET", K))]
    assert [desk.answer(each) for each in asked] == [None, None]
    for _ in range(2):
        desk.tick(HEARTBEAT)
        desk.ack(A)
    assert [desk.answer(each).value for each in asked] == [OK, b"$1\r\nv\r\n"]


def test_a_command_that_was_begun_is_superseded_and_a_read_sent_on():
    desk = primary(A)
    write, read = desk.ask(command(1, b"SET", K, b"v")), desk.ask(command(0, b"GET", K))
    desk.seal(9)
    assert [desk.status(each) for each in (write, read)] == [Status.SUPERSEDED, Status.NOT_PRIMARY_YET]


# Once.


def test_a_retry_gets_the_first_reply_and_changes_nothing():
    desk = primary(A)
    assert reply(desk, command(1, b"INCR", K)) == b":1\r\n"
    assert reply(desk, command(2, b"INCR", K)) == b":2\r\n"
    for flags in (0, RETRY):
        assert reply(desk, command(1, b"INCR", K), flags) == b":1\r\n"
    assert desk.replica.sequence == 2


def test_a_retry_of_an_uncommitted_command_waits_for_its_commit():
    desk = primary(A)
    first, again = desk.ask(command(1, b"INCR", K)), desk.ask(command(1, b"INCR", K), RETRY)
    assert (desk.answer(first), desk.answer(again)) == (None, None)
    desk.ack(A)
    assert desk.answer(again) == desk.answer(first)
    assert desk.replica.sequence == 1


def fail_over(pair: Pair) -> Desk:
    """Server 1 is killed, and server 2 serves."""
    now = pair.configuration
    pair.kill(1)
    desk = pair.desks[2]
    desk.seal(now.epoch + 1)
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, primary=now.secondaries[0], secondaries=(), released=True))
    assert desk.role is ReplicaRole.PRIMARY
    return desk


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (command(1, b"INCR", K), b":1\r\n"),
        (command(1, b"APPEND", K, b"abc"), b":3\r\n"),
        (transaction(1, [b"SET", K, b"v"], [b"INCR", L]), b"*2\r\n" + OK + b":1\r\n"),
    ],
    ids=["incr", "append", "transaction"],
)
def test_a_retry_at_a_new_primary_gets_the_reply_of_the_old_one(request_, expected):
    """I12: it is in the dedup table of every copy."""
    pair = Pair()
    first = pair.serving.ask(request_)
    pair.settle()
    version = pair.serving.answer(first).version
    assert pair.serving.answer(first).value == expected
    desk = fail_over(pair)
    sequence = desk.replica.sequence
    again = desk.answer(desk.ask(request_, RETRY))
    assert (again.status, again.version, again.value) == (Status.SUCCESS, version, expected)
    assert desk.replica.sequence == sequence


def test_a_retry_at_a_learner_that_has_taken_over_gets_the_reply_too():
    pair = Pair(copies=1)
    requests = [command(number, b"APPEND", K, b"abc") for number in (1, 2, 3)]
    for each in requests:
        pair.serving.ask(each)
    become_secondary(pair)
    assert pair.desks[2].contents == pair.desks[1].contents
    desk = fail_over(pair)
    for each, expected in zip(requests, (b":3\r\n", b":6\r\n", b":9\r\n"), strict=True):
        assert desk.answer(desk.ask(each, RETRY)).value == expected
    assert desk.replica.sequence == 3


def become_secondary(pair: Pair) -> None:
    """Server 2 is filled, and added."""
    begin_fill(pair)
    end_fill(pair)


def begin_fill(pair: Pair) -> None:
    """Server 2 becomes a learner; nothing is streamed yet."""
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, learners=(pair.desks[2].core.me,)))


def end_fill(pair: Pair) -> None:
    """All is streamed, and the learner becomes a secondary."""
    for source in pair.serving.core.wanted_fills():
        assert pair.stream(source)
    pair.settle()
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, secondaries=now.learners, learners=()))
    pair.pass_time(1.0)


def test_a_command_without_effect_is_not_remembered():
    desk = primary(A)
    assert reply(desk, command(1, b"DEL", K)) == b":0\r\n"
    assert desk.replica.sequence == 0
    reply(desk, command(2, b"SET", K, b"v"))
    assert reply(desk, command(1, b"DEL", K), RETRY) == b":1\r\n"


@pytest.mark.parametrize(("number", "oldest"), [(1, 0), (1, 2), (WRITE_WINDOW + 1, 1)])
def test_impossible_numbers_are_refused(number, oldest):
    desk = primary()
    request = attrs.evolve(command(number, b"SET", K, b"v"), oldest=oldest)
    assert done(desk, request).status == Status.INVALID_REQUEST
    assert desk.replica.sequence == 0


def test_commands_that_write_need_enough_copies_and_those_that_read_do_not():
    desk = Desk()
    desk.adopt(configuration(3, ME, birth=3), min_copies=2)
    assert done(desk, command(1, b"SET", K, b"v")).status == Status.NOT_ENOUGH_COPIES
    assert reply(desk, command(0, b"GET", K)) == b"$-1\r\n"


# Whole.


def test_an_update_of_several_keys_is_whole_on_a_secondary():
    pair = Pair()
    pair.serving.ask(command(1, b"MSET", K, b"1", L, b"2"))
    pair.serving.ask(transaction(2, [b"DEL", K], [b"SET", L, b"3"], [b"SET", M, b"4", b"PX", b"500"]))
    pair.settle()
    version = version_of(1, 2)
    pair.pass_time(1.0)  # of the monotonic clocks: a beacon tells the commit, with which tombstones go
    assert pair.desks[2].contents == {
        L: make_record(version, 0, b"3"),
        M: make_expiring_record(version, WALL + 500, b"4"),
    }
    assert pair.desks[1].contents == pair.desks[2].contents
    assert pair.desks[2].replica.expiries.due(WALL + 500, 10) == [M]


def test_an_update_of_several_keys_is_whole_on_a_learner():
    """Of each key it keeps the newer of what is streamed and what is replicated; the update is never in parts."""
    pair = Pair(copies=1)
    for number, key in enumerate((K, L, M), 1):
        pair.serving.put(number, key, b"old")
    begin_fill(pair)
    pair.serving.ask(transaction(4, [b"SET", K, b"new"], [b"DEL", L], [b"SET", M, b"new", b"PX", b"500"]))
    pair.settle()
    learner = pair.desks[2]
    assert learner.role is ReplicaRole.LEARNER
    version = version_of(2, 4)
    assert {record[:8] for record in learner.contents.values()} == {version.to_bytes(8, "big")}
    assert set(learner.contents) == {K, L, M}
    end_fill(pair)
    assert (
        learner.contents
        == pair.desks[1].contents
        == {
            K: make_record(version, 0, b"new"),
            M: make_expiring_record(version, WALL + 500, b"new"),
        }
    )


def test_what_was_streamed_after_an_update_of_several_keys_is_not_replaced_by_it():
    """The stream has a key as it is now; the log tells the learner how it was before."""
    pair = Pair(copies=1)
    begin_fill(pair)
    desk, learner = pair.serving, pair.desks[2]
    desk.ask(transaction(1, [b"SET", K, b"1"], [b"SET", L, b"1", b"PX", b"500"]))
    desk.ask(transaction(2, [b"SET", K, b"2", b"PX", b"900"], [b"SET", L, b"2"]))
    messages, desk.sent = desk.sent[learner.core.me], {}
    for source in desk.core.wanted_fills():
        pair.stream(source)
    pair.carry(desk, learner, messages)
    end_fill(pair)
    assert learner.contents == desk.contents
    assert learner.replica.expiries.due(WALL + 999, 10) == [K]


def test_a_transaction_is_one_update_with_the_list_of_replies():
    desk = primary(A)
    asked = desk.ask(transaction(1, [b"SET", K, b"5"], [b"INCR", K], [b"GET", K], [b"INCR", L, b"extra"], [b"DEL", L]))
    assert desk.answer(asked) is None
    desk.ack(A)
    value = desk.answer(asked).value
    assert value.startswith(b"*5\r\n" + OK + b":6\r\n$1\r\n6\r\n-ERR ")
    assert value.endswith(b"\r\n:0\r\n")
    assert desk.replica.sequence == 1
    assert desk.value(K) == make_record(version_of(3, 1), 0, b"6")


def test_an_empty_transaction_has_an_empty_list():
    assert reply(primary(A), transaction(0)) == b"*0\r\n"


@pytest.mark.parametrize("protocol", [2, 3])
def test_watched_versions(protocol):
    desk = primary(A)
    version = done(desk, command(1, b"SET", K, b"v")).version
    sets = attrs.evolve(transaction(2, [b"SET", L, b"w"], watched=((K, version), (L, 0))), protocol=protocol)
    assert reply(desk, sets) == b"*1\r\n" + OK
    refused = attrs.evolve(transaction(3, [b"SET", K, b"x"], watched=((K, version), (L, 0))), protocol=protocol)
    assert reply(desk, refused) == (b"*-1\r\n" if protocol == 2 else b"_\r\n")
    assert reply(desk, command(0, b"GET", K)) == b"$1\r\nv\r\n"
    assert desk.replica.sequence == 2


def test_a_watched_key_that_has_changed_and_changed_back_is_another():
    desk = primary(A)
    version = done(desk, command(1, b"SET", K, b"v")).version
    reply(desk, command(2, b"SET", K, b"w"))
    reply(desk, command(3, b"SET", K, b"v"))
    assert reply(desk, transaction(4, [b"SET", L, b"w"], watched=((K, version),))) == b"*-1\r\n"


def test_that_a_watched_key_was_changed_is_told_when_that_is_committed():
    desk = primary(A)
    version = done(desk, command(1, b"SET", K, b"v")).version
    desk.ask(command(2, b"SET", K, b"w"))
    asked = desk.ask(transaction(3, [b"SET", L, b"w"], watched=((K, version),)))
    assert desk.answer(asked) is None
    desk.ack(A)
    assert desk.answer(asked).value == b"*-1\r\n"


def test_a_watched_key_that_has_expired_since_is_another():
    desk = primary(A)
    version = done(desk, command(1, b"SET", K, b"v", b"PX", b"10")).version
    assert reply(desk, transaction(2, [b"SET", L, b"1"], watched=((K, version),))) == b"*1\r\n" + OK
    desk.wall += 10
    asked = desk.ask(transaction(3, [b"SET", L, b"2"], watched=((K, version),)))
    assert desk.answer(asked) is None, "its deletion is not committed"
    desk.ack(A)
    assert desk.answer(asked).value == b"*-1\r\n"
    assert desk.value(K) is None
    assert reply(desk, transaction(4, [b"SET", L, b"2"], watched=((K, 0),))) == b"*1\r\n" + OK


# Refusals, before there is a sequence.


def refused(desk: Desk, request: Execute) -> None:
    """Nothing of it is done."""
    before = dict(desk.contents)
    assert done(desk, request).status == Status.INVALID_REQUEST
    assert desk.contents == before
    assert not desk.replica.unsent


def test_a_command_without_a_number_may_not_write():
    desk = primary(A)
    refused(desk, command(0, b"SET", K, b"v"))
    refused(desk, transaction(0, [b"GET", K], [b"SET", K, b"v"]))
    assert desk.replica.sequence == 0


def test_keys_of_another_shard_refuse_all_of_a_request():
    pair = Pair(copies=1)
    other = next(key for n in range(99) if slot_of(key := b"o%d" % n) >= SMALL)
    for request in (
        command(0, b"GET", other),
        command(0, b"MGET", K, other),
        command(1, b"MSET", K, b"v", other, b"v"),
        transaction(1, [b"SET", K, b"v"], [b"GET", other]),
        transaction(1, [b"SET", K, b"v"], watched=((other, 0),)),
    ):
        refused(pair.serving, request)
    assert pair.serving.replica.sequence == 0


@pytest.mark.parametrize(
    "request_",
    [
        command(0, b"MGET", K, K, K),
        transaction(9, [b"SET", L, b"w"], [b"GET", K], [b"GET", K], [b"GET", K]),
        transaction(9, [b"SET", L, b"v" * 60], [b"SET", M, b"v" * 60]),
        command(9, b"MSET", L, b"v" * 60, M, b"v" * 60),
    ],
    ids=["reply", "reply of a transaction", "update", "update of a command"],
)
def test_what_would_be_too_large_is_refused_before_it_is_given_a_sequence(request_, monkeypatch):
    desk = primary(A)
    reply(desk, command(1, b"SET", K, b"v" * 60))
    monkeypatch.setattr(shardkeys, "REPLY_BYTES_MAX", 150)
    monkeypatch.setattr(shardkeys, "UPDATE_BYTES_MAX", 160)
    answer = done(desk, request_)
    assert answer.status == Status.SUCCESS
    assert answer.value.startswith(b"-ERR the ")
    assert b"are allowed" in answer.value
    assert desk.replica.sequence == 1
    assert set(desk.contents) == {K}
    assert reply(desk, command(9, b"SET", L, b"small enough")) == OK, "the number was not used up"


def test_an_update_may_be_so_large_that_it_just_fits(monkeypatch):
    desk = primary(A)
    size = column_bytes([K, L]) + column_bytes([bytes(9 + 10), bytes(9 + 11)])
    monkeypatch.setattr(shardkeys, "UPDATE_BYTES_MAX", len(OK) + size)
    assert reply(desk, command(1, b"MSET", K, b"v" * 10, L, b"v" * 11)) == OK
    assert reply(desk, command(2, b"MSET", K, b"v" * 11, L, b"v" * 11)).startswith(b"-ERR the update would")


# Keys that expire.


def test_that_a_key_has_expired_is_told_when_its_deletion_is_committed():
    desk = primary(A)
    reply(desk, command(1, b"SET", K, b"v", b"PX", b"10"))
    desk.wall += 9
    assert reply(desk, command(0, b"GET", K)) == b"$1\r\nv\r\n"
    desk.wall += 1
    first, second = desk.ask(command(0, b"GET", K)), desk.ask(Get(K))
    assert (desk.answer(first), desk.answer(second)) == (None, None)
    desk.ack(A)
    assert desk.answer(first).value == b"$-1\r\n"
    assert desk.status(second) is Status.KEY_NOT_FOUND
    assert desk.replica.sequence == 2
    assert desk.value(K) is None


def test_what_a_command_finds_expired_is_deleted_in_the_same_update():
    desk = primary(A)
    reply(desk, command(1, b"MSET", K, b"1", L, b"2"))
    reply(desk, command(2, b"PEXPIRE", K, b"10"))
    desk.wall += 10
    assert reply(desk, transaction(3, [b"GET", K], [b"SET", L, b"3"])) == b"*2\r\n$-1\r\n" + OK
    assert desk.replica.sequence == 3
    assert desk.contents == {L: make_record(version_of(3, 3), 0, b"3")}


def test_incr_keeps_the_moment_and_set_takes_it_away():
    desk = primary(A)
    reply(desk, command(1, b"SET", K, b"5", b"PX", b"500"))
    assert reply(desk, command(2, b"INCR", K)) == b":6\r\n"
    assert record_expiry(desk.value(K) or b"") == WALL + 500
    assert done(desk, Incr(3, 1, 0, 1, K)).value == b"7"
    assert record_expiry(desk.value(K) or b"") == WALL + 500
    assert reply(desk, command(0, b"PTTL", K)) == b":500\r\n"
    reply(desk, command(4, b"SET", K, b"5"))
    assert reply(desk, command(0, b"PTTL", K)) == b":-1\r\n"


def test_a_retry_does_not_move_the_moment():
    desk = primary(A)
    reply(desk, command(1, b"SET", K, b"v", b"PX", b"500"))
    desk.wall += 100
    reply(desk, command(1, b"SET", K, b"v", b"PX", b"500"), RETRY)
    assert reply(desk, command(0, b"PTTL", K)) == b":400\r\n"


def test_a_new_primary_keeps_the_moment_and_goes_by_its_own_clock():
    pair = Pair()
    pair.serving.ask(command(1, b"SET", K, b"v", b"PX", b"500"))
    pair.settle()
    desk = fail_over(pair)
    desk.wall = WALL + 499
    assert reply(desk, command(0, b"PTTL", K)) == b":1\r\n"
    desk.wall = WALL + 500
    desk.tick(HEARTBEAT / 4)
    assert desk.value(K) is None, "the background knows of it, too"


def test_a_key_that_a_dead_primary_said_was_gone_does_not_come_back():
    """The clock of the new one is behind."""
    pair = Pair()
    pair.serving.ask(command(1, b"SET", K, b"v", b"PX", b"500"))
    pair.settle()
    pair.serving.wall = WALL + 500
    asked = pair.serving.ask(command(0, b"GET", K))
    pair.settle()
    assert pair.serving.answer(asked).value == b"$-1\r\n"
    desk = fail_over(pair)
    assert desk.wall == WALL
    assert reply(desk, command(0, b"GET", K)) == b"$-1\r\n"


def test_the_fill_brings_the_moment_to_a_learner_and_a_switch_keeps_it():
    pair = Pair(copies=1)
    pair.serving.ask(command(1, b"SET", K, b"v", b"PX", b"500"))
    pair.serving.ask(command(2, b"SET", L, b"v"))
    become_secondary(pair)
    assert pair.desks[2].value(K) == make_expiring_record(version_of(1, 1), WALL + 500, b"v")
    now = pair.configuration
    assert pair.serving.replica.leading.switch(now.epoch, 2, 7, pair.serving.now) == ""
    pair.settle()
    pair.publish(
        attrs.evolve(now, epoch=now.epoch + 1, primary=now.secondaries[0], secondaries=(now.primary,), released=True)
    )
    pair.settle()
    desk = pair.desks[2]
    assert desk.role is ReplicaRole.PRIMARY
    read = desk.ask(command(0, b"PTTL", K))
    pair.settle()
    assert desk.answer(read).value == b":500\r\n"
    desk.wall += 500
    pair.pass_time(1.0)
    assert set(desk.contents) == set(pair.desks[1].contents) == {L}


def test_a_put_of_another_client_is_seen_by_commands_and_the_other_way_round():
    desk = primary(A)
    done(desk, Put(1, 1, 0, K, b"5"))
    assert reply(desk, command(2, b"INCR", K)) == b":6\r\n"
    assert done(desk, Get(K)).value == b"6"
