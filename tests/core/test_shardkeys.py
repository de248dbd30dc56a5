"""What commands see of a shard's keys: the contract of `Keyspace`, on a store that has those of other shards, too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keyspace import DictKeyspace
from tests.support.servers import ME, SMALL, WALL, A, Desk, configuration, primary, section, small_keys
from twistedkv.core import shardkeys as module
from twistedkv.core.shardkeys import ShardKeys
from twistedkv.limits import SLOTS
from twistedkv.records import is_tombstone, sequence_of
from twistedkv.slots import slot_of

TAG = b"{%s}" % small_keys(1)[0]
OTHERS = next(key for n in range(999) if slot_of(key := b"other%d" % n) >= SMALL)
CROWD = [TAG + b"%d" % n for n in range(8)]
KEYS = st.sampled_from([*CROWD[:3], *small_keys(3)])


def small_desk() -> Desk:
    """Primary of a small shard, and secondary of the one after it, in the same store."""
    desk = Desk()
    rest = configuration(3, A, [ME], shard=1, slots=(SMALL, SLOTS - 1), birth=3)
    desk.adopt(configuration(3, ME, slots=(0, SMALL - 1), birth=3), rest)
    update = section(3, 1, (OTHERS, b"theirs"))
    update.shard = 1
    assert desk.replicate(update) == []
    return desk


def begun(desk: Desk, now: int = WALL, *, writes: bool = True) -> ShardKeys:
    """The keys, as a request finds them at this moment."""
    keys = ShardKeys(desk.replica)
    keys.begin(now, writes=writes)
    return keys


def commit(desk: Desk, keys: ShardKeys) -> int:
    """End the request as the primary does. The version of its update; 0 if it changes nothing."""
    assert not keys.refused
    version = desk.replica.serving.updates.several(keys.changes) if keys.changes else 0
    desk.flush()
    return version


def store(desk: Desk, key: bytes, value: bytes = b"v", expiry: int = 0) -> int:
    """Store a key, as a request of its own. The update's version."""
    keys = begun(desk)
    keys.put(key, value, expiry)
    return commit(desk, keys)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3), st.sampled_from([0, 5, 50])),
        st.tuples(st.just("delete"), KEYS, st.just(b""), st.just(0)),
    ),
    max_size=4,
)


@given(st.lists(st.tuples(CHANGES, st.sampled_from([0, 1, 7])), max_size=8))
def test_requests_see_what_was_stored_and_what_they_change(requests):
    """And what has expired is not there, whether or not it has been deleted yet."""
    desk = small_desk()
    model = DictKeyspace(now=WALL)
    versions: dict[bytes, int] = {}
    everything = [*CROWD[:3], *small_keys(3)]
    for changes, passed in requests:
        model.now += passed
        keys = begun(desk, model.now)
        changed = set()
        for what, key, value, milliseconds in changes:
            if what == "put":
                expiry = model.now + milliseconds if milliseconds else 0
                keys.put(key, value, expiry)
                model.put(key, value, expiry)
                changed.add(key)
            elif model.get(key) is not None:
                keys.delete(key)
                model.delete(key)
                changed.add(key)
            else:
                keys.delete(key)
            assert keys.get(key) == model.get(key)
        for key in everything:
            assert (keys.get(key), keys.expiry(key)) == (model.get(key), model.expiry(key))
            own = [keys.version(key)] if key in changed and model.get(key) is not None else []
            assert keys.effective == bool(changed)
            if not own:
                assert keys.version(key) == (versions.get(key, 0) if model.get(key) is not None else 0)
        version = commit(desk, keys)
        versions.update(dict.fromkeys(changed, version))
        after = begun(desk, model.now)
        for key in everything:
            assert after.get(key) == model.get(key)
            assert after.version(key) == (versions[key] if model.get(key) is not None else 0)


def test_the_version_of_what_was_changed_is_that_of_the_update_to_come():
    desk = small_desk()
    keys = begun(desk)
    keys.put(CROWD[0], b"v")
    said = keys.version(CROWD[0])
    assert commit(desk, keys) == said > 0


def test_what_a_request_has_looked_at_is_remembered_by_its_newest_update():
    desk = small_desk()
    older, newer = store(desk, CROWD[0]), store(desk, CROWD[1])
    keys = begun(desk)
    assert keys.seen == 0
    keys.get(CROWD[1])
    keys.get(CROWD[0])
    assert keys.seen == sequence_of(newer) > sequence_of(older)
    keys.begin(WALL, writes=False)
    assert keys.seen == 0
    keys.count()
    assert keys.seen == desk.replica.sequence


def test_that_a_key_has_expired_is_a_change_but_no_effect():
    desk = small_desk()
    store(desk, CROWD[0], expiry=WALL + 10)
    keys = begun(desk, WALL + 9, writes=False)
    assert (keys.get(CROWD[0]), keys.expiry(CROWD[0]), keys.changes) == (b"v", WALL + 10, {})
    keys.begin(WALL + 10, writes=False)
    assert (keys.get(CROWD[0]), keys.expiry(CROWD[0]), keys.version(CROWD[0])) == (None, 0, 0)
    [(slot, record)] = keys.changes.values()
    assert (slot, is_tombstone(record), keys.effective, keys.refused) == (slot_of(CROWD[0]), True, False, "")
    keys.begin(WALL + 9, writes=False)
    assert keys.changes == {}, "what the request before found is not the next one's"


@pytest.mark.parametrize(
    "reach",
    [
        lambda keys: keys.get(OTHERS),
        lambda keys: keys.expiry(OTHERS),
        lambda keys: keys.version(OTHERS),
        lambda keys: keys.put(OTHERS, b"v"),
        lambda keys: keys.delete(OTHERS),
        lambda keys: keys.get(OTHERS + b" that nobody has"),
        lambda keys: keys.slot_keys(slot_of(OTHERS), 10),
        lambda keys: keys.slot_count(slot_of(OTHERS)),
    ],
    ids=["get", "expiry", "version", "put", "delete", "missing", "slot_keys", "slot_count"],
)
def test_keys_of_another_shard_refuse_the_request(reach):
    """This server has them, as a secondary: what it holds may be old, or never be committed."""
    desk = small_desk()
    assert desk.value(OTHERS) is not None
    keys = begun(desk)
    reach(keys)
    assert keys.refused
    assert keys.changes == {}
    keys.begin(WALL, writes=True)
    assert not keys.refused


@pytest.mark.parametrize("change", [lambda keys: keys.put(CROWD[0], b"w"), lambda keys: keys.delete(CROWD[0])])
def test_a_request_without_a_number_may_not_write(change):
    desk = small_desk()
    store(desk, CROWD[0])
    keys = begun(desk, writes=False)
    assert keys.get(CROWD[0]) == b"v"
    change(keys)
    assert keys.refused
    assert (keys.changes, keys.effective) == ({}, False)


def test_keys_are_counted_without_those_that_are_deleted():
    desk = primary(A)
    keys = small_keys(3)
    for key in keys:
        store(desk, key)
    assert begun(desk).count() == 3
    deleting = begun(desk)
    deleting.delete(keys[0])
    commit(desk, deleting)
    assert desk.value(keys[0]) is not None, "its tombstone is there until the deletion is committed"
    assert begun(desk).count() == 2
    store(desk, keys[0])
    assert begun(desk).count() == 3
    desk.ack_all()
    assert begun(desk).count() == 3


def test_the_keys_of_a_slot():
    desk = small_desk()
    for key in CROWD:
        store(desk, key, expiry=WALL + 10 if key == CROWD[2] else 0)
    slot = slot_of(TAG)
    assert begun(desk, WALL).slot_count(slot) == 8
    assert begun(desk, WALL + 10).slot_count(slot) == 7
    alive = sorted(key for key in CROWD if key != CROWD[2])
    assert begun(desk, WALL + 10).slot_keys(slot, 100) == alive
    assert begun(desk, WALL + 10).slot_keys(slot, 3) == alive[:3]
    empty = next(slot for slot in range(SMALL) if slot != slot_of(TAG))
    assert (begun(desk).slot_count(empty), begun(desk).slot_keys(empty, 9)) == (0, [])


# Pages.


def pages(desk: Desk, sizes: list[int], now: int = WALL):
    """All pages from the beginning of the shard to its end."""
    cursor, first = 0, True
    while first or cursor >> 32 < SMALL:
        keys = begun(desk, now, writes=False)
        page, following = keys.page(cursor, sizes[0] if len(sizes) == 1 else sizes.pop())
        assert following > cursor, "the cursor did not move"
        assert keys.seen == desk.replica.sequence
        yield page
        cursor, first = following, False
    assert cursor == SMALL << 32, "then comes the first slot of the next shard"


PLACES = st.sampled_from([None, 1, 3])
"""How many places a slot has for the keys: so many as ever, one, three."""


@given(
    st.sets(st.sampled_from([*CROWD, *small_keys(6)])),
    st.lists(st.integers(1, 5), min_size=1),
    st.lists(st.lists(st.tuples(KEYS, st.booleans()), max_size=3), max_size=30),
    PLACES,
    st.integers(1, 64),
)
def test_who_stays_is_listed_once_while_others_come_and_go(stay, sizes, meanwhile, places, parts):
    desk = small_desk()
    stay = {key + b"/stays" for key in stay if slot_of(key + b"/stays") < SMALL}
    gone = small_keys(2, b"expired")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLOT_PARTS_MAX", parts)
        if places is not None:
            patch.setattr(module, "crc32", lambda key: sum(key) % places)
        for key in stay:
            store(desk, key)
        for key in gone:
            store(desk, key, expiry=WALL)
        listed: list[bytes] = []
        for page in pages(desk, sizes):
            listed += page
            for key, come in meanwhile.pop() if meanwhile else ():
                keys = begun(desk)
                keys.put(key, b"v") if come else keys.delete(key)
                commit(desk, keys)
    assert sorted(key for key in listed if key in stay) == sorted(stay)
    assert not set(listed) & set(gone), "it has expired"
    assert set(listed) <= stay | {*CROWD[:3], *small_keys(3)}


def test_a_page_is_about_as_large_as_was_asked_for():
    desk = small_desk()
    keys = small_keys(40)
    for key in keys:
        store(desk, key)
    sizes = [len(page) for page in pages(desk, [10])]
    assert sizes in ([10, 10, 10, 10], [10, 10, 10, 10, 0])


def test_a_crowded_slot_is_listed_in_a_bounded_number_of_parts():
    """Each costs as much as listing all of it: with one key a page, it would be the square."""
    desk = small_desk()
    crowd = [TAG + b"%d" % n for n in range(1000)]
    keys = begun(desk)
    for key in crowd:
        keys.put(key, b"v")
    commit(desk, keys)
    found = list(pages(desk, [1]))
    assert sorted(key for page in found for key in page) == sorted(crowd)
    assert len(found) <= module._SLOT_PARTS_MAX + 3


def test_after_the_last_slot_of_all_the_cursor_is_nought():
    desk = primary(A)
    store(desk, b"k")
    keys = begun(desk)
    assert keys.page(0, 10) == ([b"k"], 0)
    assert keys.page(SLOTS - 1 << 32, 10) == ([], 0)
    assert keys.page(slot_of(b"k") + 1 << 32, 10) == ([], 0)


def test_a_shard_that_is_not_known_has_no_keys():
    desk = small_desk()
    desk.replica.configuration = None
    keys = begun(desk)
    assert (keys.count(), keys.page(0, 10)) == (0, ([], 0))
    keys.get(CROWD[0])
    assert keys.refused
