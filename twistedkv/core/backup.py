"""A shard's backup, at its primary: records as a client asks for them, and the log since it began (docs/design.md).

The records are a *fuzzy* scan: each page as it is at its moment. With every update since the scan began, up to one that
is as new as the newest record read, that is the exact state of the shard at that update: a key that nobody wrote
meanwhile is in the scan as it is, and of any other the last update is in the log, be it a deletion. The client keeps
pages and updates in the order in which it got them. A page shows all that came before it, so to replay them in this
order is enough, and nobody has to compare versions or to keep anything in memory.

All that the primary has to do for it is to keep its log (a *pin*). A pin is bounded: it lapses when it is not used,
when the log becomes too long, and when the replica stops being primary. Then the client begins the shard again.

Hazards guarded against: what is not committed must not get into a backup (pages and entries are answered by the read
rule, as of the newest update that they show); a page that is older than updates which the client already has (a record
is read when its page is made, never earlier).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from twistedkv.core.entries import encode_records
from twistedkv.core.mailbox import Mailbox
from twistedkv.core.scan import EXAMINED_KEYS_MAX
from twistedkv.errors import Status
from twistedkv.limits import (
    BACKUP_LOG_BYTES,
    BACKUP_PAGE_BYTES,
    BACKUP_PIN_SECONDS_MAX,
    BACKUP_PINNED_BYTES_MAX,
    BACKUP_PINS_MAX,
)
from twistedkv.messages.client import (
    BackupBegin,
    BackupBegun,
    BackupEnd,
    BackupEntries,
    BackupLog,
    BackupPage,
    BackupRecords,
    BackupRequest,
)
from twistedkv.records import flagged, is_tombstone
from twistedkv.wire.client import FAMILY, result_frame
from twistedkv.wire.frames import encode_frame

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica

_NUMBERS_EACH_EPOCH = 1 << 32


@attrs.define(eq=False)
class Pin:
    """A backup that needs the log."""

    after: int
    """The log is kept after this sequence. Never goes back."""
    used_at: float
    slot: int = -1
    """The slot that `keys` are of."""
    keys: list[bytes] = attrs.Factory(list)
    """Of a slot that is more than a page, in order, when it was first listed. What came later is in the log."""


def lapse(pins: dict[int, Pin], now: float, log_bytes: int) -> None:
    """Drop the pins that have not been used for too long, and all when the log has become too long."""
    if log_bytes > BACKUP_PINNED_BYTES_MAX:
        pins.clear()
    for number in [number for number, pin in pins.items() if now - pin.used_at > BACKUP_PIN_SECONDS_MAX]:
        del pins[number]


class Backup:
    """Answers the requests of backups: `answer_read` by the read rule, `refuse` at once (`Reading`)."""

    def __init__(
        self,
        replica: Replica,
        answer_read: Callable[[Mailbox, int, int, bytes], None],
        refuse: Callable[[Mailbox, int, Status, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._replica = replica
        self._answer_read = answer_read
        self._refuse = refuse
        self._clock = clock
        self._begun = 0

    def request(self, mailbox: Mailbox, request_id: int, request: BackupRequest) -> None:
        """Answer one request."""
        sequence = 0
        answer: object
        if isinstance(request, BackupBegin):
            answer, sequence = self._begin(), self._replica.sequence
        elif isinstance(request, BackupRecords):
            answer, sequence = self._records(request), self._replica.sequence
        elif isinstance(request, BackupLog):
            answer = self._log(request)
            if isinstance(answer, BackupEntries):
                sequence = answer.first + answer.count - 1
        else:
            assert isinstance(request, BackupEnd)
            self._replica.pins.pop(request.pin, None)
            self._answer_read(mailbox, request_id, 0, result_frame(request_id, int(Status.SUCCESS)))
            return
        if isinstance(answer, str):
            self._refuse(mailbox, request_id, Status.LAPSED, answer)
        else:
            kind, body = FAMILY.encode(answer)
            self._answer_read(mailbox, request_id, sequence, encode_frame(kind, body, request_id))

    def _begin(self) -> BackupBegun | str:
        replica = self._replica
        if len(replica.pins) >= BACKUP_PINS_MAX:
            return f"shard {replica.shard} has {BACKUP_PINS_MAX} backups under way already"
        self._begun += 1
        # Unique over primaries, because the epoch is.
        number = replica.epoch * _NUMBERS_EACH_EPOCH + self._begun % _NUMBERS_EACH_EPOCH
        replica.pins[number] = Pin(replica.sequence, self._clock())
        assert replica.configuration is not None
        return BackupBegun(number, replica.last, replica.store.count(replica.configuration.slots))

    def _pin(self, number: int) -> Pin | None:
        pin = self._replica.pins.get(number)
        if pin is not None:
            pin.used_at = self._clock()
        return pin

    def _lapsed(self) -> str:
        return f"this backup of shard {self._replica.shard} is not known (any more): begin it again"

    def _log(self, request: BackupLog) -> BackupEntries | str:
        replica = self._replica
        pin = self._pin(request.pin)
        if pin is None or request.after > replica.sequence:
            return self._lapsed()
        chunks = replica.log.after(request.after)
        if chunks is None:
            return self._lapsed()
        pin.after = max(pin.after, request.after)
        if not chunks:
            return BackupEntries(request.after + 1, 0, b"")
        entries: list[bytes] = []
        size, last = 0, chunks[0].first - 1
        for chunk in chunks:
            if chunk.first != last + 1 or (entries and size + len(chunk.entries) > BACKUP_LOG_BYTES):
                break
            entries.append(chunk.entries)
            size += len(chunk.entries)
            last = chunk.last
        return BackupEntries(chunks[0].first, last - chunks[0].first + 1, b"".join(entries))

    def _records(self, request: BackupRecords) -> BackupPage | str:
        pin: Pin | None = None
        if request.pin:
            pin = self._pin(request.pin)
            if pin is None:
                return self._lapsed()
        keys: list[bytes] = []
        records: list[bytes] = []
        slot, after = self._collect(request, pin, keys, records)
        return BackupPage(self._replica.last, slot, after, encode_records(keys, records))

    def _collect(
        self, request: BackupRecords, pin: Pin | None, keys: list[bytes], records: list[bytes]
    ) -> tuple[int, bytes]:
        """Add the keys of a page and their records. Where the next one begins."""
        replica = self._replica
        store, prefix = replica.store, request.prefix
        assert replica.configuration is not None
        last_slot = replica.configuration.last_slot
        size = examined = 0
        for slot in range(max(request.slot, replica.configuration.first_slot), last_slot + 1):
            after = request.after if slot == request.slot else b""
            if pin is not None and pin.slot == slot and not prefix:
                return self._part(slot, after, pin.keys, keys, records)
            items = store.items(slot)
            if not items:
                continue
            if examined >= EXAMINED_KEYS_MAX:
                return slot, b""
            examined += len(items)
            if prefix:
                items = [item for item in items if item[0].startswith(prefix)]
            if not items:
                continue
            its_keys, its_records = zip(*items, strict=True)
            more = sum(map(len, its_keys)) + sum(map(len, its_records))
            if after or size + more > BACKUP_PAGE_BYTES:
                if keys:
                    return slot, b""
                ordered = sorted(its_keys)
                if pin is not None and not prefix:
                    pin.slot, pin.keys = slot, ordered
                return self._part(slot, after, ordered, keys, records)
            size += more
            if flagged(its_records):
                items = [item for item in items if not is_tombstone(item[1])]
                keys += [key for key, _ in items]
                records += [record for _, record in items]
            else:
                keys += its_keys
                records += its_records
        return last_slot + 1, b""

    def _part(
        self, slot: int, after: bytes, ordered: list[bytes], keys: list[bytes], records: list[bytes]
    ) -> tuple[int, bytes]:
        """Add a part of one slot, whose keys are given, each as it is now."""
        get = self._replica.store.get
        size = 0
        begin = bisect_right(ordered, after)
        for key in islice(ordered, begin, begin + EXAMINED_KEYS_MAX):
            record = get(slot, key)
            if record is not None and not is_tombstone(record):
                if keys and size + len(key) + len(record) > BACKUP_PAGE_BYTES:
                    return slot, after
                keys.append(key)
                records.append(record)
                size += len(key) + len(record)
            after = key
        if begin + EXAMINED_KEYS_MAX < len(ordered):
            return slot, after
        return slot + 1, b""
