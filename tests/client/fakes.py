"""A cluster of fakes: a coordinator and servers that speak the protocol and keep one dict, with faults on demand.

It runs on any reactor: `MemoryNetwork` in most tests, a real one for the blocking client. Servers execute at once,
remember results of writes as a shard's members do, and check what every client has to keep: numbers, retry flags.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import attrs

from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.columns import encode_column
from twistedkv.errors import Status
from twistedkv.limits import SLOTS, WRITE_WINDOW
from twistedkv.messages.client import (
    BackupBegun,
    BackupEntries,
    BackupPage,
    Cas,
    Delete,
    Get,
    GetMany,
    Incr,
    MapRequest,
    MapUpdate,
    Noop,
    Put,
    PutMany,
    Scan,
    ScanItem,
    ScanPage,
    Verify,
)
from twistedkv.messages.coordinator import AdminReply
from twistedkv.messages.hello import Hello, Role
from twistedkv.net.framed import Acceptor, Connection
from twistedkv.records import make_record, version_of
from twistedkv.slots import slot_of, slot_ranges
from twistedkv.wire.client import CONFIG_REQ, CONFIG_RESP, FAMILY, SCAN_PAGE, Request, decode_request, result_frame
from twistedkv.wire.coordinator import ADMIN, ADMIN_REPLY
from twistedkv.wire.coordinator import FAMILY as COORDINATOR_FAMILY
from twistedkv.wire.frames import RETRY, Frame, encode_frame

HOST = "127.0.0.1"
COORDINATOR_PORT = 7400


def store_id(number: int, life: int = 1) -> bytes:
    """Of a server in one of its lives."""
    return bytes([number, life]) * 8


def make_map(servers: int = 3, shards: int = 6, *, version: int = 1, ports: Iterable[int] | None = None) -> ClusterMap:
    """A formed cluster: shard i has its primary on server i % servers + 1, its secondary on the next one."""
    port_list = list(ports or range(7401, 7401 + servers))
    known = {
        n: Server(n, store_id(n), HOST, port_list[n - 1], ServerState.ACTIVE, 100 + n) for n in range(1, servers + 1)
    }
    configurations = []
    for shard, (first, last) in enumerate(slot_ranges(shards)):
        a, b = shard % servers + 1, (shard + 1) % servers + 1
        secondaries = (known[b].member,) if b != a else ()
        preferred = (a, b) if b != a else (a,)
        configurations.append(
            Configuration(shard, first, last, 1, 1, known[a].member, secondaries, (), True, False, preferred)
        )
    return ClusterMap("test", version, 2, 1, 200, MappingProxyType(known), tuple(configurations))


def promoted(known: ClusterMap, server_id: int) -> ClusterMap:
    """The map after the failure of a server: its primaries' secondaries have taken over."""
    shards = []
    for shard in known.shards:
        if server_id not in [member.server_id for member in shard.members]:
            continue
        members = [member for member in shard.members if member.server_id != server_id]
        if members:
            shards.append(
                attrs.evolve(shard, epoch=shard.epoch + 1, primary=members[0], secondaries=tuple(members[1:]))
            )
        else:
            shards.append(attrs.evolve(shard, epoch=shard.epoch + 1, lost=True))
    failed = attrs.evolve(known.servers[server_id], state=ServerState.FAILED)
    return known.changed(servers=[failed], shards=shards)


def switched(known: ClusterMap, shard: int) -> ClusterMap:
    """The map after primary and secondary of a shard have changed places."""
    before = known.shards[shard]
    after = attrs.evolve(before, epoch=before.epoch + 1, primary=before.secondaries[0], secondaries=(before.primary,))
    return known.changed(shards=[after])


class FakeSession:
    """One connection to a fake."""

    def __init__(self, fake: FakeServer | FakeCoordinator, connection: Connection, hello: Hello) -> None:
        self.fake = fake
        self.connection = connection
        self.client = hello.identity
        self.subscribed = False
        fake.sessions.append(self)

    def frames_received(self, frames: list[Frame]) -> None:
        self.fake.reads.append(len(frames))
        out: list[bytes] = []
        for frame in frames:
            self.fake.received(self, frame, out)
        if out:
            self.connection.send_bytes(b"".join(out))

    def connection_lost(self, reason: str) -> None:
        self.fake.sessions.remove(self)


def map_frame(known: ClusterMap, request_id: int = 0) -> bytes:
    return encode_frame(CONFIG_RESP, FAMILY.encode(MapUpdate(known))[1], request_id)


class FakeCoordinator:
    """Holds the map, pushes it, answers commands by `commands`."""

    def __init__(
        self, reactor: Any, known: ClusterMap, port: int = COORDINATOR_PORT, identity: bytes = b"c" * 16
    ) -> None:
        self.map = known
        self.identity = identity
        self.sessions: list[FakeSession] = []
        self.reads: list[int] = []
        self.map_requests = 0
        self.frozen = False
        self.commands: dict[str, Callable[..., Any]] = {"status": lambda: {"healthy": True}}
        self.given: list[dict[str, Any]] = []
        self.followers: list[tuple[FakeSession, int, int]] = []
        self._reactor = reactor
        self._port = port
        self.listening: Any = None
        self.start()

    def start(self) -> None:
        self.acceptor = Acceptor(
            self._reactor, lambda: (self.map.cluster, 0, self.identity), {Role.CLIENT: self._session}
        )
        self.listening = self._reactor.listenTCP(self._port, self.acceptor, interface=HOST)
        self._port = self.listening.getHost().port

    @property
    def port(self) -> int:
        return self._port

    def stop(self) -> None:
        """As after kill -9."""
        self.listening.stopListening()
        for connection in list(self.acceptor.connections):
            connection.abort()

    def publish(self, known: ClusterMap, *, delta: bool = True) -> None:
        """The next map: what has changed is pushed to the subscribers."""
        before, self.map = self.map, known
        if delta:
            known = attrs.evolve(known, shards=tuple(s for s in known.shards if s not in before.shards))
        for session in self.sessions:
            if session.subscribed and not self.frozen:
                session.connection.send_bytes(map_frame(known))

    def tell(self, *events: dict[str, Any]) -> None:
        """Send events to those who follow the journal."""
        for session, request_id, after in self.followers:
            if session in self.sessions:
                new = [event for event in events if event["number"] > after]
                session.connection.send_bytes(_admin_reply(request_id, Status.SUCCESS, {"events": new}))

    def _session(self, connection: Connection, hello: Hello) -> FakeSession:
        return FakeSession(self, connection, hello)

    def received(self, session: FakeSession, frame: Frame, out: list[bytes]) -> None:
        message_type, _, request_id, body = frame
        if self.frozen:
            return
        if message_type == CONFIG_REQ:
            self.map_requests += 1
            request = decode_request(message_type, body)
            assert isinstance(request, MapRequest)
            session.subscribed = session.subscribed or request.subscribe
            out.append(map_frame(self.map, request_id))
        elif message_type == ADMIN:
            arguments = json.loads(COORDINATOR_FAMILY.decode(ADMIN, body).json)
            self.given.append(dict(arguments))
            command = arguments.pop("command")
            if command == "journal" and arguments.get("follow"):
                self.followers.append((session, request_id, arguments["after"]))
                out.append(_admin_reply(request_id, Status.SUCCESS, {"events": []}))
            elif command in self.commands:
                out.append(_admin_reply(request_id, Status.SUCCESS, self.commands[command](**arguments)))
            else:
                out.append(_admin_reply(request_id, Status.INVALID_REQUEST, {"error": f"no such command: {command}"}))
        else:
            out.append(result_frame(request_id, Status.UNSUPPORTED, 0, b"not served here"))


def _admin_reply(request_id: int, status: Status, answer: dict[str, Any]) -> bytes:
    message_type, body = COORDINATOR_FAMILY.encode(AdminReply(int(status), json.dumps(answer).encode()))
    assert message_type == ADMIN_REPLY
    return encode_frame(message_type, body, request_id)


class FakeStore:
    """What all fake servers share: the data, and what each write did."""

    def __init__(self) -> None:
        self.data: dict[bytes, tuple[int, bytes]] = {}
        self.results: dict[tuple[bytes, int, int], tuple[int, int, bytes]] = {}
        """By client, shard and number: each shard remembers its own."""
        self.executed: list[tuple[bytes, int, int]] = []
        self.sequence = 0
        self.problems: list[str] = []
        """Of what clients must never do."""
        self.oldest: dict[bytes, int] = {}
        self.most = 100
        """Records in an answer to GET_MANY."""

    def execute(self, client: bytes, request: Request, retry: bool, shard: Configuration) -> tuple[int, int, bytes]:
        """Status, version, value."""
        if isinstance(request, Get):
            held = self.data.get(request.key)
            return (Status.KEY_NOT_FOUND, 0, b"") if held is None else (Status.SUCCESS, *held)
        if isinstance(request, GetMany):
            found = [self.data.get(key) for key in request.keys[: self.most]]
            records = [b"" if held is None else make_record(held[0], 0, held[1]) for held in found]
            return Status.SUCCESS, 0, encode_column(records)
        assert isinstance(request, Put | Delete | Cas | Incr | PutMany)
        if not 0 < request.oldest <= request.number < request.oldest + WRITE_WINDOW:
            self.problems.append(f"number {request.number} with oldest {request.oldest}")
        name = (client, shard.shard, request.number)
        if name in self.results:
            if not retry:
                self.problems.append(f"number {request.number} was sent again without RETRY")
            return self.results[name]
        version = version_of(shard.epoch, self.sequence + 1)
        value = b""
        if isinstance(request, PutMany):
            self.data.update((key, (version, new)) for key, new in zip(request.keys, request.values, strict=True))
            self.sequence += 1
            self.executed.append(name)
            self.results[name] = Status.SUCCESS, version, value
            return self.results[name]
        held = self.data.get(request.key)
        if isinstance(request, Delete):
            if held is None:
                return Status.KEY_NOT_FOUND, 0, b""
            del self.data[request.key]
        elif isinstance(request, Cas):
            if request.expected != (held[0] if held else 0):
                return Status.VERSION_MISMATCH, held[0] if held else 0, b""
            self.data[request.key] = version, request.value
        elif isinstance(request, Incr):
            try:
                value = b"%d" % (int(held[1] if held else b"0") + request.delta)
            except ValueError:
                return Status.NOT_AN_INTEGER, 0, b"no integer"
            self.data[request.key] = version, value
        else:
            self.data[request.key] = version, request.value
        self.sequence += 1
        self.executed.append(name)
        self.results[name] = Status.SUCCESS, version, value
        return self.results[name]


class FakeServer:
    """One server. `answer`, if set, is asked first: a (status, version, value) or a message of it is the answer, "drop"
    means no answer at all, "silent" that the request is executed and not answered."""

    def __init__(self, reactor: Any, server: Server, coordinator: FakeCoordinator, store: FakeStore) -> None:
        self.server = server
        self.coordinator = coordinator
        self.store = store
        self.sessions: list[FakeSession] = []
        self.reads: list[int] = []
        self.requests: list[tuple[Request, bool]] = []
        self.answer: Callable[[Request, bool], Any] | None = None
        self.held: list[tuple[FakeSession, Frame]] = []
        self.frozen = False
        """As after SIGSTOP: connections stay, nothing is read."""
        self.view: ClusterMap | None = None
        """The map as this server knows it; None: the coordinator's."""
        self._reactor = reactor
        self.start()

    def start(self) -> None:
        describe = lambda: (self.map.cluster, self.server.server_id, self.server.store_id)  # noqa: E731
        self.acceptor = Acceptor(self._reactor, describe, {Role.CLIENT: self._session})
        self.listening = self._reactor.listenTCP(self.server.port, self.acceptor, interface=HOST)

    @property
    def map(self) -> ClusterMap:
        return self.view or self.coordinator.map

    def stop(self) -> None:
        """As after kill -9."""
        self.listening.stopListening()
        for connection in list(self.acceptor.connections):
            connection.abort()

    def thaw(self) -> None:
        """As after SIGCONT."""
        self.frozen = False
        held, self.held = self.held, []
        for session, frame in held:
            out: list[bytes] = []
            self.received(session, frame, out)
            if session in self.sessions:
                session.connection.send_bytes(b"".join(out))

    def _session(self, connection: Connection, hello: Hello) -> FakeSession:
        for other in list(self.sessions):
            if other.client == hello.identity:
                other.connection.abort()
        return FakeSession(self, connection, hello)

    def received(self, session: FakeSession, frame: Frame, out: list[bytes]) -> None:
        if self.frozen:
            self.held.append((session, frame))
            return
        message_type, flags, request_id, body = frame
        request = decode_request(message_type, body)
        if isinstance(request, MapRequest):
            out.append(map_frame(self.map, request_id))
            return
        retry = bool(flags & RETRY)
        self.requests.append((request, retry))
        wanted = self.answer(request, retry) if self.answer is not None else None
        if wanted == "drop":
            return
        if isinstance(wanted, tuple):
            out.append(result_frame(request_id, *wanted))
            return
        if isinstance(wanted, BackupBegun | BackupPage | BackupEntries):
            message_type, body = FAMILY.encode(wanted)
            out.append(encode_frame(message_type, body, request_id))
            return
        if isinstance(request, Noop):
            out.append(result_frame(request_id, Status.SUCCESS))
            return
        slot = request.slot if isinstance(request, Scan | GetMany | PutMany) else slot_of(request.key)
        shard = next(s for s in self.map.shards if s.first_slot <= slot <= s.last_slot)
        if isinstance(request, Verify):
            if self.server.member not in shard.members:
                out.append(result_frame(request_id, Status.WRONG_SERVER, self.map.version))
            else:
                out.append(
                    result_frame(request_id, *self.store.execute(session.client, Get(request.key), False, shard))
                )
            return
        if shard.primary != self.server.member:
            out.append(result_frame(request_id, Status.WRONG_SERVER, self.map.version))
            return
        if isinstance(request, Scan):
            out.append(encode_frame(SCAN_PAGE, FAMILY.encode(self._page(request, shard))[1], request_id))
            return
        result = self.store.execute(session.client, request, retry, shard)
        if wanted != "silent":
            out.append(result_frame(request_id, *result))

    def _page(self, request: Scan, shard: Configuration) -> ScanPage:
        keys = sorted((slot_of(key), key) for key in self.store.data if key.startswith(request.prefix))
        keys = [k for k in keys if (request.slot, request.after) < k and k[0] <= shard.last_slot]
        items = [
            ScanItem(key, self.store.data[key][0], self.store.data[key][1] if request.values else b"")
            for _, key in keys[: request.count]
        ]
        if len(keys) > request.count:
            return ScanPage(*keys[request.count - 1], items)
        return ScanPage(min(shard.last_slot + 1, SLOTS), b"", items)


class FakeCluster:
    """A coordinator and its servers."""

    def __init__(self, reactor: Any, *, servers: int = 3, shards: int = 6, port: int = COORDINATOR_PORT) -> None:
        self.store = FakeStore()
        if port:
            self.coordinator = FakeCoordinator(reactor, make_map(servers, shards), port)
            self.servers = {
                n: FakeServer(reactor, server, self.coordinator, self.store)
                for n, server in self.coordinator.map.servers.items()
            }
        else:
            self._on_free_ports(reactor, servers, shards)

    def _on_free_ports(self, reactor: Any, servers: int, shards: int) -> None:
        self.coordinator = FakeCoordinator(reactor, ClusterMap.empty("test"), 0)
        self.servers = {}
        ports = []
        for n in range(1, servers + 1):
            server = Server(n, store_id(n), HOST, 0, ServerState.ACTIVE)
            self.servers[n] = FakeServer(reactor, server, self.coordinator, self.store)
            ports.append(self.servers[n].listening.getHost().port)
        self.coordinator.map = make_map(servers, shards, ports=ports)
        for n, fake in self.servers.items():
            fake.server = self.coordinator.map.servers[n]

    @property
    def map(self) -> ClusterMap:
        return self.coordinator.map

    @property
    def address(self) -> str:
        return f"{HOST}:{self.coordinator.port}"

    def shard_of(self, key: bytes) -> Configuration:
        return next(s for s in self.map.shards if s.first_slot <= slot_of(key) <= s.last_slot)

    def primary_of(self, key: bytes) -> FakeServer:
        return self.servers[self.shard_of(key).primary.server_id]

    def primary_of_slot(self, slot: int) -> FakeServer:
        shard = next(s for s in self.map.shards if s.first_slot <= slot <= s.last_slot)
        return self.servers[shard.primary.server_id]

    def member(self, server_id: int) -> Member:
        return self.map.servers[server_id].member

    def stop(self) -> None:
        self.coordinator.stop()
        for server in self.servers.values():
            server.stop()
