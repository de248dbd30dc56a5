"""Updates of a shard by its primary: each is given the next sequence, applied, and left to be replicated.

The log entry, the store and the dedup table say the same when one of these methods returns. Whether the update is
committed, and who is told, is for `serving`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twistedkv.core.entries import ONE, SEVERAL, encode_entry, encode_records
from twistedkv.core.mailbox import Outbox
from twistedkv.core.shardkeys import Changes
from twistedkv.errors import DamagedRecord
from twistedkv.limits import SEQUENCE_MAX
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import EXPIRES, TOMBSTONE, flagged, make_expiring_record, make_record, record_expiry
from twistedkv.slots import slot_of

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica

_NOBODY = bytes(16)
"""Client id of updates that no client asked for."""


_INTEGER_MAX = 2**63 - 1
_INTEGER_MIN = -(2**63)
_INTEGER_DIGITS_MAX = 20


def incremented(value: bytes | None, delta: int) -> bytes | None:
    """The text of a number after INCR (None: there is no value, which counts as 0).

    None: the value is no decimal 64-bit integer, or the sum would not be one.
    """
    total = None
    if value is None:
        total = delta
    elif len(value) <= _INTEGER_DIGITS_MAX and (value[1:] if value[:1] == b"-" else value).isdigit():
        total = int(value) + delta
    return b"%d" % total if total is not None and _INTEGER_MIN <= total <= _INTEGER_MAX else None


class Updates:
    """See the module. `wall` gives milliseconds since 1970."""

    def __init__(self, replica: Replica, outbox: Outbox, wall: Callable[[], int]) -> None:
        self._replica = replica
        self._outbox = outbox
        self._wall = wall

    def one(
        self,
        slot: int,
        key: bytes,
        flags: int,
        value: bytes,
        expiry: int,
        number: int,
        oldest: int,
        client: bytes,
        reply: bytes,
    ) -> int:
        """A client's update of one key. Its version."""
        replica = self._replica
        version = self.next_version()
        record = make_expiring_record(version, expiry, value) if expiry else make_record(version, flags, value)
        replica.store.put(slot, key, record)
        if flags or expiry or replica.expiries:
            replica.stored(slot, key, record)
        self._log(version, encode_entry(slot, key, record, ONE, number, oldest, client, reply))
        replica.dedup.remember(client, number, oldest, version & SEQUENCE_MAX, (version, reply) if reply else version)
        return version

    def several(
        self,
        changes: Changes,
        number: int = 0,
        oldest: int = 0,
        client: bytes = _NOBODY,
        reply: bytes = b"",
    ) -> int:
        """One update of several keys, by a client if `number` is not 0. Its version, which all of the records have."""
        version = self.next_version()
        keys = list(changes)
        slots = [slot for slot, _ in changes.values()]
        records = [record for _, record in changes.values()]
        self.many(slots, keys, records, version, number, oldest, client, reply)
        return version

    def many(
        self,
        slots: list[int],
        keys: list[bytes],
        records: list[bytes],
        version: int,
        number: int,
        oldest: int,
        client: bytes,
        reply: bytes = b"",
    ) -> None:
        """The same, of different keys, with their slots and records, all of the next version."""
        replica = self._replica
        replica.store.put_many(slots, keys, records)
        if replica.expiries or flagged(records):
            for slot, key, record in zip(slots, keys, records, strict=True):
                replica.stored(slot, key, record)
        if len(keys) == 1:
            entry = encode_entry(slots[0], keys[0], records[0], ONE, number, oldest, client, reply)
        else:
            packed = version.to_bytes(8, "big") + encode_records(keys, records)
            entry = encode_entry(slots[0], b"", packed, SEVERAL, number, oldest, client, reply)
        self._log(version, entry)
        if number:
            replica.dedup.remember(
                client, number, oldest, version & SEQUENCE_MAX, (version, reply) if reply else version
            )

    def next_version(self) -> int:
        """The version of the next update."""
        replica = self._replica
        return replica.version_base | (replica.last & SEQUENCE_MAX) + 1

    def _log(self, version: int, entry: bytes) -> None:
        """The update with this version has been applied."""
        replica = self._replica
        replica.last = version
        replica.unsent.append(entry)
        self._outbox.dirty[replica.shard] = None

    # Keys that expire.

    def tombstone(self) -> bytes:
        """The record of what the next update deletes."""
        return make_record(self.next_version(), TOMBSTONE, b"")

    def expired(self, slot: int, key: bytes, record: bytes) -> bool:
        """Whether the moment of an expiring record has come: then the key is deleted now, on all copies."""
        if record_expiry(record) > self._wall():
            return False
        self.several({key: (slot, self.tombstone())})
        return True

    def expire(self, most: int) -> None:
        """Delete keys whose moment has come, at most so many. For the background."""
        replica = self._replica
        if replica.role is not ReplicaRole.PRIMARY or not replica.expiries:
            return
        now = self._wall()
        changes: Changes = {}
        tombstone = self.tombstone()
        for key in replica.expiries.due(now, most):
            slot = slot_of(key)
            try:
                record = replica.store.get(slot, key)
            except DamagedRecord as error:
                self._outbox.damaged.append(error)
                continue
            if record is not None and record[8] & EXPIRES and record_expiry(record) <= now:
                changes[key] = (slot, tombstone)
            elif record is not None and record[8] & EXPIRES:
                replica.expiries.note(key, record_expiry(record))
            else:
                replica.expiries.forget(key)
        if changes:
            self.several(changes)
