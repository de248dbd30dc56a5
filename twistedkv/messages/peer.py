"""Between servers: replication over a PEER connection, records over a TRANSFER connection.

Both are opened by the primary's server, which sends everything but the acknowledgements.
"""

from enum import IntEnum

import attrs

from twistedkv.clustermap import Configuration
from twistedkv.watermarks import Level


class Refusal(IntEnum):
    """Why a section was not accepted."""

    OLD_EPOCH = 1
    """This server has sealed or seen a higher epoch (given); it will accept nothing older (I2)."""
    GAP = 2
    """The section does not continue the log; `last` is where it ends here."""
    NOT_A_MEMBER = 3
    """This server has no copy in that epoch, or has not heard of the configuration yet."""
    HOLDS = 4
    """This learner has everything up to the version `last`, from when it was a member: it may need no more than what
    came after that."""


class FillKind(IntEnum):
    """How a fill begins."""

    OFFERED = 1
    """From nothing, unless the learner has something to go on with: then it refuses with HOLDS."""
    FROM_NOTHING = 2
    """The learner drops what it has."""
    CONTINUED = 3
    """The learner keeps what it has, which ends with the version `start`, and is sent what comes after that."""


class SlotView(IntEnum):
    """How much of a slot is asked for."""

    DIGEST = 1
    """16 bytes (`core.evidence.digest_of`); all zero: a record is damaged."""
    LISTING = 2
    """Keys, versions and checksums (`core.evidence.encode_listing`)."""
    RECORD = 3
    """The record of one key; empty: there is none, or it is damaged."""


@attrs.define
class SlotQuery:
    """Primary to secondary, on the PEER connection: what is in this slot now? Answer: SlotState."""

    shard: int
    epoch: int
    slot: int
    view: SlotView
    key: bytes
    """Of RECORD; else empty."""


@attrs.define
class SlotState:
    """What was asked for; empty when this copy is no secondary in that epoch."""

    shard: int
    epoch: int
    slot: int
    view: SlotView
    body: bytes


@attrs.define
class Configure:
    """A configuration from its primary, sent before anything else of its epoch."""

    configuration: Configuration


@attrs.define
class Section:
    """The part of a REPLICATE frame that concerns one shard. Without entries it is a beacon, which renews the lease."""

    shard: int
    epoch: int
    commit: int
    """Sequence up to which every update is known to be committed."""
    first: int
    """Sequence of the first entry (of the next one, in a beacon)."""
    count: int
    entries: bytes
    """`count` entries, each as core.entries has it."""


@attrs.define
class Replicate:
    """All that a primary's server has for a peer in one reactor turn, over all shards."""

    number: int
    """Of this frame; grows, never reused for this pair of servers."""
    sections: list[Section]


@attrs.define
class RefusedSection:
    """A section that was not accepted."""

    shard: int
    refusal: Refusal
    epoch: int
    """The epoch known here."""
    last: int
    """Sequence at which the log ends here; with HOLDS, the version there."""


@attrs.define
class Ack:
    """How far the frames have come, except for these sections, which were refused."""

    number: int
    """All frames up to this one are stored, and stay stored as well as the store can."""
    heard: int
    """All up to this one have come, and what they say of epochs and leases is obeyed."""
    refused: list[RefusedSection]
    level: Level = Level.OK
    """How full the server is that says so."""


@attrs.define
class BeginFill:
    """On the PEER connection: take part in a fill of this shard, as a learner whose log goes on after `start`."""

    shard: int
    epoch: int
    how: FillKind
    fill: int
    """Number of this attempt; everything of an older one is ignored."""
    start: int
    """Version of the last update that will not be sent on the PEER connection (it is in the stream)."""


@attrs.define
class FillChunk:
    """On the TRANSFER connection: records of the shard, each newer or older than what the learner has (I11)."""

    shard: int
    fill: int
    number: int
    """Of the chunk, from 1."""
    count: int
    records: bytes
    """Keys and their records, as two columns (`core.entries.encode_records`)."""


@attrs.define
class FillSessions:
    """On the TRANSFER connection: a part of the dedup table, as core.dedup packs it."""

    shard: int
    fill: int
    number: int
    sessions: bytes


@attrs.define
class FillEnd:
    """On the TRANSFER connection: all chunks have been sent."""

    shard: int
    fill: int
    number: int


@attrs.define
class FillAck:
    """Chunks up to `number` are in the store. With `refused` the learner does not know of this fill."""

    shard: int
    fill: int
    number: int
    refused: bool
