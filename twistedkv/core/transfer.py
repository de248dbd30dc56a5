"""Filling a learner: the shard's records in chunks, while writes go on (docs/design.md, "Filling a learner").

The stream is a *fuzzy* scan: slot by slot, each as it is at that moment. That is enough, because every update since the
fill began also goes to the learner over the replication connection, and the learner keeps whichever version of a key is
newer, deletions included (I11). So no snapshot is needed, and the two connections need no common order.

A slot is listed once and then sent in as many chunks as it needs. Chunks are numbered and acknowledged cumulatively; at
most FILL_WINDOW_CHUNKS are under way. After a lost connection the source goes back to the beginning of the slot of the
first chunk that was not acknowledged: sending a record twice changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from twistedkv.core.entries import decode_records, encode_records
from twistedkv.core.progress import Follower
from twistedkv.core.replica import Replica
from twistedkv.errors import ProtocolError
from twistedkv.limits import FILL_CHUNK_BYTES, FILL_WINDOW_CHUNKS
from twistedkv.messages.coordinator import FillReport, ReplicaRole
from twistedkv.messages.peer import FillAck, FillChunk, FillEnd, FillSessions
from twistedkv.records import flagged, is_tombstone
from twistedkv.slots import slots_of

_PIECE = 64
"""So many records are looked at together."""

FillMessage = FillChunk | FillSessions | FillEnd


class FillSource:
    """The primary's side of one fill."""

    def __init__(self, replica: Replica, follower: Follower) -> None:
        assert replica.configuration is not None
        self.replica = replica
        self.follower = follower
        self.fill = follower.fill
        self.records = 0
        self.bytes_sent = 0
        self.records_total = replica.store.count(replica.configuration.slots)
        self._slots = replica.configuration.slots
        self._slot = self._slots.start
        """The slot to be listed next."""
        self._listed: list[tuple[bytes, bytes]] = []
        self._at = 0
        self._sessions: Iterator[bytes] | None = None
        self._end_sent = False
        self._number = 0
        self._under_way: deque[tuple[int, int]] = deque()
        """(chunk number, slot to go back to if it is lost)."""

    @property
    def current(self) -> bool:
        """Whether the fill is still wanted: same follower, same attempt, still primary."""
        replica = self.replica
        return (
            replica.leading.followers.get(self.follower.member) is self.follower
            and self.follower.fill == self.fill
            and self.follower.learner
        )

    @property
    def ended(self) -> bool:
        """Everything was sent and acknowledged."""
        return self._end_sent and not self._under_way

    def report(self) -> FillReport:
        """For the heartbeat."""
        return FillReport(self.replica.shard, self.follower.member, self.records, self.records_total, self.bytes_sent)

    def next_message(self) -> FillMessage | None:
        """What to send next; None when the window is full, or all has been sent."""
        if self._end_sent or len(self._under_way) >= FILL_WINDOW_CHUNKS:
            return None
        self._number += 1
        start = self._slot - 1 if self._listed else self._slot
        records, count = self._collect()
        self._under_way.append((self._number, max(start, self._slots.start)))
        if count:
            self.records += count
            self.bytes_sent += len(records)
            return FillChunk(self.replica.shard, self.fill, self._number, count, records)
        # The dedup table comes after the records, so that it is whole although the replica goes on serving.
        if self._sessions is None:
            self._sessions = self.replica.dedup.pack(FILL_CHUNK_BYTES)
        piece = next(self._sessions, None)
        if piece is not None:
            return FillSessions(self.replica.shard, self.fill, self._number, piece)
        self._end_sent = True
        return FillEnd(self.replica.shard, self.fill, self._number)

    def _collect(self) -> tuple[bytes, int]:
        keys: list[bytes] = []
        records: list[bytes] = []
        size = 0
        while size < FILL_CHUNK_BYTES:
            if self._at >= len(self._listed):
                if self._slot >= self._slots.stop:
                    self._listed, self._at = [], 0
                    break
                self._listed, self._at = self.replica.store.items(self._slot), 0
                self._slot += 1
                continue
            some = self._listed[self._at : self._at + _PIECE]
            its_keys, its_records = zip(*some, strict=True)
            more = sum(map(len, its_keys)) + sum(map(len, its_records))
            if size + more <= 2 * FILL_CHUNK_BYTES and not flagged(its_records):  # as nearly all are
                keys += its_keys
                records += its_records
                size += more
                self._at += len(some)
                continue
            key, record = some[0]
            if size and size + len(record) > 2 * FILL_CHUNK_BYTES:
                break
            self._at += 1
            if is_tombstone(record):
                continue  # not committed yet, so it is on the replication connection too
            keys.append(key)
            records.append(record)
            size += len(key) + len(record)
        return encode_records(keys, records), len(keys)

    def acknowledged(self, ack: FillAck, now: float) -> None:
        """The learner has the chunks up to a number, or does not know of the fill."""
        if ack.fill != self.fill:
            return
        if ack.refused:
            self.replica.leading.fill_refused(self.follower)
            return
        while self._under_way and self._under_way[0][0] <= ack.number:
            self._under_way.popleft()
        self.follower.heard_at = max(self.follower.heard_at, now)
        if self.ended:
            self.replica.leading.fill_ended(self.follower, now)

    def connection_lost(self) -> None:
        """Go back to what was not acknowledged."""
        if self._under_way:
            self._slot = self._under_way[0][1]
            self._under_way.clear()
        elif self._listed:
            self._slot -= 1
        self._listed, self._at = [], 0
        self._sessions = None
        self._end_sent = False


def receive_fill(replica: Replica | None, message: FillMessage) -> FillAck:
    """The learner's side: store what came, if it belongs to the fill that it takes part in."""
    if replica is None or replica.role is not ReplicaRole.LEARNER or replica.fill != message.fill:
        return FillAck(message.shard, message.fill, message.number, True)
    if isinstance(message, FillChunk):
        _store_records(replica, message)
    elif isinstance(message, FillSessions):
        replica.dedup.merge(message.sessions)
    else:
        replica.keeping.keep_table()
    return FillAck(message.shard, message.fill, message.number, False)


def _store_records(replica: Replica, chunk: FillChunk) -> None:
    keys, records = decode_records(chunk.records)
    if len(keys) != chunk.count:
        raise ProtocolError(f"{chunk.count} records were announced in a fill chunk, there are {len(keys)}")
    replica.store_many(keys, records, newer=True)
    if replica.store.stable is not None:
        replica.store.stable.hold(slots_of(keys))
