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
    """Sequence at which the log ends here."""


@attrs.define
class Ack:
    """All frames up to `number` are in the store, except for these sections, which were refused."""

    number: int
    refused: list[RefusedSection]
    level: Level = Level.OK
    """How full the server is that says so."""


@attrs.define
class BeginFill:
    """On the PEER connection: become an empty learner of this shard whose log goes on after `start`."""

    shard: int
    epoch: int
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
    """`count` times: slot u16, key length u16, record length u32, key, record."""


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
