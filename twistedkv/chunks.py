"""Chunks of a shard's log, and where a durable store keeps them."""

from __future__ import annotations

from typing import Protocol

import attrs

from twistedkv.records import version_of


@attrs.define(eq=False)
class Chunk:
    """Entries `first` to `last`, encoded, all of them made in `epoch`. Chunks may overlap after a resend; receivers
    skip what they have."""

    first: int
    last: int
    epoch: int
    entries: bytes

    @property
    def count(self) -> int:
        """Number of entries."""
        return self.last - self.first + 1

    @property
    def version(self) -> int:
        """Of its last entry."""
        return version_of(self.epoch, self.last)


class Archive(Protocol):
    """What a durable store keeps of one shard's log."""

    def append(self, chunk: Chunk, commit: int) -> None:
        """Keep what comes next; `commit` is the sequence up to which all is known to be committed."""

    def restart(self) -> None:
        """Forget everything."""

    def after(self, sequence: int, bytes_max: int) -> list[Chunk] | None:
        """Chunks that hold what comes after `sequence`, of about `bytes_max`; None when some of that is gone."""

    def holding(self, sequence: int) -> Chunk | None:
        """The chunk that this entry is in."""
