"""One operation of a client: what it asks, how it is put on the wire, and what a refusal means to its caller.

The frames of single-key operations are packed here in one step instead of by way of a message object and its layout;
the tests hold them against `wire.client.encode_request`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Protocol

from twistedkv.errors import (
    InvalidRequest,
    Lapsed,
    NotAnInteger,
    NotDone,
    NotEnoughCopies,
    OutcomeUnknown,
    OutOfSpace,
    ShardLost,
    Status,
    VersionMismatch,
)
from twistedkv.wire.client import (
    BACKUP_BEGIN,
    BACKUP_END,
    BACKUP_LOG,
    BACKUP_RECORDS,
    CAS,
    DELETE,
    EXECUTE,
    GET,
    GET_MANY,
    INCR,
    NOOP,
    PUT,
    PUT_MANY,
    SCAN,
    VERIFY,
    encode_request,
)
from twistedkv.wire.coordinator import ADMIN
from twistedkv.wire.frames import HEADER, MAGIC, PROTOCOL_VERSION, RETRY, encode_frame

if TYPE_CHECKING:
    from twistedkv.client.lanes import Lane
    from twistedkv.client.numbers import WriteNumbers

_PUT_FRAME = Struct(">BBBBIIQQQH")
_WRITE_FRAME = Struct(">BBBBIIQQQ")
_CAS_FRAME = Struct(">BBBBIIQQQQH")
_INCR_FRAME = Struct(">BBBBIIQQQq")
_PUT_BODY_BYTES = 26
_DELETE_BODY_BYTES = 24
_CAS_BODY_BYTES = 34
_INCR_BODY_BYTES = 32

WRITES = 1
"""`argument` of an EXECUTE that may change the store."""

REFRESH = 0
"""Kind of an operation that ends with the map, and is no message itself."""

KIND_NAMES = {GET: "GET", PUT: "PUT", DELETE: "DELETE", CAS: "CAS", INCR: "INCR", VERIFY: "VERIFY", SCAN: "SCAN"}
KIND_NAMES |= {PUT_MANY: "PUT of several keys", GET_MANY: "GET of several keys"}
KIND_NAMES |= {BACKUP_BEGIN: "BACKUP_BEGIN", BACKUP_RECORDS: "BACKUP_RECORDS", BACKUP_LOG: "BACKUP_LOG"}
KIND_NAMES |= {BACKUP_END: "BACKUP_END"}
KIND_NAMES |= {EXECUTE: "the command", NOOP: "NOOP", ADMIN: "the command", REFRESH: "the request for the cluster map"}


class Waiter(Protocol):
    """Whom to tell of an operation's end; a Deferred is one. Exactly one of the two is called, once."""

    def callback(self, result: Any, /) -> Any:
        """It was done."""

    def errback(self, fail: Any, /) -> Any:
        """It was not done, or that is not known. `fail` is an exception."""


class Operation:
    """One call of a client's method, from its acceptance to its end.

    kind      type of the message it is sent as
    key       the key; empty for SCAN and for what is sent to a certain server
    slot      where it is routed to; -1 if not by slot
    value     the value of PUT and CAS; the whole message for all that are not of a single key
    argument  `expected` of CAS, `delta` of INCR, WRITES of an EXECUTE that writes
    deadline  moment (seconds of the clock given to the router) after which nobody waits for it
    waiter    whom to tell; None once it has ended. Invariant: an operation ends once
    order     place among all operations of the client, by acceptance
    number    of a write, given when it is first sent; 0 before. Unique, and the same in every attempt
    numbers   whose number that is; None before. Told when the operation ends
    since     newest version of the shard known when it was first sent
    maybe     whether an earlier attempt may have been executed. Invariant: then it is sent with RETRY
    lane      where it is queued; None if not routed by slot
    heard     why the last attempt failed, for the caller
    """

    __slots__ = (
        "argument",
        "deadline",
        "heard",
        "key",
        "kind",
        "lane",
        "maybe",
        "number",
        "numbers",
        "order",
        "since",
        "slot",
        "value",
        "waiter",
    )

    def __init__(
        self,
        kind: int,
        key: bytes,
        slot: int,
        deadline: float,
        waiter: Waiter | None,
        value: Any = b"",
        argument: int = 0,
    ) -> None:
        self.kind = kind
        self.key = key
        self.slot = slot
        self.deadline = deadline
        self.waiter = waiter
        self.value = value
        self.argument = argument
        self.order = 0
        self.number = 0
        self.numbers: WriteNumbers | None = None
        self.since = 0
        self.maybe = False
        self.lane: Lane | None = None
        self.heard = ""

    @property
    def writes(self) -> bool:
        """Whether it changes the store. Of EXECUTE, `argument` says that."""
        kind = self.kind
        return PUT <= kind <= INCR or kind == PUT_MANY or (kind == EXECUTE and self.argument == WRITES)

    def __str__(self) -> str:
        name = KIND_NAMES.get(self.kind, "the request")
        return f"{name} {self.key!r}" if self.key else name


def encode(operation: Operation, request_id: int) -> bytes:
    """The frame of an operation's next attempt."""
    kind = operation.kind
    key = operation.key
    if kind == GET:
        return HEADER.pack(MAGIC, PROTOCOL_VERSION, GET, 0, request_id, len(key)) + key
    number = operation.number
    if not number:
        return encode_frame(*_encode_message(operation.value), request_id)
    flags = RETRY if operation.maybe else 0
    since = operation.since
    oldest = operation.numbers.oldest  # type: ignore[union-attr]
    if kind == PUT:
        value = operation.value
        size = _PUT_BODY_BYTES + len(key) + len(value)
        head = _PUT_FRAME.pack(MAGIC, PROTOCOL_VERSION, PUT, flags, request_id, size, number, oldest, since, len(key))
        return head + key + value  # type: ignore[no-any-return]
    if kind == DELETE:
        size = _DELETE_BODY_BYTES + len(key)
        return _WRITE_FRAME.pack(MAGIC, PROTOCOL_VERSION, DELETE, flags, request_id, size, number, oldest, since) + key
    argument = operation.argument
    if kind in (EXECUTE, PUT_MANY):
        message = operation.value
        message.number, message.oldest, message.since = number, oldest, since
        return encode_frame(*encode_request(message), request_id, flags)
    if kind == CAS:
        value = operation.value
        size = _CAS_BODY_BYTES + len(key) + len(value)
        head = _CAS_FRAME.pack(
            MAGIC, PROTOCOL_VERSION, CAS, flags, request_id, size, number, oldest, since, argument, len(key)
        )
        return head + key + value  # type: ignore[no-any-return]
    size = _INCR_BODY_BYTES + len(key)
    return (
        _INCR_FRAME.pack(MAGIC, PROTOCOL_VERSION, INCR, flags, request_id, size, number, oldest, since, argument) + key
    )


def _encode_message(message: Any) -> tuple[int, bytes]:
    # What is encoded already (requests to the coordinator) comes as (type, body).
    return message if type(message) is tuple else encode_request(message)


BOUNCES = frozenset((Status.WRONG_SERVER, Status.NOT_PRIMARY_YET, Status.SUPERSEDED))
"""Refusals after which the operation is sent again."""

_AFTER_LOOKUP = frozenset(
    (Status.VERSION_MISMATCH, Status.NOT_AN_INTEGER, Status.NOT_ENOUGH_COPIES, Status.OUT_OF_SPACE)
)
"""A server gives these only when it has looked for the write's number in its table of results and not found it: so no
earlier attempt was executed either, and the answer is definite."""

_KINDS: dict[int, type[NotDone]] = {
    Status.LAPSED: Lapsed,
    Status.NOT_AN_INTEGER: NotAnInteger,
    Status.NOT_ENOUGH_COPIES: NotEnoughCopies,
    Status.OUT_OF_SPACE: OutOfSpace,
    Status.SHARD_LOST: ShardLost,
}


def refusal(operation: Operation, status: int, version: int, text: str, place: str) -> Exception:
    """The error that ends an operation which was refused with `status`, one that is not in BOUNCES."""
    name = Status(status).name if status in Status.__members__.values() else f"status {status}"
    said = f"{name}: {text}" if text else name
    if status == Status.UNKNOWN_OUTCOME:
        return OutcomeUnknown(f"{operation} ({place}): {text or 'the write is no longer remembered'}; read the key")
    if operation.maybe and status not in _AFTER_LOOKUP:
        return OutcomeUnknown(
            f"{operation} ({place}): an earlier attempt may have been executed ({operation.heard}), "
            f"and the next was answered by {said}; read the key"
        )
    if status == Status.VERSION_MISMATCH:
        found = f"has version {version}" if version else "does not exist"
        return VersionMismatch(f"{operation}: expected version {operation.argument}, but the key {found}", version)
    if status == Status.INVALID_REQUEST:
        return InvalidRequest(f"{operation} ({place}) was refused: {text or name}")
    kind = _KINDS.get(status, NotDone)
    return kind(f"{operation} ({place}) was not done: {said}")
