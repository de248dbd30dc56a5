"""Every bound that a peer could push, in one place, with its unit in its name.

The relations between them that safety rests on are checked when this module is imported.
"""

# What a client stores.
KEY_BYTES_MAX = 500
VALUE_BYTES_MAX = 8 * 1024 * 1024

REQUEST_BYTES_MAX = 2 * VALUE_BYTES_MAX
"""All arguments of a command of the line port; of a transaction, those of all its commands."""
REPLY_BYTES_MAX = 2 * VALUE_BYTES_MAX
"""What one shard may answer to one command, or one transaction."""
BATCH_COMMANDS_MAX = 512
"""Commands of a server's line clients for one shard that are executed together."""
BATCH_COMMAND_BYTES_MAX = 16 * 1024
"""A command with more in its arguments is executed by itself."""
BATCH_COMMAND_ARGUMENTS_MAX = 100
BATCH_BYTES_MAX = 512 * 1024
"""Of all arguments of a batch. What its commands store and reply is not much more."""
UPDATE_BYTES_MAX = 2 * VALUE_BYTES_MAX + 16 * 1024
"""What one update may store, its keys included, together with the reply to the command that made it."""
INLINE_BYTES_MAX = 64 * 1024
"""A line that is typed, or the line that says how long something is."""
COMMANDS_MAX = 10_000
"""Of one transaction."""
KEYS_MAX = 10_000
"""Of one PUT_MANY or GET_MANY."""
GET_MANY_BYTES = 1024 * 1024
"""A GET_MANY answers no more records than have so many bytes, or one."""
RUN_REPLY_BYTES_MAX = 256 * 1024
"""GETs in a row are answered together if they are answered with no more than this."""
ARGUMENTS_MAX = 1024 * 1024
"""Of one command."""

# Frames. The margin holds the headers of every layer.
FRAME_BYTES_MAX = UPDATE_BYTES_MAX + 64 * 1024
REPLICATE_BYTES_TARGET = 1024 * 1024
"""A REPLICATE frame is closed when it has grown past this; one entry may be larger."""
HELLO_SECONDS_MAX = 5.0
TEXT_BYTES_MAX = 4096
CLUSTER_NAME_BYTES_MAX = 64
HOST_BYTES_MAX = 255
ENGINE_BYTES_MAX = 100
JSON_BYTES_MAX = 4 * 1024 * 1024

# Answers of RESP, as a client reads them. One answer has at most so many bytes, values, and lists within lists.
ANSWER_BYTES_MAX = 256 * 1024 * 1024
ANSWER_LINE_BYTES_MAX = 64 * 1024
ANSWER_VALUES_MAX = 2_000_000
ANSWER_DEPTH_MAX = 32

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
STORING_BEATS = 20
"""A member that hears everything and stores nothing for so long: the same. Disks pause now and then."""
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

LOG_KEPT_BYTES = 16 * 1024 * 1024
"""Per shard, by a durable store, at least: a copy that comes back and is not further behind gets only what it lacks."""
UNFOLDED_BYTES = 4 * 1024 * 1024
"""Of records that a durable store has only in its log, before it puts them into their places."""
FOLD_BYTES = 64 * 1024
"""It does so with so many at once."""
TAIL_BYTES = 4 * 1024 * 1024
"""Of each of the two files that the newest part of its logs is appended to."""
TAIL_STORED_BYTES = 256 * 1024
"""When there is so much in one of them, the tables get it."""
STORE_BYTES_WAITING_MAX = 32 * 1024 * 1024
"""What a store has yet to put where it belongs; past it, clients are not read until it has."""

# Executed once: what a shard remembers of its clients' writes.
WRITE_WINDOW = 16_384
"""A client has no two unfinished writes whose numbers differ by more than this."""
SESSIONS_MAX = 10_000
"""Clients remembered by each shard; past it the ones silent for longest (by log position) are forgotten."""

# Streaming to a learner.
FILL_CHUNK_BYTES = 64 * 1024
FILL_WINDOW_CHUNKS = 16

# Expiry.
EXPIRED_KEYS_MAX = 200
"""Deleted in a shard at each tick, because they have expired. Who asks for another one meanwhile finds it gone, too."""

# Backup.
BACKUP_PAGE_BYTES = 256 * 1024
"""Of keys and records in a page, if it has more than one. Larger pages are fewer, and each holds up a turn longer."""
BACKUP_LOG_BYTES = 1024 * 1024
"""Of log entries in an answer, if there are more than those of one chunk."""
BACKUP_PINS_MAX = 4
"""Backups of one shard at a time."""
BACKUP_PIN_SECONDS_MAX = 30.0
"""A backup of a shard that asks for nothing for so long has lapsed: its log is kept no longer."""
BACKUP_PINNED_BYTES_MAX = 64 * 1024 * 1024
"""Of a shard's log: with more, backups lapse. Less than LOG_BYTES_MAX, past which a learner's fill begins again."""

# Space.
NEARLY_FULL_BYTES_MAX = 4 * 1024 * 1024
"""Not yet acknowledged by a peer that is past its low mark; past it, client connections are not read. What lies between
its high mark and its limit has room for that."""
EVICTED_KEYS_MAX = 2000
"""Evicted for one write that needs their space."""
EVICTED_KEYS_TICK = 200
"""Evicted in a shard at each tick, while its server is too full."""

# SCAN.
SCAN_KEYS_MAX = 10_000
SCAN_PAGE_BYTES = 1024 * 1024

# The line port.
COMMANDS_PER_TURN_MAX = 1000
"""That one client may begin in one turn of the reactor: others come between."""
WRITTEN_SLOTS_MAX = 64
"""Remembered of what a client has written to, before only one of each shard is."""
UNDER_WAY_MAX = 1024
"""Commands of one client that are begun and not answered."""
UNDER_WAY_FIRST = 16
"""The same of a client that has not been answered yet, of whose replies nobody knows how large they will be."""
FORWARDED_VALUES_MAX = 64
"""The same of those that other servers execute and whose replies have values in them. All clients of a server share its
connections to the others, so that what is under way for one is waited for by the others."""
LINE_HELD_BYTES_MAX = 64 * 1024 * 1024
"""Of the replies that wait for one client, before the latest of them. Beyond it the client is cut off: it does not
read, and of what it had asked before that was known, the replies are larger than those before them."""
SLOW_SECONDS = 0.1
"""A command of a line client that took longer is in SLOWLOG."""
LINE_CONNECTIONS_MAX = 10_000
LINE_FIRST_SECONDS_MAX = 60.0
"""For the first command of a connection, and for every command from its first byte to its last."""
LINE_STALLED_SECONDS_MAX = 60.0
"""A client that does not take what it was sent for so long is cut off."""

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
    if NEARLY_FULL_BYTES_MAX > UNACKNOWLEDGED_BYTES_MAX:
        raise ValueError("a peer that is nearly full must not be sent more than another")
    if max(UPDATE_BYTES_MAX, REQUEST_BYTES_MAX) + KEY_BYTES_MAX + 1024 > FRAME_BYTES_MAX:
        raise ValueError("FRAME_BYTES_MAX has no room for the largest update or request and the headers")
    if 2 * BACKUP_PINNED_BYTES_MAX > LOG_BYTES_MAX:
        raise ValueError("BACKUP_PINNED_BYTES_MAX leaves no room in the log for a learner that is being filled")
    if max(REPLY_BYTES_MAX, VALUE_BYTES_MAX + KEY_BYTES_MAX, 2 * BATCH_BYTES_MAX) + 1024 > UPDATE_BYTES_MAX:
        raise ValueError("UPDATE_BYTES_MAX has no room for the largest value and its key, or for a batch")


check_relations()
