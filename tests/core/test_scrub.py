"""Copies are compared, and what a disk has not kept is mended from another."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.support.disks import damage, platter_of, store_on, write_out
from tests.support.servers import HEARTBEAT, Desk, Pair, configuration, small_keys
from twistedkv.core.scrub import ANSWER_BEATS
from twistedkv.errors import ProtocolError, Status
from twistedkv.messages.client import Delete, Get, Put, Verify
from twistedkv.messages.coordinator import Noticed, ReplicaRole
from twistedkv.messages.peer import SlotQuery, SlotState, SlotView
from twistedkv.records import make_record, record_value, version_of
from twistedkv.slots import slot_of

KEYS = small_keys(6)
KEY = KEYS[2]
SLOT = slot_of(KEY)


def loaded(copies: int = 2) -> Pair:
    """A durable cluster with some keys, all stored."""
    pair = Pair(copies, copies, durable=True)
    for number, key in enumerate(KEYS, 1):
        pair.serving.put(number, key, b"v%d" % number)
    pair.settle()
    pair.pass_time(HEARTBEAT)
    return pair


def store_of(pair: Pair, server_id: int) -> Any:
    """The store of a server."""
    return pair.desks[server_id].core.store


def on_disk(pair: Pair, server_id: int) -> dict[bytes, bytes]:
    """The slot on the disk of a server."""
    return platter_of(store_of(pair, server_id)).records[0].setdefault(SLOT, {})


def scrubbed(pair: Pair) -> Pair:
    """Every slot has been looked at."""
    looked = pair.serving.core.scrub.slots
    for _ in range(400):
        pair.pass_time(HEARTBEAT / 4)
        if pair.serving.core.scrub.slots >= looked + 66:
            break
    else:
        raise AssertionError("the scrub stands still")
    return pair


def values(pair: Pair) -> list[Any]:
    """What each copy has under KEY."""
    return [None if (record := desk.value(KEY)) is None else record_value(record) for desk in pair.desks.values()]


def noticed(pair: Pair) -> list[str]:
    """What the journal is told."""
    return [message.text for message in pair.serving.told_of(Noticed)]


def test_copies_that_are_equal_are_left_alone():
    pair = scrubbed(loaded())
    assert pair.serving.core.scrub.mended == 0
    assert pair.serving.replica.sequence == len(KEYS)
    assert noticed(pair) == []


@pytest.mark.parametrize("server_id", [1, 2])
def test_a_damaged_record_is_mended_from_the_other_copy(server_id: int):
    pair = loaded()
    damage(store_of(pair, server_id), KEY)
    scrubbed(pair)
    assert values(pair) == [b"v3", b"v3"]
    [text] = noticed(pair)
    assert "mended" in text and repr(KEY) in text
    assert pair.serving.replica.sequence == len(KEYS) + 1, "by an ordinary update"


def test_a_read_of_a_damaged_record_is_refused_and_its_slot_is_looked_at_next():
    pair = loaded()
    damage(store_of(pair, 1), KEY)
    refused = pair.serving.ask(Get(KEY))
    assert pair.serving.status(refused) is Status.SERVER_FAILURE
    assert b"damaged" in pair.serving.answer(refused).value
    pair.pass_time(HEARTBEAT)
    again = pair.serving.ask(Get(KEY))
    assert (pair.serving.status(again), pair.serving.answer(again).value) == (Status.SUCCESS, b"v3")


def test_a_write_that_reads_is_refused_too_and_one_that_does_not_mends():
    pair = loaded()
    damage(store_of(pair, 1), KEY)
    refused = pair.serving.ask(Delete(20, 1, 0, KEY))
    assert pair.serving.status(refused) is Status.SERVER_FAILURE
    stored = pair.serving.ask(Put(21, 1, 0, KEY, b"anew"))
    pair.settle()
    assert pair.serving.status(stored) is Status.SUCCESS
    assert values(pair) == [b"anew", b"anew"]
    assert pair.serving.core.scrub.mended == 0


def test_verify_says_that_a_record_is_damaged():
    pair = loaded()
    damage(store_of(pair, 2), KEY)
    asked = pair.desks[2].ask(Verify(KEY))
    assert pair.desks[2].status(asked) is Status.SERVER_FAILURE


@pytest.mark.parametrize("server_id", [1, 2])
def test_a_record_that_a_disk_has_lost_comes_back(server_id: int):
    pair = loaded()
    del on_disk(pair, server_id)[KEY]
    scrubbed(pair)
    assert values(pair) == [b"v3", b"v3"]


def test_the_newer_version_is_believed():
    pair = loaded()
    on_disk(pair, 1)[KEY] = make_record(version_of(1, 1), 0, b"long ago")
    scrubbed(pair)
    assert values(pair) == [b"v3", b"v3"]


def test_the_majority_is_believed():
    pair = loaded(3)
    version = version_of(1, 3)
    on_disk(pair, 1)[KEY] = make_record(version, 0, b"flipped")
    scrubbed(pair)
    assert values(pair) == [b"v3"] * 3


def test_a_key_that_most_copies_do_not_have_goes():
    pair = loaded(3)
    extra = next(key for key in small_keys(5000, b"x") if slot_of(key) == SLOT)
    on_disk(pair, 1)[extra] = make_record(version_of(1, 2), 0, b"invented")
    scrubbed(pair)
    assert all(desk.value(extra) is None for desk in pair.desks.values())


def test_what_is_damaged_everywhere_is_said_and_stays():
    pair = loaded()
    for server_id in (1, 2):
        damage(store_of(pair, server_id), KEY)
    scrubbed(pair)
    assert any("damaged on every copy" in text for text in noticed(pair))
    assert pair.serving.core.scrub.mended == 0


def test_a_sole_copy_says_that_there_is_nothing_to_mend_it_from():
    desk = Desk(store=store_on())
    desk.adopt(configuration(3, desk.core.me, birth=3))
    write_out(desk.core.store)  # type: ignore[arg-type]
    desk.flush()
    desk.put(1, KEY)
    write_out(desk.core.store)  # type: ignore[arg-type]
    desk.flush()
    damage(desk.core.store, KEY)  # type: ignore[arg-type]
    assert desk.status(desk.ask(Get(KEY))) is Status.SERVER_FAILURE
    desk.pump(2 * HEARTBEAT)
    assert any("no other copy" in message.text for message in desk.told_of(Noticed))


def test_writes_meanwhile_are_no_differences():
    pair = loaded()
    for number in range(100, 300):
        pair.serving.put(number, KEYS[number % len(KEYS)], b"%d" % number)
        if number % 3 == 0:
            pair.serving.ask(Delete(number + 1000, 1, 0, KEYS[(number + 1) % len(KEYS)]))
        pair.pass_time(HEARTBEAT / 4)
    assert pair.serving.core.scrub.slots > 60
    assert pair.serving.core.scrub.mended == 0
    assert noticed(pair) == []


def test_a_key_that_was_stored_since_is_not_mended():
    """The answer with the record of the other copy comes after a write of the key."""
    pair = loaded()
    damage(store_of(pair, 1), KEY)
    desk, other = pair.desks[1], pair.desks[2]
    desk.ask(Get(KEY))
    queries: list[SlotQuery] = []
    for _ in range(12):
        desk.now += HEARTBEAT / 4
        desk.core.tick(desk.now)
        desk.flush()
        sent, desk.sent = desk.sent, {}
        for message in sent.get(other.core.me, []):
            if not isinstance(message, SlotQuery):
                pair.carry(desk, other, [message])
                continue
            queries.append(message)
            answer = other.core.scrub.answer(message)
            if message.view is SlotView.RECORD:
                desk.put(50, KEY, b"since")
            desk.core.scrub.answered(other.core.me, answer)
    assert [query.view for query in queries[:3]] == list(SlotView)
    assert desk.core.scrub.mended == 0
    pair.settle()
    assert values(pair) == [b"since", b"since"]


def test_an_answer_that_does_not_come_is_not_waited_for():
    pair = loaded()
    scrub = pair.serving.core.scrub
    pair.kill(2)
    pair.serving.core.peers[pair.configuration.secondaries[0]].connected = True
    before = scrub.slots
    for _ in range(3 * ANSWER_BEATS):
        pair.serving.tick(HEARTBEAT)
    assert 1 <= scrub.slots - before <= 4


def test_answers_that_nobody_asked_for_are_ignored():
    pair = loaded()
    other = pair.desks[2].core.me
    pair.serving.core.scrub.answered(other, SlotState(0, 1, SLOT, SlotView.DIGEST, b"x"))
    pair.serving.core.scrub.answered(other, SlotState(9, 1, SLOT, SlotView.LISTING, b""))
    assert pair.serving.core.scrub.mended == 0


def test_a_malformed_listing_is_refused():
    pair = loaded()
    scrub = pair.serving.core.scrub
    damage(store_of(pair, 1), KEY)
    pair.serving.ask(Get(KEY))
    other = pair.desks[2].core.me
    pair.serving.tick(HEARTBEAT / 4)
    state = SlotState(0, 1, SLOT, SlotView.DIGEST, b"differs")
    scrub.answered(other, state)
    pair.serving.flush()
    with pytest.raises(ProtocolError):
        scrub.answered(other, attrs.evolve(state, view=SlotView.LISTING, body=b"\x01"))


@pytest.mark.parametrize("change", [{"epoch": 2}, {"shard": 7}, {"slot": 9000}])
def test_who_is_no_secondary_there_says_nothing(change: dict[str, int]):
    pair = loaded()
    query = attrs.evolve(SlotQuery(0, 1, SLOT, SlotView.DIGEST, b""), **change)
    assert pair.desks[2].core.scrub.answer(query).body == b""
    assert pair.desks[1].role is ReplicaRole.PRIMARY
    assert pair.desks[1].core.scrub.answer(SlotQuery(0, 1, SLOT, SlotView.DIGEST, b"")).body == b""
