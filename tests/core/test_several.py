"""PUT_MANY and GET_MANY at a shard: one update and one moment for all of their keys."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers import (
    CLIENT,
    HEARTBEAT,
    ME,
    SMALL,
    TIMING,
    WALL,
    A,
    Desk,
    Pair,
    configuration,
    entry_of_several,
    member,
    primary,
    secondary,
    small_keys,
)
from twistedkv.columns import decode_column
from twistedkv.core import reading
from twistedkv.core.entries import ONE, SEVERAL, decode_entries, records_of_update
from twistedkv.errors import Status
from twistedkv.limits import KEYS_MAX, SLOTS, VALUE_BYTES_MAX, WRITE_WINDOW
from twistedkv.messages.client import Cas, Delete, Execute, ExecuteMode, Get, GetMany, Put, PutMany
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.messages.peer import Replicate, Section
from twistedkv.records import (
    RECORD_BYTES_MAX,
    TOMBSTONE,
    make_expiring_record,
    make_record,
    record_value,
    record_version,
    version_of,
)
from twistedkv.slots import slot_of
from twistedkv.wire.frames import RETRY

K, L, M = small_keys(3)
FAR = next(key for key in (b"far%d" % n for n in range(1000)) if slot_of(key) >= SMALL)
"""A key of the other shard, if there are two."""
NOT_OF_ONE_SHARD = b"the keys are not all of one shard"


def put(number: int, *pairs: tuple[bytes, bytes], oldest: int = 1, since: int = 0) -> PutMany:
    """Store these."""
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    return PutMany(number, oldest, since, slot_of(keys[0]), keys, values)


def get(*keys: bytes) -> GetMany:
    """Read these."""
    return GetMany(slot_of(keys[0]), list(keys))


def done(desk: Desk, request: Any, flags: int = 0) -> Any:
    """The answer once everybody has acknowledged."""
    asked = desk.ask(request, flags)
    desk.ack_all()
    return desk.answer(asked)


def records(answer: Any) -> list[bytes]:
    """What a GET_MANY was answered."""
    assert (answer.status, answer.version) == (Status.SUCCESS, 0)
    found, end = decode_column(answer.value, 0, 0, RECORD_BYTES_MAX, KEYS_MAX)
    assert end == len(answer.value)
    return found


def values(answer: Any) -> list[bytes | None]:
    """The values of the records, and None for keys that do not exist."""
    return [record_value(record) if record else None for record in records(answer)]


def two_shards() -> Desk:
    """A core that serves a small shard; all other slots are of another server."""
    desk = Desk()
    others = configuration(1, member(9), shard=1, slots=(SMALL, SLOTS - 1))
    desk.adopt(configuration(3, ME, birth=3, slots=(0, SMALL - 1)), others)
    assert desk.role is ReplicaRole.PRIMARY
    return desk


def expire(desk: Desk, key: bytes, number: int, milliseconds: int) -> None:
    """Store a key that expires."""
    command = [b"SET", key, b"old", b"PX", b"%d" % milliseconds]
    assert done(desk, Execute(number, 1, 0, slot_of(key), 2, ExecuteMode.SINGLE, [], [command])).value == b"+OK\r\n"


# PUT_MANY.


def test_all_keys_have_one_version_and_are_one_update():
    desk = primary(A)
    asked = desk.ask(put(1, (K, b"1"), (L, b""), (M, b"333")))
    assert desk.answer(asked) is None, "not every copy has it"
    version = version_of(3, 1)
    made = [make_record(version, 0, value) for value in (b"1", b"", b"333")]
    [section] = [part for part in desk.sections_to(A) if part.count]
    [(slot, key, packed, kind, number, oldest, client, reply)] = decode_entries(section.entries, section.count)
    assert (slot, key, kind) == (slot_of(K), b"", SEVERAL)
    assert (packed[:8], records_of_update(packed)) == (version.to_bytes(8, "big"), ([K, L, M], made))
    assert (number, oldest, client, reply) == (1, 1, CLIENT, b"")
    desk.ack(A)
    answer = desk.answer(asked)
    assert (answer.status, answer.version, answer.value) == (Status.SUCCESS, version, b"")
    assert desk.contents == dict(zip((K, L, M), made, strict=True))
    assert [done(desk, Get(key)).version for key in (K, L, M)] == [version] * 3
    assert desk.replica.sequence == 1


def test_one_key_is_logged_as_any_update_of_one():
    desk = primary(A)
    answer = done(desk, put(7, (K, b"v"), oldest=6))
    [section] = [part for part in desk.sections_to(A) if part.count]
    record = make_record(answer.version, 0, b"v")
    assert list(decode_entries(section.entries, 1)) == [(slot_of(K), K, record, ONE, 7, 6, CLIENT, b"")]


def test_it_replaces_what_was_there_whatever_it_was():
    desk = primary(A)
    expire(desk, K, 1, 10)
    done(desk, Put(2, 1, 0, L, b"old"))
    done(desk, Put(3, 1, 0, M, b"old"))
    desk.ask(Delete(4, 1, 0, M))
    version = done(desk, put(5, (K, b"new"), (L, b"new"), (M, b"new"))).version
    assert desk.contents == dict.fromkeys((K, L, M), make_record(version, 0, b"new"))
    assert len(desk.replica.expiries) == 0
    desk.wall += 10
    desk.pump(HEARTBEAT, acked_by=[A])
    assert values(done(desk, get(K, L, M))) == [b"new"] * 3
    assert done(desk, Cas(6, 1, 0, version, M, b"newer")).status == Status.SUCCESS


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_retry_gets_the_version_of_the_first_and_changes_nothing(acknowledged):
    desk = primary(A)
    first = desk.ask(put(1, (K, b"1"), (L, b"1")))
    if acknowledged:
        desk.ack(A)
    done(desk, Put(2, 1, 0, K, b"2")) if acknowledged else desk.put(2, K, b"2")
    again = [desk.ask(put(1, (K, b"1"), (L, b"1")), flags) for flags in (0, RETRY)]
    desk.ack(A)
    assert [desk.answer(each) for each in again] == [
        attrs.evolve(desk.answer(first), value=b""),
    ] * 2
    assert values(done(desk, get(K, L))) == [b"2", b"1"]
    assert desk.replica.sequence == 2


def test_a_retry_that_is_forgotten_is_not_executed_again():
    desk = primary()
    done(desk, put(1, (K, b"1"), (L, b"1")))
    done(desk, put(2, (K, b"2"), (L, b"2"), oldest=2))
    assert done(desk, put(1, (K, b"1"), (L, b"1")), RETRY).status == Status.UNKNOWN_OUTCOME
    assert values(done(desk, get(K, L))) == [b"2", b"2"]


def test_a_retry_at_a_new_primary_gets_the_version_of_the_old_one():
    desk = secondary()
    made = entry_of_several(version_of(3, 1), {K: b"1", L: b"1"}, 1, CLIENT)
    assert desk.replicate(Section(0, 3, 0, 1, 1, made)) == []
    desk.seal(5)
    desk.adopt(configuration(5, ME, birth=3, released=True))
    again = desk.answer(desk.ask(put(1, (K, b"1"), (L, b"1")), RETRY))
    assert (again.status, again.version) == (Status.SUCCESS, version_of(3, 1))
    assert desk.replica.sequence == 1


@pytest.mark.parametrize("keys", [(K, FAR), (FAR, K), (K, L, FAR)])
def test_keys_of_another_shard_are_refused_and_nothing_is_stored(keys):
    desk = two_shards()
    request = attrs.evolve(put(1, *((key, b"v") for key in keys)), slot=slot_of(K))
    answer = done(desk, request)
    assert (answer.status, answer.value) == (Status.INVALID_REQUEST, NOT_OF_ONE_SHARD)
    assert desk.contents == {} and desk.replica.sequence == 0
    assert done(desk, put(1, (K, b"v"))).status == Status.SUCCESS, "the number was not used up"


def test_the_slot_says_which_shard_is_asked_and_not_the_keys():
    desk = two_shards()
    for request in (put(1, (K, b"v")), get(K)):
        assert done(desk, attrs.evolve(request, slot=slot_of(FAR))).status == Status.WRONG_SERVER
    assert desk.contents == {}


@pytest.mark.parametrize(("number", "oldest"), [(0, 0), (1, 0), (1, 2), (WRITE_WINDOW + 1, 1)])
def test_impossible_numbers_are_refused(number, oldest):
    desk = primary()
    assert done(desk, put(number, (K, b"v"), oldest=oldest)).status == Status.INVALID_REQUEST
    assert desk.replica.sequence == 0


def test_it_needs_enough_copies_and_reading_does_not():
    desk = Desk()
    desk.adopt(configuration(3, ME, birth=3), min_copies=2)
    assert done(desk, put(1, (K, b"v"), (L, b"v"))).status == Status.NOT_ENOUGH_COPIES
    assert values(done(desk, get(K, L))) == [None, None]
    assert desk.replica.sequence == 0


@pytest.mark.parametrize("request_", [put(1, (K, b"v")), get(K)], ids=["put", "get"])
def test_who_does_not_serve_sends_it_on(request_):
    assert done(secondary(), request_).status == Status.WRONG_SERVER
    lost = secondary()
    lost.adopt(configuration(4, A, birth=3, lost=True))
    assert done(lost, request_).status == Status.SHARD_LOST


def test_while_a_new_primary_reconciles_they_wait_in_their_order():
    desk = secondary((K, b"0"))
    desk.seal(5)
    desk.adopt(configuration(5, ME, [A], birth=3, released=True))
    assert desk.role is ReplicaRole.RECONCILING
    asked = [
        desk.ask(get(K, L)),
        desk.ask(put(1, (K, b"1"), (L, b"1"))),
        desk.ask(get(K, L)),
        desk.put(2, K, b"2"),
        desk.ask(get(K, L)),
    ]
    assert [desk.status(each) for each in asked] == [None] * 5
    desk.ack(A)
    desk.tick(HEARTBEAT)
    desk.ack(A)
    answers = [desk.answer(each) for each in asked]
    assert [answer.status for answer in answers] == [Status.SUCCESS] * 5
    assert [values(answers[n]) for n in (0, 2, 4)] == [[b"0", None], [b"1", b"1"], [b"2", b"1"]]


def test_what_was_begun_is_superseded_when_the_shard_is_lost():
    desk = primary(A)
    write, read = desk.ask(put(1, (K, b"v"), (L, b"v"))), desk.ask(get(K))
    desk.seal(9)
    assert (desk.status(write), desk.status(read)) == (Status.SUPERSEDED, Status.NOT_PRIMARY_YET)


def test_every_copy_has_all_of_it():
    pair = Pair()
    pair.serving.ask(put(1, (K, b"1"), (L, b"1")))
    pair.serving.ask(put(2, (L, b"2"), (M, b"2")))
    pair.settle()
    expected = {
        K: make_record(version_of(1, 1), 0, b"1"),
        L: make_record(version_of(1, 2), 0, b"2"),
        M: make_record(version_of(1, 2), 0, b"2"),
    }
    assert pair.desks[1].contents == pair.desks[2].contents == expected
    assert pair.desks[2].core.store.keys == 3


@pytest.mark.parametrize("streamed_first", [True, False])
def test_a_learner_keeps_the_newer_of_what_is_streamed_and_what_is_replicated(streamed_first):
    pair = Pair(copies=1)
    pair.serving.ask(put(1, (K, b"old"), (L, b"old"), (M, b"old")))
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, learners=(pair.desks[2].core.me,)))
    [source] = pair.serving.core.wanted_fills()
    if streamed_first:
        assert pair.stream(source)
    pair.serving.ask(put(2, (K, b"new"), (L, b"newer")))
    pair.settle()
    learner = pair.desks[2]
    assert learner.role is ReplicaRole.LEARNER
    if not streamed_first:
        assert set(learner.contents) == {K, L}
        assert pair.stream(source)
    pair.settle()
    assert learner.contents == pair.desks[1].contents
    assert record_value(learner.contents[K]) == b"new" and record_value(learner.contents[M]) == b"old"


# GET_MANY.


def test_records_come_in_the_order_of_the_keys():
    desk = primary(A)
    version = done(desk, put(1, (K, b"1"), (L, b""))).version
    one, empty = make_record(version, 0, b"1"), make_record(version, 0, b"")
    assert records(done(desk, get(L, M, K, L))) == [empty, b"", one, empty]
    assert records(done(desk, get(M))) == [b""]


def test_it_waits_for_the_newest_of_its_keys():
    desk = primary(A)
    done(desk, put(1, (K, b"old"), (L, b"old")))
    desk.put(2, L, b"new")
    read, other = desk.ask(get(K, L, M)), desk.ask(get(K, M))
    assert desk.answer(read) is None
    assert values(desk.answer(other)) == [b"old", None]
    desk.ack(A)
    assert values(desk.answer(read)) == [b"old", b"new", None]


def test_it_shows_what_it_waited_for_and_nothing_later():
    desk = primary(A)
    desk.put(1, K, b"one")
    first = desk.sent[A][-1].number
    read = desk.ask(get(K, L))
    desk.ask(put(2, (K, b"two"), (L, b"two")))
    desk.ack(A, number=first)
    assert values(desk.answer(read)) == [b"one", None]


def test_an_uncommitted_deletion_is_waited_for():
    desk = primary(A)
    done(desk, put(1, (K, b"v"), (L, b"v")))
    desk.ask(Delete(2, 1, 0, K))
    read = desk.ask(get(K, L))
    assert desk.answer(read) is None
    desk.ack(A)
    assert values(desk.answer(read)) == [None, b"v"]


def test_it_needs_a_lease():
    desk = primary(A)
    done(desk, put(1, (K, b"v"), (L, b"v")))
    desk.now = desk.replica.lease_until
    reads = [desk.ask(get(K, L)), desk.ask(get(M))]
    assert [desk.answer(read) for read in reads] == [None, None]
    desk.tick(HEARTBEAT)
    desk.ack(A)
    assert [values(desk.answer(read)) for read in reads] == [[b"v", b"v"], [None]]
    assert TIMING.lease > 0


def test_what_has_expired_is_told_when_its_deletion_is_committed():
    desk = primary(A)
    expire(desk, K, 1, 10)
    expire(desk, L, 2, 99)
    done(desk, Put(3, 1, 0, M, b"v"))
    assert values(done(desk, get(K, L, M))) == [b"old", b"old", b"v"]
    desk.wall += 10
    read = desk.ask(get(K, L, M))
    assert desk.answer(read) is None
    assert desk.value(K) == make_record(version_of(3, 4), TOMBSTONE, b"")
    desk.ack(A)
    assert records(desk.answer(read)) == [
        b"",
        make_expiring_record(version_of(3, 2), WALL + 99, b"old"),
        make_record(version_of(3, 3), 0, b"v"),
    ]
    assert desk.replica.sequence == 4
    assert set(desk.contents) == {L, M}


def test_several_that_have_expired_are_all_gone():
    desk = primary(A)
    for number, key in enumerate((K, L, M), 1):
        expire(desk, key, number, 10)
    desk.wall += 10
    assert values(done(desk, get(K, L, M))) == [None] * 3
    assert desk.contents == {}


def test_a_key_that_has_expired_and_is_named_twice_is_deleted_once():
    desk = primary(A)
    expire(desk, K, 1, 10)
    desk.wall += 10
    assert values(done(desk, get(K, K, L, K))) == [None] * 4
    assert desk.replica.sequence == 2


def test_keys_of_another_shard_are_not_read():
    desk = two_shards()
    for keys in ((K, FAR), (FAR, K)):
        answer = done(desk, attrs.evolve(get(*keys), slot=slot_of(K)))
        assert (answer.status, answer.value) == (Status.INVALID_REQUEST, NOT_OF_ONE_SHARD)


@pytest.mark.parametrize(
    ("bytes_max", "answered"),
    [(1, 1), (109, 1), (217, 1), (218, 3), (326, 3), (327, 5), (1000, 5)],
)
def test_as_many_as_fit_are_answered_and_one_at_least(monkeypatch, bytes_max, answered):
    """A record of 100 bytes has 109; those that are missing have none."""
    monkeypatch.setattr(reading, "GET_MANY_BYTES", bytes_max)
    desk = primary(A)
    keys = small_keys(5)
    done(desk, put(1, *((key, b"v" * 100) for key in keys[::2])))
    found = values(done(desk, get(keys[0], keys[2], keys[1], keys[4], keys[3])))
    assert found == [b"v" * 100, b"v" * 100, None, b"v" * 100, None][:answered]


def test_the_largest_values_are_answered_one_by_one():
    desk = primary()
    for number, key in enumerate((K, L), 1):
        done(desk, Put(number, 1, 0, key, bytes(VALUE_BYTES_MAX)))
    asked = [K, L, M, K]
    sizes = []
    while asked:
        found = records(done(desk, get(*asked)))
        sizes.append([len(record) for record in found])
        asked = asked[len(found) :]
    assert sizes == [[9 + VALUE_BYTES_MAX], [9 + VALUE_BYTES_MAX], [0], [9 + VALUE_BYTES_MAX]]


# Both, against requests for single keys.

KEYS = st.lists(st.sampled_from([K, L, M]), min_size=1, max_size=4)
EVENTS = st.one_of(
    st.tuples(st.just("put many"), st.dictionaries(st.sampled_from([K, L, M]), st.binary(max_size=3), min_size=1)),
    st.tuples(st.just("get many"), KEYS),
    st.tuples(st.just("put"), st.sampled_from([K, L, M]), st.binary(max_size=3)),
    st.tuples(st.just("expire"), st.sampled_from([K, L, M]), st.integers(1, 3)),
    st.tuples(st.just("delete"), st.sampled_from([K, L, M])),
    st.tuples(st.just("time"), st.integers(1, 3)),
    st.tuples(st.just("ack"), st.integers(0, 3)),
)


@given(st.lists(EVENTS, max_size=25))
def test_several_keys_are_read_as_each_of_them_is(events):
    """In the same turn, and answered no sooner than the last of them."""
    desk = primary(A)
    reads = []
    for number, (name, *arguments) in enumerate(events, 1):
        if name == "put many":
            desk.ask(put(number, *arguments[0].items()))
        elif name == "get many":
            (keys,) = arguments
            reads.append((desk.ask(get(*keys)), [desk.ask(Get(key)) for key in keys]))
        elif name == "put":
            desk.put(number, *arguments)
        elif name == "expire":
            command = [b"SET", arguments[0], b"x", b"PX", b"%d" % arguments[1]]
            desk.ask(Execute(number, 1, 0, slot_of(arguments[0]), 2, ExecuteMode.SINGLE, [], [command]))
        elif name == "delete":
            desk.ask(Delete(number, 1, 0, arguments[0]))
        elif name == "time":
            desk.wall += arguments[0]
        else:
            sent = [message.number for message in desk.sent[A] if isinstance(message, Replicate)]
            desk.ack(A, number=sent[max(0, len(sent) - 1 - arguments[0])])
        for together, each in reads:
            if desk.answer(together) is not None:
                assert None not in [desk.answer(single) for single in each]
    desk.ack_all()
    for together, each in reads:
        singly = [desk.answer(single) for single in each]
        found = records(desk.answer(together))
        assert [record_version(record) if record else 0 for record in found] == [answer.version for answer in singly]
        assert [record_value(record) if record else b"" for record in found] == [answer.value for answer in singly]
