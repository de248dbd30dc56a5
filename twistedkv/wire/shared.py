"""Layouts used by more than one family: hello, members, configurations, the cluster map."""

from types import MappingProxyType
from typing import Any

from twistedkv.clustermap import STORE_ID_BYTES, ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.errors import ProtocolError
from twistedkv.limits import (
    CLUSTER_NAME_BYTES_MAX,
    COPIES_MAX,
    EPOCH_MAX,
    HOST_BYTES_MAX,
    SERVERS_MAX,
    SHARDS_MAX,
    SLOTS,
    TEXT_BYTES_MAX,
)
from twistedkv.messages.hello import Hello, HelloReply, Role
from twistedkv.wire.fields import U8, U16, U32, U64, Enumerated, Fixed, Flag, Layout, Many, Text

IDENTITY = Fixed(STORE_ID_BYTES)
TEXT = Text(U16, TEXT_BYTES_MAX)
CLUSTER_NAME = Text(U8, CLUSTER_NAME_BYTES_MAX)
HOST = Text(U8, HOST_BYTES_MAX)

HELLO_TYPE = 0x01
HELLO_REPLY_TYPE = 0x02

HELLO = Layout(
    Hello,
    ("version_min", U8),
    ("version_max", U8),
    ("role", Enumerated(Role)),
    ("cluster", CLUSTER_NAME),
    ("server_id", U16),
    ("identity", IDENTITY),
)
HELLO_REPLY = Layout(
    HelloReply,
    ("status", U8),
    ("version", U8),
    ("cluster", CLUSTER_NAME),
    ("server_id", U16),
    ("identity", IDENTITY),
    ("text", TEXT),
)

MEMBER = Layout(Member, ("server_id", U16), ("store_id", IDENTITY))
_MEMBERS = Many(U8, MEMBER, 2 * COPIES_MAX)

SERVER = Layout(
    Server,
    ("server_id", U16),
    ("store_id", IDENTITY),
    ("host", HOST),
    ("port", U16),
    ("state", Enumerated(ServerState)),
    ("pid", U32),
    ("line_port", U16),
    ("course_port", U16),
)


def _make_configuration(**fields: Any) -> Configuration:
    for name in ("secondaries", "learners", "preferred"):
        fields[name] = tuple(fields[name])
    made = Configuration(**fields)
    # Slots are places in a store, and the epoch is a part of every version that is made in it.
    if made.shard >= SHARDS_MAX or not made.first_slot <= made.last_slot < SLOTS:
        raise ProtocolError(f"Configuration: shard {made.shard}, slots {made.first_slot} to {made.last_slot} cannot be")
    if max(made.epoch, made.birth) > EPOCH_MAX:
        raise ProtocolError(f"Configuration: an epoch is at most {EPOCH_MAX}")
    return made


_make_configuration.__name__ = "Configuration"

CONFIGURATION = Layout(
    _make_configuration,
    ("shard", U16),
    ("first_slot", U16),
    ("last_slot", U16),
    ("epoch", U32),
    ("birth", U32),
    ("primary", MEMBER),
    ("secondaries", _MEMBERS),
    ("learners", _MEMBERS),
    ("released", Flag()),
    ("lost", Flag()),
    ("preferred", Many(U8, U16, COPIES_MAX)),
)


class _Servers:
    """The servers of a map, by id."""

    def __init__(self) -> None:
        self._many = Many(U16, SERVER, SERVERS_MAX)
        self.label = self._many.label

    def write(self, value: Any, out: list[bytes]) -> None:
        self._many.write([value[i] for i in sorted(value)], out)

    def read(self, body: bytes, offset: int) -> tuple[Any, int]:
        servers, offset = self._many.read(body, offset)
        return MappingProxyType({server.server_id: server for server in servers}), offset


def _make_map(**fields: Any) -> ClusterMap:
    fields["shards"] = tuple(fields["shards"])
    return ClusterMap(**fields)


_make_map.__name__ = "ClusterMap"

CLUSTER_MAP = Layout(
    _make_map,
    ("cluster", CLUSTER_NAME),
    ("version", U64),
    ("copies", U8),
    ("min_copies", U8),
    ("heartbeat_ms", U32),
    ("servers", _Servers()),
    ("shards", Many(U16, CONFIGURATION, SHARDS_MAX)),
)
