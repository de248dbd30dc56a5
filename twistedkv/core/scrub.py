"""The scrub: a primary with a durable store compares its slots with those of its secondaries, one after the other.

For each slot it asks for a digest; when they differ, or a copy has a damaged record, for a listing; and for a record
that only another copy has as it should be, for that. A question goes over the replication connection behind all updates
so far, and the primary looks at its own slot in the same moment: so all copies are looked at in the same place of the
log. What is wrong is mended by an ordinary update with what should be there (`core.evidence`): it goes into the log and
to every copy, durable and in order, like any other. The key has a newer version afterwards, and the same value.

A request of a client that meets a damaged record is refused (not applied), and its slot is looked at next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from twistedkv.clustermap import Member
from twistedkv.core.evidence import Listing, decode_listing, digest_of, encode_listing, judge, listing_of
from twistedkv.errors import DamagedRecord, ProtocolError
from twistedkv.messages.coordinator import Noticed, ReplicaRole
from twistedkv.messages.peer import SlotQuery, SlotState, SlotView
from twistedkv.records import (
    RECORD_HEAD_BYTES,
    TOMBSTONE,
    make_expiring_record,
    make_record,
    record_expiry,
    record_value,
)

if TYPE_CHECKING:
    from twistedkv.core.progress import PeerLink
    from twistedkv.core.replica import Replica
    from twistedkv.core.server import ServerCore

SHARE = 0.05
"""Of the time that a server may take to look at its slots."""
ANSWER_BEATS = 10
URGENT_MAX = 1000
_ABSENT = b""


@attrs.define(eq=False)
class _Look:
    """At one slot: what has been asked, and who has answered."""

    replica: Replica
    epoch: int
    slot: int
    until: float
    view: SlotView = SlotView.DIGEST
    own: Listing = attrs.Factory(dict)
    waiting: dict[Member, None] = attrs.Factory(dict)
    answers: dict[Member, bytes] = attrs.Factory(dict)
    wanted: deque[tuple[bytes, Member]] = attrs.Factory(deque)
    """Keys whose records are to be fetched, and from whom."""
    asked: bool = False
    """Whether the question has gone out."""


class Scrub:
    """Of one server."""

    def __init__(self, core: ServerCore, clock: Callable[[], float]) -> None:
        self._core = core
        self._clock = clock
        self._look: _Look | None = None
        self._urgent: dict[int, None] = {}
        """Slots that are to be looked at next."""
        self._slot = -1
        self._not_before = 0.0
        self.slots = 0
        """Looked at so far."""
        self.mended = 0
        """Keys for which an update was made."""

    @property
    def asks(self) -> bool:
        """Whether there is a question to go out at the end of this turn."""
        return self._look is not None and not self._look.asked

    def damaged(self, error: DamagedRecord) -> None:
        """Something has met a damaged record."""
        if len(self._urgent) < URGENT_MAX:
            self._urgent[error.slot] = None

    def tick(self, now: float) -> None:
        """Time has passed: go on with the next slot."""
        met = self._core.outbox.damaged
        while met:
            self.damaged(met.pop())
        look = self._look
        if look is not None and (now > look.until or not self._leads(look)):
            self._look = look = None
        if look is None and (self._urgent or now >= self._not_before):
            self._begin(now)

    def _begin(self, now: float) -> None:
        by_slot = self._core.by_slot
        if not by_slot:
            return
        if self._urgent:
            slot = next(iter(self._urgent))
            del self._urgent[slot]
        else:
            slot = self._slot = self._next(by_slot)
        if slot < 0:
            return
        replica = by_slot[slot]
        until = now + ANSWER_BEATS * replica.timing.heartbeat
        self._look = _Look(replica, replica.epoch, slot, until)
        self._core.outbox.dirty[replica.shard] = None  # what is told of the commit comes before the question

    def _next(self, by_slot: list[Replica]) -> int:
        """The next slot of a shard that this server leads; -1: there is none."""
        for step in range(1, len(by_slot) + 1):
            slot = (self._slot + step) % len(by_slot)
            if by_slot[slot].role is ReplicaRole.PRIMARY:
                return slot
        return -1

    def _leads(self, look: _Look) -> bool:
        return look.replica.role is ReplicaRole.PRIMARY and look.replica.epoch == look.epoch

    # Asking.

    def questions(self) -> list[tuple[PeerLink, SlotQuery]]:
        """At the end of a turn, behind all its updates: what to ask."""
        look = self._look
        if look is None or look.asked:
            return []
        look.asked = True
        replica = look.replica
        if not self._leads(look):
            self._look = None
            return []
        level = [
            follower
            for follower in replica.leading.followers.values()
            if not follower.learner and follower.link.connected and not follower.stalled
            if follower.sent == replica.sequence
        ]
        if look.view is SlotView.RECORD:
            key, member = look.wanted[0]
            level = [follower for follower in level if follower.member == member]
        else:
            key = b""
            began = self._clock()
            look.own = self._listing(look.slot)
            self._not_before = self._clock() + (self._clock() - began) / SHARE
            self.slots += look.view is SlotView.DIGEST
        if not level:
            self._alone(look)
            return []
        look.answers.clear()
        look.waiting = {follower.member: None for follower in level}
        query = SlotQuery(replica.shard, replica.epoch, look.slot, look.view, key)
        return [(follower.link, query) for follower in level]

    def _listing(self, slot: int) -> Listing:
        stable = self._core.store.stable
        assert stable is not None
        return listing_of(*stable.inspect(slot))

    def _alone(self, look: _Look) -> None:
        """There is nobody to ask."""
        self._look = None
        damaged = sorted(key for key, evidence in look.own.items() if evidence is None)
        if damaged:
            self._tell(look, f"{damaged[0]!r} is damaged here, and there is no other copy in sync to mend it from")

    def answer(self, query: SlotQuery) -> SlotState:
        """As a secondary: what there is. Nothing, when this copy is not where the primary thinks."""
        replica = self._core.replicas.get(query.shard)
        stable = self._core.store.stable
        body = b""
        if (
            replica is not None
            and stable is not None
            and replica.role is ReplicaRole.SECONDARY
            and replica.epoch == query.epoch
            and replica.configuration is not None
            and query.slot in replica.configuration.slots
        ):
            if query.view is SlotView.RECORD:
                body = self._record(query.slot, query.key)
            else:
                listing = self._listing(query.slot)
                body = digest_of(listing) if query.view is SlotView.DIGEST else encode_listing(listing)
                if query.view is SlotView.DIGEST and None in listing.values():
                    body = bytes(len(body))  # no digest is like that: ask for the listing
        return SlotState(query.shard, query.epoch, query.slot, query.view, body)

    def _record(self, slot: int, key: bytes) -> bytes:
        try:
            return self._core.store.get(slot, key) or _ABSENT
        except DamagedRecord:
            return _ABSENT

    # Answers.

    def answered(self, member: Member, state: SlotState) -> None:
        """A secondary says what it has. Raises ProtocolError when that is malformed."""
        look = self._look
        if (
            look is None
            or (state.shard, state.epoch, state.slot, state.view)
            != (look.replica.shard, look.epoch, look.slot, look.view)
            or member not in look.waiting
            or not self._leads(look)
        ):
            return
        del look.waiting[member]
        look.answers[member] = state.body
        if look.waiting:
            return
        if look.view is SlotView.DIGEST:
            own = digest_of(look.own)
            if None in look.own.values() or any(body != own for body in look.answers.values()):
                self._ask(look, SlotView.LISTING)
            else:
                self._look = None
        elif look.view is SlotView.LISTING:
            self._judge(look)
        else:
            self._fetched(look, state.body)

    def _ask(self, look: _Look, view: SlotView) -> None:
        look.view, look.asked = view, False
        self._core.outbox.dirty[look.replica.shard] = None

    def _judge(self, look: _Look) -> None:
        listings = {member: decode_listing(body) for member, body in look.answers.items() if body}
        members = dict(enumerate(listings, 1))
        verdict = judge(look.own, {place: listings[member] for place, member in members.items()})
        for key, winner in verdict.items():
            if winner is None:
                self._tell(look, f"{key!r} is damaged on every copy: store it again, or restore it from a backup")
            elif winner == 0:
                self._mend(look, key, self._record(look.slot, key), "as the primary has it")
            elif key not in listings[members[winner]]:
                self._mend(look, key, _ABSENT, f"as server {members[winner].server_id} has it: not at all")
            else:
                look.wanted.append((key, members[winner]))
        self._go_on(look)

    def _go_on(self, look: _Look) -> None:
        if look.wanted:
            self._ask(look, SlotView.RECORD)
        else:
            self._look = None

    def _fetched(self, look: _Look, record: bytes) -> None:
        key, member = look.wanted.popleft()
        if record and len(record) < RECORD_HEAD_BYTES:
            raise ProtocolError(f"a record of {len(record)} bytes is cut short")
        if record:
            self._mend(look, key, record, f"as server {member.server_id} has it")
        self._go_on(look)

    def _mend(self, look: _Look, key: bytes, record: bytes, how: str) -> None:
        """Have every copy store this, unless the key was changed since the slot was looked at."""
        now = self._listing(look.slot)
        if now.get(key, 0) != look.own.get(key, 0):
            return
        updates = look.replica.serving.updates
        version = updates.next_version()
        if not record or record[8] & TOMBSTONE:
            mended = make_record(version, TOMBSTONE, b"")
        elif expiry := record_expiry(record):
            mended = make_expiring_record(version, expiry, record_value(record))
        else:
            mended = make_record(version, 0, record_value(record))
        updates.several({key: (look.slot, mended)})
        self.mended += 1
        self._tell(look, f"the copies differed at {key!r}; mended, {how}")

    def _tell(self, look: _Look, text: str) -> None:
        self._core.outbox.tell(Noticed(look.replica.shard, f"shard {look.replica.shard}, slot {look.slot}: {text}"))
