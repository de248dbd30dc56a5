"""One tree of errors. Each that can cross the wire carries its status code.

What a caller of a write has to know is in the type: `NotDone` means that the write certainly had no effect, now or
later; `OutcomeUnknown` that it may have been executed, once. A write that returns was done.
"""

from enum import IntEnum


class Status(IntEnum):
    """Status codes of results (docs/protocol.md). The first five are the original system's."""

    SUCCESS = 0
    SERVER_FAILURE = 1
    INVALID_REQUEST = 2
    KEY_NOT_FOUND = 3
    OUT_OF_SPACE = 4
    WRONG_SERVER = 5
    """Not executed here: another server is (or will be) the shard's primary. Carries the map version known here."""
    NOT_PRIMARY_YET = 6
    """Not executed: the shard has no serving primary at this moment; try again shortly."""
    SUPERSEDED = 7
    """A write was begun here, and then this server lost the shard: ask the new primary, with the same number."""
    UNKNOWN_OUTCOME = 8
    """The retried write is no longer remembered: it was executed once or not at all."""
    VERSION_MISMATCH = 9
    """CAS: not executed, the key has another version. Carries that version (0: the key does not exist)."""
    NOT_AN_INTEGER = 10
    """INCR: not executed, the value is no 64-bit integer, or the sum would not be one."""
    SHARD_LOST = 11
    """Not executed: no copy of the shard is left; an operator has to decide (`twistedkv admin accept-loss`)."""
    NOT_ENOUGH_COPIES = 12
    """Not executed: the shard has fewer copies than `min-copies`."""
    UNSUPPORTED = 13
    """The message type is not known here, or not allowed on this kind of connection."""
    LAPSED = 14
    """A backup of a shard is not known here (any more): it has to be begun again."""


class TwistedKVError(Exception):
    """Base of all errors of this package."""

    status: Status = Status.SERVER_FAILURE


class ProtocolError(TwistedKVError):
    """The bytes received are not the protocol; the connection is closed."""

    status = Status.INVALID_REQUEST


class InvalidRequest(TwistedKVError, ValueError):
    """An argument is outside its bounds; the text says which and what is allowed. Nothing was sent or executed."""

    status = Status.INVALID_REQUEST


class CommandError(TwistedKVError):
    """A command of the line port was not executed. The text is the error line that its client is sent."""

    status = Status.INVALID_REQUEST


class StorageFailed(TwistedKVError):
    """A server's store could not do what it was told. Nothing that this copy says can be relied on any more: its
    process ends, and is replaced."""


class DiskFull(TwistedKVError):
    """A store has no room for what it was to keep. Nothing of it was stored, and it may be tried again."""


class DamagedRecord(TwistedKVError):
    """A store has something else under a key than what was stored there. Other copies may have it."""

    def __init__(self, slot: int, key: bytes) -> None:
        super().__init__(f"the record of {key!r} is damaged on this server: its checksum is wrong")
        self.slot = slot
        self.key = key


class Damaged(TwistedKVError):
    """A file of a backup is not what was written; the text says which, and where."""


class ConfigurationError(TwistedKVError):
    """An option or a configuration file is wrong; the text says where and what is expected."""


class OperationError(TwistedKVError):
    """An operation of a client failed: see the two subclasses."""


class NotDone(OperationError):
    """The operation certainly had no effect and will have none."""


class OutcomeUnknown(OperationError):
    """The write may have been executed (once) or not; read the key to find out."""

    status = Status.UNKNOWN_OUTCOME


class VersionMismatch(NotDone):
    """CAS found another version. `found` is that version, 0 if the key does not exist."""

    status = Status.VERSION_MISMATCH

    def __init__(self, message: str, found: int) -> None:
        super().__init__(message)
        self.found = found


class NotAnInteger(NotDone):
    """INCR found a value that is no 64-bit integer, or the sum would not be one."""

    status = Status.NOT_AN_INTEGER


class OutOfSpace(NotDone):
    """The servers have no room for the write."""

    status = Status.OUT_OF_SPACE


class NotEnoughCopies(NotDone):
    """The shard has fewer copies than the cluster's `min-copies` asks for a write."""

    status = Status.NOT_ENOUGH_COPIES


class ShardLost(NotDone):
    """No copy of the shard is left."""

    status = Status.SHARD_LOST


class Lapsed(NotDone):
    """The backup of a shard has to be begun again: another server is its primary now, or the client was too slow."""

    status = Status.LAPSED


class Unavailable(NotDone):
    """No server could be reached, or none served the shard, before the deadline."""

    status = Status.NOT_PRIMARY_YET


NOT_FORMED = "the cluster has not been formed yet: too few servers have registered"
"""What a client last heard when there is a coordinator, but no shard."""


class Superseded(TwistedKVError):
    """Of the map store: another coordinator has taken over; this one must stop at once."""
