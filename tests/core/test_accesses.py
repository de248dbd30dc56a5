"""When keys were used last, and that a store is the same store with such notes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.core.accesses import Accesses, noting, places_for
from twistedkv.records import make_record
from twistedkv.storage.memory import MemoryStore
from twistedkv.watermarks import NO_LIMITS, Eviction, Limits

RECORD = make_record(5, 0, b"v")


@given(st.lists(st.tuples(st.sampled_from(["get", "put", "many", "time"]), st.binary(min_size=1, max_size=2))))
def test_no_key_seems_older_than_it_is(steps: list[tuple[str, bytes]]):
    accesses = Accesses(MemoryStore(), 16)  # so that many keys have the same place
    now, used = 0, {}
    for what, key in steps:
        if what == "time":
            accesses.pass_time()
            now += 1
            continue
        used[key] = now
        if what == "get":
            accesses.get(0, key)
        elif what == "put":
            accesses.put(0, key, RECORD)
        else:
            accesses.get_many([0], [key])
            accesses.put_many([0], [key], [RECORD])
    for key, moment in used.items():
        assert moment <= accesses.last(key) <= now


def test_it_is_the_store_that_it_stands_around():
    store = MemoryStore()
    accesses = Accesses(store, 16)
    accesses.put(1, b"k", RECORD)
    accesses.put_many([1, 2], [b"a", b"b"], [RECORD, RECORD])
    assert accesses.get(1, b"k") == store.get(1, b"k") == RECORD
    assert accesses.get_many([1], [b"a"]) == [RECORD]
    assert (accesses.keys, accesses.bytes_stored) == (store.keys, store.bytes_stored) == (3, 33)
    assert not accesses.put_newer(1, b"k", RECORD)
    assert dict(accesses.items(1)) == {b"k": RECORD, b"a": RECORD}
    assert accesses.count([1, 2]) == 3
    accesses.purge(1, b"k", 5)
    accesses.drop([2])
    assert accesses.count([1, 2]) == 1
    store.more = "delegated"  # type: ignore[attr-defined]
    assert accesses.more == "delegated"


@pytest.mark.parametrize(("memory", "places"), [(0, 1 << 20), (1, 1 << 12), (1 << 30, 1 << 22), (1 << 50, 1 << 24)])
def test_there_are_places_for_the_keys_that_the_memory_could_hold(memory: int, places: int):
    assert places_for(memory) == places
    assert Accesses(MemoryStore(), places_for(1)).table_bytes == 4 << 12


def test_notes_are_taken_only_where_they_are_needed():
    store = MemoryStore()
    assert noting(store, NO_LIMITS) is store
    assert noting(store, Limits(eviction=Eviction.TTL)) is store
    assert isinstance(noting(store, Limits(eviction=Eviction.LRU)), Accesses)
