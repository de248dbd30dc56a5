"""A store that outlives its process: batches over a disk that takes its time.

What is put is in the *open batch*, and can be read at once. `take` closes that batch, when none is being written; the
disk then writes it, as a whole or not at all, in a thread of its own; `written` says that this has been done, and the
next one may be taken. So a disk that is slow gets larger batches, and not more of them (group commit).

A read looks into the open batch, then into the one being written, then at the disk. Everything here but `Disk.write` is
called in the reactor's thread, and a batch that is being written is not changed any more.

What makes an update stable is its entry in the log. Records are folded into their tables later, a few slots at a time,
when UNFOLDED_BYTES of them have come together: then many of them are in one page, which is written once for all of them
(docs/performance.md). Until then they stay in the open batch, from one batch to the next. After a start, entries of the
log that may not have been folded are applied again.

A disk keeps each record, chunk, state and table with its checksum, and looks at it when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence

from twistedkv.chunks import Chunk
from twistedkv.errors import DamagedRecord
from twistedkv.limits import FOLD_BYTES, LOG_KEPT_BYTES, SLOTS, UNFOLDED_BYTES
from twistedkv.storage.archive import ShardLog
from twistedkv.storage.disk import Batch, Disk
from twistedkv.storage.interface import Kept, Stable

_NOWHERE = -1


SAMPLED_KEYS = 64


def _size(records: dict[bytes, bytes | None]) -> int:
    return sum(map(len, records)) + sum(len(record) for record in records.values() if record is not None)


class DurableStore:
    """`storage.interface.Store` and `Stable` over a disk. With `at_once`, batches count as stored before they are: what
    the last of them hold is lost when the process ends."""

    def __init__(self, disk: Disk, *, at_once: bool = False) -> None:
        self.disk = disk
        self.store_id = disk.store_id
        self.server_id = disk.server_id
        self.stable: Stable | None = self
        self._at_once = at_once
        self._shard_of = [_NOWHERE] * SLOTS
        self._slots: dict[int, range] = {}
        self._logs: dict[int, ShardLog] = {}
        self.open_batch = Batch(1, shard_of=self._shard_of)
        self.unfolded_max = UNFOLDED_BYTES
        self._unfolded = 0
        """Bytes of the records in the open batch."""
        self._due = 0
        """Of those, what is to be folded soon."""
        self._hand = 0
        """The slot at which folding goes on: round and round."""
        self._round: dict[int, int] = {}
        """By shard: where its log ended when this round began."""
        self._writing: Batch | None = None
        self._stored = 0
        self._kept = self._find()

    # Space: see `core.space.Space`.

    def space(self) -> tuple[int, int]:
        """Bytes of the disk that are used, and that may be."""
        return self.disk.room()

    def memory(self) -> int:
        """Bytes of what is not only on the disk."""
        return self._unfolded + self.bytes_waiting()

    # Batches.

    def pending(self) -> int:
        """See Stable."""
        if not self.open_batch.empty:
            return self.open_batch.number
        return self._stored if self._writing is None else self._writing.number

    def stored(self) -> int:
        """See Stable."""
        return self._stored

    def settled(self) -> int:
        """See Stable."""
        return self.pending() if self._at_once else self._stored

    def bytes_waiting(self) -> int:
        """See Stable."""
        return self.open_batch.bytes + (0 if self._writing is None else self._writing.bytes)

    def take(self, *, everything: bool = False) -> Batch | None:
        """The open batch, to be written; None when nothing in it has to be, or one is being written already.

        To be called where the records and the log agree: at the end of a turn. `everything`: with all its records.
        """
        batch = self.open_batch
        if self._writing is not None or (batch.empty and not (everything and batch.records)):
            return None
        self._writing = batch
        self.open_batch = Batch(batch.number + 1, shard_of=self._shard_of)
        if everything:
            self._unfolded = self._due = 0
            self._round_begins()
            self._round_begins()
        else:
            unfolded = self.open_batch.records = batch.records
            batch.records = {slot: unfolded.pop(slot) for slot in self._to_fold(batch)}
        return batch

    def _to_fold(self, batch: Batch) -> list[int]:
        """Slots whose records are stored with this batch: as many bytes as have come since, once there are enough."""
        chosen = [slot for slot in batch.held if slot in batch.records]
        self._unfolded -= sum(map(_size, map(batch.records.__getitem__, chosen)))
        if self._unfolded <= self.unfolded_max:
            self._due = 0
            return chosen
        while self._due >= FOLD_BYTES and len(chosen) < len(batch.records):
            slot = self._hand
            self._hand = (slot + 1) % SLOTS
            if not slot:
                self._round_begins()
            if slot in batch.records and slot not in batch.held:
                chosen.append(slot)
                size = _size(batch.records[slot])
                self._unfolded -= size
                self._due -= size
        return chosen

    def _round_begins(self) -> None:
        """What was in the open batch when the last round began has been folded since."""
        for shard, sequence in self._round.items():
            self._logs[shard].folded = sequence
        self._round = {shard: log.chunks[-1][1] for shard, log in self._logs.items() if log.chunks}

    def written(self) -> None:
        """The batch that was taken is stable."""
        assert self._writing is not None
        self.disk.refresh()
        self._stored = self._writing.number
        self._writing = None

    # What was there.

    def kept(self) -> dict[int, Kept]:
        """See Stable."""
        kept, self._kept = self._kept, {}
        return kept

    def _find(self) -> dict[int, Kept]:
        found = {}
        for shard, each in self.disk.find().items():
            log = self._logs[shard] = ShardLog(self, shard)
            log.chunks.extend(each.chunks)
            log.bytes = sum(size for _, _, size in each.chunks)
            log.table_at = each.table_at
            last = commit = 0
            if each.chunks:
                newest, commit, log.folded = self.disk.chunk(shard, each.chunks[-1][0])
                last = newest.version
            needed = min(commit, each.table_at, log.folded)
            chunks = [self.disk.chunk(shard, first)[0] for first, until, _ in each.chunks if until > needed]
            log.since_table = sum(len(chunk.entries) for chunk in chunks if chunk.last > each.table_at)
            found[shard] = Kept(each.state, chunks, last, commit, log.folded, each.table_at, each.table)
        return found

    def archive(self, shard: int) -> ShardLog:
        """See Stable."""
        log = self._logs.get(shard)
        if log is None:
            log = self._logs[shard] = ShardLog(self, shard)
        return log

    def save(self, shard: int, state: bytes) -> None:
        """See Stable."""
        self.open_batch.states[shard] = state

    def wants_table(self, shard: int) -> bool:
        """See Stable."""
        return self.archive(shard).since_table > LOG_KEPT_BYTES // 2

    def keep_table(self, shard: int, sequence: int, pieces: list[bytes]) -> None:
        """See Stable."""
        log = self.archive(shard)
        log.table_at, log.since_table = sequence, 0
        self.open_batch.tables[shard] = (sequence, pieces)
        self.open_batch.bytes += sum(map(len, pieces))

    def restarted(self, shard: int) -> None:
        """A shard's log begins anew."""
        batch = self.open_batch
        batch.chunks = [each for each in batch.chunks if each[0] != shard]
        batch.trimmed = [each for each in batch.trimmed if each[0] != shard]
        batch.tables.pop(shard, None)
        batch.restarted[shard] = None
        self._round.pop(shard, None)

    def read_chunk(self, shard: int, first: int) -> Chunk:
        """A chunk that is in the log."""
        for batch in (self.open_batch, self._writing):
            if batch is not None:
                for its_shard, chunk, _, _ in reversed(batch.chunks):
                    if its_shard == shard and chunk.first == first:
                        return chunk
        return self.disk.chunk(shard, first)[0]

    # Records.

    @property
    def keys(self) -> int:
        """See Store. Exact as long as few keys are not in their places yet; else reckoned from some of those."""
        total = sum(map(self.disk.count, self._slots))
        for batch in (self._writing, self.open_batch):
            if batch is not None and batch.records:
                total += self._more(batch)
        return max(0, total)

    def _more(self, batch: Batch) -> int:
        """About how many keys more there will be with this batch."""
        unfolded = sum(map(len, batch.records.values()))
        looked = more = 0
        for slot, records in batch.records.items():
            if looked >= SAMPLED_KEYS:
                break
            shard = self._shard_of[slot]
            for key, record in records.items():
                more += (record is not None) - self.disk.has(shard, slot, key)
            looked += len(records)
        return round(more * unfolded / looked) if looked else 0

    @property
    def bytes_stored(self) -> int:
        """See Store. Of the disk, with all that it needs besides."""
        return self.disk.bytes_used()

    def place(self, shard: int, slots: range) -> None:
        """See Store."""
        if self._slots.get(shard) != slots:
            self._slots[shard] = slots
            self._shard_of[slots.start : slots.stop] = [shard] * len(slots)

    def get(self, slot: int, key: bytes) -> bytes | None:
        """See Store."""
        records = self.open_batch.records.get(slot)
        if records is not None and key in records:
            return records[key]
        shard = self._shard_of[slot]
        if shard in self.open_batch.dropped:
            return None
        writing = self._writing
        if writing is not None:
            records = writing.records.get(slot)
            if records is not None and key in records:
                return records[key]
            if shard in writing.dropped:
                return None
        return self.disk.get(shard, slot, key)

    def get_many(self, slots: Sequence[int], keys: Sequence[bytes]) -> list[bytes | None]:
        """See Store."""
        return list(map(self.get, slots, keys))

    def put(self, slot: int, key: bytes, record: bytes) -> None:
        """See Store."""
        batch = self.open_batch
        records = batch.records.get(slot)
        if records is None:
            records = batch.records[slot] = {}
        size = len(key) + len(record)
        if key in records:
            size -= len(key) + len(records[key] or b"")
        records[key] = record
        self._unfolded += size
        self._due += size

    def hold(self, slots: Sequence[int]) -> None:
        """See Stable."""
        self.open_batch.held.update(dict.fromkeys(slots))

    def put_many(self, slots: Sequence[int], keys: Sequence[bytes], records: Sequence[bytes]) -> None:
        """See Store."""
        for slot, key, record in zip(slots, keys, records, strict=True):
            self.put(slot, key, record)

    def put_newer(self, slot: int, key: bytes, record: bytes) -> bool:
        """See Store. What is damaged is no evidence, and makes way."""
        try:
            old = self.get(slot, key)
        except DamagedRecord:
            old = None
        if old is not None and old[:8] >= record[:8]:
            return False
        self.put(slot, key, record)
        return True

    def purge(self, slot: int, key: bytes, version: int) -> None:
        """See Store."""
        try:
            record = self.get(slot, key)
        except DamagedRecord:
            return  # it has another version now, or is mended first
        if record is not None and int.from_bytes(record[:8], "big") == version:
            records = self.open_batch.records.setdefault(slot, {})
            size = -len(records[key] or b"") if key in records else len(key)
            records[key] = None
            self._unfolded += size
            self._due += size

    def items(self, slot: int) -> list[tuple[bytes, bytes]]:
        """See Store."""
        found, damaged = self.inspect(slot)
        if damaged:
            raise DamagedRecord(slot, damaged[0])
        return found

    def inspect(self, slot: int) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """See Stable."""
        shard = self._shard_of[slot]
        found: dict[bytes, bytes | None] = {}
        damaged: list[bytes] = []
        newer = [batch for batch in (self._writing, self.open_batch) if batch is not None]
        while len(newer) > 1 and shard in newer[-1].dropped:
            newer.pop(0)
        if not any(shard in batch.dropped for batch in newer):
            stored, damaged = self.disk.inspect(shard, slot)
            found.update(stored)
        for batch in newer:
            found.update(batch.records.get(slot, ()))
        left = [key for key in damaged if key not in found]
        return [(key, record) for key, record in found.items() if record is not None], left

    def count(self, slots: range) -> int:
        """See Store."""
        shard = self._shard_of[slots.start]
        if shard == _NOWHERE or self._slots[shard] != slots:
            return sum(len(self.items(slot)) for slot in slots)
        batches = [batch for batch in (self._writing, self.open_batch) if batch is not None]
        kept = not any(shard in batch.dropped for batch in batches)
        total = self.disk.count(shard) if kept else 0
        latest: dict[tuple[int, bytes], bool] = {}
        for batch in batches:
            if shard in batch.dropped:
                latest.clear()
            for slot, records in batch.records.items():
                if slot in slots:
                    latest.update(((slot, key), record is not None) for key, record in records.items())
        for (slot, key), there in latest.items():
            total += there - (kept and self.disk.has(shard, slot, key))
        return total

    def drop(self, slots: range) -> None:
        """See Store."""
        shard = self._shard_of[slots.start]
        if shard == _NOWHERE:
            return
        batch = self.open_batch
        for slot in [slot for slot in batch.records if slot in slots]:
            self._unfolded -= _size(batch.records.pop(slot))
            batch.held.pop(slot, None)
        batch.dropped[shard] = None
