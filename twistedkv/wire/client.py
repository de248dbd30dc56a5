"""The client family: tables, and hand-written codecs for what is on the path of every request."""

from struct import Struct, error

from twistedkv.columns import column_bytes
from twistedkv.errors import ProtocolError, Status
from twistedkv.limits import (
    ARGUMENTS_MAX,
    COMMANDS_MAX,
    KEY_BYTES_MAX,
    KEYS_MAX,
    SCAN_KEYS_MAX,
    SLOTS,
    UPDATE_BYTES_MAX,
    VALUE_BYTES_MAX,
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
    Cas,
    Delete,
    Execute,
    ExecuteMode,
    Get,
    GetMany,
    Incr,
    MapRequest,
    MapUpdate,
    Noop,
    Put,
    PutMany,
    Result,
    Scan,
    ScanItem,
    ScanPage,
    Verify,
    Watched,
)
from twistedkv.records import RECORD_HEAD_BYTES
from twistedkv.wire.fields import I64, U8, U16, U32, U64, Bytes, Column, Enumerated, Family, Flag, Layout, Many, Rest
from twistedkv.wire.frames import HEADER, HEADER_BYTES, MAGIC, PROTOCOL_VERSION
from twistedkv.wire.shared import CLUSTER_MAP

NOOP = 0x10
GET = 0x11
PUT = 0x12
DELETE = 0x13
CAS = 0x14
INCR = 0x15
VERIFY = 0x16
SCAN = 0x17
CONFIG_REQ = 0x18
EXECUTE = 0x19
PUT_MANY = 0x1A
GET_MANY = 0x1B
BACKUP_BEGIN = 0x1C
BACKUP_RECORDS = 0x1D
BACKUP_LOG = 0x1E
BACKUP_END = 0x1F
RESULT = 0x20
SCAN_PAGE = 0x21
CONFIG_RESP = 0x22
BACKUP_BEGUN = 0x23
BACKUP_PAGE = 0x24
BACKUP_ENTRIES = 0x25

KEY = Bytes(U16, KEY_BYTES_MAX)
VALUE = Bytes(U32, VALUE_BYTES_MAX)
KEYS = Column(1, KEY_BYTES_MAX, KEYS_MAX)
VALUES = Column(0, VALUE_BYTES_MAX, KEYS_MAX)

_WRITE = (("number", U64), ("oldest", U64), ("since", U64))

FAMILY = Family(
    "client",
    (NOOP, Layout(Noop)),
    (GET, Layout(Get, ("key", Rest()))),
    (PUT, Layout(Put, *_WRITE, ("key", KEY), ("value", Rest()))),
    (DELETE, Layout(Delete, *_WRITE, ("key", Rest()))),
    (CAS, Layout(Cas, *_WRITE, ("expected", U64), ("key", KEY), ("value", Rest()))),
    (INCR, Layout(Incr, *_WRITE, ("delta", I64), ("key", Rest()))),
    (VERIFY, Layout(Verify, ("key", Rest()))),
    (
        SCAN,
        Layout(Scan, ("slot", U16), ("after", KEY), ("count", U32), ("prefix", KEY), ("values", Flag())),
    ),
    (CONFIG_REQ, Layout(MapRequest, ("subscribe", Flag()))),
    (
        EXECUTE,
        Layout(
            Execute,
            *_WRITE,
            ("slot", U16),
            ("protocol", U8),
            ("mode", Enumerated(ExecuteMode)),
            ("watched", Many(U16, Layout(Watched, ("key", KEY), ("version", U64)), COMMANDS_MAX)),
            ("commands", Many(U16, Many(U32, VALUE, ARGUMENTS_MAX), COMMANDS_MAX)),
        ),
    ),
    (PUT_MANY, Layout(PutMany, *_WRITE, ("slot", U16), ("keys", KEYS), ("values", VALUES))),
    (GET_MANY, Layout(GetMany, ("slot", U16), ("keys", KEYS))),
    (BACKUP_BEGIN, Layout(BackupBegin, ("slot", U16))),
    (BACKUP_RECORDS, Layout(BackupRecords, ("slot", U16), ("after", KEY), ("pin", U64), ("prefix", KEY))),
    (BACKUP_LOG, Layout(BackupLog, ("slot", U16), ("pin", U64), ("after", U64))),
    (BACKUP_END, Layout(BackupEnd, ("slot", U16), ("pin", U64))),
    (RESULT, Layout(Result, ("status", U8), ("version", U64), ("value", Rest()))),
    (
        SCAN_PAGE,
        Layout(
            ScanPage,
            ("next_slot", U16),
            ("next_after", KEY),
            ("items", Many(U32, Layout(ScanItem, ("key", KEY), ("version", U64), ("value", VALUE)), SCAN_KEYS_MAX)),
        ),
    ),
    (CONFIG_RESP, Layout(MapUpdate, ("map", CLUSTER_MAP))),
    (BACKUP_BEGUN, Layout(BackupBegun, ("pin", U64), ("last", U64), ("records", U64))),
    (BACKUP_PAGE, Layout(BackupPage, ("last", U64), ("next_slot", U16), ("next_after", KEY), ("records", Rest()))),
    (BACKUP_ENTRIES, Layout(BackupEntries, ("first", U64), ("count", U32), ("entries", Rest()))),
)

Request = (
    Noop | Get | Put | Delete | Cas | Incr | Verify | Scan | MapRequest | Execute | PutMany | GetMany | BackupRequest
)
Response = Result | ScanPage | MapUpdate | BackupBegun | BackupPage | BackupEntries

ANSWERS = {
    SCAN: SCAN_PAGE,
    BACKUP_BEGIN: BACKUP_BEGUN,
    BACKUP_RECORDS: BACKUP_PAGE,
    BACKUP_LOG: BACKUP_ENTRIES,
}
"""By request: what a success is answered by, where that is no RESULT."""

_PUT_HEAD = Struct(">QQQH")
_EXECUTE_HEAD_BYTES = 3 * 8 + 2 + 1 + 1 + 2 + 2
_WATCHED_HEAD_BYTES = 2 + 8
_RESULT_FRAME_HEAD = Struct(">BBBBIIBQ")
_RESULT_HEAD = Struct(">BQ")
_RESULT_HEAD_BYTES = _RESULT_HEAD.size
_SUCCESS = int(Status.SUCCESS)


def check_key(key: bytes) -> None:
    """Raise ProtocolError unless the key has 1 to KEY_BYTES_MAX bytes."""
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise ProtocolError(f"a key has 1 to {KEY_BYTES_MAX} bytes, this one has {len(key)}")


def _decode_put(body: bytes) -> Put:
    try:
        number, oldest, since, key_bytes = _PUT_HEAD.unpack_from(body)
    except error as wrong:
        raise ProtocolError("Put: the body is too short") from wrong
    end = _PUT_HEAD.size + key_bytes
    if not 1 <= key_bytes <= KEY_BYTES_MAX or end > len(body):
        raise ProtocolError(f"Put: a key of {key_bytes} bytes does not fit the body, or the limit of {KEY_BYTES_MAX}")
    if len(body) - end > VALUE_BYTES_MAX:
        raise ProtocolError(f"Put: a value has at most {VALUE_BYTES_MAX} bytes, this one has {len(body) - end}")
    return Put(number, oldest, since, body[_PUT_HEAD.size : end], body[end:])


def decode_request(message_type: int, body: bytes) -> Request:
    """A client's request. Raises ProtocolError when the type is unknown, the body wrong or a bound passed."""
    if message_type == PUT:
        return _decode_put(body)
    if message_type == GET:
        check_key(body)
        return Get(body)
    if not NOOP <= message_type <= BACKUP_END:
        raise ProtocolError(f"message type 0x{message_type:02x} is not one of the requests of a client")
    request: Request = FAMILY.decode(message_type, body)
    if isinstance(request, Delete | Cas | Incr | Verify):
        check_key(request.key)
    if isinstance(request, Cas) and len(request.value) > VALUE_BYTES_MAX:
        raise ProtocolError(f"Cas: a value has at most {VALUE_BYTES_MAX} bytes, this one has {len(request.value)}")
    if isinstance(request, Execute):
        _check_execute(request)
    if isinstance(request, PutMany | GetMany):
        _check_many(request)
    return request


def _check_many(request: PutMany | GetMany) -> None:
    name, keys = type(request).__name__, request.keys
    if request.slot >= SLOTS or not keys:
        raise ProtocolError(
            f"{name}: slot {request.slot} with {len(keys)} keys: expected a slot that exists, and a key"
        )
    if isinstance(request, PutMany):
        if len(request.values) != len(keys) or len(set(keys)) != len(keys):
            raise ProtocolError(f"{name}: {len(keys)} keys with {len(request.values)} values, or one key twice")
        size = column_bytes(keys) + column_bytes(request.values) + RECORD_HEAD_BYTES * len(keys)
        if size > UPDATE_BYTES_MAX:
            raise ProtocolError(f"{name}: the update would have {size} bytes, at most {UPDATE_BYTES_MAX} are allowed")


def _check_execute(request: Execute) -> None:
    if request.slot >= SLOTS or request.protocol not in (2, 3):
        raise ProtocolError(f"Execute: slot {request.slot} or RESP{request.protocol} does not exist")
    if not all(request.commands) or (len(request.commands) != 1 and request.mode is ExecuteMode.SINGLE):
        raise ProtocolError("Execute: one command, or several as a transaction or a batch, each with its name")
    if not request.commands and request.mode is ExecuteMode.BATCH:
        raise ProtocolError("Execute: a batch has at least one command")
    if request.watched and request.mode is not ExecuteMode.TRANSACTION:
        raise ProtocolError("Execute: keys are watched for a transaction only")


def encode_put(put: Put) -> bytes:
    """The body of a Put."""
    return _PUT_HEAD.pack(put.number, put.oldest, put.since, len(put.key)) + put.key + put.value


def execute_bytes(execute: Execute) -> int:
    """Size of the body of an Execute. It may be more than a frame can carry: of that the tables know nothing."""
    watched = sum(_WATCHED_HEAD_BYTES + len(each.key) for each in execute.watched)
    arguments = sum(4 + 4 * len(command) + sum(map(len, command)) for command in execute.commands)
    return _EXECUTE_HEAD_BYTES + watched + arguments


def encode_request(request: Request) -> tuple[int, bytes]:
    """Type number and body."""
    if type(request) is Put:
        return PUT, encode_put(request)
    if type(request) is Get:
        return GET, request.key
    return FAMILY.encode(request)


def result_frame(request_id: int, status: int, version: int = 0, value: bytes = b"") -> bytes:
    """A whole RESULT frame, header included: the answer to most requests."""
    return (
        _RESULT_FRAME_HEAD.pack(
            MAGIC, PROTOCOL_VERSION, RESULT, 0, request_id, _RESULT_HEAD_BYTES + len(value), status, version
        )
        + value
    )


def decode_result(body: bytes) -> Result:
    """The body of a RESULT."""
    try:
        status, version = _RESULT_HEAD.unpack_from(body)
    except error as wrong:
        raise ProtocolError("Result: the body is too short") from wrong
    return Result(status, version, body[_RESULT_HEAD_BYTES:])


def decode_response(message_type: int, body: bytes) -> Response:
    """An answer to a client. Raises ProtocolError when it is none."""
    if message_type == RESULT:
        return decode_result(body)
    if not SCAN_PAGE <= message_type <= BACKUP_ENTRIES:
        raise ProtocolError(f"message type 0x{message_type:02x} is not an answer to a client")
    response: Response = FAMILY.decode(message_type, body)
    return response


__all__ = ["FAMILY", "HEADER", "HEADER_BYTES", "decode_request", "decode_response", "encode_request", "result_frame"]
