"""A world for the planner: servers that are models, a map store in memory, and every message in the test's hands.

The servers keep for each shard how many updates they hold. An update is acknowledged when every counted member of the
configuration that its primary knows takes it, as the real ones do; what was acknowledged is remembered, and whoever is
promoted must hold all of it. Each configuration that is stored is checked when it is stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import deepcopy
from itertools import count
from typing import Any

import attrs

from twistedkv.clustermap import ClusterMap, Configuration, Member, ServerState
from twistedkv.core.planner import Planner
from twistedkv.core.space import Space
from twistedkv.core.steps import Settings, Step
from twistedkv.mapstore.memory import MemoryDisk, MemoryMapStore
from twistedkv.messages.coordinator import (
    Heartbeat,
    Leaving,
    Relinquished,
    Remove,
    ReplicaRole,
    Seal,
    Sealed,
    ShardReport,
    Started,
    SwitchPrimary,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimary,
    UpdateSecondary,
    Usage,
)
from twistedkv.storage.memory import MemoryStore
from twistedkv.watermarks import Limits
from twistedkv.wire.coordinator import FAMILY, HeartbeatDecoder

H = 0.2
SETTINGS = Settings(
    cluster="test",
    servers=3,
    shards=6,
    copies=2,
    min_copies=1,
    heartbeat_seconds=H,
    replace_after_seconds=2.0,
)
COMPARED_TICKS = 5
"""So often a tick is compared with one that looks at everything."""


@attrs.define
class Copy:
    """What a server holds of one shard."""

    epoch: int = 0
    configuration: Configuration | None = None
    last: int = 0
    complete: bool = False
    role: ReplicaRole = ReplicaRole.NONE
    counted: set[Member] = attrs.Factory(set)


@attrs.define(eq=False)
class ModelServer:
    """A server as the coordinator sees it."""

    server_id: int
    store_id: bytes
    pid: int
    standby: bool = False
    alive: bool = True
    frozen: bool = False
    connected: bool = False
    copies: dict[int, Copy] = attrs.Factory(dict)
    inbox: deque[Any] = attrs.Factory(deque)
    beats: int = 0
    limit: int = 0
    """Bytes that it may store; 0: as many as it likes."""
    more: int = 0
    """Bytes that it stores besides its copies."""
    space: Space | None = None
    sizes: dict[int, int] = attrs.Factory(dict)
    """What a copy of each shard costs: the same object for all servers."""
    heartbeats: HeartbeatDecoder = attrs.Factory(HeartbeatDecoder)
    """Of its connection, at the coordinator."""

    @property
    def member(self) -> Member:
        """Its identity."""
        return Member(self.server_id, self.store_id)

    @property
    def runs(self) -> bool:
        """Whether it does anything."""
        return self.alive and not self.frozen

    def copy(self, shard: int) -> Copy:
        """What it holds of a shard."""
        return self.copies.setdefault(shard, Copy())

    def configure(self, configuration: Configuration) -> None:
        """Adopt a configuration that is not older than what is known."""
        copy = self.copy(configuration.shard)
        known = copy.configuration
        if configuration.epoch < copy.epoch or (known is not None and known.epoch >= configuration.epoch):
            return
        reborn = configuration.birth > (known.birth if known is not None else 0)
        was_primary = copy.role in (ReplicaRole.PRIMARY, ReplicaRole.SWITCHING)
        copy.configuration, copy.epoch = configuration, configuration.epoch
        if reborn or self.member not in configuration.everyone:
            copy.last, copy.complete = 0, False
        if self.member in configuration.members:
            if reborn:
                copy.complete = True
            if not copy.complete:
                raise AssertionError(f"shard {configuration.shard}: {self.member} is a member without the data")
            primary = configuration.primary == self.member
            copy.role = ReplicaRole.PRIMARY if primary and not configuration.lost else ReplicaRole.SECONDARY
            if not was_primary or not primary:
                copy.counted = set()
            copy.counted &= set(configuration.learners)
        elif self.member in configuration.learners:
            copy.role, copy.complete = ReplicaRole.LEARNER, False
        else:
            copy.role = ReplicaRole.NONE

    def reports(self) -> list[ShardReport]:
        """For the heartbeat."""
        return [
            ShardReport(shard, copy.epoch, copy.role, copy.last, copy.last, self.sizes.get(shard, 0))
            for shard, copy in self.copies.items()
            if copy.role is not ReplicaRole.NONE
        ]

    def usage(self) -> Usage:
        """For the heartbeat."""
        if self.space is None or self.space.limits.memory_bytes != self.limit:
            self.space = Space(MemoryStore(), Limits(memory_bytes=self.limit))
        store = self.space._store
        assert store is not None
        store.bytes_stored = self.more + sum(report.bytes_stored for report in self.reports())
        self.space.measure()
        return self.space.usage()


class World:
    """The planner, its store, and the servers."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.now = 1000.0
        self.disk = MemoryDisk()
        self.servers: list[ModelServer] = []
        self.sizes: dict[int, int] = {}
        """What a copy of each shard costs, in bytes."""
        self.acknowledged: dict[int, int] = {}
        """By shard: updates that a client was told to be stored."""
        self.history: dict[tuple[int, int], Configuration] = {}
        """Every configuration ever stored, by shard and epoch."""
        self.seals_answered: dict[tuple[int, int], set[Member]] = {}
        self.relinquished: set[tuple[int, int]] = set()
        self.steps: list[Step] = []
        self.outcomes: dict[str, str] = {}
        self.departures: dict[int, str] = {}
        self._ids = count(1)
        self._ticks = 0
        self.store = MemoryMapStore(self.disk)
        self.planner = Planner(settings, self.store.load(), self.now)
        self.do(self.planner.started(self.now, children_gone=False, anew=False))

    # The rim.

    def do(self, step: Step, newcomer: ModelServer | None = None) -> Step:
        """Perform a step."""
        before = {shard.shard: shard for shard in self.store.load().map.shards}
        if step.change:
            self.store.apply(step.change)
        for configuration in step.change.shards.values():
            self.check(before.get(configuration.shard), configuration)
        for shard, epoch in step.change.promised.items():
            assert self.disk.promised[shard] == epoch
        if newcomer is not None:
            newcomer.inbox.append(self.planner.map)
        if step.update is not None:
            for server in self.servers:
                if server.connected and server is not newcomer:
                    server.inbox.append(step.update)
        for server_id, message in step.sends:
            if isinstance(message, Seal):
                assert self.disk.promised[message.shard] >= message.epoch, "SEAL before its epoch was stored"
            for server in self.servers:
                if server.server_id == server_id and server.connected:
                    server.inbox.append(message)
        self.outcomes.update(step.outcomes)
        self.departures.update(step.departures)
        self.steps.append(step)
        return step

    def check(self, before: Configuration | None, after: Configuration) -> None:
        """What holds for every configuration that is stored."""
        key = (after.shard, after.epoch)
        assert key not in self.history, f"epoch {after.epoch} of shard {after.shard} names two configurations"
        assert before is None or after.epoch > before.epoch
        self.history[key] = after
        everyone = after.everyone
        assert len({member.server_id for member in everyone}) == len(everyone), "two copies on one server"
        assert len(set(after.preferred)) == len(after.preferred) > 0
        assert len(after.learners) <= 1
        if before is None or after.birth != before.birth:
            assert before is None or before.lost
            return
        if after.lost:
            assert set(after.members) <= set(before.members)
            return
        assert set(after.members) <= {*before.members, *before.learners}
        if after.primary != before.primary or before.lost:
            assert after.primary in before.members, "a learner was promoted"
            sealed: set[Member] = set()
            for epoch in range(before.epoch + 1, after.epoch + 1):
                sealed |= self.seals_answered.get((after.shard, epoch), set())
            if (before.shard, before.epoch) not in self.relinquished or before.lost:
                assert set(after.members) <= sealed, "a member was kept that has not answered"
                server = self.server_of(after.primary)
                assert server is not None
                assert server.copy(after.shard).last >= self.acknowledged.get(after.shard, 0), "acknowledged data lost"

    # Servers.

    def server_of(self, member: Member) -> ModelServer | None:
        """The model of a member."""
        return next((server for server in self.servers if server.member == member), None)

    def start(self, server_id: int = 0, *, standby: bool = False, connect: bool = True) -> ModelServer:
        """A new process."""
        number = next(self._ids)
        server = ModelServer(server_id, number.to_bytes(16, "big"), 10_000 + number, standby, sizes=self.sizes)
        self.servers.append(server)
        if connect:
            self.connect(server)
        return server

    def connect(self, server: ModelServer) -> None:
        """Connect and say Started."""
        if server.connected or not server.runs:
            return
        server.inbox.clear()
        started = Started(
            server.server_id,
            server.store_id,
            "127.0.0.1",
            7000 + server.pid,
            8000 + server.pid,
            9000 + server.pid,
            server.pid,
            server.standby,
            "memory",
            server.reports(),
            server.usage(),
        )
        admission, step = self.planner.register(started, self.now)
        if admission.text:
            self.do(step)
            server.alive = admission.hold
            return
        for other in self.servers:
            if other is not server and other.server_id == admission.server_id and other.connected:
                other.connected = other.alive = False
        server.server_id = admission.server_id
        server.connected = True
        server.heartbeats = HeartbeatDecoder()
        self.do(step, server)

    def disconnect(self, server: ModelServer) -> None:
        """The connection breaks; what was on its way is lost."""
        if server.connected:
            server.connected = False
            server.inbox.clear()
            self.do(self.planner.connection_lost(server.server_id, self.now))

    def kill(self, server: ModelServer, *, reaped: bool) -> None:
        """The process ends."""
        if server.alive:
            server.alive = False
            if reaped:
                self.do(self.planner.process_ended(server.server_id, server.pid, "killed", self.now))
            self.disconnect(server)

    def deliver(self, server: ModelServer) -> bool:
        """Let the server take the oldest message that was sent to it. False: there is none."""
        if not server.inbox or not server.runs or not server.connected:
            return False
        message = server.inbox.popleft()
        if isinstance(message, ClusterMap):
            for configuration in message.shards:
                server.configure(configuration)
        elif isinstance(message, Seal):
            self._sealed(server, message)
        elif isinstance(message, UpdatePrimary | UpdateSecondary):
            server.configure(message.configuration)
        elif isinstance(message, SwitchPrimary):
            self._switch(server, message)
        return True

    def _sealed(self, server: ModelServer, seal: Seal) -> None:
        copy = server.copy(seal.shard)
        if seal.epoch > copy.epoch:
            copy.epoch = seal.epoch
            if copy.complete:
                copy.role = ReplicaRole.SEALED
        if copy.complete:
            self.seals_answered.setdefault((seal.shard, copy.epoch), set()).add(server.member)
        self.say(server, Sealed(seal.shard, copy.epoch, copy.last, copy.complete))

    def _switch(self, server: ModelServer, message: SwitchPrimary) -> None:
        copy = server.copy(message.shard)
        if copy.role is not ReplicaRole.PRIMARY or copy.epoch != message.epoch:
            reason = "not primary in that epoch"
            self.do(
                self.planner.switch_failed(
                    server.server_id, message.shard, epoch=message.epoch, reason=reason, now=self.now
                )
            )
        elif self.members_take(server, message.shard):
            copy.role = ReplicaRole.STEPPED_DOWN
            self.relinquished.add((message.shard, message.epoch))
            self.say(server, Relinquished(message.shard, message.epoch, copy.last))

    def step_down(self, server: ModelServer, shard: int) -> None:
        """A primary has stepped down, and its answer is lost with the connection."""
        copy = server.copy(shard)
        if server.connected and server.runs and copy.role is ReplicaRole.PRIMARY and self.members_take(server, shard):
            copy.role = ReplicaRole.STEPPED_DOWN
            self.relinquished.add((shard, copy.epoch))
            self.disconnect(server)

    def say(self, server: ModelServer, *messages: Any) -> None:
        """A message to the coordinator."""
        if server.connected and server.runs:
            self.do(self.planner.messages(server.server_id, list(messages), self.now))

    def beat(self, server: ModelServer) -> None:
        """A heartbeat."""
        if server.connected and server.runs:
            server.beats += 1
            reports, usage = server.reports(), server.usage()
            heartbeat = Heartbeat(server.server_id, server.store_id, server.beats, 0, 0, 0, reports, [], usage)
            self.say(server, server.heartbeats.decode(FAMILY.encode(heartbeat)[1]))

    # Replication, in one stroke.

    def members_take(self, server: ModelServer, shard: int) -> bool:
        """Whether every counted copy accepts something of this primary now."""
        copy = server.copy(shard)
        configuration = copy.configuration
        if configuration is None:
            return False
        for member in {*configuration.members, *copy.counted} - {server.member}:
            other = self.server_of(member)
            if other is None or not other.runs or other.copy(shard).epoch != copy.epoch:
                return False
            if other.copy(shard).role not in (ReplicaRole.SECONDARY, ReplicaRole.LEARNER):
                return False
        return True

    def write(self, server: ModelServer, shard: int) -> bool:
        """Have this server, as primary of its epoch, take an update; it is acknowledged if all take it."""
        copy = server.copy(shard)
        configuration = copy.configuration
        if not server.runs or configuration is None or copy.role is not ReplicaRole.PRIMARY:
            return False
        everybody = self.members_take(server, shard)
        copy.last += 1
        for member in {*configuration.members, *copy.counted} - {server.member}:
            other = self.server_of(member)
            if other is not None and other.runs and other.copy(shard).epoch == copy.epoch:
                other.copy(shard).last = copy.last
        if everybody:
            self.acknowledged[shard] = max(self.acknowledged.get(shard, 0), copy.last)
        return everybody

    def fill(self, server: ModelServer, shard: int) -> bool:
        """Have this server, as primary, bring its learner to its own state, and report it."""
        copy = server.copy(shard)
        configuration = copy.configuration
        if not server.runs or configuration is None or copy.role is not ReplicaRole.PRIMARY:
            return False
        for learner in configuration.learners:
            other = self.server_of(learner)
            if other is None or not other.runs or other.copy(shard).epoch != copy.epoch:
                continue
            if other.copy(shard).role is ReplicaRole.LEARNER:
                other.copy(shard).last = copy.last
                other.copy(shard).complete = True
                copy.counted.add(learner)
                first = configuration.preferred[0] == learner.server_id
                kind = UpdatedPrimary if first else UpdatedSecondary
                self.say(server, kind(shard, copy.epoch, learner))
                return True
        return False

    def complain(self, server: ModelServer, shard: int) -> bool:
        """Have this server, as primary, ask for a silent member to be removed."""
        copy = server.copy(shard)
        configuration = copy.configuration
        if not server.runs or configuration is None or copy.role is not ReplicaRole.PRIMARY:
            return False
        for member in configuration.everyone[1:]:
            other = self.server_of(member)
            if other is None or not other.runs:
                self.say(server, Remove(shard, copy.epoch, member, "silence"))
                return True
        return False

    def leave(self, server: ModelServer) -> None:
        """The server is being stopped in order."""
        self.say(server, Leaving(server.server_id))

    # Time, and the whole.

    def tick(self) -> None:
        """A quarter of a heartbeat."""
        self.now += H / 4
        self._ticks += 1
        self.do(self._compared() if self._ticks % COMPARED_TICKS == 0 else self.planner.tick(self.now))

    def _compared(self) -> Step:
        """A tick, which has to do the same as one that looks at every shard (I17)."""
        thorough = self._copy_of_planner()
        thorough.state.disturb_all()
        step, state = self.planner.tick(self.now), self.planner.state
        assert step == thorough.tick(self.now), "a shard that was not looked at needed something"
        assert (state.restless, state.stuck_since) == (thorough.state.restless, thorough.state.stuck_since)
        return step

    def _copy_of_planner(self) -> Planner:
        """What it shares with the original never changes."""
        state = self.planner.state
        reports = [report for view in state.views.values() for report in view.reports.values()]
        shared = (*state.shards.values(), *state.servers.values(), *state.operations.values(), *reports)
        return deepcopy(self.planner, {id(each): each for each in (self.settings, *shared)})

    def restart_coordinator(self, change: Callable[[Settings], Settings] = lambda settings: settings) -> None:
        """Another coordinator goes on from what was stored."""
        self.settings = change(self.settings)
        for server in self.servers:
            server.connected = False
            server.inbox.clear()
        self.store = MemoryMapStore(self.disk)
        self.planner = Planner(self.settings, self.store.load(), self.now)
        self.do(self.planner.started(self.now, children_gone=False, anew=False))

    def settle(self, seconds: float = 1.0) -> None:
        """Time passes, messages arrive, everybody does what is asked."""
        for i in range(round(seconds / (H / 4))):
            for server in self.servers:
                if server.runs and not server.connected and self.is_current(server):
                    self.connect(server)
                while self.deliver(server):
                    pass
                if i % 4 == 0:
                    self.beat(server)
                for shard in list(server.copies):
                    self.fill(server, shard)
                    if i % 4 == 0:
                        self.complain(server, shard)
                    self._resume(server, shard)
            self.tick()

    def is_current(self, server: ModelServer) -> bool:
        """Whether no other process runs under its id."""
        return not any(
            other is not server and other.alive and other.server_id == server.server_id and server.server_id
            for other in self.servers
        )

    def _resume(self, server: ModelServer, shard: int) -> None:
        """A switch that could not be completed is abandoned by the primary (as the real one does)."""
        copy = server.copy(shard)
        if copy.role is ReplicaRole.SWITCHING:
            copy.role = ReplicaRole.PRIMARY

    def form(self, servers: int | None = None) -> list[ModelServer]:
        """Start servers 1 to n and let the cluster settle."""
        started = [self.start(i + 1) for i in range(servers or self.settings.servers)]
        self.settle()
        return started

    def configuration(self, shard: int) -> Configuration:
        """Of a shard, as the planner has it."""
        return self.planner.state.shards[shard]

    def state_of(self, server_id: int) -> ServerState:
        """What the planner thinks of a server."""
        return self.planner.state.servers[server_id].state

    def events(self, kind: str) -> list[str]:
        """Texts of the events of a kind."""
        return [event.text for event in self.store.journal(0, 10**6) if event.event == kind]
