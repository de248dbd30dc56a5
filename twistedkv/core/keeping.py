"""What a copy leaves to the process that comes after it, in a durable store, and how that one goes on.

Records, log, dedup table and the copy's place in its configuration become stable together, a batch at a time. Hazards
guarded against: a primary that counts what its own disk has not got (`stable_to`, I3); a process that comes back and
leads on in the epoch in which it led, although others have what it had sent and not stored, so that it would give the
same versions to other updates (`returned`; and an epoch is stored before anything is written in it, `saved`); a
promise that is forgotten with its process (the next one promises anew before it says anything, and an answer to SEAL
waits until it is stored).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twistedkv.chunks import Chunk
from twistedkv.core.entries import SEVERAL, decode_entries, records_of_update
from twistedkv.core.saved import SavedReplica, decode_saved, encode_saved
from twistedkv.limits import SEQUENCE_MAX
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import EXPIRES, TOMBSTONE, record_expiry, record_version, sequence_of, version_of
from twistedkv.slots import slots_of

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica
    from twistedkv.storage.interface import Kept

_KEPT_ROLES = (ReplicaRole.NONE, ReplicaRole.LEARNER, ReplicaRole.SECONDARY)
_BURYING = (ReplicaRole.LEARNER, ReplicaRole.NONE)
"""Those keep deletions that are committed: one that is a learner, and one that was when it was dropped."""
TABLE_PIECE_BYTES = 64 * 1024


class Keeping:
    """Of one replica. With a store that forgets, everything counts as stable, and nothing is kept."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._stable = replica.store.stable
        self.durable = self._stable is not None
        self.stable_to = SEQUENCE_MAX if self._stable is None else 0
        """Sequence up to which this copy may count itself (I3): with a durable store, what its disk has."""
        self.returned = False
        """It was restored, and may have led before: it leads again only if it is promoted, in the epoch in which it was
        sealed."""
        self._base = 0
        """Version of the last update before the log."""
        self._unstable: deque[tuple[int, int]] = deque()
        """(batch, sequence that it ends with) of what the disk has not got."""
        self._saved_in = 0
        """Batch with the newest state that was saved. 0: it was never saved."""
        self._unindexed: range | None = None
        """Slots whose keys that expire are not known yet."""

    # Being kept.

    def restarted(self, start: int) -> None:
        """The data were dropped; what comes next follows this version."""
        self._base = start
        self._unstable.clear()
        self._unindexed = None
        if self._stable is not None:
            self.stable_to = sequence_of(start)

    def logged(self, last: int) -> None:
        """The log has grown, up to this sequence. Only to be called if the store is `durable`."""
        assert self._stable is not None
        self._unstable.append((self._stable.pending(), last))
        self._replica.outbox.unstable[self._replica.shard] = None

    def save(self) -> None:
        """Have the store keep what this copy is."""
        replica, stable = self._replica, self._stable
        self.returned = self.returned and replica.role is ReplicaRole.SEALED
        if stable is None or replica.configuration is None:
            return
        if replica.role is ReplicaRole.NONE and not self._saved_in:
            return  # it never was anything here
        role = replica.role if replica.role in _KEPT_ROLES else ReplicaRole.SEALED
        saved = SavedReplica(replica.epoch, role, replica.whole, replica.fill, self._base, replica.configuration)
        stable.save(replica.shard, encode_saved(saved))
        self._saved_in = stable.pending()
        replica.outbox.unstable[replica.shard] = None

    @property
    def saved(self) -> bool:
        """Whether the next process would know what this copy is."""
        return self._stable is None or self._saved_in <= self._stable.stored()

    def keep_table(self) -> None:
        """Have the store keep the dedup table as it is."""
        replica = self._replica
        if self._stable is not None:
            pieces = list(replica.dedup.pack(TABLE_PIECE_BYTES))
            self._stable.keep_table(replica.shard, replica.sequence, pieces)

    def settle(self, stored: int, settled: int) -> bool:
        """Batches up to these are stored, and may be acknowledged. Whether all of this copy is."""
        while self._unstable and self._unstable[0][0] <= settled:
            self.stable_to = self._unstable.popleft()[1]
        return not self._unstable and self._saved_in <= stored

    # Going on.

    def restore(self, kept: Kept) -> None:
        """Be what the process before this one was, as far as its disk knows.

        A learner and a secondary go on; all others wait to be told: see `SavedReplica.role`. Raises ProtocolError when
        what was kept makes no sense.
        """
        replica = self._replica
        saved = decode_saved(kept.state)
        replica.configuration, replica.epoch, replica.role = saved.configuration, saved.epoch, saved.role
        replica.version_base = version_of(saved.epoch, 0)
        replica.whole, replica.fill, self._base = saved.whole, saved.fill, saved.base
        replica.store.place(replica.shard, saved.configuration.slots)
        replica.last = kept.last or saved.base
        replica.commit = min(max(kept.commit, sequence_of(saved.base)), replica.sequence)
        replica.log.restore(replica.last, [chunk for chunk in kept.chunks if chunk.last > replica.commit])
        self.stable_to = replica.sequence
        self._saved_in = -1
        self.returned = saved.role is ReplicaRole.SEALED
        for piece in kept.table:
            replica.dedup.merge(piece)
        for chunk in kept.chunks:
            self._recall(chunk, kept)
        self._unindexed = saved.configuration.slots
        if saved.role in _BURYING:  # it needs all its deletions before anything comes
            while self.index():
                pass

    def _recall(self, chunk: Chunk, kept: Kept) -> None:
        """Have again what the log has and the store may not: records, results of writes, deletions to be purged."""
        replica = self._replica
        store = replica.store
        buries = replica.role in _BURYING
        sequence = chunk.first - 1
        for _, key, record, kind, number, oldest, client, reply in decode_entries(chunk.entries, chunk.count):
            sequence += 1
            version = record_version(record)
            if number and sequence > kept.table_at:
                replica.dedup.remember(client, number, oldest, sequence, (version, reply) if reply else version)
            if sequence <= min(kept.folded, replica.commit):
                continue
            keys, records = records_of_update(record) if kind == SEVERAL else ([key], [record])
            for slot, each, its_record in zip(slots_of(keys), keys, records, strict=True):
                if buries:  # what came from the stream of a fill may be newer
                    store.put_newer(slot, each, its_record)
                elif sequence > kept.folded:
                    store.put(slot, each, its_record)
                if its_record[8] & TOMBSTONE and not buries:
                    if sequence > replica.commit:
                        replica.stored(slot, each, its_record)
                    else:
                        store.purge(slot, each, version)

    def index(self) -> bool:
        """Learn of one more slot which keys expire, and which were deleted. Whether there is more to do."""
        slots, replica, stable = self._unindexed, self._replica, self._stable
        if not slots or stable is None:
            self._unindexed = None
            return False
        for key, record in stable.inspect(slots.start)[0]:
            flags = record[8]
            if flags & EXPIRES:
                replica.expiries.note(key, record_expiry(record))
            elif flags & TOMBSTONE:
                replica.stored(slots.start, key, record)
        self._unindexed = slots[1:]
        return True
