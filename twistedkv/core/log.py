"""The end of a shard's log: what some other member may still have to be sent.

Entries are kept as they were sent, in chunks of a reactor turn. Everything up to the commit known to all may be
forgotten: every member has it, so nobody can need it again (docs/design.md, "What the log is for"). A durable store
keeps more of it, in its *archive*: a copy that comes back gets what it has missed from there.
"""

from __future__ import annotations

from collections import deque

from twistedkv.chunks import Archive, Chunk
from twistedkv.records import epoch_of, sequence_of

ARCHIVE_READ_BYTES = 4 * 1024 * 1024
"""So much is taken from an archive at once, or one chunk."""


class Log:
    """Chunks in order, the oldest trimmed away."""

    def __init__(self, archive: Archive | None = None) -> None:
        self._archive = archive
        self._chunks: deque[Chunk] = deque()
        self.bytes = 0
        self.trimmed = 0
        """Everything up to this sequence may be gone from memory. Invariant: nothing after it is."""
        self._trimmed_version = 0

    def append(self, chunk: Chunk, commit: int) -> None:
        """Add what comes next."""
        self._chunks.append(chunk)
        self.bytes += len(chunk.entries)
        if self._archive is not None:
            self._archive.append(chunk, commit)

    def after(self, sequence: int) -> list[Chunk] | None:
        """The chunks that hold everything after `sequence`, or, from the archive, the first of them; None when some of
        that is gone."""
        if sequence < self.trimmed:
            return self._archive.after(sequence, ARCHIVE_READ_BYTES) if self._archive is not None else None
        found: list[Chunk] = []
        for chunk in reversed(self._chunks):
            if chunk.last <= sequence:
                break
            found.append(chunk)
        found.reverse()
        return found

    def continues(self, version: int) -> bool:
        """Whether a copy that holds everything up to the update with this version, and nothing else, needs no more than
        what this log has after it. An update of that sequence and another epoch was never committed."""
        sequence = sequence_of(version)
        if self._chunks and sequence == self._chunks[-1].last:
            return version == self._chunks[-1].version
        if sequence == self.trimmed and self._trimmed_version:
            return version == self._trimmed_version
        if sequence <= self.trimmed:
            chunk = self._archive.holding(sequence) if self._archive is not None else None
        else:
            chunk = next((each for each in self._chunks if each.first <= sequence <= each.last), None)
        return chunk is not None and chunk.epoch == epoch_of(version)

    def trim(self, sequence: int) -> None:
        """Forget chunks that end at `sequence` or before."""
        chunks = self._chunks
        while chunks and chunks[0].last <= sequence:
            chunk = chunks.popleft()
            self.bytes -= len(chunk.entries)
            self.trimmed = chunk.last
            self._trimmed_version = chunk.version

    def restart(self, version: int) -> None:
        """Forget everything; what comes next follows the update with this version."""
        if self._archive is not None:
            self._archive.restart()
        self.restore(version, [])

    def restore(self, version: int, chunks: list[Chunk]) -> None:
        """Begin with chunks that are in the archive already. Without any, what comes next follows this version."""
        self._chunks = deque(chunks)
        self.bytes = sum(len(chunk.entries) for chunk in chunks)
        self.trimmed = chunks[0].first - 1 if chunks else sequence_of(version)
        self._trimmed_version = 0 if chunks else version
