"""What a full primary removes: which keys, how many, and that its copies hear of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers import HEARTBEAT, WALL, A, Desk, Pair, primary, small_keys
from twistedkv.core.space import KEY_OVERHEAD_BYTES
from twistedkv.errors import Status
from twistedkv.limits import EVICTED_KEYS_TICK
from twistedkv.messages.client import Cas, Execute, ExecuteMode, Get, Incr, Put, PutMany
from twistedkv.records import make_expiring_record, make_record
from twistedkv.slots import slot_of
from twistedkv.watermarks import Eviction, Level, Limits

LIMIT = 200_000
KEYS = small_keys(1000)


def limits(eviction: Eviction) -> Limits:
    return Limits(memory_bytes=LIMIT, eviction=eviction)


def done(desk: Desk, request: Any) -> Any:
    asked = desk.ask(request)
    desk.ack_all()
    return desk.answer(asked)


def live(desk: Desk) -> set[bytes]:
    return {key for key, record in desk.contents.items() if not record[8] & 1}


def pass_time(desk: Desk, ticks: int = 1) -> None:
    for _ in range(ticks):
        desk.tick(HEARTBEAT / 4)
        desk.ack_all()


def test_a_cache_takes_everything_that_comes_and_stays_below_its_limit():
    desk = primary(A, limits=limits(Eviction.LRU))
    for number, key in enumerate(KEYS, 1):
        assert done(desk, Put(number, number, 0, key, bytes(500))).status == Status.SUCCESS
        if number % 10 == 0:
            pass_time(desk)
        assert desk.core.space.memory.used <= LIMIT
    assert desk.core.space.evicted > 500
    assert len(live(desk)) > 200


def test_what_was_read_of_late_stays():
    desk = primary(A, limits=limits(Eviction.LRU))
    favourites = KEYS[:20]
    for number, key in enumerate(KEYS, 1):
        assert done(desk, Put(number, number, 0, key, bytes(500))).status == Status.SUCCESS
        if number % 10 == 0:
            for favourite in favourites:
                done(desk, Get(favourite))
            pass_time(desk)
    kept = sum(key in live(desk) for key in favourites)
    others = len(live(desk)) - kept
    assert kept >= 18
    assert others / (len(KEYS) - len(favourites)) < 0.35


def test_keys_that_expire_go_first_the_soonest_first():
    desk = primary(A, limits=limits(Eviction.TTL))
    for number in range(1, 101):
        seconds = b"%d" % (1000 - number)
        command = [b"SET", KEYS[number], bytes(1000), b"EX", seconds]
        done(desk, Execute(number, number, 0, 0, 2, ExecuteMode.SINGLE, [], [command]))
    done(desk, Put(101, 101, 0, KEYS[0], bytes(100_000)))
    pass_time(desk, 3)
    gone = {KEYS[number] for number in range(1, 101)} - live(desk)
    assert gone == {KEYS[number] for number in range(101 - len(gone), 101)} != set()
    assert KEYS[0] in live(desk)
    assert desk.core.space.level is not Level.HIGH


def test_without_keys_that_expire_there_is_nothing_to_evict():
    desk = primary(A, limits=limits(Eviction.TTL))
    done(desk, Put(1, 1, 0, KEYS[0], bytes(198_000)))
    pass_time(desk)
    answer = done(desk, Put(2, 1, 0, KEYS[1], bytes(1000)))
    assert answer.status == Status.OUT_OF_SPACE
    assert answer.value.endswith(b"past the high mark of its space, and too little can be evicted")
    assert KEYS[0] in live(desk)


def test_copies_are_told_of_deletions():
    pair = Pair()
    for desk in pair.desks.values():
        desk.core.space.limits = limits(Eviction.TTL)
        desk.core.space.memory.limit = LIMIT
    first, second = pair.desks[1], pair.desks[2]
    for number in range(1, 301):
        command = [b"SET", KEYS[number], bytes(1000), b"EX", b"%d" % number]
        asked = first.ask(Execute(number, number, 0, 0, 2, ExecuteMode.SINGLE, [], [command]))
        pair.settle()
        if number % 10 == 0:
            pair.pass_time(HEARTBEAT)
        assert first.status(asked) is Status.SUCCESS
    pair.pass_time(3 * HEARTBEAT)
    assert first.contents == second.contents
    assert len(first.contents) < 200
    assert (first.core.space.evicted > 100, second.core.space.evicted) == (True, 0)


def test_a_full_follower_has_its_primary_evict():
    desk = primary(A, limits=Limits(eviction=Eviction.LRU))
    for number, key in enumerate(KEYS[:300], 1):
        done(desk, Put(number, number, 0, key, b"v"))
    desk.tick(HEARTBEAT)
    desk.ack(A, level=Level.HIGH)
    assert done(desk, Put(301, 301, 0, KEYS[300], b"v")).status == Status.SUCCESS
    pass_time(desk)
    assert 0 < desk.core.space.evicted <= EVICTED_KEYS_TICK + 10


def test_in_one_tick_a_shard_loses_no_more_than_a_bounded_number_of_keys():
    desk = primary(A, limits=Limits(memory_bytes=10**7, eviction=Eviction.LRU))
    for number, key in enumerate(KEYS, 1):
        done(desk, Put(number, number, 0, key, bytes(500)))
    desk.core.space.memory.limit = LIMIT
    before = len(live(desk))
    desk.tick(HEARTBEAT)
    assert before - len(live(desk)) == EVICTED_KEYS_TICK


@pytest.mark.parametrize("request_", [Incr(2, 1, 0, 1, KEYS[0]), Cas(2, 1, 0, 0, KEYS[0], b"new")], ids=["incr", "cas"])
def test_room_is_made_before_anything_is_read(request_: Any):
    """What is counted on must not be evicted between being read and being written."""
    desk = primary(A, limits=limits(Eviction.LRU))
    done(desk, Put(1, 1, 0, KEYS[0], b"10"))
    desk.core.space.memory.limit = 100
    desk.core.space.measure()
    answer = done(desk, request_)
    assert answer.status == Status.SUCCESS
    assert done(desk, Get(KEYS[0])).value in (b"1", b"new"), "it was evicted before it was counted"


def test_a_command_that_changes_much_has_room_made_for_all_of_it():
    desk = primary(A, limits=limits(Eviction.LRU))
    for number, key in enumerate(KEYS[:300], 1):
        done(desk, Put(number, number, 0, key, bytes(500)))
        pass_time(desk, number % 10 == 0)
    many = PutMany(301, 301, 0, slot_of(KEYS[0]), KEYS[300:350], [bytes(500)] * 50)
    assert done(desk, many).status == Status.SUCCESS
    assert set(KEYS[300:350]) <= live(desk)
    command = [b"MSET", *(part for key in KEYS[350:380] for part in (key, bytes(500)))]
    assert done(desk, Execute(302, 302, 0, 0, 2, ExecuteMode.SINGLE, [], [command])).status == Status.SUCCESS
    assert set(KEYS[350:380]) <= live(desk)


@given(st.integers(1, 60), st.integers(0, 20_000), st.integers(1, 50), st.sampled_from([Eviction.LRU, Eviction.TTL]))
def test_what_is_evicted_is_as_much_as_was_wanted_or_as_was_allowed(
    count: int, wanted: int, most: int, eviction: Eviction
):
    desk = primary(limits=Limits(eviction=eviction))
    for number, key in enumerate(KEYS[:count], 1):
        version, value = desk.replica.version_base | number, bytes(100)
        record = make_record(version, 0, value)
        if eviction is Eviction.TTL:
            record = make_expiring_record(version, WALL + number, value)
        desk.core.store.put(slot_of(key), key, record)
        desk.replica.stored(slot_of(key), key, record)
    before = live(desk)
    freed = desk.replica.serving.room._evictor.evict(desk.core.space, wanted, most)
    desk.flush()
    gone = before - live(desk)
    assert len(gone) == desk.core.space.evicted <= most
    assert freed >= sum(100 + len(key) + KEY_OVERHEAD_BYTES for key in gone)
    assert freed >= wanted or len(gone) == min(most, count)
    assert len(gone) <= wanted // (100 + KEY_OVERHEAD_BYTES) + 1
