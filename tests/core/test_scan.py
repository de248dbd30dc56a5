"""SCAN: every key of a shard once, whatever the sizes of pages and slots, and whatever is written meanwhile."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers import ME, WALL, configuration
from twistedkv.core import scan as module
from twistedkv.core.scan import scan_page
from twistedkv.limits import SCAN_PAGE_BYTES
from twistedkv.messages.client import Scan, ScanPage
from twistedkv.records import TOMBSTONE, make_expiring_record, make_record
from twistedkv.slots import slot_of
from twistedkv.storage.memory import MemoryStore
from twistedkv.wire.client import decode_response
from twistedkv.wire.frames import FrameDecoder

SHARD = configuration(1, ME, slots=(0, 16383))
# Few slots, some of them crowded.
KEYS = st.one_of(
    st.builds(lambda tag, n: b"{%s}%d" % (tag, n), st.sampled_from([b"a", b"b"]), st.integers(0, 30)),
    st.binary(min_size=1, max_size=3),
)


def page_of(store, scan, shard=SHARD, now=WALL):
    """The page as a client decodes it."""
    [(message_type, _, request_id, body)] = FrameDecoder().feed(scan_page(store, shard, scan, 7, now))
    page = decode_response(message_type, body)
    assert isinstance(page, ScanPage)
    assert request_id == 7
    return page


def pages(store, scan, shard=SHARD):
    """All pages of a scan, from its cursor to the end of the shard."""
    while scan.slot <= shard.last_slot:
        page = page_of(store, scan, shard)
        assert (page.next_slot, page.next_after) > (scan.slot, scan.after), "the cursor did not move"
        yield page
        scan = attrs.evolve(scan, slot=page.next_slot, after=page.next_after)


def store_of(records):
    store = MemoryStore()
    for version, (key, value) in enumerate(sorted(records.items()), 1):
        store.put(slot_of(key), key, make_record(version, TOMBSTONE if value is None else 0, value or b""))
    return store


@given(
    st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=4)), max_size=40),
    st.sets(KEYS, max_size=10),
    st.integers(0, 4),
    st.sampled_from([b"", b"{a}", b"{a}1", b"\x00"]),
    st.booleans(),
    st.data(),
)
def test_every_key_once_while_others_come_and_go(stable, passing, count, prefix, values, data):
    """What was there during the whole scan is returned exactly once; what came or went, at most once."""
    passing -= stable.keys()
    store = store_of(stable)
    seen = []
    for page in pages(store, Scan(0, b"", count, prefix, values)):
        assert len(page.items) <= max(count, 1)
        seen += page.items
        for key in data.draw(st.sets(st.sampled_from(sorted(passing)), max_size=3)) if passing else ():
            if store.get(slot_of(key), key) is None:
                store.put(slot_of(key), key, make_record(99, 0, b"passing"))
            else:
                store.purge(slot_of(key), key, 99)
    keys = [item.key for item in seen]
    assert len(keys) == len(set(keys)), "a key was returned twice"
    expected = {key: value for key, value in stable.items() if value is not None and key.startswith(prefix)}
    assert {key for key in keys if key not in passing} == expected.keys()
    assert all(key.startswith(prefix) for key in keys)
    for item in seen:
        if item.key in expected:
            assert item.value == (expected[item.key] if values else b"")
    assert keys == sorted(keys, key=lambda key: (slot_of(key), key))


def test_a_scan_begins_and_ends_with_its_shard():
    store = MemoryStore()
    for slot in (9, 10, 20, 21):
        store.put(slot, b"key%d" % slot, make_record(slot, 0, b""))
    shard = configuration(1, ME, slots=(10, 20))
    page = page_of(store, Scan(0, b"", 100, b"", False), shard)
    assert [item.key for item in page.items] == [b"key10", b"key20"]
    assert (page.next_slot, page.next_after) == (21, b"")


def test_a_page_is_limited_in_bytes_but_never_empty_for_it():
    store = MemoryStore()
    big = bytes(SCAN_PAGE_BYTES * 2 // 3)
    for key in (b"a", b"b", b"c"):
        store.put(5, key, make_record(1, 0, big))
    sizes = [len(page.items) for page in pages(store, Scan(0, b"", 100, b"", True))]
    assert sizes == [1, 1, 1]
    assert [len(page.items) for page in pages(store, Scan(0, b"", 100, b"", False))] == [3]


def test_a_prefix_that_few_keys_have_does_not_hold_up_a_turn(monkeypatch: pytest.MonkeyPatch):
    """A page looks at so many keys and no more, and may then be empty; the scan still finds what there is."""
    monkeypatch.setattr(module, "EXAMINED_KEYS_MAX", 10)
    store = MemoryStore()
    for n in range(200):
        store.put(n, b"common%d" % n, make_record(1, 0, b""))
    store.put(150, b"rare", make_record(1, 0, b""))
    all_pages = list(pages(store, Scan(0, b"", 100, b"rare", False)))
    assert [item.key for page in all_pages for item in page.items] == [b"rare"]
    assert len(all_pages) == 21
    assert not all_pages[0].items


def test_uncommitted_deletions_are_not_shown_and_empty_values_are():
    store = store_of({b"gone": None, b"empty": b""})
    [page] = pages(store, Scan(0, b"", 10, b"", True))
    assert [(item.key, item.value) for item in page.items] == [(b"empty", b"")]


def test_what_has_expired_is_not_shown_from_its_moment_on():
    store = MemoryStore()
    store.put(slot_of(b"k"), b"k", make_expiring_record(1, WALL, b"v"))
    everything = Scan(0, b"", 10, b"", True)
    assert page_of(store, everything, now=WALL).items == []
    [item] = page_of(store, everything, now=WALL - 1).items
    assert (item.key, item.version, item.value) == (b"k", 1, b"v")
