"""Every bound that a peer could push, in one place, with its unit in its name.

The relations between them that safety rests on are checked when this module is imported.
"""

# What a client stores.
KEY_BYTES_MAX = 500
VALUE_BYTES_MAX = 8 * 1024 * 1024

# Frames. The margin over the largest value holds a key, the headers of every layer and the dedup entry.
FRAME_BYTES_MAX = VALUE_BYTES_MAX + 64 * 1024
REPLICATE_BYTES_TARGET = 1024 * 1024
"""A REPLICATE frame is closed when it has grown past this; one entry may be larger."""
HELLO_SECONDS_MAX = 5.0
TEXT_BYTES_MAX = 4096
CLUSTER_NAME_BYTES_MAX = 64
HOST_BYTES_MAX = 255
JSON_BYTES_MAX = 4 * 1024 * 1024

# The cluster.
SLOTS = 16384
COPIES_MAX = 8
SERVERS_MAX = 1000
SHARDS_MAX = SLOTS
SHARDS_PER_SERVER = 4

# Versions: (epoch, sequence) in 64 bits.
SEQUENCE_BITS = 42
SEQUENCE_MAX = (1 << SEQUENCE_BITS) - 1
EPOCH_MAX = (1 << (64 - SEQUENCE_BITS)) - 1

# Times, all derived from the heartbeat. docs/design.md says why in this order.
HEARTBEAT_SECONDS = 0.2
LEASE_BEATS = 3
GRACE_BEATS = 4
MISSED_BEATS = 5
PEER_SILENCE_BEATS = 4
"""A member that acknowledges nothing for so long is reported to the coordinator by its primary."""
SWITCH_BEATS = 3
"""A primary that has stepped down waits so long for its successor before it sends its clients away."""
CLOCK_RATE_ERROR_MAX = 0.14

# Bounds of what may wait.
UNACKNOWLEDGED_BYTES_MAX = 32 * 1024 * 1024
"""Per peer; past it, client connections are not read until the peer has caught up."""
PARKED_REQUESTS_MAX = 10_000
"""Per shard, while it has no serving primary; past it requests are answered NOT_PRIMARY_YET."""
PARKED_SECONDS_MAX = 3.0
CLIENT_OUTPUT_BYTES_MAX = 16 * 1024 * 1024
"""Per client: with so much in answers waiting, its further requests are not executed until it has read them."""
LOG_BYTES_MAX = 128 * 1024 * 1024
"""Per shard; a learner that is further behind has to begin its fill again."""

# Executed once: what a shard remembers of its clients' writes.
WRITE_WINDOW = 16_384
"""A client has no two unfinished writes whose numbers differ by more than this."""
SESSIONS_MAX = 10_000
"""Clients remembered by each shard; past it the ones silent for longest (by log position) are forgotten."""

# Streaming to a learner.
FILL_CHUNK_BYTES = 128 * 1024
FILL_CHUNK_SECONDS = 0.002
FILL_WINDOW_CHUNKS = 16

# SCAN.
SCAN_KEYS_MAX = 10_000
SCAN_PAGE_BYTES = 1024 * 1024

# Clients.
DEADLINE_SECONDS = 10.0
BACKOFF_SECONDS_MIN = 0.01
BACKOFF_SECONDS_MAX = 0.5


def check_relations(clock_rate_error: float = CLOCK_RATE_ERROR_MAX) -> None:
    """Raise ValueError unless the bounds stand in the order that the lease argument needs (docs/design.md)."""
    if LEASE_BEATS * (1 + clock_rate_error) > GRACE_BEATS * (1 - clock_rate_error):
        raise ValueError("at this clock rate error LEASE_BEATS is too long for GRACE_BEATS: a stale read could pass")
    if not LEASE_BEATS < GRACE_BEATS < MISSED_BEATS:
        raise ValueError("the order LEASE_BEATS < GRACE_BEATS < MISSED_BEATS does not hold")
    if FRAME_BYTES_MAX < VALUE_BYTES_MAX + KEY_BYTES_MAX + 1024:
        raise ValueError("FRAME_BYTES_MAX has no room for the largest value, its key and the headers")


check_relations()
