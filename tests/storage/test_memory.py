"""The store in memory: against a dict, and by itself where records meet."""

from hypothesis import given
from hypothesis import strategies as st

from twistedkv.limits import SLOTS
from twistedkv.records import TOMBSTONE, make_record, version_of
from twistedkv.storage.memory import MemoryStore

SLOTS_TRIED = st.sampled_from([0, 1, 2, SLOTS - 1])
KEYS = st.sampled_from([b"a", b"b", b"longer key"])
VERSIONS = st.integers(1, 6).map(lambda n: version_of(n // 3, n))
RECORDS = st.builds(make_record, VERSIONS, st.sampled_from([0, TOMBSTONE]), st.binary(max_size=5))
CALLS = st.one_of(
    st.tuples(st.just("put"), SLOTS_TRIED, KEYS, RECORDS),
    st.tuples(st.just("put_newer"), SLOTS_TRIED, KEYS, RECORDS),
    st.tuples(st.just("purge"), SLOTS_TRIED, KEYS, VERSIONS),
    st.tuples(st.just("drop"), st.lists(SLOTS_TRIED)),
    st.tuples(st.just("put_many"), st.dictionaries(st.tuples(SLOTS_TRIED, KEYS), RECORDS, max_size=6)),
    st.tuples(st.just("get_many"), st.lists(st.tuples(SLOTS_TRIED, KEYS), max_size=6)),
)


@given(st.lists(CALLS, max_size=30))
def test_it_is_a_dict_with_versions(calls):
    store = MemoryStore()
    model: dict[tuple[int, bytes], bytes] = {}
    for name, *arguments in calls:
        if name in ("put_many", "get_many"):
            places = list(arguments[0])
            slots, keys = [slot for slot, _ in places], [key for _, key in places]
            if name == "put_many":
                store.put_many(slots, keys, list(arguments[0].values()))
                model |= arguments[0]
            else:
                assert store.get_many(slots, keys) == [model.get(place) for place in places]
            continue
        result = getattr(store, name)(*arguments)
        if name == "drop":
            model = {place: record for place, record in model.items() if place[0] not in arguments[0]}
            continue
        slot, key, given_ = arguments
        old = model.get((slot, key))
        if name == "put":
            model[slot, key] = given_
        elif name == "put_newer":
            newer = old is None or int.from_bytes(given_[:8], "big") > int.from_bytes(old[:8], "big")
            assert result is newer
            if newer:
                model[slot, key] = given_
        elif old is not None and int.from_bytes(old[:8], "big") == given_:
            del model[slot, key]
    assert store.keys == len(model)
    assert store.bytes_stored == sum(len(key) + len(record) for (_, key), record in model.items())
    for slot in (0, 1, 2, SLOTS - 1):
        here = {key: record for (where, key), record in model.items() if where == slot}
        assert dict(store.items(slot)) == here
        assert store.count(range(slot, slot + 1)) == len(here)
        assert all(store.get(slot, key) == here.get(key) for key in (b"a", b"b", b"longer key", b"never"))
    assert store.count(range(SLOTS)) == store.keys


def test_a_tombstone_is_newer_than_what_it_deletes():
    """I11: the streamed record of a key that has been deleted since does not bring it back."""
    store = MemoryStore()
    assert store.put_newer(1, b"a", make_record(7, TOMBSTONE, b""))
    assert not store.put_newer(1, b"a", make_record(6, 0, b"old"))
    assert not store.put_newer(1, b"a", make_record(7, 0, b"same"))
    assert store.put_newer(1, b"a", make_record(version_of(1, 1), 0, b"of a later epoch"))


def test_many_keys_may_be_read_where_nothing_was_ever_stored_and_twice():
    store = MemoryStore()
    store.put(1, b"a", make_record(1, 0, b"v"))
    assert store.get_many([1, 2, 1, 1], [b"a", b"a", b"b", b"a"]) == [
        store.get(1, b"a"),
        None,
        None,
        store.get(1, b"a"),
    ]
    assert store.get_many([], []) == []
    assert (store.keys, list(store.items(2)), store.count(range(SLOTS))) == (1, [], 1)


def test_many_keys_are_stored_over_and_beside_what_is_there():
    store = MemoryStore()
    store.put(1, b"a", make_record(1, 0, b"long ago"))
    new = [make_record(2, 0, b"v"), make_record(2, TOMBSTONE, b""), make_record(2, 0, b"www")]
    store.put_many([1, 1, 2], [b"a", b"b", b"a"], new)
    assert store.get_many([1, 1, 2], [b"a", b"b", b"a"]) == new
    assert (store.keys, store.bytes_stored) == (3, 3 + sum(map(len, new)))
    store.put_many([], [], [])
    assert store.keys == 3
