"""How far each other copy is, and what is on its way to it: the primary's view.

A `Follower` is one copy of one shard; a `PeerLink` is one other server, with the frames of all shards. An
acknowledgement names a frame, not a shard: frames are applied in order on one connection, so one number acknowledges
every section of every frame up to it, save those that it lists as refused.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

from twistedkv.clustermap import Member
from twistedkv.limits import NEARLY_FULL_BYTES_MAX, UNACKNOWLEDGED_BYTES_MAX
from twistedkv.messages.peer import Ack, FillKind, RefusedSection, Replicate, Section
from twistedkv.watermarks import Level

if TYPE_CHECKING:
    from twistedkv.core.replica import Replica


class Follower:
    """One other copy of a shard, as its primary sees it."""

    __slots__ = (
        "acked",
        "behind",
        "complete_at",
        "configured",
        "counted",
        "fill",
        "heard_at",
        "held",
        "how",
        "joined",
        "learner",
        "lease_from",
        "link",
        "member",
        "sent",
        "stalled",
    )

    def __init__(self, member: Member, link: PeerLink, *, learner: bool, counted: bool, sent: int, now: float) -> None:
        self.member = member
        self.link = link
        self.learner = learner
        self.counted = counted
        """Whether commits and leases wait for it. Invariant: true for every member, and for a learner from before
        the coordinator is asked to add it until a configuration without it is seen (I10)."""
        self.acked = 0
        """Everything up to this sequence is in its store, as safe as that can make it. 0: not heard yet."""
        self.sent = sent
        """Everything up to this sequence was given to the link. Invariant: acked <= sent, unless a resend began."""
        self.configured = 0
        """Epoch of the newest configuration sent on the connection as it is now."""
        self.lease_from = 0.0
        """Send time of the newest frame that it has heard."""
        self.heard_at = now
        self.stalled = False
        """It refused; nothing is sent until the next beat."""
        self.fill = 0
        """Number of the fill under way; 0: none."""
        self.joined = False
        """The learner has begun the fill, so records may be streamed."""
        self.how = FillKind.OFFERED
        """How its next fill begins."""
        self.held = 0
        """With CONTINUED: version that it goes on from."""
        self.behind = False
        """There is more in the log than it has been sent."""
        self.complete_at = 0
        """Sequence it has to acknowledge before it may be added, once its fill has ended; 0: not ended."""

    def rewind(self) -> None:
        """Begin again after what was acknowledged: the connection is new, or it missed something."""
        self.sent = max(self.acked, 0)
        self.configured = 0


Cover = tuple["Replica", Follower, int, int]
"""What a frame brings: (replica, follower, sequence up to which, number of the learner's fill then)."""


@attrs.define
class _FrameInFlight:
    number: int
    sent_at: float
    size: int
    covers: list[Cover]


class PeerLink:
    """What goes to one other server (with the data it has now), over all shards."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.connected = False
        self.level = Level.OK
        """How full it has said it is."""
        self.unacknowledged_bytes = 0
        self.unacknowledged_max = UNACKNOWLEDGED_BYTES_MAX
        """With more, clients are not read."""
        self._number = 0
        """Of the last frame. Never reused, not over reconnects either: a late ack must not confirm a newer frame."""
        self._in_flight: deque[_FrameInFlight] = deque()
        """Invariant: those that were heard come first."""
        self._heard = 0
        """How many of them."""

    def frame(self, sections: list[Section], covers: list[Cover], size: int, now: float) -> Replicate:
        """Number a frame and remember it until it is acknowledged."""
        self._number += 1
        self._in_flight.append(_FrameInFlight(self._number, now, size, covers))
        self.unacknowledged_bytes += size
        return Replicate(self._number, sections)

    def fill_up(self, level: Level) -> None:
        """It has said how full it is."""
        self.level = level
        self.unacknowledged_max = NEARLY_FULL_BYTES_MAX if level else UNACKNOWLEDGED_BYTES_MAX

    def acknowledged(self, ack: Ack, now: float) -> list[tuple[Replica, Follower, RefusedSection]]:
        """Advance the followers that the frames up to these cover. Returns what was refused, once for each shard.

        A shard that was refused in any of these frames is not advanced by any of them.
        """
        refused = {section.shard: section for section in ack.refused}
        answers: dict[int, tuple[Replica, Follower, RefusedSection]] = {}
        advanced: dict[int, tuple[Replica, Follower]] = {}
        while self._in_flight and self._in_flight[0].number <= ack.number:
            frame = self._in_flight.popleft()
            self.unacknowledged_bytes -= frame.size
            if self._heard:
                self._heard -= 1
            else:
                self._hear(frame, refused, now, answers)
            for replica, follower, upto, fill in frame.covers:
                if fill == follower.fill:
                    follower.joined = bool(fill)
                    follower.acked = max(follower.acked, upto)
                    advanced[replica.shard] = (replica, follower)
        for place in range(self._heard, len(self._in_flight)):
            frame = self._in_flight[place]
            if frame.number > ack.heard:
                break
            self._heard += 1
            self._hear(frame, refused, now, answers)
            advanced.update((replica.shard, (replica, follower)) for replica, follower, _, _ in frame.covers)
        for replica, follower in advanced.values():
            replica.leading.follower_advanced(follower, now)
        return list(answers.values())

    @staticmethod
    def _hear(
        frame: _FrameInFlight,
        refused: dict[int, RefusedSection],
        now: float,
        answers: dict[int, tuple[Replica, Follower, RefusedSection]],
    ) -> None:
        """A frame has come: that renews the lease, where it was not refused. Only such covers are left."""
        accepted: list[Cover] = []
        for cover in frame.covers:
            replica, follower, _, fill = cover
            follower.heard_at = now
            if fill != follower.fill:
                continue  # it was sent before the fill began (again), and says nothing about that
            if refused and replica.shard in refused:
                answers[replica.shard] = (replica, follower, refused[replica.shard])
                continue
            follower.lease_from = frame.sent_at
            accepted.append(cover)
        frame.covers = accepted

    @property
    def unstored_since(self) -> float | None:
        """When the oldest frame was sent that has come and is not stored."""
        return self._in_flight[0].sent_at if self._heard else None

    def lost(self) -> None:
        """The connection is gone, and with it what was not acknowledged."""
        self.connected = False
        self._in_flight.clear()
        self._heard = 0
        self.unacknowledged_bytes = 0
