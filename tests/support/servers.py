"""Server cores whose peers, clients and coordinator are played by the test, everything through the real codec.

`Desk` is one core: what it says is laid out, and nothing happens to it that the test does not do. `Pair` is several
cores whose messages are delivered at once, until nobody has anything to say.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import attrs

from tests.support.disks import store_on, write_out
from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.core.dedup import DedupTable
from twistedkv.core.entries import ONE, SEVERAL, encode_entry, encode_records
from twistedkv.core.lease import Timing
from twistedkv.core.mailbox import Mailbox
from twistedkv.core.progress import Follower, PeerLink
from twistedkv.core.replica import Replica
from twistedkv.core.server import ServerCore
from twistedkv.core.transfer import FillSource
from twistedkv.errors import Status
from twistedkv.messages.client import Put, Result, ScanPage
from twistedkv.messages.coordinator import Heartbeat, ReplicaRole, Seal, Sealed
from twistedkv.messages.peer import Ack, BeginFill, Configure, RefusedSection, Replicate, Section, SlotQuery
from twistedkv.records import TOMBSTONE, make_record, version_of
from twistedkv.simulation.platter import Platter
from twistedkv.slots import slot_of
from twistedkv.storage.durable import DurableStore
from twistedkv.storage.interface import Store
from twistedkv.storage.memory import MemoryStore
from twistedkv.watermarks import NO_LIMITS, Level, Limits
from twistedkv.wire import peer as peer_wire
from twistedkv.wire.client import decode_response, encode_request
from twistedkv.wire.frames import FrameDecoder

HEARTBEAT = 0.2
TIMING = Timing.of(HEARTBEAT)
NO_CLIENT = bytes(16)
CLIENT = bytes([7]) * 16
WALL = 1_700_000_000_000
"""What the wall clocks show at first, in milliseconds since 1970."""


def member(server_id: int, incarnation: int = 1) -> Member:
    """A server with the data that it has in this incarnation."""
    return Member(server_id, bytes([server_id, incarnation]) * 8)


ME, A, B, C = (member(i) for i in range(1, 5))


def configuration(
    epoch: int,
    primary: Member,
    secondaries: Iterable[Member] = (),
    learners: Iterable[Member] = (),
    *,
    shard: int = 0,
    slots: tuple[int, int] = (0, 16383),
    birth: int = 1,
    released: bool = False,
    lost: bool = False,
    preferred: tuple[int, ...] = (),
) -> Configuration:
    """Of shard 0, which is the only one, unless told otherwise."""
    return Configuration(
        shard, *slots, epoch, birth, primary, tuple(secondaries), tuple(learners), released, lost, preferred
    )


def map_of(*shards: Configuration, version: int = 1, min_copies: int = 1) -> ClusterMap:
    """A map with these shards; its servers are 1 to 4."""
    servers = {i: Server(i, member(i).store_id, "test", i, ServerState.ACTIVE) for i in range(1, 5)}
    return ClusterMap("test", version, 2, min_copies, int(HEARTBEAT * 1000), MappingProxyType(servers), shards)


def entry(
    version: int, key: bytes, value: bytes | None, number: int = 0, client: bytes = NO_CLIENT, reply: bytes = b""
) -> bytes:
    """One log entry of one key; `value` None is a deletion."""
    record = make_record(version, TOMBSTONE if value is None else 0, value or b"")
    return encode_entry(slot_of(key), key, record, ONE, number, min(number, 1), client, reply)


def entry_of_several(
    version: int, updates: dict[bytes, bytes | None], number: int = 0, client: bytes = NO_CLIENT, reply: bytes = b""
) -> bytes:
    """One log entry of several keys; a value of None is a deletion."""
    records = [make_record(version, TOMBSTONE if value is None else 0, value or b"") for value in updates.values()]
    packed = version.to_bytes(8, "big") + encode_records(list(updates), records)
    return encode_entry(slot_of(next(iter(updates))), b"", packed, SEVERAL, number, min(number, 1), client, reply)


def section(
    epoch: int, first: int, *updates: tuple[bytes, bytes | None], commit: int = 0, written: int | None = None
) -> Section:
    """A section of shard 0 with these (key, value), from sequence `first` on, written in epoch `written`."""
    entries = b"".join(
        entry(version_of(written or epoch, first + i), key, value) for i, (key, value) in enumerate(updates)
    )
    return Section(0, epoch, commit, first, len(updates), entries)


class Desk:
    """One core. `now` is its clock; `wall`, in milliseconds since 1970, stands until the test sets it."""

    def __init__(
        self, me: Member = ME, now: float = 100.0, store: Store | None = None, limits: Limits = NO_LIMITS
    ) -> None:
        self.now = now
        self.wall = WALL
        store = MemoryStore() if store is None else store
        self.core = ServerCore(me, store, TIMING, lambda: self.now, lambda: self.wall, limits)
        self.answers: dict[int, list[Result | ScanPage]] = {}
        """By request id, all of them."""
        self.asked = 0
        self.sent: dict[Member, list[Any]] = {}
        """By peer, what was said to it."""
        self.told: list[tuple[Any, int]] = []
        """What was said to the coordinator besides heartbeats, and the request that it answers."""
        self.heartbeats: list[Heartbeat] = []
        self.mailboxes: dict[bytes, Mailbox] = {}
        self._map_version = 0

    @property
    def replica(self) -> Replica:
        """Of shard 0."""
        return self.core.replicas[0]

    @property
    def role(self) -> ReplicaRole:
        """Of shard 0."""
        return self.replica.role

    def follower(self, member: Member) -> Follower:
        """Another copy of shard 0, as this primary sees it."""
        return self.replica.leading.followers[member]

    def adopt(self, *shards: Configuration, min_copies: int = 1) -> None:
        """The coordinator's map has changed, and the shards' primaries say so too. Wanted peers are connected."""
        self.hear(*shards, min_copies=min_copies)
        for shard in shards:
            self.core.configured(Configure(shard), self.now)
        self.connect()
        self.flush()

    def hear(self, *shards: Configuration, min_copies: int = 1) -> None:
        """The coordinator's map has changed."""
        self._map_version += 1
        self.core.map_received(map_of(*shards, version=self._map_version, min_copies=min_copies), self.now)
        self.flush()

    def connect(self) -> None:
        """Open all connections that are wanted."""
        for peer in sorted(self.core.wanted_peers(), key=lambda member: member.server_id):
            if not self.core.peers[peer].connected:
                self.core.peer_connected(peer)

    def ask(self, request: Any, flags: int = 0, client: bytes = CLIENT, *, flush: bool = True) -> int:
        """One request of a client. Returns its id."""
        self.asked += 1
        mailbox = self.mailboxes.setdefault(client, Mailbox(client, lambda: None))
        message_type, body = encode_request(request)
        assert self.core.requests(mailbox, [(message_type, flags, self.asked, body)]) == 1
        if flush:
            self.flush()
        return self.asked

    def put(self, number: int, key: bytes = b"k", value: bytes = b"v", **more: Any) -> int:
        """A Put with this number. Returns the request id."""
        return self.ask(Put(number, 1, 0, key, value), **more)

    def answer(self, request_id: int) -> Any:
        """The only answer to a request; None if there is none yet."""
        answers = self.answers.get(request_id, [])
        assert len(answers) <= 1, f"request {request_id} was answered {len(answers)} times"
        return answers[0] if answers else None

    def status(self, request_id: int) -> Status | None:
        """Status of the only answer to a request; None if there is none yet."""
        answer = self.answer(request_id)
        return None if answer is None else Status(answer.status)

    def flush(self) -> None:
        """End the turn and lay out what was said."""
        turn = self.core.flush(self.now)
        for mailbox in turn.mailboxes:
            for message_type, _, request_id, body in FrameDecoder().feed(mailbox.take()):
                self.answers.setdefault(request_id, []).append(decode_response(message_type, body))  # type: ignore[arg-type]
        for link, messages in turn.frames:
            self.sent.setdefault(link.member, []).extend(map(recoded, messages))
        for message, request_id in turn.to_coordinator:
            if isinstance(message, Heartbeat):
                self.heartbeats.append(message)
            else:
                self.told.append((message, request_id))

    def sections_to(self, member: Member) -> list[Section]:
        """All sections that were sent to a peer, in order."""
        return [
            part for message in self.sent.get(member, []) if isinstance(message, Replicate) for part in message.sections
        ]

    def told_of(self, kind: type) -> list[Any]:
        """What was said to the coordinator, of one kind."""
        return [message for message, _ in self.told if isinstance(message, kind)]

    def ack(self, member: Member, *refused: RefusedSection, number: int | None = None, level: Level = Level.OK) -> None:
        """A peer acknowledges all frames that it was sent, or those up to `number`."""
        numbers = [message.number for message in self.sent.get(member, []) if isinstance(message, Replicate)]
        if number is None:
            number = numbers[-1] if numbers else 0
        self.core.acknowledged(member, Ack(number, number, list(refused), level), self.now)
        self.flush()

    def ack_all(self) -> None:
        """Every peer acknowledges everything."""
        for peer in list(self.sent):
            self.ack(peer)

    def tick(self, seconds: float) -> None:
        """Time passes in one step."""
        self.now += seconds
        self.core.tick(self.now)
        self.flush()

    def pump(self, seconds: float, *, acked_by: Iterable[Member] = ()) -> None:
        """Time passes in ticks of a quarter of a heartbeat; these peers acknowledge what they are sent."""
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.tick(min(HEARTBEAT / 4, until - self.now))
            for peer in acked_by:
                self.ack(peer)

    def seal(self, epoch: int) -> Sealed:
        """The coordinator seals shard 0."""
        sealed = self.core.seal(Seal(0, epoch), self.now)
        self.flush()
        return sealed

    def replicate(self, *sections: Section) -> list[RefusedSection]:
        """The primary sends these. Returns what was refused."""
        ack = self.core.replicate(recoded(Replicate(1, list(sections))), self.now)
        self.flush()
        return ack.refused

    @property
    def contents(self) -> dict[bytes, bytes]:
        """All records of shard 0."""
        assert self.replica.configuration is not None
        return {key: record for slot in self.replica.configuration.slots for key, record in self.core.store.items(slot)}

    def value(self, key: bytes) -> bytes | None:
        """What the store holds for a key: a record."""
        return self.core.store.get(slot_of(key), key)


def recoded(message: Any) -> Any:
    """The same after having gone over the wire."""
    if isinstance(message, Replicate):
        return peer_wire.decode_replicate(peer_wire.encode_replicate(message))
    message_type, body = peer_wire.FAMILY.encode(message)
    return peer_wire.FAMILY.decode(message_type, body)


def primary(
    *followers: Member,
    epoch: int = 3,
    learners: Iterable[Member] = (),
    preferred: Iterable[int] = (),
    limits: Limits = NO_LIMITS,
) -> Desk:
    """A core that serves shard 0, with these secondaries, which have acknowledged its first beacon."""
    desk = Desk(limits=limits)
    desk.adopt(configuration(epoch, ME, followers, learners, birth=epoch, preferred=tuple(preferred)))
    desk.ack_all()
    assert desk.role is ReplicaRole.PRIMARY
    return desk


def secondary(
    *updates: tuple[bytes, bytes | None], epoch: int = 3, others: Iterable[Member] = (), limits: Limits = NO_LIMITS
) -> Desk:
    """A core that is secondary of A, and has these updates."""
    desk = Desk(limits=limits)
    desk.adopt(configuration(epoch, A, (ME, *others), birth=epoch))
    if updates:
        assert desk.replicate(section(epoch, 1, *updates)) == []
    return desk


SMALL = 64
"""Slots of the shard of a `Pair`; the others are of a shard of a server that is not there."""


def small_keys(count: int, tag: bytes = b"k") -> list[bytes]:
    """Keys that are in the shard of a `Pair`."""
    keys = (tag + b"%d" % n for n in itertools.count())
    return list(itertools.islice((key for key in keys if slot_of(key) < SMALL), count))


class Pair:
    """Several cores with one small shard. Everything that is said is delivered at once (`settle`)."""

    def __init__(
        self, servers: int = 2, copies: int = 2, sessions_max: int | None = None, *, durable: bool = False
    ) -> None:
        self._durable = durable
        self.platters: dict[int, Platter] = {}
        """By server: what outlives its processes."""
        self.slow: set[int] = set()
        """Servers whose disks store nothing."""
        self.desks: dict[int, Desk] = {}
        self.sources: list[FillSource] = []
        self._sessions_max = sessions_max
        self._incarnations: dict[int, int] = {}
        self._version = 0
        self.map = map_of()
        for server_id in range(1, servers + 1):
            self.start(server_id)
        members = [self.desks[i].core.me for i in range(1, copies + 1)]
        self.publish(configuration(1, members[0], members[1:]))

    @property
    def configuration(self) -> Configuration:
        """The shard's current one."""
        return self.map.shards[0]

    @property
    def serving(self) -> Desk:
        """The primary's desk."""
        return self.desks[self.configuration.primary.server_id]

    def start(self, server_id: int) -> Desk:
        """A new process, with nothing in memory, or what is on its disk."""
        now = max((desk.now for desk in self.desks.values()), default=100.0)
        if self._durable:
            platter = self.platters.setdefault(server_id, Platter(member(server_id).store_id))
            desk = Desk(member(server_id), now, store_on(platter))
            desk.core.stability.restore()
            desk.core.stability.promise(now)
        else:
            self._incarnations[server_id] = self._incarnations.get(server_id, 0) + 1
            desk = Desk(member(server_id, self._incarnations[server_id]), now)
        self.desks[server_id] = desk
        if self.map.shards:
            self._tell(desk)
        return desk

    def _tell(self, desk: Desk) -> None:
        desk.core.map_received(self.map, desk.now)
        if self._sessions_max is not None:
            for replica in desk.core.replicas.values():
                if not replica.last and not len(replica.dedup):
                    replica.dedup = DedupTable(self._sessions_max)

    def publish(self, changed: Configuration) -> None:
        """Everybody hears of a configuration, and all that follows from it happens."""
        changed = attrs.evolve(changed, first_slot=0, last_slot=SMALL - 1)
        others = configuration(1, member(9), shard=1, slots=(SMALL, 16383))
        self.map = map_of(changed, others, version=self.map.version + 1)
        for desk in self.desks.values():
            self._tell(desk)
        self.settle()

    def kill(self, server_id: int) -> None:
        """A process ends, and with it its connections."""
        dead = self.desks.pop(server_id).core.me
        for desk in self.desks.values():
            desk.core.peer_lost(dead)

    def lose_connection(self, peer: Member) -> None:
        """The primary's connection to a peer breaks, and what was on its way is lost."""
        self.serving.sent.pop(peer, None)
        self.serving.core.peer_lost(peer)

    def settle(self) -> None:
        """Deliver until there is nothing to deliver."""
        busy = True
        while busy:
            exchanged = [self._exchange(desk) for desk in list(self.desks.values())]
            busy = any(exchanged)

    def _exchange(self, desk: Desk) -> bool:
        for peer in desk.core.wanted_peers():
            other = self.desks.get(peer.server_id)
            link: PeerLink = desk.core.peers[peer]
            if other is not None and other.core.me == peer and not link.connected:
                desk.core.peer_connected(peer)
        desk.flush()
        store = desk.core.store
        if isinstance(store, DurableStore) and desk.core.me.server_id not in self.slow:
            write_out(store)
            desk.flush()
        sent, desk.sent = desk.sent, {}
        for peer, messages in sent.items():
            other = self.desks.get(peer.server_id)
            if other is not None and other.core.me == peer:
                self.carry(desk, other, messages)
        return any(messages for messages in sent.values())

    def carry(self, desk: Desk, other: Desk, messages: list[Any], *, acknowledge: bool = True) -> None:
        """Messages of one connection arrive, and their acknowledgements return."""
        for message in messages:
            if isinstance(message, Configure):
                other.core.configured(message, other.now)
            elif isinstance(message, BeginFill):
                other.core.begin_fill(message)
            elif isinstance(message, SlotQuery):
                desk.core.scrub.answered(other.core.me, recoded(other.core.scrub.answer(message)))
            else:
                ack = other.core.replicate(message, other.now)
                store = other.core.store
                if isinstance(store, DurableStore):
                    other.flush()
                    if other.core.me.server_id in self.slow:
                        ack = attrs.evolve(ack, number=0)
                    else:
                        write_out(store)
                if acknowledge:
                    desk.core.acknowledged(other.core.me, recoded(ack), desk.now)

    def pass_time(self, seconds: float) -> None:
        """Time passes everywhere, in ticks of a quarter of a heartbeat."""
        for _ in range(max(1, round(seconds / (HEARTBEAT / 4)))):
            for desk in self.desks.values():
                desk.now += HEARTBEAT / 4
                desk.core.tick(desk.now)
            self.settle()

    def stream(self, source: FillSource, *, chunks: int | None = None) -> bool:
        """Some chunks of a fill, or all. Whether the fill has been sent to its end."""
        target = self.desks[source.follower.member.server_id]
        desk = self.serving
        while chunks is None or chunks > 0:
            message = source.next_message()
            if message is None:
                return source.ended
            source.acknowledged(recoded(target.core.fill_received(recoded(message))), desk.now)
            chunks = None if chunks is None else chunks - 1
        return False
