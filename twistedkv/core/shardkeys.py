"""The keys of one shard as commands see them (`commands.keyspace`): the store, and over it what this request changes.

A key whose moment has come is not there for any command. That it is gone is part of the same update as what the command
changes, or an update of its own: nobody is told that a key has expired before every copy knows (docs/design.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from twistedkv.columns import column_bytes
from twistedkv.commands.execution import execute
from twistedkv.limits import KEY_BYTES_MAX, REPLY_BYTES_MAX, SEQUENCE_MAX, SLOTS, UPDATE_BYTES_MAX, VALUE_BYTES_MAX
from twistedkv.records import (
    EXPIRES,
    RECORD_HEAD_BYTES,
    TOMBSTONE,
    make_expiring_record,
    make_record,
    record_expiry,
    record_value,
    record_version,
)
from twistedkv.resp import replies
from twistedkv.slots import slot_of

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica

NOT_OF_ONE_SHARD = "the keys are not all of one shard"
_SET = (b"SET", b"set")
_PLACE_BITS = 32
_SLOT_PARTS_MAX = 64
"""Listing a slot costs the same for a small part of it as for all, so it is listed in no more parts than this."""


Changes = dict[bytes, tuple[int, bytes]]
"""By key: its slot, and the record that it has from now on."""


class ShardKeys:
    """See the module. One object for each shard, used for one request after another."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._store = replica.store
        self._writes = False
        self._version = 0
        self._head = b""
        """What every record of this request that does not expire begins with."""
        self.now = 0
        self.changes: Changes = {}
        """In the order of their first change."""
        self.changed_bytes = 0
        """Of values stored, also of those that were stored over within this request."""
        self.effective = False
        """Whether a command changed something, so that there is more in `changes` than keys that have expired."""
        self.refused = ""
        """Why nothing of this may be executed: it reached for what is not its own."""
        self.seen = 0
        """Sequence of the newest update that was looked at."""

    def begin(self, now: int, *, writes: bool) -> None:
        """The next request begins, at this moment of the wall clock in milliseconds."""
        self.now = now
        self._writes = writes
        self._version = version = self._replica.version_base | (self._replica.sequence + 1)
        self._head = make_record(version, 0, b"")
        if self.changes:
            self.changes = {}
        self.changed_bytes = 0
        self.effective = False
        self.refused = ""
        self.seen = 0

    def _record(self, key: bytes) -> bytes | None:
        """The record of a key that is there."""
        changed = self.changes.get(key)
        if changed is not None:
            return None if changed[1][8] & TOMBSTONE else changed[1]
        slot = slot_of(key)
        if not self._own(slot):
            return None
        record = self._store.get(slot, key)
        if record is None:
            return None
        sequence = record_version(record) & SEQUENCE_MAX
        self.seen = max(self.seen, sequence)
        flags = record[8]
        if flags:
            if flags & TOMBSTONE:
                return None
            if flags & EXPIRES and record_expiry(record) <= self.now:
                self.changes[key] = (slot, make_record(self._version, TOMBSTONE, b""))
                return None
        return record

    def execute(self, command: list[bytes], protocol: int) -> bytes:
        """The reply to one command."""
        if len(command) == 3 and command[0] in _SET:  # which most are, so they go a shorter way to the same end
            key, value = command[1], command[2]
            if 0 < len(key) <= KEY_BYTES_MAX and len(value) <= VALUE_BYTES_MAX:
                self._change(key, self._head + value)
                return replies.OK
        reply = execute(self, command, protocol)
        if len(reply) > REPLY_BYTES_MAX:  # which no command that writes can have
            text = f"ERR the reply would have {len(reply)} bytes, at most {REPLY_BYTES_MAX} are allowed: ask for less"
            return replies.error(text)
        return reply

    def too_large(self, reply: bytes) -> bytes:
        """The error to answer instead, if this is more than may be answered or stored at once."""
        if len(reply) > REPLY_BYTES_MAX:
            text = f"ERR the reply would have {len(reply)} bytes, at most {REPLY_BYTES_MAX} are allowed: ask for less"
            return replies.error(text)
        changes = self.changes
        if changes:
            size = len(reply) + column_bytes(changes) + column_bytes([record for _, record in changes.values()])
            if size > UPDATE_BYTES_MAX:
                text = f"ERR the update would have {size} bytes, at most {UPDATE_BYTES_MAX} are allowed: store less"
                return replies.error(text)
        return b""

    def _own(self, slot: int) -> bool:
        """Whether a slot is of this shard. If not, the request is refused: the store may have others' keys, too."""
        configuration = self._replica.configuration
        if configuration is not None and configuration.first_slot <= slot <= configuration.last_slot:
            return True
        self.refused = NOT_OF_ONE_SHARD
        return False

    def get(self, key: bytes) -> bytes | None:
        record = self._record(key)
        if record is None:
            return None
        return record_value(record) if record[8] else record[RECORD_HEAD_BYTES:]

    def expiry(self, key: bytes) -> int:
        record = self._record(key)
        return 0 if record is None else record_expiry(record)

    def version(self, key: bytes) -> int:
        record = self._record(key)
        return 0 if record is None else record_version(record)

    def put(self, key: bytes, value: bytes, expiry: int = 0) -> None:
        if expiry:
            self._change(key, make_expiring_record(self._version, expiry, value))
        else:
            self._change(key, self._head + value)

    def delete(self, key: bytes) -> None:
        if self.get(key) is not None:
            self._change(key, make_record(self._version, TOMBSTONE, b""))

    def _change(self, key: bytes, record: bytes) -> None:
        slot = slot_of(key)
        if not self._own(slot):
            return
        if not self._writes:
            self.refused = "a command that writes needs the number of a write"
        else:
            self.changes[key] = (slot, record)
            self.changed_bytes += len(record)
            self.effective = True

    # Many keys. What this request has changed itself is not looked at: such a command stands at its beginning.

    def count(self) -> int:
        configuration = self._replica.configuration
        if configuration is None:
            return 0
        self.seen = self._replica.sequence
        return self._store.count(configuration.slots) - self._replica.deletions.buried()

    def slot_count(self, slot: int) -> int:
        return len(self._live(slot))

    def slot_keys(self, slot: int, most: int) -> list[bytes]:
        return sorted(self._live(slot))[:most]

    def _live(self, slot: int) -> list[bytes]:
        if not self._own(slot):
            return []
        self.seen = self._replica.sequence
        live: list[bytes] = []
        for key, record in self._store.items(slot):
            flags = record[8]
            if not flags:
                live.append(key)
            elif not flags & TOMBSTONE:
                if record_expiry(record) > self.now:
                    live.append(key)
                else:  # whoever is told that it is not there must not see it again
                    self.changes[key] = (slot, make_record(self._version, TOMBSTONE, b""))
        return live

    def page(self, cursor: int, least: int) -> tuple[list[bytes], int]:
        """See `Keyspace.page`. A cursor is a slot and, in its lower half, a place in it: keys stand by their CRC-32.

        So nothing has to be remembered between two pages, and a key that is there all the time is on one of them.
        """
        configuration = self._replica.configuration
        if configuration is None:
            return [], 0
        first = cursor >> _PLACE_BITS
        place = cursor & (1 << _PLACE_BITS) - 1
        found: list[bytes] = []
        for slot in range(max(first, configuration.first_slot), configuration.last_slot + 1):
            keys = self._live(slot)
            if keys:
                begin = place if slot == first else 0
                placed = sorted((at, key) for key in keys if (at := crc32(key)) >= begin)
                take = max(least - len(found), -(-len(keys) // _SLOT_PARTS_MAX))
                while 0 < take < len(placed) and placed[take][0] == placed[take - 1][0]:
                    take += 1  # keys of one place are never parted
                found += [key for _, key in placed[:take]]
                if take < len(placed):
                    return found, slot << _PLACE_BITS | placed[take][0]
            if len(found) >= least:
                break
        else:
            slot = configuration.last_slot
        return found, (slot + 1 << _PLACE_BITS) if slot + 1 < SLOTS else 0
