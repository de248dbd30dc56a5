"""All the replicas of one server, and what passes between it and the others, a reactor turn at a time.

Everything that arrives in a turn changes replicas and fills the outbox; `flush` then makes one REPLICATE frame for each
peer, over all shards, and hands out the answers to clients. The unit of work is the turn, never a request.

The order within a flush is what safety needs from the rim: answers are only ever given for what is committed, so they
may be written in any order with the frames.
"""

from __future__ import annotations

from collections.abc import Callable, KeysView
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from twistedkv.clustermap import ClusterMap, Member
from twistedkv.core.accesses import Accesses, noting
from twistedkv.core.lease import Timing
from twistedkv.core.mailbox import Outbox
from twistedkv.core.progress import Follower, PeerLink
from twistedkv.core.replica import Replica
from twistedkv.core.requests import Requests
from twistedkv.core.room import relieve
from twistedkv.core.scrub import Scrub
from twistedkv.core.space import Space, weigh
from twistedkv.core.stability import Stability
from twistedkv.core.transfer import FillMessage, FillSource, receive_fill
from twistedkv.core.turn import PeerMessage, Turn, frames_of
from twistedkv.errors import DamagedRecord
from twistedkv.limits import (
    EXPIRED_KEYS_MAX,
    STORE_BYTES_WAITING_MAX,
)
from twistedkv.messages.coordinator import (
    FillReport,
    Heartbeat,
    ReplicaRole,
    Seal,
    Sealed,
    ShardReport,
    SwitchPrimary,
    UpdatePrimary,
    UpdateSecondary,
)
from twistedkv.messages.peer import (
    Ack,
    BeginFill,
    Configure,
    FillAck,
    FillKind,
    Refusal,
    RefusedSection,
    Replicate,
)
from twistedkv.watermarks import NO_LIMITS, Limits

if TYPE_CHECKING:
    from twistedkv.storage.interface import Store


class ServerCore(Requests):
    """The state of one server. `now` and `clock` are seconds of the same monotonic clock; `clock` is asked only for the
    read rule, which needs the time after the value was read. `wall` (milliseconds since 1970) says when keys expire."""

    def __init__(
        self,
        me: Member,
        store: Store,
        timing: Timing,
        clock: Callable[[], float],
        wall: Callable[[], int],
        limits: Limits = NO_LIMITS,
    ) -> None:
        self.me = me
        self.store = store = noting(store, limits)
        self.space = Space(store, limits)
        self._stable = store.stable
        self.timing = timing
        self.map = ClusterMap.empty()
        self.replicas: dict[int, Replica] = {}
        self.peers: dict[Member, PeerLink] = {}
        """Everybody that this server has something to send to, connected or not."""
        self.fills: dict[tuple[int, Member], FillSource] = {}
        """Fills that this server sends, by shard and learner."""
        self.outbox = Outbox()
        self._clock = clock
        self._wall = wall
        self.by_slot: list[Replica] = []
        """By slot; empty until all shards are known, and again when this server is to stop."""
        self.scrub = Scrub(self, clock)
        """Of a durable store."""
        self.stability = Stability(self, clock)
        self._stopped = False
        self._beat = 0
        self._last_tick: float | None = None
        self._last_beat = 0.0

    @property
    def pressed(self) -> bool:
        """Whether clients must not be read: some peer has too much to acknowledge already, or the disk to store."""
        if self._stable is not None and self._stable.bytes_waiting() > STORE_BYTES_WAITING_MAX:
            return True
        return any(link.unacknowledged_bytes > link.unacknowledged_max for link in self.peers.values())

    # The coordinator.

    def map_received(self, update: ClusterMap, now: float) -> None:
        """A newer map, or a part of one: adopt the configurations that concern this server."""
        known = {shard.shard: shard.epoch for shard in self.map.shards}
        self.map = self.map.merged(update)
        for configuration in self.map.shards:
            shard = configuration.shard
            replica = self.replicas.get(shard)
            if replica is None:
                replica = self.make_replica(shard)
            replica.serving.map_version = self.map.version
            replica.serving.min_copies = self.map.min_copies
            if known.get(shard, 0) < configuration.epoch:
                replica.hear(configuration, now)
        if not self.by_slot and not self._stopped and self.whole:
            self.by_slot = [self.replicas[shard] for shard in self.map.slot_table()]
        self._forget_unneeded()

    def make_replica(self, shard: int) -> Replica:
        """The copy of a shard, which is nothing yet."""
        replica = self.replicas[shard] = Replica(
            shard, self.me, self.store, self.timing, self.outbox, self._link_to, self._clock, self._wall
        )
        replica.serving.has_space(self.space)
        return replica

    def update(self, message: UpdatePrimary | UpdateSecondary, now: float) -> None:
        """Fill the learner of this configuration."""
        self.map_received(attrs.evolve(self.map, shards=(message.configuration,)), now)

    def seal(self, message: Seal, now: float) -> Sealed:
        """See `Replica.seal`."""
        replica = self.replicas.get(message.shard)
        if replica is None:
            return Sealed(message.shard, message.epoch, 0, False)
        return replica.seal(message.epoch, now)

    def switch(self, message: SwitchPrimary, request_id: int, now: float) -> None:
        """See `Leading.switch`; the answer goes through the outbox."""
        replica = self.replicas.get(message.shard)
        why_not = (
            replica.leading.switch(message.epoch, message.target, request_id, now)
            if replica is not None
            else f"shard {message.shard} is not known here"
        )
        if why_not:
            self.outbox.tell(why_not, request_id)

    def reports(self) -> list[ShardReport]:
        """Of all shards of which this server holds something."""
        return [replica.report() for replica in self.replicas.values() if replica.role is not ReplicaRole.NONE]

    def fill_reports(self) -> list[FillReport]:
        """Of all fills that this server sends."""
        return [source.report() for source in self.fills.values()]

    def heartbeat(self) -> Heartbeat:
        """The next one."""
        self._beat += 1
        return Heartbeat(
            self.me.server_id,
            self.me.store_id,
            self._beat,
            self.map.version,
            self.store.keys,
            self.store.bytes_stored,
            self.reports(),
            self.fill_reports(),
            self.space.usage(),
        )

    # Peers, as primary.

    def _link_to(self, member: Member) -> PeerLink:
        link = self.peers.get(member)
        if link is None:
            link = self.peers[member] = PeerLink(member)
        return link

    def _followers_of(self, member: Member) -> list[tuple[Replica, Follower]]:
        return [
            (replica, replica.leading.followers[member])
            for replica in self.replicas.values()
            if member in replica.leading.followers
        ]

    def wanted_peers(self) -> KeysView[Member]:
        """Members that this server has something to send to: there should be a PEER connection to each.

        In a fixed order, which that of a set would not be: it decides who is dialled first.
        """
        wanted = {member: None for replica in self.replicas.values() for member in replica.leading.followers}
        return wanted.keys()

    def _forget_unneeded(self) -> None:
        # A link that is still connected stays: it may be wanted again before its connection is closed.
        wanted = self.wanted_peers()
        for member in [member for member in self.peers if member not in wanted]:
            if not self.peers[member].connected:
                del self.peers[member]
        for key in [key for key, source in self.fills.items() if not source.current]:
            del self.fills[key]

    def peer_connected(self, member: Member) -> None:
        """There is a new PEER connection to this member."""
        link = self.peers.get(member)
        if link is not None:
            link.lost()
            link.connected = True
            for replica, follower in self._followers_of(member):
                replica.leading.link_restored(follower)

    def peer_lost(self, member: Member) -> None:
        """The PEER connection to this member is gone."""
        link = self.peers.get(member)
        if link is not None:
            link.lost()
            self._forget_unneeded()

    def acknowledged(self, member: Member, ack: Ack, now: float) -> None:
        """A peer has acknowledged frames."""
        link = self.peers.get(member)
        if link is None:
            return
        if ack.level is not link.level:
            link.fill_up(ack.level)
            self.space.look(self.peers.values())
        for replica, follower, refused in link.acknowledged(ack, now):
            replica.leading.follower_refused(follower, refused, now)

    def wanted_fills(self) -> list[FillSource]:
        """Fills that are to be streamed now; the rim opens a TRANSFER connection for each new one."""
        for replica in self.replicas.values():
            for follower in replica.leading.followers.values():
                streams = follower.learner and follower.joined and not follower.counted
                if streams and follower.how is not FillKind.CONTINUED:
                    key = (replica.shard, follower.member)
                    source = self.fills.get(key)
                    if source is None or not source.current:
                        self.fills[key] = FillSource(replica, follower)
        for key in [key for key, source in self.fills.items() if not source.current or source.ended]:
            del self.fills[key]
        return list(self.fills.values())

    # Peers, as secondary or learner.

    def configured(self, message: Configure, now: float) -> None:
        """A primary tells a configuration of its own, which it has from the coordinator."""
        self.map_received(attrs.evolve(self.map, shards=(message.configuration,)), now)
        self.replicas[message.configuration.shard].configure(message.configuration, now)

    def begin_fill(self, message: BeginFill) -> None:
        """See `Replica.begin_fill`."""
        replica = self.replicas.get(message.shard)
        if replica is not None:
            replica.begin_fill(message)

    def replicate(self, message: Replicate, now: float) -> Ack:
        """Apply a frame; everything in it that was not refused is in the store. The acknowledgement may be given when
        all that the store has pending is stable, and what it says of what was heard at once."""
        refused: list[RefusedSection] = []
        for section in message.sections:
            replica = self.replicas.get(section.shard)
            if replica is None:
                refused.append(RefusedSection(section.shard, Refusal.NOT_A_MEMBER, 0, 0))
                continue
            refusal = replica.append(section, now)
            if refusal is not None:
                refused.append(refusal)
        return Ack(message.number, message.number, refused, self.space.now())

    def fill_received(self, message: FillMessage) -> FillAck:
        """Store a chunk of a fill."""
        return receive_fill(self.replicas.get(message.shard), message)

    # Turns and time.

    def flush(self, now: float) -> Turn:
        """End the turn: everything that is to be written."""
        outbox = self.outbox
        frames: list[tuple[PeerLink, list[PeerMessage]]] = []
        if self._stable is not None:
            self.stability.settle(now)
        while outbox.dirty or outbox.unstable:
            dirty = [self.replicas[shard] for shard in outbox.dirty]
            outbox.dirty.clear()
            for replica in dirty:
                replica.close_turn()
                if not replica.leading.counted:
                    # A sole member's writes are committed here. One that begins to serve by that executes what was
                    # parked, which makes it dirty once more.
                    replica.leading.advance(now)
            frames += frames_of(dirty, now)
            if outbox.unstable:
                self.stability.keep(now)
        if self._stable is not None:
            frames += [(link, [query]) for link, query in self.scrub.questions()]
        mailboxes, outbox.mailboxes = outbox.mailboxes, []
        if outbox.began_to_serve:
            outbox.began_to_serve = False
            outbox.tell(self.heartbeat())
        to_coordinator, outbox.to_coordinator = outbox.to_coordinator, []
        return Turn(mailboxes, frames, to_coordinator)

    def tick(self, now: float) -> bool:
        """To be called about four times in each heartbeat. True when a heartbeat is to be sent."""
        stalled = self._last_tick is not None and now - self._last_tick > 2 * self.timing.heartbeat
        self._last_tick = now
        beat = now - self._last_beat >= self.timing.heartbeat * 0.95
        if beat:
            self._last_beat = now
        self._tick_space(beat)
        for replica in self.replicas.values():
            if replica.role is not ReplicaRole.NONE or not replica.serving.idle:
                replica.tick(now, beat=beat, stalled=stalled)
                replica.serving.updates.expire(EXPIRED_KEYS_MAX)
        if self._stable is not None:
            self.scrub.tick(now)
            self.stability.index()
        return beat

    def _tick_space(self, beat: bool) -> None:
        space, replicas = self.space, self.replicas
        if isinstance(self.store, Accesses):
            self.store.pass_time()
        space.measure()
        space.look(self.peers.values())
        with suppress(DamagedRecord):  # the scrub finds it, too
            if space.tight:
                relieve(replicas.values(), space)
            if beat and space.limited and replicas:
                replica = replicas[sorted(replicas)[self._beat % len(replicas)]]
                slots = replica.configuration.slots if replica.configuration is not None else range(0)
                replica.size = weigh(self.store, slots)

    def set_timing(self, timing: Timing) -> None:
        """The coordinator has said which heartbeat the cluster has."""
        self.timing = timing
        for replica in self.replicas.values():
            replica.timing = timing

    @property
    def flushed(self) -> bool:
        """Whether nothing is on its way: all updates of all shards served here are committed."""
        return all(
            replica.commit == replica.sequence and replica.serving.idle
            for replica in self.replicas.values()
            if replica.role in (ReplicaRole.PRIMARY, ReplicaRole.SWITCHING)
        )

    @property
    def stopped(self) -> bool:
        """Whether no requests are taken any more."""
        return self._stopped

    def stop_serving(self) -> None:
        """Orderly stop: take no new requests, whatever maps still come."""
        self._stopped = True
        self.by_slot = []
