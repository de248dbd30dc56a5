"""The durable store over LMDB against a model: batches in every phase, crashes before and after they are stored."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.storage.stores import SHARDS, close, open_durable, settle
from tests.support.disks import store_on, write_out
from twistedkv.chunks import Chunk
from twistedkv.core.space import KEY_OVERHEAD_BYTES, weigh
from twistedkv.limits import SLOTS
from twistedkv.records import TOMBSTONE, make_record
from twistedkv.storage import archive, durable, folding
from twistedkv.storage.disk import Batch, Tail
from twistedkv.storage.folding import size_of

SLOTS_TRIED = st.sampled_from([0, 1, 2, 3, 4, SLOTS - 1])
KEYS = st.sampled_from([b"a", b"b", b"longer key"])
SHARDS_TRIED = st.sampled_from(sorted(SHARDS))
VALUES = st.binary(max_size=40)


def _shard_of(slot: int) -> int:
    return next(shard for shard, slots in SHARDS.items() if slot in slots)


class _Model:
    """What a store holds."""

    def __init__(self) -> None:
        self.records: dict[tuple[int, bytes], bytes] = {}
        self.chunks: dict[int, list[Chunk]] = {shard: [] for shard in SHARDS}
        self.tables: dict[int, tuple[int, list[bytes]]] = {}
        self.states: dict[int, bytes] = {}
        self.purged: dict[tuple[int, bytes], bytes] = {}
        self.number = 0
        """Of the tail or batch with which it is stored."""

    def copy(self) -> _Model:
        """As it is now."""
        return pickle.loads(pickle.dumps(self))


class Batches(RuleBasedStateMachine):
    """As a replica does, each update is put and goes into the shard's log, and what comes from elsewhere is held."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="twistedkv-machine-"))
        self.limits = (folding.FOLD_BYTES, archive.LOG_KEPT_BYTES)
        self.now = _Model()
        self.stored = _Model()
        self.under_way: dict[type, tuple[Any, _Model]] = {}
        """What was taken, by kind, and what there was at that moment."""
        self.on_disk: dict[type, Any] = {}
        self.version = 0

    @initialize(
        fold_bytes=st.sampled_from([1, 60, 10_000]),
        unfolded=st.sampled_from([0, 100]),
        tail_bytes=st.sampled_from([0, 300, 2000]),
        tails_stored=st.sampled_from([1, 500]),
    )
    def begin(self, fold_bytes: int, unfolded: int, tail_bytes: int, tails_stored: int) -> None:
        folding.FOLD_BYTES, archive.LOG_KEPT_BYTES = fold_bytes, 200
        self.unfolded, self.tails = unfolded, (tail_bytes, tails_stored)
        self._open()
        for shard in SHARDS:  # nothing is logged of a shard before its state is stored
            self.save(shard, b"begun")
        settle(self.store)
        self.stored = self.now.copy()
        self.stored.number = self.store.stored()

    def _open(self) -> None:
        self.store = open_durable(self.directory)
        self.store.folding.bytes_max = self.unfolded
        self.store.tail_bytes_max, self.store.tail_bytes_stored = self.tails

    def teardown(self) -> None:
        folding.FOLD_BYTES, archive.LOG_KEPT_BYTES = self.limits
        if hasattr(self, "store"):
            close(self.store)
        shutil.rmtree(self.directory)

    # What a replica does.

    def _log(self, slot: int, key: bytes, record: bytes) -> None:
        shard = _shard_of(slot)
        chunks = self.now.chunks[shard]
        sequence = chunks[-1].last + 1 if chunks else 1
        chunk = Chunk(sequence, sequence, 1, pickle.dumps((slot, key, record)))
        chunks.append(chunk)
        self.store.archive(shard).append(chunk, sequence)

    @rule(slot=SLOTS_TRIED, key=KEYS, value=VALUES, deleted=st.booleans())
    def update(self, slot: int, key: bytes, value: bytes, deleted: bool) -> None:
        self.version += 1
        record = make_record(self.version, TOMBSTONE if deleted else 0, b"" if deleted else value)
        self.store.put(slot, key, record)
        self.now.records[slot, key] = record
        self._log(slot, key, record)

    @rule(slot=SLOTS_TRIED, key=KEYS, value=VALUES, older=st.integers(-1, 3))
    def stream(self, slot: int, key: bytes, value: bytes, older: int) -> None:
        self.version += 1
        record = make_record(max(1, self.version - older), 0, value)
        old = self.now.records.get((slot, key))
        newer = old is None or old[:8] < record[:8]
        assert self.store.put_newer(slot, key, record) is newer
        self.store.hold([slot])
        if newer:
            self.now.records[slot, key] = record

    @rule(slot=SLOTS_TRIED, key=KEYS)
    def purge(self, slot: int, key: bytes) -> None:
        record = self.now.records.get((slot, key))
        if record is not None and record[8] & TOMBSTONE:
            self.store.purge(slot, key, int.from_bytes(record[:8], "big") + 1)
            assert self.store.get(slot, key) == record
            self.store.purge(slot, key, int.from_bytes(record[:8], "big"))
            self.now.purged[slot, key] = self.now.records.pop((slot, key))

    @rule(shard=SHARDS_TRIED)
    def drop(self, shard: int) -> None:
        self.store.drop(SHARDS[shard])
        self.store.archive(shard).restart()
        self.now.records = {place: r for place, r in self.now.records.items() if place[0] not in SHARDS[shard]}
        self.now.chunks[shard] = []
        self.now.tables.pop(shard, None)
        self.store.save(shard, b"dropped")
        self.now.states[shard] = b"dropped"

    @rule(shard=SHARDS_TRIED, state=VALUES)
    def change_state(self, shard: int, state: bytes) -> None:
        self.save(shard, state)

    def save(self, shard: int, state: bytes) -> None:
        self.store.save(shard, state)
        self.now.states[shard] = state

    @rule(shard=SHARDS_TRIED, pieces=st.lists(VALUES, min_size=1, max_size=3))
    def keep_table(self, shard: int, pieces: list[bytes]) -> None:
        chunks = self.now.chunks[shard]
        self.now.tables[shard] = chunks[-1].last if chunks else 0, pieces
        self.store.keep_table(shard, *self.now.tables[shard])

    # Batches.

    @rule(everything=st.booleans())
    def take(self, everything: bool) -> None:
        for work in (self.store.take_tail(), self.store.take(everything=everything)):
            if work is not None:
                assert type(work) not in self.under_way
                holding = self.now.copy()
                holding.number = work.number
                self.under_way[type(work)] = work, holding
        assert self.store.busy is bool(self.under_way)

    @rule(kind=st.sampled_from([Tail, Batch]))
    def write(self, kind: type) -> None:
        if kind in self.under_way and kind not in self.on_disk:
            work, holding = self.under_way[kind]
            (self.store.disk.append if kind is Tail else self.store.disk.write)(work)
            self.on_disk[kind] = work
            if holding.number >= self.stored.number:
                self.stored = holding

    @rule(kind=st.sampled_from([Tail, Batch]))
    def written(self, kind: type) -> None:
        if kind in self.on_disk:
            self.store.written(self.on_disk.pop(kind))
            del self.under_way[kind]
            assert self.store.stored() <= self.store.pending()

    @rule()
    def crash(self) -> None:
        close(self.store)
        self._open()
        self.under_way, self.on_disk = {}, {}
        self.now = self.stored.copy()
        kept = self.store.kept()
        assert {shard: each.state for shard, each in kept.items()} == self.now.states
        for shard, each in kept.items():
            self._recall(shard, each)
        for place, record in self.now.purged.items():  # a purge is in no log: it is made again
            if place not in self.now.records and self.store.get(*place) == record:
                self.store.purge(*place, int.from_bytes(record[:8], "big"))

    def _recall(self, shard: int, kept: Any) -> None:
        chunks = self.now.chunks[shard]
        assert (kept.table_at, kept.table) == self.now.tables.get(shard, (0, []))
        assert kept.last == (chunks[-1].version if chunks else 0)
        needed = min(kept.table_at, kept.folded, kept.commit)
        expected = [(chunk.first, chunk.entries) for chunk in chunks if chunk.last > needed]
        assert [(chunk.first, chunk.entries) for chunk in kept.chunks] == expected
        for chunk in kept.chunks:
            if chunk.first > kept.folded:
                self.store.put_newer(*pickle.loads(chunk.entries))

    # What always holds.

    @invariant()
    def as_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        for slot in (0, 1, 2, 3, 4, SLOTS - 1):
            here = {key: record for (where, key), record in self.now.records.items() if where == slot}
            assert dict(self.store.items(slot)) == here
            assert {key: self.store.get(slot, key) for key in here} == here
        for slots in SHARDS.values():
            assert self.store.count(slots) == sum(slot in slots for slot, _ in self.now.records)
        sizes = [size_of(records) for records in self.store.open_batch.records.values()]
        assert self.store.folding.bytes == sum(sizes)
        assert self.store.folding.keys == sum(map(len, self.store.open_batch.records.values()))

    @invariant()
    def as_the_log(self) -> None:
        if not hasattr(self, "store"):
            return
        for shard, chunks in self.now.chunks.items():
            log = self.store.archive(shard)
            last = chunks[-1].last if chunks else 0
            for sequence in {0, last // 2, last - 1, last} - {-1}:
                found = log.after(sequence, 1 << 20)
                expected = [chunk.entries for chunk in chunks if chunk.last > sequence]
                if found is None:  # it is gone, so it has to be in its place
                    assert not chunks or sequence < min(log.folded, log.table_at)
                else:
                    assert [chunk.entries for chunk in found] == expected
            held = log.holding(last) if chunks else None
            assert (held.entries if held else None) == (chunks[-1].entries if chunks else None)


TestBatches = Batches.TestCase
TestBatches.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_bytes_are_read_in_pieces(tmp_path: Path) -> None:
    """Of the log, never more than was asked for, but one chunk."""
    store = open_durable(tmp_path)
    log = store.archive(0)
    for sequence in range(1, 11):
        log.append(Chunk(sequence, sequence, 1, bytes(100)), sequence)
    assert [chunk.first for chunk in log.after(2, 250) or ()] == [3, 4]
    assert [chunk.first for chunk in log.after(2, 1) or ()] == [3]
    settle(store)
    assert [chunk.first for chunk in log.after(8, 250) or ()] == [9, 10]
    assert log.after(10, 250) == []
    assert log.holding(11) is None
    close(store)


def test_a_resent_chunk_takes_the_place_of_those_that_it_holds(tmp_path: Path) -> None:
    store = open_durable(tmp_path)
    store.save(0, b"state")
    log = store.archive(0)
    for first, last in ((1, 3), (4, 6), (7, 8)):
        log.append(Chunk(first, last, 1, b"%d to %d" % (first, last)), 3)
    settle(store)
    log.append(Chunk(4, 9, 1, b"4 to 9"), 3)
    for _ in range(2):
        assert [chunk.entries for chunk in log.after(0, 1 << 20) or ()] == [b"1 to 3", b"4 to 9"]
        settle(store)
    close(store)
    store = open_durable(tmp_path)
    assert [chunk.entries for chunk in store.kept()[0].chunks] == [b"1 to 3", b"4 to 9"]
    assert store.kept() == {}
    close(store)


def test_deleting_for_ever_leaves_no_debt(tmp_path: Path) -> None:
    """A key that is written, deleted and purged again and again: what is not folded yet is counted as it is."""
    store = open_durable(tmp_path)
    store.folding.bytes_max = 0
    for version in range(1, 200, 2):
        store.put(1, b"key", make_record(version, 0, bytes(50)))
        store.put(1, b"key", make_record(version, 0, bytes(50)))
        settle(store)
        store.put(1, b"key", make_record(version + 1, TOMBSTONE, b""))
        settle(store)
        store.purge(1, b"key", version + 1)
        settle(store)
    assert store.folding.bytes == 0
    close(store)


@pytest.mark.parametrize("at_once", [False, True])
def test_what_may_be_acknowledged(at_once: bool, tmp_path: Path) -> None:
    store = open_durable(tmp_path)
    store = durable.DurableStore(store.disk, at_once=at_once)
    assert (store.pending(), store.stored(), store.settled()) == (0, 0, 0)
    store.save(0, b"state")
    assert (store.pending(), store.stored(), store.settled()) == (1, 0, at_once)
    batch = store.take()
    assert batch is not None and store.take_tail() is None and store.pending() == 1
    store.save(0, b"another")
    assert (store.pending(), store.stored(), store.settled()) == (2, 0, 2 * at_once)
    store.disk.write(batch)
    assert store.stored() == 0
    store.written(batch)
    assert (store.pending(), store.stored(), store.settled()) == (2, 1, 1 + at_once)
    close(store)


def test_keys_are_counted_before_they_are_in_their_places() -> None:
    store = store_on()
    store.place(0, range(SLOTS))
    for number in range(40):
        store.put(number, b"k%d" % number, make_record(number + 1, 0, b"v"))
    assert store.keys == 40
    write_out(store)
    assert store.keys == 40
    for number in range(60):
        store.put(number, b"k%d" % number, make_record(number + 100, 0, b"w"))
    store.purge(0, b"k0", 100)
    assert store.keys == 59
    write_out(store)
    for number in range(1000):
        store.put(100 + number, b"k%d" % number, make_record(number + 1, 0, b"v"))
    assert store.keys == 1059, "of many, some are looked at"


def test_a_reckoning_looks_at_few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many keys that were not in their places, each beat held a server up for 30 ms while it counted them."""
    store = store_on()
    store.place(0, range(SLOTS // 2))
    store.place(1, range(SLOTS // 2, SLOTS))
    for number in range(3000):
        store.put(number, b"k%d" % number, make_record(number + 1, 0, b"v"))
    write_out(store)
    for number in range(6000):  # half of them are there already
        store.put(number, b"k%d" % number, make_record(number + 9000, 0, b"w"))
    looked: list[bytes] = []
    has = store.disk.has
    monkeypatch.setattr(store.disk, "has", lambda shard, slot, key: looked.append(key) or has(shard, slot, key))
    assert 3000 <= store.reckon(range(SLOTS // 2)) <= 6000
    assert store.reckon(range(SLOTS // 2, SLOTS)) == 0 and store.count(range(SLOTS // 2, SLOTS)) == 0
    assert 3000 <= weigh(store, range(SLOTS // 2)) / (KEY_OVERHEAD_BYTES + 15) <= 6000
    assert len(looked) <= 4 * durable.SAMPLED_KEYS
    assert store.count(range(SLOTS // 2)) == 6000
