"""What a primary answers its clients, and when: reads, writes, refusals, and those who wait."""

from __future__ import annotations

import pytest

from tests.support.servers import HEARTBEAT, ME, TIMING, A, Desk, configuration, entry, primary, secondary
from twistedkv.errors import Status
from twistedkv.limits import WRITE_WINDOW
from twistedkv.messages.client import Cas, Delete, Get, Incr, Put, Scan, ScanPage
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.messages.peer import Section
from twistedkv.records import version_of
from twistedkv.wire.frames import RETRY


def done(desk: Desk, request, flags: int = 0):
    """The answer to a request, once everybody has acknowledged."""
    asked = desk.ask(request, flags)
    desk.ack_all()
    return desk.answer(asked)


# I13: reads see what is committed.


def test_a_read_of_an_uncommitted_key_waits_for_its_commit():
    desk = primary(A)
    done(desk, Put(1, 1, 0, b"k", b"old"))
    desk.put(2, b"k", b"new")
    read = desk.ask(Get(b"k"))
    other = desk.ask(Get(b"other"))
    assert (desk.status(read), desk.status(other)) == (None, Status.KEY_NOT_FOUND)
    desk.ack(A)
    assert desk.answer(read).value == b"new"


def test_a_read_returns_the_value_that_it_waited_for_and_not_a_later_one():
    """That one is not committed when the read is answered."""
    desk = primary(A)
    desk.put(1, b"k", b"one")
    first = desk.sent[A][-1].number
    read = desk.ask(Get(b"k"))
    desk.put(2, b"k", b"two")
    desk.ack(A, number=first)
    assert desk.answer(read).value == b"one"


def test_an_uncommitted_deletion_is_waited_for():
    desk = primary(A)
    done(desk, Put(1, 1, 0, b"k", b"v"))
    desk.ask(Delete(2, 1, 0, b"k"))
    read = desk.ask(Get(b"k"))
    assert desk.status(read) is None
    desk.ack(A)
    assert desk.status(read) is Status.KEY_NOT_FOUND


def test_a_scan_waits_for_all_that_it_may_have_seen():
    desk = primary(A)
    desk.put(1)
    scan = desk.ask(Scan(0, b"", 10, b"", True))
    assert desk.answer(scan) is None
    desk.ack(A)
    page = desk.answer(scan)
    assert isinstance(page, ScanPage)
    assert [(item.key, item.value) for item in page.items] == [(b"k", b"v")]


@pytest.mark.parametrize(
    "request_",
    [
        Cas(2, 1, 0, 5, b"k", b"x"),
        Delete(2, 1, 0, b"gone"),
        Incr(2, 1, 0, 1, b"k"),
    ],
    ids=["cas", "delete", "incr"],
)
def test_what_a_refusal_was_based_on_is_committed_before_it_is_told(request_):
    """A refusal says something of a value, so it is a read."""
    desk = primary(A)
    done(desk, Put(1, 1, 0, b"gone", b"v"))
    desk.ask(Delete(3, 1, 0, b"gone"))
    desk.put(4, b"k", b"no number")
    asked = desk.ask(request_)
    assert desk.status(asked) is None
    desk.ack(A)
    assert desk.status(asked) in (Status.VERSION_MISMATCH, Status.KEY_NOT_FOUND, Status.NOT_AN_INTEGER)


def test_a_read_that_waited_needs_a_lease_as_well():
    desk = primary(A)
    desk.put(1)
    sent = desk.sent[A][-1].number
    read = desk.ask(Get(b"k"))
    desk.now += TIMING.lease
    desk.ack(A, number=sent)
    assert desk.replica.commit == 1
    assert desk.status(read) is None
    desk.tick(HEARTBEAT)
    desk.ack(A)
    assert desk.answer(read).value == b"v"


# Writes.


def test_versions_count_updates_and_name_the_epoch():
    desk = primary(A)
    versions = [done(desk, Put(number, 1, 0, b"k", b"v")).version for number in (1, 2, 3)]
    assert versions == [version_of(3, sequence) for sequence in (1, 2, 3)]


def test_the_operations_of_a_key():
    desk = primary()
    assert done(desk, Cas(1, 1, 0, 7, b"k", b"x")).status == Status.VERSION_MISMATCH
    created = done(desk, Cas(2, 1, 0, 0, b"k", b"10"))
    assert created.status == Status.SUCCESS
    mismatch = done(desk, Cas(3, 1, 0, 0, b"k", b"x"))
    assert (mismatch.status, mismatch.version) == (Status.VERSION_MISMATCH, created.version)
    total = done(desk, Incr(4, 1, 0, -15, b"k"))
    assert (total.status, total.value) == (Status.SUCCESS, b"-5")
    assert done(desk, Get(b"k")).value == b"-5"
    assert done(desk, Delete(5, 1, 0, b"k")).status == Status.SUCCESS
    assert done(desk, Delete(6, 1, 0, b"k")).status == Status.KEY_NOT_FOUND
    assert done(desk, Cas(7, 1, 0, total.version, b"k", b"x")).status == Status.VERSION_MISMATCH
    assert done(desk, Cas(8, 1, 0, 0, b"k", b"x")).status == Status.SUCCESS
    assert done(desk, Incr(9, 1, 0, 3, b"new")).value == b"3"


@pytest.mark.parametrize(
    ("value", "delta"),
    [
        (b"", 1), (b"-", 1), (b"x", 1), (b"1.5", 1), (b"+1", 1), (b" 1", 1), (b"1_0", 1), (b"\xd9\xa1", 1),
        (b"9223372036854775807", 1), (b"-9223372036854775808", -1), (b"9" * 5000, 1),
    ],
)  # fmt: skip
def test_what_is_no_integer_is_not_added_to(value, delta):
    desk = primary()
    done(desk, Put(1, 1, 0, b"n", value))
    assert done(desk, Incr(2, 1, 0, delta, b"n")).status == Status.NOT_AN_INTEGER
    assert done(desk, Get(b"n")).value == value


def test_the_bounds_of_integers_are_reached():
    desk = primary()
    done(desk, Put(1, 1, 0, b"n", b"9223372036854775806"))
    assert done(desk, Incr(2, 1, 0, 1, b"n")).value == b"9223372036854775807"
    assert done(desk, Incr(3, 1, 0, -(2**63), b"n")).value == b"-1"


@pytest.mark.parametrize(("number", "oldest"), [(0, 0), (1, 0), (1, 2), (WRITE_WINDOW + 1, 1)])
def test_impossible_numbers_are_refused(number, oldest):
    desk = primary()
    assert done(desk, Put(number, oldest, 0, b"k", b"v")).status == Status.INVALID_REQUEST
    assert desk.replica.sequence == 0


def test_writes_need_enough_copies_and_reads_do_not():
    desk = Desk()
    desk.adopt(configuration(3, ME, birth=3), min_copies=2)
    refused = done(desk, Put(1, 1, 0, b"k", b"v"))
    assert refused.status == Status.NOT_ENOUGH_COPIES
    assert b"1 copies" in refused.value
    assert done(desk, Get(b"k")).status == Status.KEY_NOT_FOUND
    assert desk.replica.sequence == 0


# I12: once.


def test_a_retry_returns_the_first_result_and_changes_nothing():
    desk = primary(A)
    first = done(desk, Incr(1, 1, 0, 5, b"n"))
    done(desk, Incr(2, 1, 0, 5, b"n"))
    for flags in (0, RETRY):
        again = done(desk, Incr(1, 1, 0, 5, b"n"), flags)
        assert (again.version, again.value) == (first.version, b"5")
    assert done(desk, Get(b"n")).value == b"10"
    assert desk.replica.sequence == 2


def test_a_retry_of_an_uncommitted_write_waits_for_its_commit():
    desk = primary(A)
    first = desk.put(1)
    again = desk.put(1, flags=RETRY)
    assert (desk.status(first), desk.status(again)) == (None, None)
    desk.ack(A)
    assert desk.answer(again) == desk.answer(first)
    assert desk.replica.sequence == 1


def test_a_refusal_is_no_execution_and_is_not_remembered():
    desk = primary()
    assert done(desk, Cas(1, 1, 0, 9, b"k", b"v")).status == Status.VERSION_MISMATCH
    assert done(desk, Cas(1, 1, 0, 0, b"k", b"v"), RETRY).status == Status.SUCCESS


def test_what_is_forgotten_is_not_executed_again():
    desk = primary()
    done(desk, Put(1, 1, 0, b"k", b"v"))
    done(desk, Put(2, 2, 0, b"k", b"w"))
    assert done(desk, Put(1, 1, 0, b"k", b"v"), RETRY).status == Status.UNKNOWN_OUTCOME
    assert done(desk, Get(b"k")).value == b"w"


def test_a_retry_at_a_new_primary_finds_what_the_old_one_did():
    desk = secondary()
    client = b"c" * 16
    entries = entry(version_of(3, 1), b"n", b"5", 1, client, reply=b"5")
    assert desk.replicate(Section(0, 3, 0, 1, 1, entries)) == []
    desk.seal(5)
    desk.adopt(configuration(5, ME, birth=3, released=True))
    again = desk.answer(desk.ask(Incr(1, 1, 0, 5, b"n"), RETRY, client))
    assert (again.status, again.version, again.value) == (Status.SUCCESS, version_of(3, 1), b"5")
    assert desk.replica.sequence == 1


# Who waits.


def test_writes_that_were_begun_are_superseded_and_the_rest_certainly_not_done():
    desk = primary(A)
    write = desk.put(1)
    read = desk.ask(Get(b"k"))
    desk.now = desk.replica.lease_until
    held = desk.ask(Get(b"other"))
    desk.seal(9)
    statuses = [desk.status(each) for each in (write, read, held)]
    assert statuses == [Status.SUPERSEDED, Status.NOT_PRIMARY_YET, Status.NOT_PRIMARY_YET]
    late = desk.put(2)
    assert desk.status(late) is Status.NOT_PRIMARY_YET


def test_clients_are_sent_on_with_the_newest_map_version():
    desk = secondary()
    refused = done(desk, Get(b"k"))
    assert (refused.status, refused.version) == (Status.WRONG_SERVER, 1)
    desk.adopt(configuration(4, A, [ME], birth=3))
    assert done(desk, Put(1, 1, 0, b"k", b"v")).version == 2


def test_a_lost_shard_says_so_at_once():
    desk = secondary()
    desk.adopt(configuration(4, A, birth=3, lost=True))
    assert done(desk, Get(b"k")).status == Status.SHARD_LOST
    assert done(desk, Put(1, 1, 0, b"k", b"v")).status == Status.SHARD_LOST


def test_parked_requests_are_executed_in_their_order():
    desk = secondary((b"k", b"0"))
    desk.seal(5)
    desk.adopt(configuration(5, ME, [A], birth=3, released=True))
    assert desk.role is ReplicaRole.RECONCILING
    asked = [desk.put(1, b"k", b"1"), desk.ask(Get(b"k")), desk.put(2, b"k", b"2"), desk.ask(Get(b"k"))]
    assert [desk.status(each) for each in asked] == [None] * 4
    desk.ack(A)
    desk.tick(HEARTBEAT)
    desk.ack(A)
    answers = [desk.answer(each) for each in asked]
    assert [answer.status for answer in answers] == [Status.SUCCESS] * 4
    assert [answers[1].value, answers[3].value] == [b"1", b"2"]


def test_who_is_parked_or_held_for_too_long_is_sent_away():
    desk = secondary((b"k", b"0"))
    desk.seal(5)
    desk.adopt(configuration(5, ME, [A], birth=3, released=True))
    parked = desk.put(1)
    desk.pump(TIMING.parked - HEARTBEAT)
    assert desk.status(parked) is None
    desk.pump(2 * HEARTBEAT)
    assert desk.status(parked) is Status.NOT_PRIMARY_YET
    desk.ack(A)
    assert desk.role is ReplicaRole.PRIMARY
    assert desk.replica.sequence == 1, "it was executed although it was sent away"
    desk.now = desk.replica.lease_until
    held = desk.ask(Get(b"k"))
    desk.pump(TIMING.parked + 2 * HEARTBEAT)
    assert desk.status(held) is Status.NOT_PRIMARY_YET
    desk.ack(A)
    assert desk.status(held) is Status.NOT_PRIMARY_YET
