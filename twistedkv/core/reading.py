"""Reads of one shard, at its primary."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from twistedkv.columns import encode_column
from twistedkv.core.mailbox import Mailbox, Outbox
from twistedkv.core.shardkeys import NOT_OF_ONE_SHARD
from twistedkv.core.updates import Updates
from twistedkv.errors import DamagedRecord, Status
from twistedkv.limits import GET_MANY_BYTES, SEQUENCE_MAX
from twistedkv.messages.client import GetMany
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import EXPIRES, TOMBSTONE, flagged, newest_version, record_value, sequence_of
from twistedkv.slots import slots_of
from twistedkv.wire.client import result_frame

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica

_SUCCESS = int(Status.SUCCESS)
_MISSING = int(Status.KEY_NOT_FOUND)


class Reading:
    """What a shard's primary answers from what is stored. `Serving` adds requests that change something, and the end.

    Read rule (I7, I13): see `core.serving`.
    """

    def __init__(self, replica: Replica, outbox: Outbox, clock: Callable[[], float], wall: Callable[[], int]) -> None:
        self.replica = replica
        self._outbox = outbox
        self._clock = clock
        self.updates = Updates(replica, outbox, wall)
        self._waiting: deque[tuple[int, bool, Mailbox, int, Any]] = deque()
        """(sequence, whether it is a read, whom to answer, request id, answer), in the order of sequences but for
        reads of older updates. Invariant: none with sequence <= commit."""
        self._held: deque[tuple[Mailbox, int, Any, float]] = deque()
        """Reads that wait for a lease, and since when."""

    def _get(self, mailbox: Mailbox, request_id: int, key: bytes, slot: int) -> None:
        replica = self.replica
        record = replica.store.get(slot, key)
        if record is None:
            frame, sequence = result_frame(request_id, _MISSING), 0
        else:
            version = int.from_bytes(record[:8], "big")
            sequence = version & SEQUENCE_MAX
            kind = record[8]
            if not kind:
                frame = result_frame(request_id, _SUCCESS, version, record[9:])
            elif kind & TOMBSTONE:
                frame = result_frame(request_id, _MISSING)
            elif self.updates.expired(slot, key, record):
                frame, sequence = result_frame(request_id, _MISSING), replica.sequence
            else:
                frame = result_frame(request_id, _SUCCESS, version, record_value(record))
        if sequence <= replica.commit and self._clock() < replica.lease_until:
            self._outbox.answer(mailbox, request_id, frame)
        else:
            self._answer_read(mailbox, request_id, sequence, frame)

    def clean(self, slot: int, key: bytes) -> bytes | None:
        """The record of a key (empty: there is none), if that may be told at once by the read rule.

        None: it may not, or there is more to it, because the key was deleted or expires.
        """
        replica = self.replica
        if replica.role is not ReplicaRole.PRIMARY:
            return None
        try:
            record = replica.store.get(slot, key)
        except DamagedRecord:
            return None
        if record is None:
            record = b""
        elif record[8] or int.from_bytes(record[:8], "big") & SEQUENCE_MAX > replica.commit:
            return None
        return record if self._clock() < replica.lease_until else None

    def _get_many(self, mailbox: Mailbox, request_id: int, request: GetMany) -> None:
        replica = self.replica
        keys = request.keys
        slots = slots_of(keys)
        if not self._own(slots):
            self._refuse(mailbox, request_id, Status.INVALID_REQUEST, NOT_OF_ONE_SHARD)
            return
        records = [record or b"" for record in replica.store.get_many(slots, keys)]
        there = list(filter(None, records))
        seen = sequence_of(newest_version(there)) if there else 0
        if there and flagged(there):
            gone: set[bytes] = set()
            for place, (key, record) in enumerate(zip(keys, records, strict=True)):
                if record and record[8] & EXPIRES and (key in gone or self.updates.expired(slots[place], key, record)):
                    gone.add(key)
                    records[place], seen = b"", replica.sequence
                elif record and record[8] & TOMBSTONE:
                    records[place] = b""
        sizes = accumulate(map(len, records))
        most = max(1, sum(1 for size in sizes if size <= GET_MANY_BYTES))
        page = result_frame(request_id, _SUCCESS, 0, encode_column(records[:most]))
        self._answer_read(mailbox, request_id, seen, page)

    def _own(self, slots: list[int]) -> bool:
        """Whether all of these slots are of this shard."""
        configuration = self.replica.configuration
        return (
            configuration is not None
            and configuration.first_slot <= min(slots)
            and max(slots) <= configuration.last_slot
        )

    def _answer_read(self, mailbox: Mailbox, request_id: int, sequence: int, frame: Any) -> None:
        """Answer with what was read of state up to `sequence`, when the read rule allows it."""
        replica = self.replica
        if sequence > replica.commit:
            self._waiting.append((sequence, True, mailbox, request_id, frame))
            return
        now = self._clock()
        if now < replica.lease_until:
            self._outbox.answer(mailbox, request_id, frame)
        else:
            self._held.append((mailbox, request_id, frame, now))

    def _refuse(self, mailbox: Mailbox, request_id: int, status: Status, text: str, version: int = 0) -> None:
        answer = mailbox.result(request_id, int(status), version, text.encode())
        self._outbox.answer(mailbox, request_id, answer)
