"""A shard's primary towards the other copies: what they have, what is committed, and who is being filled.

Commit rule (I3): what *every* counted follower has. Counted are all members, and a learner from the moment its fill has
ended, which is before the coordinator is asked to add it (I10); it stops being counted only when a configuration
without it is seen. The lease is counted over the same followers, from the times at which the frames that they
acknowledged were sent (I7).

A new primary first has all members acknowledge everything that it holds (I6), whether or not that was committed before:
it cannot know. Then it waits until its own promise to the old primary has run out (I8), unless the configuration says
that the old primary is certainly gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twistedkv.clustermap import Configuration, Member
from twistedkv.core.mailbox import Outbox
from twistedkv.core.progress import Follower, PeerLink
from twistedkv.limits import LOG_BYTES_MAX
from twistedkv.messages.coordinator import (
    Relinquished,
    Remove,
    ReplicaRole,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimaryFailed,
    UpdateSecondaryFailed,
)
from twistedkv.messages.peer import BeginFill, FillKind, Refusal, RefusedSection, Section
from twistedkv.records import sequence_of

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica

_NEVER = float("inf")
_SERVING_NAME = (ReplicaRole.PRIMARY, ReplicaRole.SWITCHING)
_LEADING = (*_SERVING_NAME, ReplicaRole.RECONCILING)


class Leading:
    """The primary's side of a replica. Empty while the replica is something else."""

    def __init__(self, replica: Replica, outbox: Outbox, link_to: Callable[[Member], PeerLink]) -> None:
        self.followers: dict[Member, Follower] = {}
        """Everybody else in the configuration."""
        self.counted: list[Follower] = []
        """Those whose acknowledgements commits and leases wait for."""
        self.began_at = 0
        """Sequence of the newest update when this epoch began."""
        self._replica = replica
        self._outbox = outbox
        self._link_to = link_to
        self._fills = 0
        self._switch: tuple[int, float] | None = None
        """(request id, since when) of the switch under way."""

    def stop(self) -> None:
        """The replica is primary no more."""
        self.abandon_switch()
        self._replica.pins.clear()
        self.followers = {}
        self.counted = []

    def tick(self, now: float, *, beat: bool, stalled: bool) -> None:
        """See `Replica.tick`."""
        replica = self._replica
        if replica.role in _LEADING:
            if beat or stalled:
                self._beat(now, stalled=stalled)
            if replica.role is ReplicaRole.RECONCILING:
                self._try_to_serve(now)
        if self._switch is not None and now - self._switch[1] > replica.timing.switch:
            self._resume_serving()

    def lead(self, configuration: Configuration, now: float, *, reconcile: bool, consecutive: bool) -> None:
        """Be primary by this configuration: newly (`reconcile`), or still, with other followers.

        `consecutive`: it is the one that comes next after the configuration before, so nothing was missed in between.
        """
        replica = self._replica
        replica.close_turn()
        self.began_at = replica.sequence
        kept = {} if reconcile else self.followers
        self.followers = {}
        for member in configuration.everyone:
            if member == replica.me:
                continue
            learner = member in configuration.learners
            follower = kept.get(member)
            if follower is not None and learner and not (follower.learner and consecutive):
                # It may have been dropped and taken in again in between, and then its data is gone.
                follower = None
            if follower is None:
                # A member may hold less than this copy, but never less than what was committed (I3).
                start = replica.sequence if learner else replica.commit
                follower = Follower(
                    member, self._link_to(member), learner=learner, counted=not learner, sent=start, now=now
                )
            if not learner:
                follower.counted, follower.learner = True, False
            self.followers[member] = follower
        self.counted = [follower for follower in self.followers.values() if follower.counted]
        self._outbox.dirty[replica.shard] = None
        if reconcile:
            replica.role = ReplicaRole.RECONCILING
            replica.lease_until = 0.0
        elif replica.role is ReplicaRole.SWITCHING:
            self._resume_serving()
        for follower in self.followers.values():
            if follower.learner and follower.counted and not follower.complete_at:
                self._tell_updated(follower)
        self.advance(now)

    def follower_advanced(self, follower: Follower, now: float) -> None:
        """A follower has acknowledged: commit what all counted copies have, renew the lease, go on with its fill."""
        if self.followers.get(follower.member) is not follower:
            return
        if follower.behind:
            follower.behind = False
            self._outbox.dirty[self._replica.shard] = None
        elif follower.how is FillKind.CONTINUED and follower.joined and not follower.counted:
            self.fill_ended(follower, now)
        if follower.complete_at and follower.acked >= follower.complete_at:
            follower.complete_at = 0
            self._tell_updated(follower)
        self.advance(now)

    def advance(self, now: float) -> None:
        """Recompute commit and lease, and act on what that allows."""
        replica = self._replica
        if replica.role not in _LEADING:
            return  # what it has may never be committed, and it has no lease
        if self.counted:
            acked, since = self.counted[0].acked, self.counted[0].lease_from
            for follower in self.counted:
                acked = min(acked, follower.acked)
                since = min(since, follower.lease_from)
            replica.lease_until = since + replica.timing.lease
        else:
            # Nobody else may be promoted, so nobody else can have served: a sole member needs no lease.
            acked = replica.sequence
            replica.lease_until = _NEVER
        acked = min(acked, replica.keeping.stable_to)
        if acked > replica.commit:
            replica.commit = min(acked, replica.sequence)
            self._trim()
        elif replica.log.bytes:
            self._trim()  # one who is not counted has acknowledged
        if replica.role is ReplicaRole.RECONCILING:
            self._try_to_serve(now)
        elif replica.role in _SERVING_NAME:
            replica.serving.advanced(now)
            if replica.role is ReplicaRole.SWITCHING:
                self._try_to_relinquish(now)

    def _try_to_serve(self, now: float) -> None:
        replica = self._replica
        if replica.commit < replica.sequence or any(follower.acked < replica.commit for follower in self.counted):
            return  # I6
        if not replica.keeping.saved:
            return  # the next process could use this epoch again
        assert replica.configuration is not None
        if now < replica.promise_until and not replica.configuration.released:
            return  # I8; `tick` comes back to it
        replica.role = ReplicaRole.PRIMARY
        replica.purge()  # a learner that is made primary at once, by a configuration after the one that it missed
        self._outbox.began_to_serve = True
        replica.serving.started()

    def _trim(self) -> None:
        replica = self._replica
        keep = replica.commit
        for follower in self.followers.values():
            keep = min(keep, follower.acked)
        if replica.pins:
            keep = min(keep, *(pin.after for pin in replica.pins.values()))
        replica.log.trim(keep)
        replica.purge()

    def outgoing(self, follower: Follower) -> tuple[Configuration | None, BeginFill | None, list[Section]]:
        """What the follower has not been given yet: configuration, start of a fill, sections (at least a beacon)."""
        replica = self._replica
        assert replica.configuration is not None
        configuration = None
        if follower.configured != replica.epoch:
            configuration = replica.configuration
            follower.configured = replica.epoch
        begin = None
        if follower.learner and not follower.fill:
            begin = self._begin_fill(follower)
        chunks = replica.log.after(follower.sent)
        if chunks is None and follower.how is FillKind.CONTINUED and not follower.counted:
            follower.how = FillKind.FROM_NOTHING
            begin = self._begin_fill(follower)
            chunks = []
        elif chunks is None:
            follower.stalled = True
            self._give_up(follower, "it is further behind than this server's log reaches")
            chunks = []
        sections = [
            Section(replica.shard, replica.epoch, replica.commit, chunk.first, chunk.count, chunk.entries)
            for chunk in chunks
        ]
        if sections:
            follower.sent = chunks[-1].last
            follower.behind = follower.sent < replica.sequence
        else:
            sections.append(Section(replica.shard, replica.epoch, replica.commit, follower.sent + 1, 0, b""))
        return configuration, begin, sections

    def follower_refused(self, follower: Follower, refused: RefusedSection, now: float) -> None:
        """A follower did not accept a section."""
        replica = self._replica
        if self.followers.get(follower.member) is not follower:
            return
        if refused.refusal is Refusal.OLD_EPOCH and refused.epoch > replica.epoch:
            replica.superseded(refused.epoch, now)
            return
        follower.configured = 0
        if refused.refusal is Refusal.OLD_EPOCH:
            # It had heard of our present configuration before this frame, of the one before, came. Its data stands.
            follower.sent = max(follower.acked, replica.log.trimmed)
            self._outbox.dirty[replica.shard] = None
            return
        if refused.refusal is Refusal.HOLDS and follower.learner and not follower.counted:
            known = follower.how is FillKind.OFFERED and replica.log.continues(refused.last)
            self._restart_fill(follower)
            follower.how = FillKind.CONTINUED if known else FillKind.FROM_NOTHING
            follower.held = refused.last
            return
        follower.stalled = True
        if follower.learner and follower.counted:
            self._give_up(follower, "it no longer has what it was given")
        elif follower.learner:
            self._restart_fill(follower)
        elif refused.refusal is Refusal.GAP:
            follower.sent = min(refused.last, replica.sequence)
        else:
            follower.sent = max(follower.acked, replica.log.trimmed)

    def link_restored(self, follower: Follower) -> None:
        """There is a new connection to the follower: send again what it has not acknowledged."""
        replica = self._replica
        follower.rewind()
        follower.stalled = False
        if follower.learner and not follower.joined:
            self._restart_fill(follower)
        elif not follower.acked and not follower.learner:
            follower.sent = replica.commit  # of a learner it is known that it began with nothing
        self._outbox.dirty[replica.shard] = None

    # Filling a learner.

    def _begin_fill(self, follower: Follower) -> BeginFill:
        replica = self._replica
        self._fills += 1
        # Unique over primaries, because the epoch is: a late chunk of a deposed primary must not be taken for ours.
        follower.fill = (replica.epoch << 10 | self._fills & 0x3FF) & 0xFFFFFFFF
        follower.joined = False
        follower.complete_at = 0
        start = follower.held if follower.how is FillKind.CONTINUED else replica.last
        follower.sent = follower.acked = sequence_of(start)
        return BeginFill(replica.shard, replica.epoch, follower.how, follower.fill, start)

    def _restart_fill(self, follower: Follower) -> None:
        replica = self._replica
        if not follower.counted:
            follower.fill = 0
            follower.how = FillKind.OFFERED
            follower.joined = False
            follower.complete_at = 0
            self._outbox.dirty[replica.shard] = None

    def fill_refused(self, follower: Follower) -> None:
        """The learner does not know of the fill that was streamed to it: begin again."""
        self._restart_fill(follower)

    def fill_ended(self, follower: Follower, now: float) -> None:
        """The learner has all records and all of the dedup table that the stream held.

        From here on it is counted, and once its log has passed everything that the stream can have held, the
        coordinator is asked to add it (I10).
        """
        replica = self._replica
        if self.followers.get(follower.member) is not follower or follower.counted:
            return
        follower.counted = True
        self.counted = [each for each in self.followers.values() if each.counted]
        follower.complete_at = max(1, replica.sequence)
        if follower.acked >= replica.sequence:
            follower.complete_at = 0
            self._tell_updated(follower)
        self.advance(now)

    def _tell_updated(self, follower: Follower) -> None:
        replica = self._replica
        kind = UpdatedPrimary if self._is_to_lead(follower) else UpdatedSecondary
        self._outbox.tell(kind(replica.shard, replica.epoch, follower.member))

    def _is_to_lead(self, follower: Follower) -> bool:
        replica = self._replica
        preferred = replica.configuration.preferred if replica.configuration is not None else ()
        return bool(preferred) and preferred[0] == follower.member.server_id

    def _give_up(self, follower: Follower, reason: str) -> None:
        """Have the coordinator take it out. Until that is done it is a member, and may yet be heard of again."""
        replica = self._replica
        if not follower.learner:
            self._outbox.tell(Remove(replica.shard, replica.epoch, follower.member, reason))
        else:
            kind = UpdatePrimaryFailed if self._is_to_lead(follower) else UpdateSecondaryFailed
            self._outbox.tell(kind(replica.shard, replica.epoch, follower.member, reason))

    # Giving the role away.

    def switch(self, epoch: int, target: int, request_id: int, now: float) -> str:
        """Flush, then step down in favour of a member. Returns why not, or an empty text and answers later."""
        replica = self._replica
        if replica.role is not ReplicaRole.PRIMARY or epoch != replica.epoch:
            return f"shard {replica.shard}: not its primary in epoch {epoch} but {replica.role.name} in {replica.epoch}"
        assert replica.configuration is not None
        if all(member.server_id != target for member in replica.configuration.secondaries):
            return f"shard {replica.shard}: server {target} is no secondary in epoch {epoch}"
        replica.role = ReplicaRole.SWITCHING
        self._switch = (request_id, now)
        self._try_to_relinquish(now)
        return ""

    def _try_to_relinquish(self, now: float) -> None:
        replica = self._replica
        if self._switch is None or replica.commit < replica.sequence:
            return
        request_id, _ = self._switch
        self._switch = None
        replica.role = ReplicaRole.STEPPED_DOWN
        replica.stepped_down_at = now
        replica.lease_until = 0.0
        self._outbox.tell(Relinquished(replica.shard, replica.epoch, replica.last), request_id)

    def abandon_switch(self) -> None:
        replica = self._replica
        if self._switch is not None:
            self._outbox.tell(f"shard {replica.shard}: the switch was overtaken, or took too long", self._switch[0])
            self._switch = None

    def _resume_serving(self) -> None:
        replica = self._replica
        self.abandon_switch()
        replica.role = ReplicaRole.PRIMARY
        replica.serving.started()

    def _stores_nothing(self, follower: Follower, now: float) -> bool:
        """Whether what commits wait for has been with the follower for too long."""
        since = follower.link.unstored_since
        waits = follower.counted and follower.acked < min(follower.sent, self._replica.keeping.stable_to)
        return waits and since is not None and now - since > self._replica.timing.storing

    def _beat(self, now: float, *, stalled: bool) -> None:
        replica = self._replica
        for follower in list(self.followers.values()):
            follower.stalled = False
            if stalled:  # I16
                follower.heard_at = now
            elif now - follower.heard_at > replica.timing.peer_silence:
                self._give_up(follower, f"it has acknowledged nothing for {replica.timing.peer_silence:.1f} s")
            elif not follower.stalled and self._stores_nothing(follower, now):
                self._give_up(follower, f"its disk has stored nothing for {replica.timing.storing:.1f} s")
            elif follower.learner and follower.counted and not follower.complete_at:
                self._tell_updated(follower)
            elif follower.learner and replica.log.bytes > LOG_BYTES_MAX:
                self._restart_fill(follower)
        if self.followers:
            self._outbox.dirty[replica.shard] = None
