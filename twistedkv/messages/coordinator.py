"""Between servers and the coordinator, and between operators and the coordinator. Names after the original system."""

from enum import IntEnum

import attrs

from twistedkv.clustermap import Configuration, Member
from twistedkv.watermarks import Level


class ReplicaRole(IntEnum):
    """What a server is for a shard, in its own words."""

    NONE = 0
    """Holds nothing."""
    LEARNER = 1
    """Is being filled."""
    SECONDARY = 2
    """Applies what the primary of its epoch sends."""
    SEALED = 3
    """Accepts nothing until it hears of a configuration with at least the sealed epoch (I14)."""
    RECONCILING = 4
    """Primary to be: brings the members to its own last update, and waits out the old lease (I6, I8)."""
    PRIMARY = 5
    """Serves."""
    SWITCHING = 6
    """Takes no new requests and waits until all that are in flight are committed."""
    STEPPED_DOWN = 7
    """Was primary in this epoch and never serves in it again."""


@attrs.define
class ShardReport:
    """A server's word on one shard."""

    shard: int
    epoch: int
    role: ReplicaRole
    last: int
    """Version of the newest update it holds."""
    commit: int
    """Sequence up to which it knows updates to be committed."""
    bytes_stored: int = 0
    """What the copy costs of that which is limited, about; 0 where nothing is."""


@attrs.frozen
class Usage:
    """What a server uses of what it may use. Bytes; a limit of 0 is none."""

    memory: int = 0
    memory_limit: int = 0
    disk: int = 0
    disk_limit: int = 0
    room: int = 2**62
    """To the low mark. Negative: so many must go before the server has room again."""
    spare: int = 2**62
    """To the high mark."""
    level: Level = Level.OK
    evicts: bool = False
    """It removes keys when it is full."""


NO_USAGE = Usage()
"""Of a server of which nothing is known, or that has no limits."""


@attrs.define
class FillReport:
    """A primary's word on one fill that it is sending."""

    shard: int
    learner: Member
    records: int
    records_total: int
    bytes_sent: int


@attrs.define
class Started:
    """Server to coordinator, first of all: here I am. Answer: StartedReply, then MapUpdate (whole)."""

    server_id: int
    """0: give me one."""
    store_id: bytes
    host: str
    """Where clients and peers reach it."""
    port: int
    line_port: int
    """0: none."""
    course_port: int
    """0: none."""
    pid: int
    standby: bool
    engine: str
    """Where its data are, and what a power cut costs: for people."""
    reports: list[ShardReport]
    usage: Usage = NO_USAGE


@attrs.define
class StartedReply:
    """The server's id, and the cluster's heartbeat. On any status but SUCCESS the server must end."""

    status: int
    server_id: int
    heartbeat_ms: int
    text: str


@attrs.define
class Heartbeat:
    """Every heartbeat, fire and forget."""

    server_id: int
    store_id: bytes
    beat: int
    map_version: int
    keys: int
    bytes_stored: int
    reports: list[ShardReport]
    fills: list[FillReport]
    usage: Usage = NO_USAGE


@attrs.define
class UpdatedPrimary:
    """The learner, which is to be the shard's primary again, holds everything and is counted: make it a member."""

    shard: int
    epoch: int
    learner: Member


@attrs.define
class UpdatePrimaryFailed:
    """The fill cannot go on; the reason is for the journal."""

    shard: int
    epoch: int
    learner: Member
    reason: str


@attrs.define
class UpdatedSecondary:
    """As UpdatedPrimary, for a learner that is to be a secondary."""

    shard: int
    epoch: int
    learner: Member


@attrs.define
class UpdateSecondaryFailed:
    """As UpdatePrimaryFailed, for a learner that is to be a secondary."""

    shard: int
    epoch: int
    learner: Member
    reason: str


@attrs.define
class Remove:
    """Primary to coordinator: this member or learner has not acknowledged anything for too long."""

    shard: int
    epoch: int
    member: Member
    reason: str


@attrs.define
class Noticed:
    """Server to coordinator: something for the journal."""

    shard: int
    text: str


@attrs.define
class Leaving:
    """Server to coordinator: I am being stopped; give my roles to others. Answer: Result, when that is done."""

    server_id: int


@attrs.define
class Sealed:
    """Answer to Seal."""

    shard: int
    epoch: int
    """The epoch known here: the one asked for, or a higher one."""
    last: int
    """Version of the newest update here."""
    holds: bool
    """False: this server has no complete copy of the shard, whatever the map says."""


@attrs.define
class Relinquished:
    """Answer to SwitchPrimary: everything is committed, and this server serves the shard no more in this epoch."""

    shard: int
    epoch: int
    last: int


@attrs.define
class Seal:
    """Coordinator to server: accept nothing of this shard from an epoch below this one. Answer: Sealed."""

    shard: int
    epoch: int


@attrs.define
class UpdatePrimary:
    """Coordinator to a shard's primary: fill the learner of this configuration, which is to be primary again."""

    configuration: Configuration


@attrs.define
class UpdateSecondary:
    """Coordinator to a shard's primary: fill the learner of this configuration, which is to be a secondary."""

    configuration: Configuration


@attrs.define
class SwitchPrimary:
    """Coordinator to a shard's primary: flush and step down. Answer: Relinquished, or Result with an error."""

    shard: int
    epoch: int
    target: int
    """Server id of the next primary."""


@attrs.define
class Shutdown:
    """Coordinator to server: flush, close, end."""


@attrs.define
class DumpPrimary:
    """Write the shards of which the server is primary to `server_n.primary`. Answer: Result with the path."""


@attrs.define
class DumpSecondary:
    """Write the shards of which the server is secondary to `server_n.secondary`. Answer: Result with the path."""


@attrs.define
class AdminRequest:
    """Operator to coordinator: a command with arguments, as JSON (docs/protocol.md lists them). Answer: AdminReply."""

    json: bytes


@attrs.define
class AdminReply:
    """Status, and JSON: the answer, or on failure {"error": sentence}.

    A command that follows (`journal` with follow) is answered with many of these.
    """

    status: int
    json: bytes
