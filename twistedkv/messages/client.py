"""Requests of clients, and the answers."""

from enum import IntEnum

import attrs

from twistedkv.clustermap import ClusterMap


@attrs.define
class Noop:
    """Answered with SUCCESS and nothing else."""


@attrs.define
class Get:
    """Read a key. Answer: Result with value and version, or KEY_NOT_FOUND."""

    key: bytes


@attrs.define
class Put:
    """Store a value. `number`, `oldest` and `since` are as in `Write` of docs/protocol.md and in each write below:

    number  the client's number of this write; unique for a client id and a shard, from 1
    oldest  the lowest number of this client that is not finished; the servers forget the results below it
    since   newest version of the shard that the client had seen before it first sent this write (0: none)
    """

    number: int
    oldest: int
    since: int
    key: bytes
    value: bytes


@attrs.define
class Delete:
    """Remove a key. Answer: SUCCESS with the deletion's version, or KEY_NOT_FOUND."""

    number: int
    oldest: int
    since: int
    key: bytes


@attrs.define
class Cas:
    """Store a value if the key's version is `expected` (0: if the key does not exist). Else VERSION_MISMATCH."""

    number: int
    oldest: int
    since: int
    expected: int
    key: bytes
    value: bytes


@attrs.define
class Incr:
    """Add `delta` to a decimal 64-bit integer (a missing key counts as 0). Answer: the sum as decimal text."""

    number: int
    oldest: int
    since: int
    delta: int
    key: bytes


@attrs.define
class Verify:
    """Read what *this server's copy* holds for a key, primary or not, committed or not.

    Answer: Result as of GET; WRONG_SERVER when the server holds no complete copy of the key's shard.
    """

    key: bytes


@attrs.define
class Scan:
    """List the keys of one shard that come after the cursor, by slot, and by key within a slot.

    A page holds whole keys up to `count` or SCAN_PAGE_BYTES. What was there during the whole scan is returned once.
    """

    slot: int
    """Begin in this slot."""
    after: bytes
    """Within that slot, after this key; empty: from its beginning."""
    count: int
    prefix: bytes
    values: bool
    """Whether to return values as well."""


@attrs.define
class Watched:
    """A key, and the version that it has to have still for a transaction to be executed (0: there is no such key)."""

    key: bytes
    version: int


class ExecuteMode(IntEnum):
    """What the commands of an EXECUTE are to each other, and what their reply is."""

    SINGLE = 0
    """One command, and its own reply."""
    TRANSACTION = 1
    """Executed together, with nothing in between; the reply is the list of their replies. If a watched key has another
    version than it should, nothing is executed, and the reply is a nil list."""
    BATCH = 2
    """Independent of each other, sent together to save work. The reply is the list of their replies."""


@attrs.define
class Execute:
    """Execute commands of the line port on the keys of one shard. Answer: SUCCESS with a RESP reply as its value.

    All that the commands change becomes one update. An error reply is a SUCCESS: the command had no effect.
    """

    number: int
    """0, as `oldest` and `since`, if no command may write."""
    oldest: int
    since: int
    slot: int
    """Of one of the keys. The keys of all commands are of that slot's shard."""
    protocol: int
    """Version of RESP for the reply: 2 or 3."""
    mode: ExecuteMode
    watched: list[Watched]
    """For a transaction only."""
    commands: list[list[bytes]]
    """Each with its name."""


@attrs.define
class PutMany:
    """Store values of different keys of one shard, all in one update. Answer: SUCCESS with its version."""

    number: int
    oldest: int
    since: int
    slot: int
    """Of one of the keys."""
    keys: list[bytes]
    values: list[bytes]


@attrs.define
class GetMany:
    """Read keys of one shard. Answer: SUCCESS with the column of their records, in the same order.

    A record has version, flags and value (`twistedkv.records`); it is empty where there is no such key.
    """

    slot: int
    """Of one of the keys."""
    keys: list[bytes]


class BackupRequest:
    """What the requests of a backup have in common: they are about the shard that has a certain slot."""

    __slots__ = ()
    slot: int


@attrs.define
class BackupBegin(BackupRequest):
    """Keep the shard's log from now on, so that a backup can be completed from it. Answer: BackupBegun."""

    slot: int


@attrs.define
class BackupRecords(BackupRequest):
    """List a part of the shard's records, as they are, in the order of slots. Answer: BackupPage."""

    slot: int
    """Begin in this slot."""
    after: bytes
    """Within that slot, after this key; empty: from its beginning."""
    pin: int
    """Of the backup that this belongs to; 0: of none, the records alone are wanted."""
    prefix: bytes
    """Only keys that begin with this."""


@attrs.define
class BackupLog(BackupRequest):
    """The updates after a sequence, as many as an answer holds. The log up to there is not needed any more.

    Answer: BackupEntries.
    """

    slot: int
    pin: int
    after: int


@attrs.define
class BackupEnd(BackupRequest):
    """The log need not be kept any more. Answer: SUCCESS, also when that was known."""

    slot: int
    pin: int


@attrs.define
class MapRequest:
    """CONFIG_REQ: ask for the cluster map, from the coordinator or any server. Answer: MapUpdate.

    With `subscribe`, later maps are sent too (request id 0) as long as the connection lasts; coordinator only.
    """

    subscribe: bool


BY_SLOT = (Scan, Execute, PutMany, GetMany, BackupRequest)
"""Requests that name a slot and not a key."""


@attrs.define
class Result:
    """OPERATION_RESP: the answer to most requests."""

    status: int
    version: int
    """Of the key, after the operation; with WRONG_SERVER the map version known to the server."""
    value: bytes
    """The value; with an error its text (UTF-8)."""


@attrs.define
class ScanItem:
    """A key in a page."""

    key: bytes
    version: int
    value: bytes
    """Empty unless values were asked for."""


@attrs.define
class ScanPage:
    """Answer to Scan."""

    next_slot: int
    """Where to go on: the slot after the shard's last when all of it has been listed (SLOTS after the last shard)."""
    next_after: bytes
    items: list[ScanItem]


@attrs.define
class BackupBegun:
    """Answer to BackupBegin."""

    pin: int
    last: int
    """Version of the newest update: the log is kept from the one after it."""
    records: int
    """How many there are now, for whoever wants to know how far the backup is."""


@attrs.define
class BackupPage:
    """Answer to BackupRecords."""

    last: int
    """Version of the shard's newest update when this was read: no record is newer."""
    next_slot: int
    """Where to go on, as in ScanPage."""
    next_after: bytes
    records: bytes
    """Keys and records, as two columns; none is a deletion."""


@attrs.define
class BackupEntries:
    """Answer to BackupLog: committed log entries, one after the other."""

    first: int
    """Sequence of the first one; if there are none, of the next one that there will be."""
    count: int
    entries: bytes


@attrs.define
class MapUpdate:
    """CONFIG_RESP: a cluster map, whole, or with only the configurations that have changed (`ClusterMap.merged`)."""

    map: ClusterMap
