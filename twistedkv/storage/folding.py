"""Which records a batch puts into their tables: a few slots at a time, round and round.

Records wait in the open batch until UNFOLDED_BYTES have come together. Then many of them are in one page, which is
written once for all of them (docs/performance.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twistedkv.limits import FOLD_BYTES, SLOTS, UNFOLDED_BYTES
from twistedkv.storage.disk import Batch

if TYPE_CHECKING:
    from twistedkv.storage.archive import ShardLog


def size_of(records: dict[bytes, bytes | None]) -> int:
    """Bytes of keys and records."""
    return sum(map(len, records)) + sum(len(record) for record in records.values() if record is not None)


class Folding:
    """Of one store, with these logs by shard."""

    def __init__(self, logs: dict[int, ShardLog]) -> None:
        self._logs = logs
        self.bytes_max = UNFOLDED_BYTES
        self.bytes = 0
        """Of the records in the open batch."""
        self.keys = 0
        """Of those records."""
        self._due = 0
        """Of those, what is to be folded soon."""
        self._hand = 0
        """The slot at which it goes on."""
        self._round: dict[int, int] = {}
        """By shard: where its log ended when this round began."""

    def count(self, size: int, keys: int = 0) -> None:
        """So many bytes and keys more are in the open batch."""
        self.bytes += size
        self.keys += keys
        self._due += size

    def dropped(self, records: dict[bytes, bytes | None]) -> int:
        """These are in the open batch no more. Their bytes."""
        size = size_of(records)
        self.bytes -= size
        self.keys -= len(records)
        return size

    def restarted(self, shard: int) -> None:
        """Its log begins anew."""
        self._round.pop(shard, None)

    def choose(self, batch: Batch) -> list[int]:
        """Slots whose records are stored with this batch: as many bytes as have come since, once there are enough."""
        chosen = [slot for slot in batch.held if slot in batch.records]
        for slot in chosen:
            self.dropped(batch.records[slot])
        if self.bytes <= self.bytes_max:
            self._due = 0
            return chosen
        while self._due >= FOLD_BYTES and len(chosen) < len(batch.records):
            slot = self._hand
            self._hand = (slot + 1) % SLOTS
            if not slot:
                self._round_begins()
            if slot in batch.records and slot not in batch.held:
                chosen.append(slot)
                self._due -= self.dropped(batch.records[slot])
        return chosen

    def all_chosen(self) -> None:
        """A batch with all records is taken."""
        self.bytes = self.keys = self._due = 0
        self._round_begins()
        self._round_begins()

    def _round_begins(self) -> None:
        """What was in the open batch when the last round began has been folded since."""
        for shard, sequence in self._round.items():
            self._logs[shard].folded = sequence
        self._round = {shard: log.chunks[-1][1] for shard, log in self._logs.items() if log.chunks}
