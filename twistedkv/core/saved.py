"""What a durable store keeps of a replica besides its records: where it stood, for the process that comes after it.

The place in the log is not here: it is that of the newest chunk that the store has, or `base` when there is none.
"""

from __future__ import annotations

import attrs

from twistedkv.clustermap import Configuration
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.wire.fields import U32, U64, Enumerated, Flag, Layout
from twistedkv.wire.shared import CONFIGURATION


@attrs.frozen
class SavedReplica:
    """Of one shard."""

    epoch: int
    """The highest that was promised (I2, I14)."""
    role: ReplicaRole
    """LEARNER, SECONDARY, NONE, or SEALED for everything that must not go on by itself: a
    primary may have sent what its own disk had not got yet, and must never use those versions again."""
    whole: bool
    """Whether it has everything up to its last update. A learner has not, and neither has one that has nothing."""
    fill: int
    """Of a learner: the fill that it takes part in."""
    base: int
    """Version of the last update before the oldest chunk that may be in the log."""
    configuration: Configuration


_LAYOUT = Layout(
    SavedReplica,
    ("epoch", U32),
    ("role", Enumerated(ReplicaRole)),
    ("whole", Flag()),
    ("fill", U32),
    ("base", U64),
    ("configuration", CONFIGURATION),
)


def encode_saved(saved: SavedReplica) -> bytes:
    """As it is stored."""
    return _LAYOUT.encode(saved)


def decode_saved(stored: bytes) -> SavedReplica:
    """The same again. Raises ProtocolError."""
    saved: SavedReplica = _LAYOUT.decode(stored)
    return saved
