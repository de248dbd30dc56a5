"""Updates by the primary: the log, the store and the dedup table say the same, and keys end when their moment comes."""

from __future__ import annotations

import pytest

from tests.support.servers import CLIENT, HEARTBEAT, WALL, A, Desk, primary
from twistedkv.core.dedup import Lookup
from twistedkv.core.entries import ONE, SEVERAL, decode_entries, records_of_update
from twistedkv.core.updates import Updates
from twistedkv.limits import EXPIRED_KEYS_MAX
from twistedkv.messages.client import Cas, Delete, Get, Incr, Put, Scan
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import TOMBSTONE, is_tombstone, make_expiring_record, make_record, version_of
from twistedkv.slots import slot_of
from twistedkv.wire.frames import RETRY


def updates_of(desk: Desk) -> Updates:
    """Of shard 0."""
    return desk.replica.serving.updates


def several(desk: Desk, changes: dict[bytes, tuple[bytes | None, int]], *write) -> int:
    """One update of these keys, each with value and expiry. Its version."""
    version = desk.replica.version_base | desk.replica.sequence + 1
    made = {
        key: (
            slot_of(key),
            make_record(version, TOMBSTONE, b"")
            if value is None
            else make_expiring_record(version, expiry, value)
            if expiry
            else make_record(version, 0, value),
        )
        for key, (value, expiry) in changes.items()
    }
    return updates_of(desk).several(made, *write)


def logged(desk: Desk):
    """The entries that A is sent in this turn."""
    desk.flush()
    section = desk.sections_to(A)[-1]
    return list(decode_entries(section.entries, section.count))


def expiring(desk: Desk, count: int, moment: int = WALL + 10) -> list[bytes]:
    """So many keys that expire, committed."""
    keys = [b"k%d" % n for n in range(count)]
    for key in keys:
        several(desk, {key: (b"v", moment)})
    desk.flush()
    desk.ack_all()
    return keys


def deletions(desk: Desk, keys: list[bytes]) -> list[bytes]:
    """Those of the keys that are in the store as deleted ones, or not at all."""
    return [key for key in keys if (record := desk.value(key)) is None or is_tombstone(record)]


# What an update is.


@pytest.mark.parametrize(
    ("flags", "value", "expiry", "record"),
    [
        (0, b"v", 0, make_record(version_of(3, 1), 0, b"v")),
        (0, b"v", WALL + 1, make_expiring_record(version_of(3, 1), WALL + 1, b"v")),
        (TOMBSTONE, b"", 0, make_record(version_of(3, 1), TOMBSTONE, b"")),
    ],
    ids=["value", "expires", "deleted"],
)
def test_an_update_of_one_key(flags, value, expiry, record):
    desk = primary(A)
    slot = slot_of(b"k")
    version = updates_of(desk).one(slot, b"k", flags, value, expiry, 7, 6, CLIENT, b"reply")
    assert version == version_of(3, 1) == desk.replica.last
    assert desk.value(b"k") == record
    assert desk.replica.dedup.find(CLIENT, 7, 0, True) == (version, b"reply")
    assert logged(desk) == [(slot, b"k", record, ONE, 7, 6, CLIENT, b"reply")]


def test_an_update_of_several_keys_is_one_entry_and_one_version():
    desk = primary(A)
    version = several(desk, {b"a": (b"1", 0), b"b": (None, 0), b"c": (b"3", WALL + 9)}, 7, 6, CLIENT, b"reply")
    records = {
        b"a": make_record(version, 0, b"1"),
        b"b": make_record(version, TOMBSTONE, b""),
        b"c": make_expiring_record(version, WALL + 9, b"3"),
    }
    assert desk.contents == records
    assert desk.replica.dedup.find(CLIENT, 7, 0, True) == (version, b"reply")
    [(slot, key, packed, kind, *write)] = logged(desk)
    assert (slot, key, kind, write) == (slot_of(b"a"), b"", SEVERAL, [7, 6, CLIENT, b"reply"])
    assert packed[:8] == version.to_bytes(8, "big")
    assert records_of_update(packed) == (list(records), list(records.values()))
    assert desk.replica.sequence == 1
    assert desk.replica.expiries.due(WALL + 9, 10) == [b"c"]


def test_an_update_of_several_that_is_of_one_is_logged_as_such():
    desk = primary(A)
    version = several(desk, {b"a": (b"1", 0)}, 7, 6, CLIENT)
    assert desk.replica.dedup.find(CLIENT, 7, 0, True) == version, "without a reply there is only the version"
    record = make_record(version, 0, b"1")
    assert logged(desk) == [(slot_of(b"a"), b"a", record, ONE, 7, 6, CLIENT, b"")]


def test_an_update_that_no_client_asked_for_is_not_remembered():
    desk = primary(A)
    several(desk, {b"a": (None, 0)})
    assert len(desk.replica.dedup) == 0
    assert desk.replica.dedup.find(bytes(16), 0, 0, False) is Lookup.NEW


def test_its_tombstones_go_with_the_commit():
    desk = primary(A)
    several(desk, {b"a": (b"1", 0), b"b": (b"2", 0)})
    desk.flush()
    desk.ack_all()
    several(desk, {b"a": (None, 0), b"b": (None, 0)})
    desk.flush()
    assert len(desk.contents) == 2
    desk.ack_all()
    assert desk.contents == {}


@pytest.mark.parametrize(
    "store",
    [lambda desk: desk.put(1, b"k", b"w"), lambda desk: several(desk, {b"k": (b"w", 0)})],
    ids=["by a PUT", "by a command"],
)
def test_a_key_that_is_stored_anew_does_not_expire_any_more(store):
    desk = primary(A)
    several(desk, {b"k": (b"v", WALL + 10)})
    store(desk)
    desk.ack_all()
    assert len(desk.replica.expiries) == 0
    desk.wall += 11
    desk.tick(HEARTBEAT / 4)
    desk.ack_all()
    assert desk.answer(desk.ask(Get(b"k"))).value == b"w"


# Keys that expire, in the background.


def test_the_background_deletes_what_has_expired_and_no_more_than_so_many():
    desk = primary(A)
    keys = expiring(desk, EXPIRED_KEYS_MAX + 5)
    before = desk.replica.sequence
    desk.tick(HEARTBEAT / 4)
    assert desk.replica.sequence == before
    desk.wall += 10
    desk.tick(HEARTBEAT / 4)
    assert desk.replica.sequence == before + 1, "one update for all of them"
    assert len(deletions(desk, keys)) == EXPIRED_KEYS_MAX
    desk.tick(HEARTBEAT / 4)
    assert len(deletions(desk, keys)) == len(keys)
    assert desk.replica.sequence == before + 2
    desk.tick(HEARTBEAT / 4)
    assert desk.replica.sequence == before + 2
    desk.ack_all()
    assert desk.contents == {}


def test_only_a_primary_deletes_what_has_expired():
    desk = primary(A)
    keys = expiring(desk, 1)
    desk.wall += 10
    desk.seal(9)
    assert desk.role is ReplicaRole.SEALED
    before = desk.replica.sequence
    desk.pump(HEARTBEAT)
    updates_of(desk).expire(10)
    assert (desk.replica.sequence, deletions(desk, keys)) == (before, [])


def test_the_background_trusts_the_record_and_not_the_index():
    """Which keeps what it was told of a key that a fill has replaced."""
    desk = primary(A)
    later = make_expiring_record(version_of(3, 9), WALL + 99, b"v")
    desk.core.store.put(slot_of(b"later"), b"later", later)
    desk.core.store.put(slot_of(b"stays"), b"stays", make_record(version_of(3, 9), 0, b"v"))
    for key in (b"later", b"stays", b"missing"):
        desk.replica.expiries.note(key, WALL + 10)
    desk.wall += 10
    desk.tick(HEARTBEAT / 4)
    assert desk.replica.sequence == 0
    assert desk.replica.expiries.due(WALL + 98, 10) == []
    assert desk.replica.expiries.due(WALL + 99, 10) == [b"later"]


# And when somebody asks for them.


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (Get(b"k0"), "KEY_NOT_FOUND"),
        (Delete(1, 1, 0, b"k0"), "KEY_NOT_FOUND"),
        (Cas(1, 1, 0, version_of(3, 1), b"k0", b"w"), "VERSION_MISMATCH"),
    ],
    ids=["get", "delete", "cas"],
)
def test_that_a_key_has_expired_is_told_when_its_deletion_is_committed(request_, status):
    """Else a new primary whose clock is behind would show it once more."""
    desk = primary(A)
    keys = expiring(desk, 1)
    desk.wall += 10
    first, second = desk.ask(request_), desk.ask(Get(b"k0"))
    assert deletions(desk, keys) == keys
    assert (desk.answer(first), desk.answer(second)) == (None, None)
    desk.ack_all()
    assert desk.status(first).name == status
    assert desk.status(second).name == "KEY_NOT_FOUND"
    assert desk.replica.sequence == 2


def test_a_read_before_the_moment_shows_the_value_and_changes_nothing():
    desk = primary(A)
    expiring(desk, 1)
    desk.wall += 9
    answer = desk.answer(desk.ask(Get(b"k0")))
    assert (answer.value, answer.version) == (b"v", version_of(3, 1))
    assert desk.replica.sequence == 1


def test_a_sum_keeps_the_moment_and_begins_anew_after_it():
    desk = primary(A)
    several(desk, {b"n": (b"5", WALL + 10)})
    desk.flush()
    desk.ack_all()
    for number, expected in ((1, b"6"), (2, b"7")):
        asked = desk.ask(Incr(number, 1, 0, 1, b"n"))
        desk.ack_all()
        assert desk.answer(asked).value == expected
    assert desk.value(b"n") == make_expiring_record(version_of(3, 3), WALL + 10, b"7")
    desk.wall += 10
    asked = desk.ask(Incr(3, 1, 0, 1, b"n"))
    desk.ack_all()
    assert desk.answer(asked).value == b"1"
    assert desk.value(b"n") == make_record(version_of(3, 5), 0, b"1")


@pytest.mark.parametrize("request_", [Put(1, 1, 0, b"k0", b"w"), Cas(1, 1, 0, version_of(3, 1), b"k0", b"w")])
def test_puts_and_cas_take_the_moment_away(request_):
    desk = primary(A)
    expiring(desk, 1)
    desk.ask(request_)
    desk.ack_all()
    desk.wall += 10
    assert desk.answer(desk.ask(Get(b"k0"))).value == b"w"


def test_a_retry_finds_its_result_although_the_key_has_expired_since():
    desk = primary(A)
    several(desk, {b"n": (b"5", WALL + 10)})
    first = desk.ask(Incr(1, 1, 0, 1, b"n"))
    desk.ack_all()
    desk.wall += 10
    again = desk.ask(Incr(1, 1, 0, 1, b"n"), RETRY)
    assert desk.answer(again) == desk.answer(first)
    assert desk.replica.sequence == 2


def test_a_scan_does_not_show_what_has_expired():
    desk = primary(A)
    expiring(desk, 1)
    several(desk, {b"other": (b"w", 0)})
    desk.flush()
    desk.ack_all()
    desk.wall += 10
    page = desk.answer(desk.ask(Scan(0, b"", 10, b"", False)))
    assert [item.key for item in page.items] == [b"other"]
