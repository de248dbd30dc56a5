"""One shard's log in a durable store: as much of it as a copy may need that comes back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from twistedkv.chunks import Chunk
from twistedkv.limits import LOG_KEPT_BYTES

if TYPE_CHECKING:
    from twistedkv.storage.durable import DurableStore


class ShardLog:
    """What the disk has of one shard's log (`chunks.Archive`), and will have."""

    def __init__(self, store: DurableStore, shard: int) -> None:
        self._store = store
        self._shard = shard
        self.chunks: deque[tuple[int, int, int]] = deque()
        """(first, last, bytes), oldest first; those of the open and the written batch are among them."""
        self.bytes = 0
        self.table_at = 0
        self.since_table = 0
        """Bytes of entries since the dedup table was kept."""
        self.folded = 0
        """Records of entries up to this one are in their table."""
        self.commit = 0

    def append(self, chunk: Chunk, commit: int) -> None:
        """See Archive."""
        batch = self._store.open_batch
        size = len(chunk.entries)
        while self.chunks and self.chunks[-1][0] >= chunk.first:  # after a resend: all that they hold is in this one
            self._remove(self.chunks.pop())
        batch.chunks[self._shard, chunk.first] = self._store.fresh[self._shard, chunk.first] = (
            chunk,
            commit,
            self.folded,
        )
        batch.bytes += size
        self.chunks.append((chunk.first, chunk.last, size))
        self.bytes += size
        self.since_table += size
        self.commit = commit
        self._trim()

    def _trim(self) -> None:
        chunks = self.chunks
        needed = min(self.commit, self.table_at, self.folded)
        while self.bytes > LOG_KEPT_BYTES and len(chunks) > 1 and chunks[0][1] <= needed:
            self._remove(chunks.popleft())

    def _remove(self, chunk: tuple[int, int, int]) -> None:
        first, _, size = chunk
        self.bytes -= size
        place = self._shard, first
        self._store.fresh.pop(place, None)
        self._store.open_batch.chunks.pop(place, None)
        self._store.open_batch.trimmed.append(place)

    def restart(self) -> None:
        """See Archive."""
        self.chunks.clear()
        self.bytes = self.table_at = self.since_table = self.folded = self.commit = 0
        self._store.restarted(self._shard)

    def after(self, sequence: int, bytes_max: int) -> list[Chunk] | None:
        """See Archive."""
        found: list[Chunk] = []
        size = 0
        if not self.chunks or self.chunks[0][0] > sequence + 1:
            return None
        for first, last, length in self._from(sequence + 1):
            if found and size + length > bytes_max:
                break
            if last > sequence:
                found.append(self._read(first))
                size += length
        return found

    def holding(self, sequence: int) -> Chunk | None:
        """See Archive."""
        for first, last, _ in self._from(sequence):
            if first <= sequence <= last:
                return self._read(first)
            if first > sequence:
                break
        return None

    def _from(self, sequence: int) -> Iterator[tuple[int, int, int]]:
        """The chunks from that on which this entry may be in: what is asked for is near the end, as a rule."""
        skip = 0
        for _, last, _ in self.chunks:
            if last >= sequence:
                break
            skip += 1
        return (self.chunks[place] for place in range(skip, len(self.chunks)))

    def _read(self, first: int) -> Chunk:
        return self._store.read_chunk(self._shard, first)
