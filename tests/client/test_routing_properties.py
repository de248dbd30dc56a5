"""The router under any sequence of events. What must hold is checked by the driver, at each step."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.driver import Driver
from tests.client.fakes import make_map, promoted, store_id, switched
from twistedkv.clustermap import ServerState
from twistedkv.errors import Status
from twistedkv.messages.client import Cas, Delete, Get, GetMany, Incr, MapRequest
from twistedkv.slots import slot_ranges
from twistedkv.wire.client import CAS, DELETE, GET, GET_MANY, INCR, PUT, PUT_MANY

KEYS = [b"a", b"b", b"c", b"d", b"e"]
SMALL_WINDOW = 4

index = st.integers(0, 30)
EVENTS = st.one_of(
    st.tuples(
        st.just("submit"),
        st.sampled_from([GET, PUT, PUT, DELETE, CAS, INCR, PUT_MANY, GET_MANY]),
        index,
        st.sampled_from([0.5, 10, 60]),
    ),
    st.tuples(st.just("cancel"), index),
    st.tuples(st.just("accept"), index),
    st.tuples(st.just("accept"), index),
    st.tuples(st.just("refuse"), index),
    st.tuples(st.just("lose"), index),
    st.tuples(st.just("answer"), index, index, st.sampled_from(list(Status))),
    st.tuples(
        st.just("answer"), index, index, st.sampled_from([Status.SUCCESS, Status.NOT_PRIMARY_YET, Status.SUPERSEDED])
    ),
    st.tuples(st.just("map"), st.sampled_from(["fail", "revive", "switch", "reborn", "gone", "lost", "same"]), index),
    st.tuples(st.just("tick"), st.sampled_from([0.001, 0.02, 0.6, 3.0, 11.0])),
)
RELAY = st.one_of(EVENTS, st.tuples(st.just("relay"), st.integers(3, 7)))


def allowed(status: Status, request: Any, retry: bool) -> Status:
    """A status that a server could give for this request."""
    if status in (Status.VERSION_MISMATCH, Status.NOT_AN_INTEGER, Status.KEY_NOT_FOUND):
        kinds: dict[Status, tuple[type, ...]] = {
            Status.VERSION_MISMATCH: (Cas,),
            Status.NOT_AN_INTEGER: (Incr,),
            Status.KEY_NOT_FOUND: (Get, Delete),
        }
        return status if isinstance(request, kinds[status]) else Status.SUCCESS
    reads = isinstance(request, Get | GetMany)
    if status in (Status.SUPERSEDED, Status.OUT_OF_SPACE, Status.NOT_ENOUGH_COPIES) and reads:
        return Status.WRONG_SERVER
    if status is Status.UNKNOWN_OUTCOME and not retry:
        return Status.SUCCESS if reads else Status.SUPERSEDED
    return status


def next_map(driver: Driver, change: str, number: int) -> Any:
    """A map as a coordinator could publish it after the present one."""
    known = driver.map
    server_id = number % 3 + 1
    server = known.servers.get(server_id, make_map().servers[server_id])
    shard = known.shards[number % len(known.shards)]
    if change == "fail":
        return promoted(known, server_id) if server_id in known.servers else known
    if change == "revive":
        return known.changed(servers=[attrs.evolve(server, state=ServerState.ACTIVE)])
    if change == "switch":
        return switched(known, shard.shard) if shard.secondaries else known
    if change == "reborn":
        return known.changed(servers=[attrs.evolve(server, store_id=store_id(server_id, number), port=8000 + number)])
    if change == "gone":
        left = known.changed()
        return attrs.evolve(left, servers={n: s for n, s in left.servers.items() if n != server_id})
    if change == "lost":
        return known.changed(shards=[attrs.evolve(shard, lost=not shard.lost, epoch=shard.epoch + 1)])
    return known.changed()


def relaid(driver: Driver, shards: int) -> Any:
    """The same servers with other shards."""
    known = driver.map
    shards = max(shards, len(known.shards))  # maps are merged, so shards are not taken away
    new = make_map(3, shards).shards
    epoch = max(shard.epoch for shard in known.shards) + 1
    members = [server.member for server in make_map().servers.values()]
    shards_now = tuple(
        attrs.evolve(shard, epoch=epoch, first_slot=first, last_slot=last, primary=members[i % 3], secondaries=())
        for i, (shard, (first, last)) in enumerate(zip(new, slot_ranges(shards), strict=True))
    )
    return attrs.evolve(known, version=known.version + 1, shards=shards_now)


def perform(driver: Driver, event: tuple[Any, ...]) -> None:
    """One event, made to fit the present state."""
    what, *arguments = event
    if what == "submit":
        kind, number, seconds = arguments
        driver.submit(kind, KEYS[number % len(KEYS)], seconds)
    elif what == "cancel" and driver.calls:
        driver.cancel(driver.calls[arguments[0] % len(driver.calls)])
    elif what in ("accept", "refuse") and driver.dialing:
        link = driver.dialing[arguments[0] % len(driver.dialing)]
        getattr(driver, what)(None if link.server is None else link.server.server_id)
    elif what == "lose" and driver.open:
        link = list(driver.open)[arguments[0] % len(driver.open)]
        driver.lose(None if link.server is None else link.server.server_id)
    elif what == "answer":
        links = [link for link, attempts in driver.open.items() if attempts]
        if links:
            attempts = driver.open[links[arguments[0] % len(links)]]
            # Mostly in order, as servers do; a read may be overtaken.
            attempt = attempts[0 if arguments[1] % 3 else arguments[1] % len(attempts)]
            if isinstance(attempt.request, MapRequest):
                driver.send_map(attempt)
            else:
                status = allowed(arguments[2], attempt.request, attempt.retry)
                driver.answer(attempt, status, driver.map.version + arguments[1] % 2)
    elif what == "map":
        driver.publish(next_map(driver, *arguments))
    elif what == "relay":
        driver.publish(relaid(driver, *arguments))
    elif what == "tick":
        driver.tick(*arguments)


def heal(driver: Driver) -> None:
    """Everything works again: everything must end, and what can still be done is done."""
    known = driver.map
    servers = {n: attrs.evolve(s, state=ServerState.ACTIVE) for n, s in make_map().servers.items()}
    servers = {n: attrs.evolve(s, store_id=store_id(n, 99), port=9000 + n) for n, s in servers.items()}
    shards = tuple(
        attrs.evolve(
            shard, epoch=shard.epoch + 1, primary=servers[shard.shard % 3 + 1].member, secondaries=(), lost=False
        )
        for shard in known.shards
    )
    driver.publish(attrs.evolve(known, version=known.version + 1, servers=servers, shards=shards))
    waiting = [call for call in driver.calls if not call.ended]
    for _ in range(100):
        driver.accept_all()
        driver.answer_all()
        driver.tick(0.1)
        if all(call.ended for call in waiting) and not driver.router.held:
            break
    for call in waiting:
        late = call.operation.deadline <= driver.now
        assert late or call.cancelled or not isinstance(call.outcome, Exception), call
    assert driver.router.held == 0
    assert not driver.router.stuck()


@given(st.lists(EVENTS, max_size=60))
def test_any_events_before_and_after_the_map(events: list[tuple[Any, ...]]) -> None:
    driver = Driver()
    for event in events:
        perform(driver, event)
    heal(driver)


@given(st.lists(EVENTS, max_size=80), st.integers(0, 100))
def test_any_events_in_a_running_cluster(events: list[tuple[Any, ...]], seed: int) -> None:
    driver = Driver(make_map(3, 3), seed=seed)
    driver.begin()
    for event in events:
        perform(driver, event)
    heal(driver)


@given(st.lists(EVENTS, max_size=80))
def test_any_events_with_a_small_window(events: list[tuple[Any, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twistedkv.client.numbers.WRITE_WINDOW", SMALL_WINDOW)
        driver = Driver(make_map(3, 3), window=SMALL_WINDOW)
        driver.begin()
        for event in events:
            perform(driver, event)
        heal(driver)


@given(st.lists(RELAY, max_size=80))
def test_any_events_with_other_shards_in_between(events: list[tuple[Any, ...]]) -> None:
    driver = Driver(make_map(3, 3))
    driver.begin()
    for event in events:
        perform(driver, event)
    heal(driver)


@given(st.lists(EVENTS, max_size=60))
def test_closing_ends_everything_once(events: list[tuple[Any, ...]]) -> None:
    driver = Driver(make_map(3, 3))
    driver.begin()
    for event in events:
        perform(driver, event)
    driver.router.close(driver.now)
    driver.settle()
    assert all(call.ended for call in driver.calls)
    assert driver.router.wake_at == float("inf")
    late = driver.put(b"a")
    assert isinstance(late.outcome, Exception)
