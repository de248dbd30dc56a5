"""Tombstones wait in the store for their commit."""

from __future__ import annotations

from tests.support.disks import damage, store_on, write_out
from twistedkv.core.deletions import Deletions
from twistedkv.records import TOMBSTONE, make_record, version_of
from twistedkv.storage.memory import MemoryStore


def test_they_go_with_the_commit_and_count_until_then():
    store = MemoryStore()
    deletions = Deletions(store)
    for sequence, key in enumerate((b"a", b"b", b"c"), 1):
        tombstone = make_record(version_of(1, sequence), TOMBSTONE, b"")
        store.put(5, key, tombstone)
        deletions.note(5, key, tombstone)
    assert (deletions.buried(), len(deletions)) == (3, 3)
    store.put(5, b"b", make_record(version_of(1, 9), 0, b"again"))
    assert deletions.buried() == 2
    deletions.purge(2)
    assert [key for key, _ in store.items(5)] == [b"b", b"c"]
    assert len(deletions) == 1
    deletions.clear()
    assert deletions.buried() == 0


def test_one_that_is_damaged_does_not_count():
    store = store_on()
    store.place(0, range(16384))
    deletions = Deletions(store)
    tombstone = make_record(version_of(1, 1), TOMBSTONE, b"")
    store.put(5, b"a", tombstone)
    deletions.note(5, b"a", tombstone)
    write_out(store)
    damage(store, b"a")
    assert deletions.buried() == 0
    deletions.purge(1)
