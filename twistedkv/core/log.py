"""The end of a shard's log: what some other member may still have to be sent.

Entries are kept as they were sent, in chunks of a reactor turn. Everything up to the commit known to all may be
forgotten: every member has it, so nobody can need it again (docs/design.md, "What the log is for").
"""

from collections import deque

import attrs


@attrs.define(eq=False)
class Chunk:
    """Entries `first` to `last`, encoded. Chunks may overlap after a resend; receivers skip what they have."""

    first: int
    last: int
    entries: bytes

    @property
    def count(self) -> int:
        """Number of entries."""
        return self.last - self.first + 1


class Log:
    """Chunks in order, the oldest trimmed away."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self.bytes = 0
        self.trimmed = 0
        """Everything up to this sequence may be gone. Invariant: nothing after it is."""

    def append(self, chunk: Chunk) -> None:
        """Add what comes next."""
        self._chunks.append(chunk)
        self.bytes += len(chunk.entries)

    def after(self, sequence: int) -> list[Chunk] | None:
        """The chunks that hold everything after `sequence`; None when some of that is gone."""
        if sequence < self.trimmed:
            return None
        found: list[Chunk] = []
        for chunk in reversed(self._chunks):
            if chunk.last <= sequence:
                break
            found.append(chunk)
        found.reverse()
        return found

    def trim(self, sequence: int) -> None:
        """Forget chunks that end at `sequence` or before."""
        chunks = self._chunks
        while chunks and chunks[0].last <= sequence:
            chunk = chunks.popleft()
            self.bytes -= len(chunk.entries)
            self.trimmed = chunk.last

    def restart(self, sequence: int) -> None:
        """Forget everything; what comes next is `sequence` + 1."""
        self._chunks.clear()
        self.bytes = 0
        self.trimmed = sequence
