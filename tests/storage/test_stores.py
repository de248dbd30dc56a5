"""The same of every store: it is a dict of records with versions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.stores import OPENINGS, SHARDS, close, settle
from twistedkv.limits import SLOTS
from twistedkv.records import TOMBSTONE, make_record, version_of
from twistedkv.storage.interface import Store

SLOTS_TRIED = st.sampled_from([0, 1, 2, 3, SLOTS - 1])
KEYS = st.sampled_from([b"a", b"b", b"longer key", b"k" * 300])
VERSIONS = st.integers(1, 6).map(lambda n: version_of(n // 3, n))
RECORDS = st.builds(make_record, VERSIONS, st.sampled_from([0, TOMBSTONE]), st.binary(max_size=5))
CALLS = st.one_of(
    st.tuples(st.just("put"), SLOTS_TRIED, KEYS, RECORDS),
    st.tuples(st.just("put_newer"), SLOTS_TRIED, KEYS, RECORDS),
    st.tuples(st.just("purge"), SLOTS_TRIED, KEYS, VERSIONS),
    st.tuples(st.just("drop"), st.sampled_from(sorted(SHARDS))),
    st.tuples(st.just("put_many"), st.dictionaries(st.tuples(SLOTS_TRIED, KEYS), RECORDS, max_size=6)),
    st.tuples(st.just("get_many"), st.lists(st.tuples(SLOTS_TRIED, KEYS), max_size=6)),
    st.tuples(st.just("settle")),
)


@pytest.fixture(params=OPENINGS, ids=lambda opening: opening.__name__.removeprefix("open_"))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = request.param(tmp_path)
    yield opened
    close(opened)


@pytest.mark.parametrize("opening", OPENINGS)
@given(calls=st.lists(CALLS, max_size=30))
@settings(max_examples=60)
def test_it_is_a_dict_with_versions(opening: Callable[[Path], Store], calls: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = opening(Path(directory))
        try:
            _compare(store, calls)
        finally:
            close(store)


def _compare(store: Store, calls: list[Any]) -> None:
    model: dict[tuple[int, bytes], bytes] = {}
    for name, *arguments in calls:
        if name == "settle":
            settle(store)
        elif name in ("put_many", "get_many"):
            places = list(arguments[0])
            slots, keys = [slot for slot, _ in places], [key for _, key in places]
            if name == "put_many":
                store.put_many(slots, keys, list(arguments[0].values()))
                model |= arguments[0]
            else:
                assert store.get_many(slots, keys) == [model.get(place) for place in places]
        elif name == "drop":
            slots_of_shard = SHARDS[arguments[0]]
            store.drop(slots_of_shard)
            model = {place: record for place, record in model.items() if place[0] not in slots_of_shard}
        else:
            _change(store, model, name, *arguments)
        for shard in SHARDS.values():
            assert store.count(shard) == sum(slot in shard for slot, _ in model)
    for slot in (0, 1, 2, 3, SLOTS - 1):
        here = {key: record for (where, key), record in model.items() if where == slot}
        assert dict(store.items(slot)) == here
        assert store.count(range(slot, slot + 1)) == len(here)
        assert all(store.get(slot, key) == here.get(key) for key in (b"a", b"b", b"longer key", b"k" * 300, b"never"))
    settle(store)
    assert store.keys == len(model)


def _change(store: Store, model: dict[tuple[int, bytes], bytes], name: str, slot: int, key: bytes, given_: Any) -> None:
    result = getattr(store, name)(slot, key, given_)
    old = model.get((slot, key))
    if name == "put":
        model[slot, key] = given_
    elif name == "put_newer":
        newer = old is None or given_[:8] > old[:8]
        assert result is newer
        if newer:
            model[slot, key] = given_
    elif old is not None and int.from_bytes(old[:8], "big") == given_:
        del model[slot, key]


def test_items_may_be_used_while_writes_go_on(store: Store) -> None:
    for key in (b"a", b"b", b"c"):
        store.put(1, key, make_record(1, 0, key))
    settle(store)
    seen = []
    for key, _ in store.items(1):
        store.put(1, key + b"!", make_record(2, 0, b""))
        store.purge(1, b"c", 1)
        settle(store)
        seen.append(key)
    assert seen == [b"a", b"b", b"c"]


def test_a_key_is_purged_only_at_the_version_it_was_deleted_at(store: Store) -> None:
    store.put(1, b"a", make_record(7, TOMBSTONE, b""))
    settle(store)
    store.put(1, b"a", make_record(8, 0, b"again"))
    store.purge(1, b"a", 7)
    assert store.get(1, b"a") == make_record(8, 0, b"again")
    store.purge(2, b"a", 8)
    store.purge(1, b"other", 8)
    assert store.get(1, b"a") is not None
    store.purge(1, b"a", 8)
    assert store.get(1, b"a") is None
    settle(store)
    assert store.get(1, b"a") is None and store.keys == 0


def test_what_is_put_after_a_drop_stays(store: Store) -> None:
    for key in (b"a", b"b"):
        store.put(2, key, make_record(1, 0, b"old"))
    store.put(0, b"a", make_record(1, 0, b"of another shard"))
    settle(store)
    store.drop(SHARDS[1])
    store.put(3, b"a", make_record(2, 0, b"new"))
    for _ in range(2):
        assert [store.get(2, b"a"), store.get(2, b"b")] == [None, None]
        assert store.items(3) == [(b"a", make_record(2, 0, b"new"))]
        assert store.count(SHARDS[1]) == store.count(SHARDS[0]) == 1
        settle(store)
