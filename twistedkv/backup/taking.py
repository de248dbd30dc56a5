"""Taking a backup: shard by shard, each into a file of its own, while the cluster serves.

A shard whose primary changes, or whose client was too slow, is begun again. What is finished stays: a backup that was
interrupted goes on with the other shards when it is taken into the same directory again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import attrs

from twistedkv.backup import manifest as manifests
from twistedkv.backup.archive import ArchiveWriter, Head
from twistedkv.backup.manifest import COMPLETE_NAME, UNFINISHED_NAME, Manifest, ShardFile
from twistedkv.clustermap import ClusterMap
from twistedkv.core.entries import SEVERAL, decode_entries, decode_records, records_of_update
from twistedkv.errors import ConfigurationError, Lapsed, OperationError, Unavailable
from twistedkv.limits import BACKUP_LOG_BYTES
from twistedkv.messages.client import BackupBegun, BackupEntries, BackupPage
from twistedkv.records import epoch_of, record_version, sequence_of

ATTEMPTS_MAX = 10
"""At one shard, one after the other."""
ATTEMPT_SECONDS = 0.5
"""Before another attempt; longer before each further one."""
SLEEP_SECONDS_MAX = 0.5
"""Between two looks at the log while the rate is kept: so that it does not grow, and is not taken for forgotten."""


class Source(Protocol):
    """The part of a blocking client that a backup needs."""

    @property
    def cluster_map(self) -> ClusterMap:
        """The newest map known."""

    def backup_begin(self, slot: int) -> BackupBegun:
        """Have the log of the slot's shard kept."""

    def backup_records(self, slot: int, after: bytes, pin: int) -> BackupPage:
        """A page of its records."""

    def backup_log(self, slot: int, pin: int, after: int) -> BackupEntries:
        """Its updates after a sequence."""

    def backup_end(self, slot: int, pin: int) -> None:
        """Its log need not be kept any more."""


class Shown(Protocol):
    """Whom to tell how far it is."""

    def advance(self, amount: float, count: int) -> None:
        """So much more is done, of 1 for each shard; so many records until now."""


@attrs.define
class Pace:
    """Not more than a number of bytes each second (0: as fast as it goes)."""

    bytes_per_second: float
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    _free_at: float = 0.0

    def spent(self, size: int) -> None:
        """So many bytes have been read."""
        if self.bytes_per_second:
            # What was not used before is not made up for: that would be a burst.
            self._free_at = max(self._free_at, self.clock()) + size / self.bytes_per_second

    def wait(self, meanwhile: Callable[[], object]) -> None:
        """Until more may be read."""
        while (left := self._free_at - self.clock()) > 0:
            self.sleep(min(left, SLEEP_SECONDS_MAX))
            if left > SLEEP_SECONDS_MAX:
                meanwhile()


class _Shard:
    """One attempt at one shard."""

    def __init__(self, source: Source, pace: Pace, slots: range, writer: ArchiveWriter) -> None:
        self._source = source
        self._pace = pace
        self._slot = slots.start
        self._stop = slots.stop
        self._writer = writer
        begun = source.backup_begin(self._slot)
        self._pin = begun.pin
        self._total = max(1, begun.records)
        self.version = begun.last
        """Of the newest update that the client has."""
        self._needed = begun.last

    def take(self, shown: Callable[[float, int], None]) -> None:
        """All of it. Raises Lapsed when it has to be begun again."""
        try:
            self._take(shown)
        except Lapsed:
            with suppress(OperationError):  # it may be the client that gave up
                self._source.backup_end(self._slot, self._pin)
            raise

    def _take(self, shown: Callable[[float, int], None]) -> None:
        slot, after, done = self._slot, b"", 0.0
        while slot < self._stop:
            self._pace.wait(self._updates)
            page = self._source.backup_records(slot, after, self._pin)
            self._needed = max(self._needed, page.last)
            keys, _ = decode_records(page.records)
            if keys:
                self._writer.add_records(page.records, len(keys))
                self._pace.spent(len(page.records))
            slot, after = page.next_slot, page.next_after
            if slot > self._stop:
                raise Lapsed("the shard has other slots than it had when the backup was begun")
            share = min(len(keys) / self._total, 1.0 - done)
            done += share
            shown(share, len(keys))
            self._updates()
        while self.version < self._needed:
            if not self._updates():
                raise Lapsed("the log does not have what the records show")
        self._source.backup_end(self._slot, self._pin)
        shown(1.0 - done, 0)

    def _updates(self) -> int:
        """Take what the log has; how many updates that was."""
        taken = 0
        while True:
            answer = self._source.backup_log(self._slot, self._pin, sequence_of(self.version))
            changes: dict[bytes, bytes] = {}
            for _, key, record, kind, *_ in decode_entries(answer.entries, answer.count):
                version = record_version(record)
                if version <= self.version:
                    continue  # the client has it already
                if sequence_of(version) != sequence_of(self.version) + 1:
                    raise Lapsed("the log has a gap")
                self.version = version
                taken += 1
                if kind == SEVERAL:
                    changes.update(zip(*records_of_update(record), strict=True))
                else:
                    changes[key] = record
            if changes:
                self._writer.add_updates(list(changes), list(changes.values()))
            if len(answer.entries) < BACKUP_LOG_BYTES // 2:
                return taken


class Taking:
    """One run of `twistedkv backup`. `now` is the time in UTC; `draw` a new name of a run."""

    def __init__(
        self,
        source: Source,
        directory: Path,
        pace: Pace,
        shown: Shown,
        draw: Callable[[], str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source = source
        self._directory = directory
        self._pace = pace
        self._shown = shown
        self._now = now
        self._draw = draw
        self.records = 0
        self.begun_again: list[str] = []
        """Why a shard was."""
        self.skipped = 0
        """Shards that an earlier run has finished."""

    def run(self, fresh: bool) -> Manifest:
        """Take what is missing of the backup. Raises ConfigurationError, OperationError, OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        manifest = self._begin(fresh)
        unfinished = self._directory / UNFINISHED_NAME
        manifests.write(unfinished, manifest)
        for shard, first, last in manifest.layout:
            if any(file.shard == shard for file in manifest.files):
                self.skipped += 1
                self._shown.advance(1.0, self.records)
                continue
            manifest = manifest.with_file(self._take(Head(manifest.cluster, manifest.run, shard, first, last)))
            manifests.write(unfinished, manifest)
        manifest = attrs.evolve(manifest, ended=self._time())
        manifests.write(self._directory / COMPLETE_NAME, manifest)
        unfinished.unlink()
        return manifest

    def _begin(self, fresh: bool) -> Manifest:
        """The manifest to go on with: of an earlier run that was interrupted, or a new one."""
        if (self._directory / COMPLETE_NAME).exists():
            raise ConfigurationError(f"{self._directory} holds a backup already, and a complete one: give another name")
        known = self._source.cluster_map
        layout = tuple(
            (shard.shard, shard.first_slot, shard.last_slot)
            for shard in sorted(known.shards, key=lambda shard: shard.first_slot)
        )
        new = Manifest(known.cluster, self._draw(), self._time(), "", layout, ())
        before = None if fresh else manifests.read(self._directory / UNFINISHED_NAME)
        if before is None:
            if not fresh and any(self._directory.iterdir()):
                raise ConfigurationError(f"{self._directory} is not empty, and no backup that was interrupted")
            for path in self._directory.glob("shard-*.tkv*"):
                path.unlink()
            return new
        if (before.cluster, before.layout) != (new.cluster, new.layout):
            raise ConfigurationError(
                f"{self._directory} holds the beginning of a backup of cluster {before.cluster!r} with "
                f"{len(before.layout)} shards, this is {new.cluster!r} with {len(layout)}: give another name, "
                "or --fresh"
            )
        there = [file for file in before.files if self._size_of(file) == file.bytes]
        return attrs.evolve(before, files=tuple(there))

    def _size_of(self, file: ShardFile) -> int:
        try:
            return (self._directory / file.file).stat().st_size
        except OSError:
            return -1

    def _take(self, head: Head) -> ShardFile:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return self._attempt(head)
            except (Lapsed, Unavailable) as error:
                if attempt == ATTEMPTS_MAX:
                    raise
                self.begun_again.append(f"shard {head.shard}: {error}")
                self._pace.sleep(ATTEMPT_SECONDS * attempt)
        raise AssertionError

    def _attempt(self, head: Head) -> ShardFile:
        path = self._directory / f"shard-{head.shard:05}.tkv"
        temporary = path.with_name(path.name + ".part")
        before, done = self.records, 0.0

        def shown(share: float, records: int) -> None:
            nonlocal done
            done += share
            self.records += records
            self._shown.advance(share, self.records)

        try:
            with temporary.open("wb") as stream:
                writer = ArchiveWriter(stream, head)
                shard = _Shard(self._source, self._pace, range(head.first_slot, head.last_slot + 1), writer)
                shard.take(shown)
                taken = self._time()
                writer.end(shard.version)
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            self.records = before
            self._shown.advance(-done, self.records)
            temporary.unlink(missing_ok=True)
            raise
        temporary.replace(path)
        manifests.sync_directory(self._directory)
        version = shard.version
        return ShardFile(
            head.shard,
            head.first_slot,
            head.last_slot,
            path.name,
            epoch_of(version),
            sequence_of(version),
            taken,
            writer.records,
            writer.updates,
            writer.bytes,
            writer.sha256,
        )

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")
