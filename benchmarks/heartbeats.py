"""A row of the table: what the heartbeats of a large cluster cost its coordinator, as a share of a core.

The coordinator is the real one, from the bytes that its connections receive to its planner and its ticks, on a clock
that this program moves; sockets and the servers are not there. Each server says at each beat what it holds of its
shards, with other numbers of updates than the last time, and everything is well. The figure is CPU time of this process
for each second of that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from benchmarks.comparing import Bound, Comparison
from benchmarks.frames import LoadError
from twistedkv.clustermap import Configuration, Member
from twistedkv.core.commands import healthy
from twistedkv.limits import HEARTBEAT_SECONDS
from twistedkv.mapstore.memory import MemoryMapStore
from twistedkv.messages.coordinator import Heartbeat, ReplicaRole, ShardReport, Started
from twistedkv.messages.hello import Hello, Role
from twistedkv.net.framed import Connection
from twistedkv.service.config import CoordinatorOptions
from twistedkv.service.coordinator import CoordinatorService
from twistedkv.wire.coordinator import FAMILY
from twistedkv.wire.frames import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, encode_frame
from twistedkv.wire.shared import HELLO, HELLO_TYPE

SERVERS, SHARDS, COPIES = 1000, 16384, 2
SHARE_MAX = 10.0
"""Per cent of a core."""
TICKS_PER_BEAT = 4
SETTLING_BEATS_MAX = 20
UPDATES_PER_BEAT = 1000
"""Of each shard."""


class _Reactor(Clock):
    """Time that this program moves, and a port that nobody connects to."""

    def listenTCP(self, port: int, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(getHost=lambda: SimpleNamespace(port=port))


class _Transport:
    """Takes what is sent to a server, and forgets it."""

    def write(self, data: bytes) -> None:
        pass

    def getPeer(self) -> Any:
        return None

    def abortConnection(self) -> None:
        raise LoadError("the coordinator has given up the connection of a server")

    loseConnection = abortConnection


class SimulatedServer:
    """A server as its coordinator hears it."""

    def __init__(self, number: int, connection: Connection) -> None:
        self.member = Member(number, number.to_bytes(16, "big"))
        self.roles: list[tuple[int, int, ReplicaRole]] = []
        """Shard, epoch, and what it is there."""
        self.connection = connection
        self.beats = 0
        """Heartbeats so far."""

    def hello(self, cluster: str) -> bytes:
        """What it says first."""
        number, identity = self.member.server_id, self.member.store_id
        hello = Hello(PROTOCOL_VERSION_MIN, PROTOCOL_VERSION, Role.SERVER, cluster, number, identity)
        started = Started(number, identity, "127.0.0.1", 10_000 + number, 0, 0, number, False, "", [])
        return encode_frame(HELLO_TYPE, HELLO.encode(hello)) + encode_frame(*FAMILY.encode(started), 1)

    def heartbeat(self, map_version: int) -> bytes:
        """Its next one, as a frame."""
        self.beats += 1
        last = UPDATES_PER_BEAT * self.beats
        reports = [ShardReport(shard, epoch, role, (epoch << 42) + last, last) for shard, epoch, role in self.roles]
        number, identity = self.member.server_id, self.member.store_id
        beat = Heartbeat(number, identity, self.beats, map_version, last, 100 * last, reports, [])
        return encode_frame(*FAMILY.encode(beat))


def roles_of(shards: Sequence[Configuration]) -> dict[Member, list[tuple[int, int, ReplicaRole]]]:
    """By server: the shards that it holds, their epochs, and what it is there."""
    found: dict[Member, list[tuple[int, int, ReplicaRole]]] = {}
    for shard in shards:
        for member in shard.members:
            role = ReplicaRole.PRIMARY if member == shard.primary else ReplicaRole.SECONDARY
            found.setdefault(member, []).append((shard.shard, shard.epoch, role))
    return found


class SimulatedLoad:
    """The coordinator, and the servers that beat."""

    def __init__(self, servers: int = SERVERS, shards: int = SHARDS, copies: int = COPIES) -> None:
        self.reactor = _Reactor()
        options = CoordinatorOptions(servers=servers, shards=shards, copies=copies, base_dir=Path("nowhere"))
        self.service = CoordinatorService(self.reactor, options, open_store=MemoryMapStore)
        self.service.startService()
        self.servers: list[SimulatedServer] = []
        for number in range(1, servers + 1):
            connection = self.service.connections.acceptor.buildProtocol(None)
            connection.makeConnection(_Transport())  # type: ignore[no-untyped-call]
            self.servers.append(SimulatedServer(number, connection))
            connection.dataReceived(self.servers[-1].hello(options.cluster))
        self._settle()

    def _settle(self) -> None:
        """Beat until every shard is served. Raises LoadError when that takes too long."""
        roles = roles_of(self.service.whole_map().shards)
        for server in self.servers:
            server.roles = roles[server.member]
        for _ in range(SETTLING_BEATS_MAX):
            self.beat()
            planner = self.service.planner
            if planner is not None and healthy(planner.state):
                return
        raise LoadError("the simulated cluster does not come to rest")

    def beat(self) -> float:
        """One heartbeat of every server, with the coordinator's ticks between: the CPU seconds of the coordinator."""
        version = self.service.whole_map().version
        frames = [server.heartbeat(version) for server in self.servers]
        count = len(frames)
        began = time.process_time()
        for tick in range(TICKS_PER_BEAT):
            for index in range(tick * count // TICKS_PER_BEAT, (tick + 1) * count // TICKS_PER_BEAT):
                self.servers[index].connection.dataReceived(frames[index])
            self.reactor.advance(HEARTBEAT_SECONDS / TICKS_PER_BEAT)
        return time.process_time() - began


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """Per cent of a core, for 1,000 servers and 16,384 shards at the default heartbeat."""
    load = SimulatedLoad()
    beats = max(1, round(seconds / HEARTBEAT_SECONDS))
    shares = [100 * sum(load.beat() for _ in range(beats)) / (beats * HEARTBEAT_SECONDS) for _ in range(runs)]
    planner = load.service.planner
    if planner is None or not healthy(planner.state):
        raise LoadError("the coordinator has not kept the simulated cluster healthy")
    name = f"coordinator: heartbeats of {SERVERS:,} servers, {SHARDS:,} shards"
    return [Bound(name, "% core", shares, SHARE_MAX)]
