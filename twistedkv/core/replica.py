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
    any          configuration without me, or with another store id -> NONE, and the data is dropped (I9)

Hazards guarded against: a deposed primary that goes on (epochs, I2); a learner that is promoted half full (I10); a new
primary that serves before its members are level (I6) or before the old one's lease is over (I8); records that a
learner has from the stream although its log is not so far (it is added only when its log has passed the stream's end).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twistedkv.clustermap import Configuration, Member
from twistedkv.core.dedup import DedupTable
from twistedkv.core.entries import INCREMENT, decode_entries
from twistedkv.core.lease import Timing
from twistedkv.core.log import Chunk, Log
from twistedkv.core.mailbox import Outbox
from twistedkv.core.progress import Follower, PeerLink
from twistedkv.core.serving import Serving
from twistedkv.errors import ProtocolError
from twistedkv.limits import LOG_BYTES_MAX, REPLICATE_BYTES_TARGET
from twistedkv.messages.coordinator import (
    Relinquished,
    Remove,
    ReplicaRole,
    Sealed,
    ShardReport,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimaryFailed,
    UpdateSecondaryFailed,
)
from twistedkv.messages.peer import BeginFill, Refusal, RefusedSection, Section
from twistedkv.records import is_tombstone, record_value, sequence_of, version_of
from twistedkv.storage.interface import Store

_NEVER = float("inf")
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
        self.followers: dict[Member, Follower] = {}
        """Of a primary: everybody else in the configuration."""
        self.lease_until = 0.0
        """Of a primary: reads may be answered before this moment (I7)."""
        self.promise_until = 0.0
        """This copy does not serve as primary before this moment (I8)."""
        self.dedup = DedupTable()
        self.log = Log()
        self.unsent: list[bytes] = []
        """Of a primary: entries of this turn, not yet in the log. Invariant: empty after `close_turn`."""
        self.fill = 0
        """Of a learner: number of the fill it takes part in."""
        self._outbox = outbox
        self._link_to = link_to
        self._counted: list[Follower] = []
        self._tombstones: deque[tuple[int, int, bytes, int]] = deque()
        """(sequence, slot, key, version) of deletions that are to be purged once committed."""
        self._fills = 0
        self._switch: tuple[int, float] | None = None
        """(request id, since when) of the switch under way."""
        self._stepped_down_at = 0.0
        self.serving = Serving(self, outbox, clock)

    # What is known.

    @property
    def sequence(self) -> int:
        """Sequence of the newest update held."""
        return sequence_of(self.last)

    def report(self) -> ShardReport:
        """For the heartbeat."""
        return ShardReport(self.shard, self.epoch, self.role, self.last, self.commit)

    @property
    def complete(self) -> bool:
        """Whether this copy holds everything up to `last` (a learner does not)."""
        return self.role not in (ReplicaRole.NONE, ReplicaRole.LEARNER)

    # Configurations.

    def configure(self, configuration: Configuration, now: float) -> None:
        """Adopt a configuration, unless it is older than what is known here."""
        if configuration.epoch < self.epoch or (
            configuration.epoch == self.epoch
            and self.configuration is not None
            and self.configuration.epoch == configuration.epoch
        ):
            return
        before, role = self.configuration, self.role
        reborn = configuration.birth > (before.birth if before is not None else 0)
        self.configuration = configuration
        self.epoch = configuration.epoch
        self.version_base = version_of(self.epoch, 0)
        if reborn or self.me not in configuration.everyone:
            self._become_nothing()
            role = ReplicaRole.NONE
        if configuration.primary == self.me:
            was_serving = role in _SERVING_NAME and before is not None and before.primary == self.me
            consecutive = before is not None and configuration.epoch == before.epoch + 1
            self._lead(configuration, now, reconcile=not was_serving, consecutive=consecutive)
        elif self.me in configuration.secondaries:
            self._follow(ReplicaRole.SECONDARY)
        elif self.me in configuration.learners:
            # A copy that was a member and is a learner now keeps its data until the fill begins, and then drops it.
            self._follow(ReplicaRole.LEARNER)

    def _become_nothing(self) -> None:
        self._stop_serving()
        self.role = ReplicaRole.NONE
        self._forget_data(0)

    def _forget_data(self, start: int) -> None:
        if self.configuration is not None:
            self.store.drop(self.configuration.slots)
        self.dedup.clear()
        self._tombstones.clear()
        self.unsent.clear()
        self.last = start
        self.commit = sequence_of(start)
        self.log.restart(self.commit)

    def _follow(self, role: ReplicaRole) -> None:
        self._stop_serving()
        if self.role is ReplicaRole.LEARNER and role is ReplicaRole.SECONDARY:
            self.fill = 0
            self.role = role
            self._purge()
        self.role = role

    def _lead(self, configuration: Configuration, now: float, *, reconcile: bool, consecutive: bool) -> None:
        self.close_turn()
        kept = {} if reconcile else self.followers
        self.followers = {}
        for member in configuration.everyone:
            if member == self.me:
                continue
            learner = member in configuration.learners
            follower = kept.get(member)
            if follower is not None and learner and not (follower.learner and consecutive):
                # It may have been dropped and taken in again in between, and then its data is gone.
                follower = None
            if follower is None:
                # A member may hold less than this copy, but never less than what was committed (I3).
                start = self.sequence if learner else self.commit
                follower = Follower(
                    member, self._link_to(member), learner=learner, counted=not learner, sent=start, now=now
                )
            if not learner:
                follower.counted, follower.learner = True, False
            self.followers[member] = follower
        self._counted = [follower for follower in self.followers.values() if follower.counted]
        self._outbox.dirty[self.shard] = None
        if reconcile:
            self.role = ReplicaRole.RECONCILING
            self.lease_until = 0.0
        elif self.role is ReplicaRole.SWITCHING:
            self._resume_serving()
        for follower in self.followers.values():
            if follower.learner and follower.counted and not follower.complete_at:
                self._tell_updated(follower)
        self.advance(now)

    def seal(self, epoch: int, now: float) -> Sealed:
        """Accept nothing below `epoch` any more, and say how far this copy is (I2, I14)."""
        if epoch > self.epoch:
            self.epoch = epoch
            if self.complete:
                self._stop_serving()
                self.role = ReplicaRole.SEALED
        return Sealed(self.shard, self.epoch, self.last, self.complete)

    def superseded(self, epoch: int, now: float) -> None:
        """A member knows a higher epoch: stop serving in this very call. The coordinator says how it goes on."""
        if epoch > self.epoch and self.role in _FORMER_PRIMARY:
            self._stop_serving()
            self.role = ReplicaRole.STEPPED_DOWN
            self._stepped_down_at = now

    def _stop_serving(self) -> None:
        self.close_turn()
        self.lease_until = 0.0
        self._abandon_switch()
        self.followers = {}
        self._counted = []
        self.serving.stopped()

    # Being primary.

    def close_turn(self) -> None:
        """Move the entries of this turn into the log, as one chunk, or as more when a frame would not hold them."""
        unsent = self.unsent
        if not unsent:
            return
        first = self.sequence - len(unsent) + 1
        if sum(map(len, unsent)) <= REPLICATE_BYTES_TARGET:
            self.log.append(Chunk(first, self.sequence, b"".join(unsent)))
        else:
            self._append_in_pieces(first)
        unsent.clear()

    def _append_in_pieces(self, first: int) -> None:
        piece: list[bytes] = []
        size = 0
        for entry in self.unsent:
            if piece and size + len(entry) > REPLICATE_BYTES_TARGET:
                self.log.append(Chunk(first, first + len(piece) - 1, b"".join(piece)))
                first += len(piece)
                piece, size = [], 0
            piece.append(entry)
            size += len(entry)
        self.log.append(Chunk(first, first + len(piece) - 1, b"".join(piece)))

    def follower_advanced(self, follower: Follower, now: float) -> None:
        """A follower has acknowledged: commit what all counted copies have, renew the lease, go on with its fill."""
        if self.followers.get(follower.member) is not follower:
            return
        if follower.complete_at and follower.acked >= follower.complete_at:
            follower.complete_at = 0
            self._tell_updated(follower)
        self.advance(now)

    def advance(self, now: float) -> None:
        """Recompute commit and lease, and act on what that allows."""
        if self._counted:
            acked = min(follower.acked for follower in self._counted)
            self.lease_until = min(follower.lease_from for follower in self._counted) + self.timing.lease
        else:
            # Nobody else may be promoted, so nobody else can have served: a sole member needs no lease.
            acked = self.sequence
            self.lease_until = _NEVER
        if acked > self.commit:
            self.commit = min(acked, self.sequence)
            self._trim()
        if self.role is ReplicaRole.RECONCILING:
            self._try_to_serve(now)
        elif self.role in _SERVING_NAME:
            self.serving.advanced(now)
            if self.role is ReplicaRole.SWITCHING:
                self._try_to_relinquish(now)

    def _try_to_serve(self, now: float) -> None:
        if self.commit < self.sequence or any(follower.acked < self.commit for follower in self._counted):
            return  # I6
        assert self.configuration is not None
        if now < self.promise_until and not self.configuration.released:
            return  # I8; `tick` comes back to it
        self.role = ReplicaRole.PRIMARY
        self.serving.started()

    def _trim(self) -> None:
        keep = self.commit
        for follower in self.followers.values():
            keep = min(keep, follower.acked)
        self.log.trim(keep)
        self._purge()

    def _purge(self) -> None:
        tombstones = self._tombstones
        while tombstones and tombstones[0][0] <= self.commit:
            _, slot, key, version = tombstones.popleft()
            self.store.purge(slot, key, version)

    def bury(self, slot: int, key: bytes, version: int) -> None:
        """A deletion was applied: purge its tombstone once it is committed, and no fill needs it any more."""
        self._tombstones.append((sequence_of(version), slot, key, version))

    def outgoing(self, follower: Follower) -> tuple[Configuration | None, BeginFill | None, list[Section]]:
        """What the follower has not been given yet: configuration, start of a fill, sections (at least a beacon)."""
        assert self.configuration is not None
        configuration = None
        if follower.configured != self.epoch:
            configuration = self.configuration
            follower.configured = self.epoch
        begin = None
        if follower.learner and not follower.fill:
            begin = self._begin_fill(follower)
        chunks = self.log.after(follower.sent)
        if chunks is None:
            self._give_up(follower, "it is further behind than this server's log reaches")
            chunks = []
        sections = [
            Section(self.shard, self.epoch, self.commit, chunk.first, chunk.count, chunk.entries) for chunk in chunks
        ]
        if sections:
            follower.sent = chunks[-1].last
        else:
            sections.append(Section(self.shard, self.epoch, self.commit, follower.sent + 1, 0, b""))
        return configuration, begin, sections

    def follower_refused(self, follower: Follower, refused: RefusedSection, now: float) -> None:
        """A follower did not accept a section."""
        if self.followers.get(follower.member) is not follower:
            return
        if refused.refusal is Refusal.OLD_EPOCH and refused.epoch > self.epoch:
            self.superseded(refused.epoch, now)
            return
        follower.stalled = True
        follower.configured = 0
        if refused.refusal is Refusal.STORAGE:
            self._give_up(follower, "its store failed")
        elif follower.learner and follower.counted:
            self._give_up(follower, "it no longer has what it was given")
        elif follower.learner:
            self._restart_fill(follower)
        elif refused.refusal is Refusal.GAP:
            follower.sent = refused.last
        else:
            follower.sent = max(follower.acked, self.log.trimmed)

    def link_restored(self, follower: Follower) -> None:
        """There is a new connection to the follower: send again what it has not acknowledged."""
        follower.rewind()
        if follower.learner and not follower.joined:
            self._restart_fill(follower)
        elif not follower.acked:
            follower.sent = self.commit
        self._outbox.dirty[self.shard] = None

    # Filling a learner.

    def _begin_fill(self, follower: Follower) -> BeginFill:
        self._fills += 1
        # Unique over primaries, because the epoch is: a late chunk of a deposed primary must not be taken for ours.
        follower.fill = (self.epoch << 10 | self._fills & 0x3FF) & 0xFFFFFFFF
        follower.joined = False
        follower.complete_at = 0
        follower.sent = follower.acked = self.sequence
        return BeginFill(self.shard, self.epoch, follower.fill, self.last)

    def _restart_fill(self, follower: Follower) -> None:
        if not follower.counted:
            follower.fill = 0
            follower.joined = False
            follower.complete_at = 0
            self._outbox.dirty[self.shard] = None

    def fill_refused(self, follower: Follower) -> None:
        """The learner does not know of the fill that was streamed to it: begin again."""
        self._restart_fill(follower)

    def fill_ended(self, follower: Follower, now: float) -> None:
        """The learner has all records and all of the dedup table that the stream held.

        From here on it is counted, and once its log has passed everything that the stream can have held, the
        coordinator is asked to add it (I10).
        """
        if self.followers.get(follower.member) is not follower or follower.counted:
            return
        follower.counted = True
        self._counted = [each for each in self.followers.values() if each.counted]
        follower.complete_at = max(1, self.sequence)
        if follower.acked >= self.sequence:
            follower.complete_at = 0
            self._tell_updated(follower)
        self.advance(now)

    def _tell_updated(self, follower: Follower) -> None:
        kind = UpdatedPrimary if self._is_to_lead(follower) else UpdatedSecondary
        self._outbox.tell(kind(self.shard, self.epoch, follower.member))

    def _is_to_lead(self, follower: Follower) -> bool:
        preferred = self.configuration.preferred if self.configuration is not None else ()
        return bool(preferred) and preferred[0] == follower.member.server_id

    def _give_up(self, follower: Follower, reason: str) -> None:
        follower.stalled = True
        if not follower.learner:
            self._outbox.tell(Remove(self.shard, self.epoch, follower.member, reason))
        else:
            kind = UpdatePrimaryFailed if self._is_to_lead(follower) else UpdateSecondaryFailed
            self._outbox.tell(kind(self.shard, self.epoch, follower.member, reason))

    # Giving the role away.

    def switch(self, epoch: int, target: int, request_id: int, now: float) -> str:
        """Flush, then step down in favour of a member. Returns why not, or an empty text and answers later."""
        if self.role is not ReplicaRole.PRIMARY or epoch != self.epoch:
            return f"shard {self.shard}: not its primary in epoch {epoch} but {self.role.name} in {self.epoch}"
        assert self.configuration is not None
        if all(member.server_id != target for member in self.configuration.secondaries):
            return f"shard {self.shard}: server {target} is no secondary in epoch {epoch}"
        self.role = ReplicaRole.SWITCHING
        self._switch = (request_id, now)
        self._try_to_relinquish(now)
        return ""

    def _try_to_relinquish(self, now: float) -> None:
        if self._switch is None or self.commit < self.sequence:
            return
        request_id, _ = self._switch
        self._switch = None
        self.role = ReplicaRole.STEPPED_DOWN
        self._stepped_down_at = now
        self.lease_until = 0.0
        self._outbox.tell(Relinquished(self.shard, self.epoch, self.last), request_id)

    def _abandon_switch(self) -> None:
        if self._switch is not None:
            self._outbox.tell(f"shard {self.shard}: the switch was overtaken, or took too long", self._switch[0])
            self._switch = None

    def _resume_serving(self) -> None:
        self._abandon_switch()
        self.role = ReplicaRole.PRIMARY
        self.serving.started()

    # Being secondary or learner.

    def append(self, section: Section, now: float) -> RefusedSection | None:
        """Apply what the primary sent. Returns what it is to be told if that cannot be done."""
        if section.epoch < self.epoch:
            return self._refuse(Refusal.OLD_EPOCH)
        if section.epoch > self.epoch or self.role not in (ReplicaRole.SECONDARY, ReplicaRole.LEARNER):
            return self._refuse(Refusal.NOT_A_MEMBER)
        if self.role is ReplicaRole.LEARNER and not self.fill:
            return self._refuse(Refusal.NOT_A_MEMBER)
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
                self._purge()
        return None

    def _apply(self, section: Section, have: int) -> None:
        learning = self.role is ReplicaRole.LEARNER
        put, remember = self.store.put, self.dedup.remember
        sequence = section.first - 1
        version = 0
        for slot, key, record, kind, number, oldest, client in decode_entries(section.entries, section.count):
            sequence += 1
            if sequence <= have:
                continue
            version = int.from_bytes(record[:8], "big")
            if learning:
                self.store.put_newer(slot, key, record)
            else:
                put(slot, key, record)
            if is_tombstone(record):
                self.bury(slot, key, version)
            if number:
                remember(
                    client, number, oldest, sequence, (version, record_value(record)) if kind == INCREMENT else version
                )
        if sequence_of(version) != sequence:
            raise ProtocolError(f"shard {self.shard}: entry {sequence} carries the version of {sequence_of(version)}")
        self.last = version
        self.log.append(Chunk(section.first, sequence, section.entries))

    def _refuse(self, refusal: Refusal) -> RefusedSection:
        return RefusedSection(self.shard, refusal, self.epoch, self.sequence)

    def begin_fill(self, begin: BeginFill) -> None:
        """As a learner: drop everything and take part in this fill."""
        if self.role is ReplicaRole.LEARNER and begin.epoch == self.epoch:
            self._forget_data(begin.start)
            self.fill = begin.fill

    # Time.

    def tick(self, now: float, *, beat: bool, stalled: bool) -> None:
        """A few times in each heartbeat; `beat` once. With `stalled` this server was not running: it judges nobody."""
        if self.role in (ReplicaRole.PRIMARY, ReplicaRole.SWITCHING, ReplicaRole.RECONCILING):
            if beat or stalled:
                self._beat(now, stalled=stalled)
            if self.role is ReplicaRole.RECONCILING:
                self._try_to_serve(now)
        if self._switch is not None and now - self._switch[1] > self.timing.switch:
            self._resume_serving()
        if self.role is ReplicaRole.STEPPED_DOWN and now - self._stepped_down_at > self.timing.switch:
            self.serving.stopped()
        if not self.serving.idle:
            self.serving.tick(now)

    def _beat(self, now: float, *, stalled: bool) -> None:
        for follower in list(self.followers.values()):
            follower.stalled = False
            if stalled:  # I16
                follower.heard_at = now
            elif now - follower.heard_at > self.timing.peer_silence:
                self._give_up(follower, f"it has acknowledged nothing for {self.timing.peer_silence:.1f} s")
            elif follower.learner and follower.counted and not follower.complete_at:
                self._tell_updated(follower)
            elif follower.learner and self.log.bytes > LOG_BYTES_MAX:
                self._restart_fill(follower)
        if self.followers:
            self._outbox.dirty[self.shard] = None
