"""One shard's copy on one server: roles, epochs, the log, and what counts as committed.

The protocol is primary-backup replication as in PacificA, with f+1 copies for f failures: a write is committed when
*every* counted copy has it, so any one member of the last configuration, once it is sealed, is enough to go on from.
docs/design.md has the argument; the invariants I1 to I14 are named where they are kept.

Roles and how they change (an event that is not named leaves the role as it is):

    NONE         holds nothing           configuration names me member at the shard's birth -> SECONDARY, RECONCILING
                                         configuration names me learner                     -> LEARNER
    LEARNER      is being filled         configuration names me secondary -> SECONDARY
    SECONDARY    applies                 seal -> SEALED; configuration names me primary -> RECONCILING
    SEALED       refuses (I14)           configuration -> as from SECONDARY
    RECONCILING  brings members level    all level and the old lease has run out -> PRIMARY
    PRIMARY      serves                  switch -> SWITCHING; seal -> SEALED; higher epoch heard -> STEPPED_DOWN
    SWITCHING    flushes                 all committed -> STEPPED_DOWN; took too long -> PRIMARY
    STEPPED_DOWN never serves again in this epoch; a configuration -> as from SECONDARY
    any          configuration without me, or with another store id -> NONE, and the data is dropped (I9) unless this
                 server is to have a copy again

Hazards guarded against: a deposed primary that goes on (epochs, I2); a learner that is promoted half full (I10); a new
primary that serves before its members are level (I6) or before the old one's lease is over (I8); records that a
learner has from the stream although its log is not so far (it is added only when its log has passed the stream's end).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twistedkv.chunks import Chunk
from twistedkv.clustermap import Configuration, Member
from twistedkv.core.backup import Pin, lapse
from twistedkv.core.dedup import DedupTable
from twistedkv.core.deletions import Deletions
from twistedkv.core.entries import SEVERAL, decode_entries, records_of_update
from twistedkv.core.expiries import Expiries
from twistedkv.core.keeping import Keeping
from twistedkv.core.leading import Leading
from twistedkv.core.lease import Timing
from twistedkv.core.log import Log
from twistedkv.core.mailbox import Outbox
from twistedkv.core.progress import PeerLink
from twistedkv.core.serving import Serving
from twistedkv.errors import DamagedRecord, ProtocolError
from twistedkv.limits import REPLICATE_BYTES_TARGET, SEQUENCE_BITS
from twistedkv.messages.coordinator import ReplicaRole, Sealed, ShardReport
from twistedkv.messages.peer import BeginFill, FillKind, Refusal, RefusedSection, Section
from twistedkv.records import EXPIRES, TOMBSTONE, flagged, record_expiry, sequence_of, version_of
from twistedkv.slots import slots_of
from twistedkv.storage.interface import Store

_SERVING_NAME = (ReplicaRole.PRIMARY, ReplicaRole.SWITCHING)
_FORMER_PRIMARY = (ReplicaRole.PRIMARY, ReplicaRole.SWITCHING, ReplicaRole.RECONCILING, ReplicaRole.STEPPED_DOWN)


class Replica:
    """One shard's copy. All methods that take `now` take seconds of the server's monotonic clock."""

    def __init__(
        self,
        shard: int,
        me: Member,
        store: Store,
        timing: Timing,
        outbox: Outbox,
        link_to: Callable[[Member], PeerLink],
        clock: Callable[[], float],
        wall: Callable[[], int],
    ) -> None:
        self.shard = shard
        self.me = me
        self.store = store
        self.timing = timing
        self.role = ReplicaRole.NONE
        self.epoch = 0
        """Highest epoch promised. Invariant: nothing of a lower one is accepted (I2)."""
        self.configuration: Configuration | None = None
        self.last = 0
        """Version of the newest update held. Invariant: its sequence grows by one with each update (I4)."""
        self.commit = 0
        """Sequence up to which every counted copy is known to have everything. Invariant: <= sequence of `last`."""
        self.version_base = 0
        """version_of(epoch, 0), for the primary."""
        self.lease_until = 0.0
        """Of a primary: reads may be answered before this moment (I7)."""
        self.promise_until = 0.0
        """This copy does not serve as primary before this moment (I8)."""
        self.dedup = DedupTable()
        self.log = Log(None if store.stable is None else store.stable.archive(shard))
        self.unsent: list[bytes] = []
        """Of a primary: entries of this turn, not yet in the log. Invariant: empty after `close_turn`."""
        self.fill = 0  # of a learner: number of the fill it takes part in
        self.whole = False
        """Whether it holds everything up to `last`; so may one that is no member any more, until it is filled."""
        self.expiries = Expiries()
        """Keys that expire, for the primary's search for them."""
        self.deletions = Deletions(store)
        """Those whose tombstones are still in the store."""
        self.pins: dict[int, Pin] = {}  # of a primary: backups under way, by their numbers
        self.size = 0
        """About what this copy costs, in bytes."""
        self.stepped_down_at = 0.0
        self._heard: tuple[Configuration, float] | None = None
        """Of a follower: what the coordinator has told and the primary has not yet, and since when."""
        self.outbox = outbox
        self.keeping = Keeping(self)
        self.leading = Leading(self, outbox, link_to)
        self.serving = Serving(self, outbox, clock, wall)

    # What is known.

    @property
    def sequence(self) -> int:
        """Sequence of the newest update held."""
        return sequence_of(self.last)

    def report(self) -> ShardReport:
        """For the heartbeat."""
        return ShardReport(self.shard, self.epoch, self.role, self.last, self.commit, self.size)

    def clean_below(self) -> bytes | None:
        """Of a primary: every record that compares as less than this is of an update that is committed.

        None: that cannot be said in one figure, or this is no primary. It can in an epoch, whose versions are in the
        order of their sequences and above all older ones; so not while there are updates of an older epoch in flight.
        """
        commit = self.commit
        if self.role is not ReplicaRole.PRIMARY or commit < self.leading.began_at:
            return None
        return (self.version_base | commit + 1).to_bytes(8, "big")

    @property
    def complete(self) -> bool:
        """Whether this copy holds everything up to `last` (a learner does not)."""
        return self.role not in (ReplicaRole.NONE, ReplicaRole.LEARNER)

    # Configurations.

    def hear(self, configuration: Configuration, now: float) -> None:
        """The coordinator tells a configuration.

        A follower whose primary stays the same waits for it to tell it too, in the order of the log, for a heartbeat at
        most: else it would refuse what the primary sent before. Adopting late is always safe.
        """
        before = self.configuration
        if (
            self.role in (ReplicaRole.SECONDARY, ReplicaRole.LEARNER)
            and before is not None
            and configuration.primary == before.primary
            and configuration.birth == before.birth
            and configuration.epoch > self.epoch
        ):
            if self._heard is None:
                self._heard = (configuration, now)
            elif configuration.epoch > self._heard[0].epoch:
                self._heard = (configuration, self._heard[1])
        else:
            self.configure(configuration, now)

    def _adopt_heard(self, now: float) -> None:
        if self._heard is not None:
            configuration, self._heard = self._heard[0], None
            self.configure(configuration, now)

    def configure(self, configuration: Configuration, now: float) -> None:
        """Adopt a configuration, unless it is older than what is known here."""
        if configuration.epoch < self.epoch or (
            configuration.epoch == self.epoch
            and self.configuration is not None
            and self.configuration.epoch == configuration.epoch
        ):
            return
        if self._heard is not None and self._heard[0].epoch <= configuration.epoch:
            self._heard = None
        before, role, known = self.configuration, self.role, self.epoch
        reborn = configuration.birth > (before.birth if before is not None else 0)
        self.configuration = configuration
        self.epoch = configuration.epoch
        self.version_base = version_of(self.epoch, 0)
        self.store.place(self.shard, configuration.slots)
        if reborn or self.me not in configuration.everyone:
            self._become_nothing(keep=not reborn and self.me.server_id in configuration.preferred)
            role = ReplicaRole.NONE
        if configuration.primary == self.me and self.keeping.returned and known != self.epoch:
            self.role = ReplicaRole.SEALED  # it was not promoted, but taken for the process that led before
        elif configuration.primary == self.me:
            was_serving = role in _SERVING_NAME and before is not None and before.primary == self.me
            consecutive = before is not None and configuration.epoch == before.epoch + 1
            self.leading.lead(configuration, now, reconcile=not was_serving, consecutive=consecutive)
        elif self.me in configuration.secondaries:
            self._follow(ReplicaRole.SECONDARY)
        elif self.me in configuration.learners:
            # A copy that was a member and is a learner now keeps its data until the fill begins.
            self._follow(ReplicaRole.LEARNER)
        self.keeping.save()

    def _become_nothing(self, *, keep: bool) -> None:
        """Be no member any more. `keep` what is held: this server is to have a copy again, and soon."""
        held = self.role is not ReplicaRole.NONE or self.last
        self._stop_serving()
        self.role = ReplicaRole.NONE
        self.fill = 0
        if held and not (keep and self.whole):
            self._forget_data(0)

    def _forget_data(self, start: int) -> None:
        if self.configuration is not None:
            self.store.drop(self.configuration.slots)
        self.dedup.clear()
        self.deletions.clear()
        self.expiries.clear()
        self.unsent.clear()
        self.whole = False
        self.last = start
        self.commit = sequence_of(start)
        self.log.restart(start)
        self.keeping.restarted(start)

    def _follow(self, role: ReplicaRole) -> None:
        self._stop_serving()
        if self.role is ReplicaRole.LEARNER and role is ReplicaRole.SECONDARY:
            self.fill = 0
            self.role = role
            self.purge()
        if role is ReplicaRole.SECONDARY:
            self.whole = True
        self.role = role

    def seal(self, epoch: int, now: float) -> Sealed:
        """Accept nothing below `epoch` any more, and say how far this copy is (I2, I14)."""
        self._adopt_heard(now)
        if epoch > self.epoch:
            self.epoch = epoch
            if self.complete:
                self._stop_serving()
                self.role = ReplicaRole.SEALED
            self.keeping.save()
        return Sealed(self.shard, self.epoch, self.last, self.complete)

    def superseded(self, epoch: int, now: float) -> None:
        """A member knows a higher epoch: stop serving in this very call. The coordinator says how it goes on."""
        if epoch > self.epoch and self.role in _FORMER_PRIMARY:
            self._stop_serving()
            self.role = ReplicaRole.STEPPED_DOWN
            self.stepped_down_at = now

    def _stop_serving(self) -> None:
        self.close_turn()
        self.lease_until = 0.0
        self.leading.stop()
        self.serving.stopped()

    def purge(self) -> None:
        """Remove the tombstones of deletions that are committed."""
        self.deletions.purge(self.commit)

    def stored(self, slot: int, key: bytes, record: bytes) -> None:
        """Of a record that was stored just now, keep in mind what the store does not.

        A tombstone is purged once the deletion is committed, and no fill needs it any more. Needs to be called only for
        a record with a flag, or while there are keys that expire.
        """
        flags = record[8]
        if flags & EXPIRES:
            self.expiries.note(key, record_expiry(record))
            return
        self.expiries.forget(key)
        if flags & TOMBSTONE:
            self.deletions.note(slot, key, record)

    # The log.

    def close_turn(self) -> None:
        """Move the entries of this turn into the log, as one chunk, or as more when a frame would not hold them."""
        unsent = self.unsent
        if not unsent:
            return
        first = self.sequence - len(unsent) + 1
        if sum(map(len, unsent)) <= REPLICATE_BYTES_TARGET:
            self._log(first, self.sequence, b"".join(unsent))
        else:
            self._append_in_pieces(first)
        unsent.clear()

    def _log(self, first: int, last: int, entries: bytes) -> None:
        """Add entries, which are of the epoch of the last update."""
        self.log.append(Chunk(first, last, self.last >> SEQUENCE_BITS, entries), self.commit)
        if self.keeping.durable:
            self.keeping.logged(last)

    def _append_in_pieces(self, first: int) -> None:
        piece: list[bytes] = []
        size = 0
        for entry in self.unsent:
            if piece and size + len(entry) > REPLICATE_BYTES_TARGET:
                self._log(first, first + len(piece) - 1, b"".join(piece))
                first += len(piece)
                piece, size = [], 0
            piece.append(entry)
            size += len(entry)
        self._log(first, first + len(piece) - 1, b"".join(piece))

    # Being secondary or learner.

    def append(self, section: Section, now: float) -> RefusedSection | None:
        """Apply what the primary sent. Returns what it is to be told if that cannot be done."""
        if section.epoch < self.epoch:
            return self._refuse(Refusal.OLD_EPOCH)
        if section.epoch > self.epoch or self.role not in (ReplicaRole.SECONDARY, ReplicaRole.LEARNER):
            return self._refuse(Refusal.NOT_A_MEMBER)
        if self.role is ReplicaRole.LEARNER and not self.fill:
            return self._refuse(Refusal.HOLDS if self.whole else Refusal.NOT_A_MEMBER)
        have = self.sequence
        if section.first > have + 1:
            return self._refuse(Refusal.GAP)
        self.promise_until = now + self.timing.grace
        if section.count and section.first + section.count - 1 > have:
            self._apply(section, have)
        if section.commit > self.commit:
            self.commit = min(section.commit, self.sequence)
            self.log.trim(self.commit)
            if self.role is ReplicaRole.SECONDARY:
                self.purge()
        elif self.log.bytes and section.commit >= self.sequence:
            self.log.trim(self.commit)  # it was kept, as primary, for somebody who is not a member any more
        return None

    def _apply(self, section: Section, have: int) -> None:
        learning = self.role is ReplicaRole.LEARNER
        store, remember = self.store, self.dedup.remember
        put, expiries = store.put, self.expiries
        sequence = section.first - 1
        version = 0
        for slot, key, record, kind, number, oldest, client, reply in decode_entries(section.entries, section.count):
            sequence += 1
            if sequence <= have:
                continue
            version = int.from_bytes(record[:8], "big")
            if kind == SEVERAL:
                keys, records = records_of_update(record)
                self.store_many(keys, records, newer=learning)
            elif learning:
                self.store_many([key], [record], newer=True)
            else:
                put(slot, key, record)
                if record[8] or expiries:
                    self.stored(slot, key, record)
            if number:
                remember(client, number, oldest, sequence, (version, reply) if reply else version)
        if sequence_of(version) != sequence:
            raise ProtocolError(f"shard {self.shard}: entry {sequence} carries the version of {sequence_of(version)}")
        self.last = version
        self._log(section.first, sequence, section.entries)

    def store_many(self, keys: list[bytes], records: list[bytes], *, newer: bool) -> None:
        """Store records; if `newer`, only those that are newer than what is there (I11)."""
        store = self.store
        slots = slots_of(keys)
        with suppress(DamagedRecord):
            newer = newer and any(store.get_many(slots, keys))
        if newer:
            for slot, key, record in zip(slots, keys, records, strict=True):
                if store.put_newer(slot, key, record) and (record[8] or self.expiries):
                    self.stored(slot, key, record)
            return
        store.put_many(slots, keys, records)
        if self.expiries or flagged(records):
            for slot, key, record in zip(slots, keys, records, strict=True):
                self.stored(slot, key, record)

    def _refuse(self, refusal: Refusal) -> RefusedSection:
        return RefusedSection(self.shard, refusal, self.epoch, self.last if refusal is Refusal.HOLDS else self.sequence)

    def begin_fill(self, begin: BeginFill) -> None:
        """As a learner: take part in this fill."""
        if self.role is not ReplicaRole.LEARNER or begin.epoch != self.epoch:
            return
        if begin.how is FillKind.CONTINUED:
            self.fill = begin.fill if self.whole and self.last == begin.start else 0
        elif begin.how is FillKind.OFFERED and self.whole:
            self.fill = 0  # what is sent next is refused, with what is held here
        else:
            self._forget_data(begin.start)
            self.fill = begin.fill
        self.keeping.save()

    # Time.

    def tick(self, now: float, *, beat: bool, stalled: bool) -> None:
        """A few times in each heartbeat; `beat` once. With `stalled` this server was not running: it judges nobody."""
        if self._heard is not None and now - self._heard[1] >= self.timing.heartbeat:
            self._adopt_heard(now)
        self.leading.tick(now, beat=beat, stalled=stalled)
        if self.role is ReplicaRole.STEPPED_DOWN and now - self.stepped_down_at > self.timing.switch:
            self.serving.stopped()
        if self.pins:
            lapse(self.pins, now, self.log.bytes)
        if not self.serving.idle:
            self.serving.tick(now)
