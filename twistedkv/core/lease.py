"""Times of a shard: the primary's lease, the secondaries' promise (I7, I8), and what else counts in heartbeats.

A secondary that acknowledges a frame promises not to serve as primary for GRACE from the moment it *received* the
frame. The primary may answer reads for LEASE from the moment it *sent* it. Sending comes before receiving, and LEASE is
so much shorter than GRACE that clocks whose rates differ by CLOCK_RATE_ERROR_MAX cannot make them meet
(limits.check_relations). No clock decides about a write.
"""

import attrs

from twistedkv.limits import (
    GRACE_BEATS,
    LEASE_BEATS,
    PARKED_SECONDS_MAX,
    PEER_SILENCE_BEATS,
    STORING_BEATS,
    SWITCH_BEATS,
)


@attrs.frozen
class Timing:
    """Seconds, all from one heartbeat."""

    heartbeat: float
    lease: float
    grace: float
    peer_silence: float
    storing: float
    switch: float
    parked: float

    @classmethod
    def of(cls, heartbeat_seconds: float) -> "Timing":
        """The times that go with a heartbeat."""
        return cls(
            heartbeat=heartbeat_seconds,
            lease=LEASE_BEATS * heartbeat_seconds,
            grace=GRACE_BEATS * heartbeat_seconds,
            peer_silence=PEER_SILENCE_BEATS * heartbeat_seconds,
            storing=STORING_BEATS * heartbeat_seconds,
            switch=SWITCH_BEATS * heartbeat_seconds,
            parked=max(PARKED_SECONDS_MAX, 2 * GRACE_BEATS * heartbeat_seconds),
        )
