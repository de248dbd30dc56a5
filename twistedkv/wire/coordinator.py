"""The coordinator family."""

from struct import Struct

from twistedkv.errors import ProtocolError
from twistedkv.limits import ENGINE_BYTES_MAX, HOST_BYTES_MAX, JSON_BYTES_MAX, SHARDS_MAX
from twistedkv.messages.client import MapUpdate, Result
from twistedkv.messages.coordinator import (
    AdminReply,
    AdminRequest,
    DumpPrimary,
    DumpSecondary,
    FillReport,
    Heartbeat,
    Leaving,
    Noticed,
    Relinquished,
    Remove,
    ReplicaRole,
    Seal,
    Sealed,
    ShardReport,
    Shutdown,
    Started,
    StartedReply,
    SwitchPrimary,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimary,
    UpdatePrimaryFailed,
    UpdateSecondary,
    UpdateSecondaryFailed,
    Usage,
)
from twistedkv.watermarks import Level
from twistedkv.wire.client import CONFIG_RESP, RESULT
from twistedkv.wire.fields import I64, U8, U16, U32, U64, Bytes, Enumerated, Family, Flag, Layout, Many, Rest, Text
from twistedkv.wire.shared import CLUSTER_MAP, CONFIGURATION, IDENTITY, MEMBER, TEXT

STARTED = 0x40
STARTED_REPLY = 0x41
HEARTBEAT = 0x42
UPDATED_PRIMARY = 0x43
UPDATE_PRIMARY_FAILED = 0x44
UPDATED_SECONDARY = 0x45
UPDATE_SECONDARY_FAILED = 0x46
REMOVE = 0x47
LEAVING = 0x48
SEALED = 0x49
RELINQUISHED = 0x4A
NOTICED = 0x4B
SEAL = 0x50
UPDATE_PRIMARY = 0x51
UPDATE_SECONDARY = 0x52
SWITCH_PRIMARY = 0x53
SHUTDOWN = 0x54
DUMP_PRIMARY = 0x55
DUMP_SECONDARY = 0x56
ADMIN = 0x60
ADMIN_REPLY = 0x61

_REPORT = Layout(
    ShardReport,
    ("shard", U16),
    ("epoch", U32),
    ("role", Enumerated(ReplicaRole)),
    ("last", U64),
    ("commit", U64),
    ("bytes_stored", U64),
)
_LEVELS = tuple(Level)
_USAGE = Layout(
    Usage,
    ("memory", U64),
    ("memory_limit", U64),
    ("disk", U64),
    ("disk_limit", U64),
    ("room", I64),
    ("spare", I64),
    ("level", Enumerated(Level)),
    ("evicts", Flag()),
)
_REPORTS = Many(U16, _REPORT, SHARDS_MAX)
_FILL_REPORT = Layout(
    FillReport, ("shard", U16), ("learner", MEMBER), ("records", U64), ("records_total", U64), ("bytes_sent", U64)
)
_UPDATED = (("shard", U16), ("epoch", U32), ("learner", MEMBER))

FAMILY = Family(
    "coordinator",
    (
        STARTED,
        Layout(
            Started,
            ("server_id", U16),
            ("store_id", IDENTITY),
            ("host", Text(U8, HOST_BYTES_MAX)),
            ("port", U16),
            ("line_port", U16),
            ("course_port", U16),
            ("pid", U32),
            ("standby", Flag()),
            ("engine", Text(U8, ENGINE_BYTES_MAX)),
            ("reports", _REPORTS),
            ("usage", _USAGE),
        ),
    ),
    (
        STARTED_REPLY,
        Layout(StartedReply, ("status", U8), ("server_id", U16), ("heartbeat_ms", U32), ("text", TEXT)),
    ),
    (
        HEARTBEAT,
        Layout(
            Heartbeat,
            ("server_id", U16),
            ("store_id", IDENTITY),
            ("beat", U64),
            ("map_version", U64),
            ("keys", U64),
            ("bytes_stored", U64),
            ("reports", _REPORTS),
            ("fills", Many(U16, _FILL_REPORT, SHARDS_MAX)),
            ("usage", _USAGE),
        ),
    ),
    (UPDATED_PRIMARY, Layout(UpdatedPrimary, *_UPDATED)),
    (UPDATE_PRIMARY_FAILED, Layout(UpdatePrimaryFailed, *_UPDATED, ("reason", TEXT))),
    (UPDATED_SECONDARY, Layout(UpdatedSecondary, *_UPDATED)),
    (UPDATE_SECONDARY_FAILED, Layout(UpdateSecondaryFailed, *_UPDATED, ("reason", TEXT))),
    (REMOVE, Layout(Remove, ("shard", U16), ("epoch", U32), ("member", MEMBER), ("reason", TEXT))),
    (NOTICED, Layout(Noticed, ("shard", U16), ("text", TEXT))),
    (LEAVING, Layout(Leaving, ("server_id", U16))),
    (SEALED, Layout(Sealed, ("shard", U16), ("epoch", U32), ("last", U64), ("holds", Flag()))),
    (RELINQUISHED, Layout(Relinquished, ("shard", U16), ("epoch", U32), ("last", U64))),
    (SEAL, Layout(Seal, ("shard", U16), ("epoch", U32))),
    (UPDATE_PRIMARY, Layout(UpdatePrimary, ("configuration", CONFIGURATION))),
    (UPDATE_SECONDARY, Layout(UpdateSecondary, ("configuration", CONFIGURATION))),
    (SWITCH_PRIMARY, Layout(SwitchPrimary, ("shard", U16), ("epoch", U32), ("target", U16))),
    (SHUTDOWN, Layout(Shutdown)),
    (DUMP_PRIMARY, Layout(DumpPrimary)),
    (DUMP_SECONDARY, Layout(DumpSecondary)),
    (ADMIN, Layout(AdminRequest, ("json", Bytes(U32, JSON_BYTES_MAX)))),
    (ADMIN_REPLY, Layout(AdminReply, ("status", U8), ("json", Bytes(U32, JSON_BYTES_MAX)))),
    # Both are also of the client family: the answer to a control request, and the map.
    (RESULT, Layout(Result, ("status", U8), ("version", U64), ("value", Rest()))),
    (CONFIG_RESP, Layout(MapUpdate, ("map", CLUSTER_MAP))),
)


class HeartbeatDecoder:
    """Heartbeats of one server, decoded one after the other.

    As long as the server says the same of its shards but for the numbers of updates, each heartbeat is given the list
    of the one before. At every NUMBERS_BEATS-th the numbers in its reports are brought up to date: they are for people.
    So that this is all that a heartbeat costs, who receives them may look whether the list is the one that it knows.
    """

    NUMBERS_BEATS = 5

    _HEAD = Struct(">H16sQQQQH")
    _REPORT_BYTES = 31
    _NUMBERS = Struct(">7xQQQ")
    _SAME_BYTES = 7
    """Of a report: shard, epoch, role."""
    _USAGE = Struct(">QQQQqqBB")

    def __init__(self) -> None:
        self._columns: list[bytes] = []
        self._reports: list[ShardReport] | None = None
        self._packed_usage = b""
        self._usage = Usage()

    def decode(self, body: bytes) -> Heartbeat:
        """The message whose body this is. Raises ProtocolError."""
        head = self._HEAD
        if len(body) < head.size:
            raise ProtocolError("a heartbeat ends in its head")
        server_id, store_id, beat, map_version, keys, bytes_stored, count = head.unpack_from(body)
        end = head.size + count * self._REPORT_BYTES
        packed = body[head.size : end]
        size = self._REPORT_BYTES
        columns = [packed[place::size] for place in range(self._SAME_BYTES)]
        usage = body[end + 2 :]
        plain = len(usage) == self._USAGE.size and body[end : end + 2] == b"\0\0"
        if self._reports is None or columns != self._columns or not plain:
            message: Heartbeat = FAMILY.layouts[HEARTBEAT].decode(body)
            self._columns, self._reports = columns, message.reports
            return message
        if usage != self._packed_usage:
            self._usage, self._packed_usage = self._usage_of(usage), usage
        if beat % self.NUMBERS_BEATS == server_id % self.NUMBERS_BEATS:
            for report, (last, commit, size) in zip(self._reports, self._NUMBERS.iter_unpack(packed), strict=True):
                report.last = last
                report.commit = commit
                report.bytes_stored = size
        return Heartbeat(server_id, store_id, beat, map_version, keys, bytes_stored, self._reports, [], self._usage)

    def _usage_of(self, packed: bytes) -> Usage:
        memory, memory_limit, disk, disk_limit, room, spare, level, evicts = self._USAGE.unpack(packed)
        if level >= len(_LEVELS) or evicts > 1:
            return _USAGE.read(packed, 0)[0]  # which says what is wrong
        return Usage(memory, memory_limit, disk, disk_limit, room, spare, _LEVELS[level], bool(evicts))
