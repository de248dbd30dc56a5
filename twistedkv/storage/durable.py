"""A store that outlives its process: batches over a disk that takes its time.

What is put is in the *open batch*, and can be read at once. What makes an update stable is its entry in the log:
`take_tail` gives what is new there, when nothing is being appended, for the disk to append it in a thread of its own;
`written` says that this has been done, and the next may be taken. So a disk that is slow gets more at a time, and not
more often (group commit).

The tables get all that later: `take` closes the open batch, when none is being written and there are TAIL_STORED_BYTES
of tails, and the disk writes it, as a whole or not at all, in another thread, while tails are appended. What no tail
can have, as a shard's state or records that were streamed, waits for its batch, and with it all that comes after.

A read looks into the open batch, then into the one being written, then at the disk. Everything here but `Disk.write`
and `Disk.append` is called in the reactor's thread, and what is being written is not changed any more.

Records are folded into their tables later still (`folding`). Until then they stay in the open batch, from one batch to
the next. After a start, entries of the log that may not have been folded are applied again.

A disk keeps each record, chunk, state and table with its checksum, and looks at it when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twistedkv.chunks import Chunk
from twistedkv.errors import DamagedRecord
from twistedkv.limits import LOG_KEPT_BYTES, SLOTS, TAIL_BYTES, TAIL_STORED_BYTES
from twistedkv.storage.archive import ShardLog
from twistedkv.storage.disk import Batch, Chunks, Disk, Found, Tail
from twistedkv.storage.folding import Folding
from twistedkv.storage.interface import Kept, Stable

_NOWHERE = -1
_HEAD_BYTES = 40
"""Of a tail, or a chunk in it, at most."""
SAMPLED_KEYS = 64


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
        self.open_batch = Batch(disk.stored + 1, shard_of=self._shard_of)
        self.fresh: Chunks = {}
        """Those of the open batch that are in no tail yet."""
        self._appending: Tail | None = None
        self._appended = 0
        """Bytes of tails since a batch was taken."""
        self._begun = False
        """Whether one was taken. Until then nothing is appended: both files may have what is in no table yet."""
        self.tail_bytes_max = TAIL_BYTES
        self.tail_bytes_stored = TAIL_STORED_BYTES
        self.folding = Folding(self._logs)
        self._writing: Batch | None = None
        self._kept = self._find()
        self._stored = self.open_batch.number - 1

    # Space: see `core.space.Space`.

    def space(self) -> tuple[int, int]:
        """Bytes of the disk that are used, and that may be."""
        return self.disk.room()

    def memory(self) -> int:
        """Bytes of what is not only on the disk."""
        return self.folding.bytes + self.bytes_waiting()

    # Batches.

    def pending(self) -> int:
        """See Stable."""
        return self.open_batch.number - (not self._has_new)

    @property
    def _has_new(self) -> bool:
        return bool(self.fresh) or self.open_batch.more_than_logs

    def stored(self) -> int:
        """See Stable."""
        return self._stored

    def settled(self) -> int:
        """See Stable."""
        return self.pending() if self._at_once else self._stored

    def bytes_waiting(self) -> int:
        """See Stable."""
        return self.open_batch.bytes + (0 if self._writing is None else self._writing.bytes)

    @property
    def busy(self) -> bool:
        """Whether anything that was taken is not written yet."""
        return self._appending is not None or self._writing is not None

    def take_tail(self) -> Tail | None:
        """What is new in the logs, to be appended; None when there is nothing, or it has to wait, or needs a batch."""
        if not self.fresh or self._appending is not None or not self._may_append():
            return None
        tail = Tail(self.open_batch.number, self.fresh, begins=not self._appended)
        self._appended += self._fresh_bytes()
        self._appending = tail
        self.fresh = {}
        self.open_batch.number += 1
        return tail

    def _may_append(self) -> bool:
        if not self._begun or self.open_batch.more_than_logs or (self._writing is not None and self._writing.whole):
            return False
        return self._appended + self._fresh_bytes() <= self.tail_bytes_max

    def _fresh_bytes(self) -> int:
        return _HEAD_BYTES + sum(_HEAD_BYTES + len(chunk.entries) for chunk, _, _ in self.fresh.values())

    def take(self, *, everything: bool = False) -> Batch | None:
        """The open batch, to be written; None when it need not be yet, or one is being written already.

        To be called after `take_tail`, where the records and the log agree: at the end of a turn. `everything`: also
        what could wait.
        """
        batch = self.open_batch
        if self._writing is not None:
            return None
        batch.whole = self._has_new and not self._may_append()
        if everything:
            if not (self._has_new or batch.records or batch.chunks):
                return None
            batch.whole = True
        elif not batch.whole and (self.fresh or self._appended < self.tail_bytes_stored):
            return None
        self._writing = batch
        self.open_batch = Batch(batch.number + batch.whole, shard_of=self._shard_of)
        batch.number = self.open_batch.number - 1
        self.fresh = {}
        self._appended = 0
        self._begun = True
        if everything:
            self.folding.all_chosen()
        else:
            unfolded = self.open_batch.records = batch.records
            batch.records = {slot: unfolded.pop(slot) for slot in self.folding.choose(batch)}
        return batch

    def written(self, done: Tail | Batch) -> None:
        """What was taken is stable."""
        if isinstance(done, Tail):
            self._appending = None
        else:
            self._writing = None
            self.disk.refresh()
        self._stored = max(self._stored, done.number)

    # What was there.

    def kept(self) -> dict[int, Kept]:
        """See Stable."""
        kept, self._kept = self._kept, {}
        return kept

    def _find(self) -> dict[int, Kept]:
        found = self.disk.find()
        for shard, each in found.items():
            log = self._logs[shard] = ShardLog(self, shard)
            log.chunks.extend(each.chunks)
            log.bytes = sum(size for _, _, size in each.chunks)
            log.table_at = each.table_at
            if each.chunks:
                _, log.commit, log.folded = self.disk.chunk(shard, each.chunks[-1][0])
        for tail in self.disk.tails():
            for (shard, _), (chunk, commit, _) in tail.chunks.items():
                self._logs[shard].append(chunk, commit)
            self.open_batch.number = tail.number + 1
        self.fresh = {}
        return {shard: self._kept_of(shard, each) for shard, each in found.items()}

    def _kept_of(self, shard: int, found: Found) -> Kept:
        log = self._logs[shard]
        needed = min(log.commit, log.table_at, log.folded)
        chunks = [self.read_chunk(shard, first) for first, until, _ in log.chunks if until > needed]
        log.since_table = sum(len(chunk.entries) for chunk in chunks if chunk.last > log.table_at)
        last = self.read_chunk(shard, log.chunks[-1][0]).version if log.chunks else 0
        return Kept(found.state, chunks, last, log.commit, log.folded, log.table_at, found.table)

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
        batch.chunks = {place: each for place, each in batch.chunks.items() if place[0] != shard}
        self.fresh = {place: each for place, each in self.fresh.items() if place[0] != shard}
        batch.trimmed = [each for each in batch.trimmed if each[0] != shard]
        batch.tables.pop(shard, None)
        batch.restarted[shard] = None
        self.folding.restarted(shard)

    def read_chunk(self, shard: int, first: int) -> Chunk:
        """A chunk that is in the log."""
        for batch in (self.open_batch, self._writing):
            if batch is not None and (shard, first) in batch.chunks:
                return batch.chunks[shard, first][0]
        return self.disk.chunk(shard, first)[0]

    # Records.

    @property
    def keys(self) -> int:
        """See Store. Exact as long as few keys are not in their places yet; else reckoned from some of those."""
        total = sum(map(self.disk.count, self._slots))
        if (batch := self._writing) is not None:
            total += self._more(batch, batch.records, size=sum(map(len, batch.records.values())))
        batch = self.open_batch
        return max(0, total + self._more(batch, batch.records, size=self.folding.keys))

    def reckon(self, slots: range) -> int:
        """See Store. As `keys`."""
        shard = self._shard_of[slots.start]
        if shard == _NOWHERE or self._slots[shard] != slots:
            return self.count(slots)
        total = self.disk.count(shard)
        for batch in (self._writing, self.open_batch):
            if batch is not None:
                total = 0 if shard in batch.dropped else total
                its = [slot for slot in slots if slot in batch.records]
                spread = its[:: max(1, len(its) // SAMPLED_KEYS)]
                total += self._more(batch, spread, size=sum(len(batch.records[slot]) for slot in its))
        return max(0, total)

    def _more(self, batch: Batch, slots: Iterable[int], size: int) -> int:
        """About how many keys more there will be with these slots of this batch, in which it has so many."""
        looked = more = 0
        for slot in slots:
            if looked >= SAMPLED_KEYS:
                break
            shard, records = self._shard_of[slot], batch.records[slot]
            for key, record in records.items():
                more += (record is not None) - self.disk.has(shard, slot, key)
            looked += len(records)
        return round(more * size / looked) if looked else 0

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
        if key in records:
            self.folding.count(len(record) - len(records[key] or b""))
        else:
            self.folding.count(len(key) + len(record), keys=1)
        records[key] = record

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
            if key in records:
                self.folding.count(-len(records[key] or b""))
            else:
                self.folding.count(len(key), keys=1)
            records[key] = None

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
            for slot in slots:
                if records := batch.records.get(slot):
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
            self.folding.dropped(batch.records.pop(slot))
            batch.held.pop(slot, None)
        batch.dropped[shard] = None
