"""Restoring a backup into a cluster, which may have any number of servers, shards and copies.

Each file is replayed in its order, in windows: of a key, the last record within a window is stored, and windows follow
one another, so the last of the file is what stays. Memory does not grow with the backup. What is stored is absolute, so
anything may be stored again: a write whose outcome is unknown, or the whole backup after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from twistedkv.backup.manifest import Manifest
from twistedkv.backup.reading import chunks_of
from twistedkv.client.results import PartialFailure
from twistedkv.errors import NotEnoughCopies, OutcomeUnknown, Unavailable
from twistedkv.records import is_tombstone, record_expiry, record_value
from twistedkv.slots import slot_of

WINDOW_KEYS = 8192
WINDOW_BYTES = 8 * 1024 * 1024
ATTEMPTS_MAX = 5
ATTEMPT_SECONDS = 1.0
_WORTH_ANOTHER = (OutcomeUnknown, Unavailable, NotEnoughCopies)

Change = tuple[bytes | None, int]
"""The value (None: delete the key), and when it expires, in milliseconds since 1970 (0: never)."""


class Sink(Protocol):
    """The part of a blocking client that restoring needs."""

    def apply(self, changes: Mapping[bytes, Change]) -> None:
        """Store, or delete, each of the keys. Raises PartialFailure."""


class Restoring:
    """One run of `twistedkv restore`. `wall` gives milliseconds since 1970; `slots`: only keys of these, not of all."""

    def __init__(
        self,
        sink: Sink,
        directory: Path,
        wall: Callable[[], int],
        sleep: Callable[[float], object],
        slots: range | None = None,
    ) -> None:
        self._sink = sink
        self._directory = directory
        self._wall = wall
        self._sleep = sleep
        self._slots = slots
        self._window: dict[bytes, Change] = {}
        self._bytes = 0
        self.records = 0
        """Of the backup's that have been read."""
        self.stored = 0
        """Keys stored, again and again if the backup has several records of one."""
        self.expired = 0
        """Records that were not stored, because their moment has passed."""
        self.finished = 0
        """Files that are restored."""

    def run(self, manifest: Manifest, first: int, shown: Callable[[float, int], object]) -> None:
        """Restore the files from the `first` on (0: all). Raises Damaged, OperationError; all may be done again."""
        for file in manifest.files[first:]:
            before = 0
            slots = self._slots
            if slots is not None and (file.last_slot < slots.start or file.first_slot >= slots.stop):
                self.finished += 1
                continue
            for (_, keys, records), read in chunks_of(self._directory, manifest, file):
                self._take(keys, records)
                shown(read - before, self.records)
                before = read
            self._flush()
            self.finished += 1

    def _take(self, keys: list[bytes], records: list[bytes]) -> None:
        now = self._wall()
        self.records += len(keys)
        slots = self._slots
        for key, record in zip(keys, records, strict=True):
            if slots is not None and slot_of(key) not in slots:
                continue
            change: Change
            if not record[8]:
                change = record[9:], 0
            elif is_tombstone(record):
                change = None, 0
            elif (expiry := record_expiry(record)) <= now:
                # Something that it has replaced may be there already.
                change = None, 0
                self.expired += 1
            else:
                change = record_value(record), expiry
            self._window[key] = change
            self._bytes += len(key) + len(record)
            if len(self._window) >= WINDOW_KEYS or self._bytes >= WINDOW_BYTES:
                self._flush()

    def _flush(self) -> None:
        changes, self._window, self._bytes = self._window, {}, 0
        for attempt in range(1, ATTEMPTS_MAX + 1):
            if not changes:
                return
            try:
                self._sink.apply(changes)
                failed: Mapping[bytes, Exception] = {}
            except PartialFailure as error:
                failed = error.failed
                if attempt == ATTEMPTS_MAX:
                    raise
            self.stored += sum(1 for key, (value, _) in changes.items() if value is not None and key not in failed)
            for error_ in failed.values():
                if not isinstance(error_, _WORTH_ANOTHER):
                    raise error_
            changes = {key: changes[key] for key in failed}
            if changes:
                self._sleep(ATTEMPT_SECONDS * attempt)
