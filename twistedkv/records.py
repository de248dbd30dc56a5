"""Versions and records: what is stored for a key, in one bytes object.

A *version* is (epoch, sequence) packed in 64 bits: 22 bits of epoch, 42 bits of sequence. It grows with every update of
a shard, so of two records for a key the one with the larger version is the newer one, everywhere.

A *record* is `version u64, flags u8, value`: one bytes object and not a tuple, because a dict of tuples costs half as
much memory again (docs/design.md). One that expires has the moment before its value, as u64: milliseconds of the wall
clock since 1970. Whether that moment has come is for the shard's primary to say, who then deletes the key: to all
others, and to a primary that has not said so yet, the record is there.
"""

from collections.abc import Iterable
from operator import itemgetter
from struct import Struct

from twistedkv.limits import SEQUENCE_BITS, SEQUENCE_MAX, VALUE_BYTES_MAX

RECORD_HEAD = Struct(">QB")
RECORD_HEAD_BYTES = RECORD_HEAD.size

TOMBSTONE = 0x01
"""Flag: the key was deleted at this version; the value is empty."""
EXPIRES = 0x02
"""Flag: before the value stands the moment at which the key expires."""

EXPIRY_BYTES = 8
_EXPIRING_HEAD = Struct(">QBQ")
_FLAGS_OF = itemgetter(8)
_EXPIRING_HEAD_BYTES = _EXPIRING_HEAD.size

RECORD_BYTES_MAX = RECORD_HEAD_BYTES + EXPIRY_BYTES + VALUE_BYTES_MAX

NO_VERSION = 0
"""Version of a shard that has had no update, and of a key that does not exist."""


def version_of(epoch: int, sequence: int) -> int:
    """Pack an epoch and a sequence."""
    return epoch << SEQUENCE_BITS | sequence


def epoch_of(version: int) -> int:
    """The epoch in which the update with this version was made."""
    return version >> SEQUENCE_BITS


def sequence_of(version: int) -> int:
    """The place of the update with this version in its shard's log, from 1, without gaps, across all epochs."""
    return version & SEQUENCE_MAX


def make_record(version: int, flags: int, value: bytes) -> bytes:
    """A record as it is stored and sent."""
    return RECORD_HEAD.pack(version, flags) + value


def record_version(record: bytes) -> int:
    """The version of a record."""
    return int.from_bytes(record[:8], "big")


def is_tombstone(record: bytes) -> bool:
    """Whether the record says that its key was deleted."""
    return bool(record[8] & TOMBSTONE)


def make_expiring_record(version: int, expiry: int, value: bytes) -> bytes:
    """A record of a key that expires at `expiry`, in milliseconds since 1970."""
    return _EXPIRING_HEAD.pack(version, EXPIRES, expiry) + value


def record_expiry(record: bytes) -> int:
    """When the key expires, in milliseconds since 1970; 0: never."""
    if record[8] & EXPIRES:
        return int.from_bytes(record[RECORD_HEAD_BYTES:_EXPIRING_HEAD_BYTES], "big")
    return 0


def flagged(records: Iterable[bytes]) -> bool:
    """Whether any of these records is a tombstone, or expires."""
    return any(map(_FLAGS_OF, records))


def newest_version(records: Iterable[bytes]) -> int:
    """The highest version of these records, of which there is one at least."""
    return record_version(max(records))  # which is of bytes, and a record begins with its version


def record_value(record: bytes) -> bytes:
    """The value of a record; empty for a tombstone."""
    return record[_EXPIRING_HEAD_BYTES if record[8] & EXPIRES else RECORD_HEAD_BYTES :]
