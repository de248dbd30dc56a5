"""The planner under any sequence of events: it never breaks a promise, and when the events stop, everything heals."""

from __future__ import annotations

import attrs
import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.planning import SETTINGS, H, ModelServer, World
from twistedkv.clustermap import ServerState
from twistedkv.core import commands
from twistedkv.core.operations import Kind
from twistedkv.errors import InvalidRequest

SERVERS_MAX = 8
"""Processes ever started in one run."""
SEED = st.integers(0, 10**6)


class Events(RuleBasedStateMachine):
    """Everything that can happen to a coordinator, in any order. `World.check` looks at each configuration stored."""

    world: World

    @initialize(copies=st.integers(1, 3), respawns=st.booleans(), standby=st.booleans())
    def form(self, copies: int, respawns: bool, standby: bool) -> None:
        self.world = World(attrs.evolve(SETTINGS, copies=copies, shards=4, respawns=respawns))
        self.world.form()
        if standby:
            self.world.start(0, standby=True)

    def pick(self, seed: int, *, running: bool = True) -> ModelServer | None:
        choice = [server for server in self.world.servers if server.alive and (server.runs or not running)]
        return choice[seed % len(choice)] if choice else None

    @rule(quarters=st.integers(1, 8))
    def time_passes(self, quarters: int) -> None:
        for i in range(quarters):
            if i % 4 == 0:
                for server in self.world.servers:
                    self.world.beat(server)
            self.world.tick()

    @rule(seed=SEED, messages=st.integers(1, 20))
    def deliver(self, seed: int, messages: int) -> None:
        server = self.pick(seed)
        for _ in range(messages):
            if server is None or not self.world.deliver(server):
                return

    @rule(seconds=st.sampled_from([0.05, 0.2, 1.0]))
    def all_goes_well(self, seconds: float) -> None:
        self.world.settle(seconds)

    @rule(seed=SEED, reaped=st.booleans())
    def kill(self, seed: int, reaped: bool) -> None:
        server = self.pick(seed, running=False)
        if server is not None:
            self.world.kill(server, reaped=reaped)

    @rule(seed=SEED)
    def freeze_or_thaw(self, seed: int) -> None:
        server = self.pick(seed, running=False)
        if server is not None:
            server.frozen = not server.frozen

    @rule(seed=SEED)
    def lose_the_connection(self, seed: int) -> None:
        server = self.pick(seed, running=False)
        if server is not None:
            self.world.disconnect(server)

    @rule(seed=SEED)
    def connect(self, seed: int) -> None:
        server = self.pick(seed)
        if server is not None and self.world.is_current(server):
            self.world.connect(server)

    @precondition(lambda self: len(self.world.servers) < SERVERS_MAX)
    @rule(server_id=st.integers(0, 4), standby=st.booleans())
    def start(self, server_id: int, standby: bool) -> None:
        self.world.start(server_id, standby=standby)

    @rule(seed=SEED, shard=st.integers(0, 3))
    def write(self, seed: int, shard: int) -> None:
        server = self.pick(seed)
        if server is not None:
            self.world.write(server, shard)

    @rule(shard=st.integers(0, 3))
    def everybody_writes(self, shard: int) -> None:
        for server in self.world.servers:
            self.world.write(server, shard)

    @rule(seed=SEED, shard=st.integers(0, 3))
    def fill(self, seed: int, shard: int) -> None:
        server = self.pick(seed)
        if server is not None:
            self.world.fill(server, shard)

    @rule(seed=SEED, shard=st.integers(0, 3))
    def complain(self, seed: int, shard: int) -> None:
        server = self.pick(seed)
        if server is not None:
            self.world.complain(server, shard)

    @rule(seed=SEED)
    def leave(self, seed: int) -> None:
        server = self.pick(seed)
        if server is not None:
            self.world.leave(server)

    @rule(shard=st.integers(0, 4), server_id=st.integers(1, 5))
    def switch(self, shard: int, server_id: int) -> None:
        before = self.world.planner.map
        try:
            _, step = self.world.planner.switch(shard, server_id, self.world.now)
        except InvalidRequest:
            assert self.world.planner.map == before
        else:
            self.world.do(step)

    @rule(shard=st.one_of(st.none(), st.integers(0, 4)))
    def accept_loss(self, shard: int | None) -> None:
        try:
            accepted, step = self.world.planner.accept_loss(shard, self.world.now)
        except InvalidRequest:
            return
        for one in accepted:
            self.world.acknowledged[one] = 0
        self.world.do(step)

    @rule(seed=SEED, shard=st.integers(0, 3))
    def step_down_unheard(self, seed: int, shard: int) -> None:
        server = self.pick(seed)
        if server is not None:
            self.world.step_down(server, shard)

    @rule(copies=st.one_of(st.none(), st.integers(1, 3)))
    def restart_the_coordinator(self, copies: int | None) -> None:
        self.world.restart_coordinator(lambda settings: attrs.evolve(settings, copies=copies or settings.copies))

    @rule(seconds=st.sampled_from([1.0, 30.0]))
    def the_coordinator_stalls(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.tick()

    @invariant()
    def what_is_stored_is_what_is_planned(self) -> None:
        saved, state = self.world.store.load(), self.world.planner.state
        assert saved.map.shards == self.world.planner.map.shards
        assert dict(saved.map.servers) == state.servers
        assert saved.map.version == state.version
        assert dict(saved.promised) == state.promised
        assert {o.id for o in saved.operations} == set(state.operations)
        for shard, configuration in state.shards.items():
            assert state.promised[shard] >= configuration.epoch
            assert (shard in state.seals) <= (state.promised[shard] > configuration.epoch)
            assert not (shard in state.seals and shard in state.switches)
        assert commands.status(state, self.world.now)["shards"]

    def teardown(self) -> None:
        """No more events but a fresh process for each server that is gone: in the end all is well, or LOST."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for server in world.servers:
            server.frozen = False
            if server.alive and not world.is_current(server) and not server.connected:
                server.alive = False
        for server_id, server in list(world.planner.state.servers.items()):
            leaving = server.state is ServerState.LEAVING
            for process in world.servers:
                if leaving and process.server_id == server_id and process.alive:
                    world.kill(process, reaped=False)
            if not any(process.alive and process.server_id == server_id for process in world.servers):
                world.start(server_id)
        world.settle(40 * H)
        if any(c.lost for c in world.planner.map.shards):
            accepted, step = world.planner.accept_loss(None, world.now)
            for one in accepted:
                world.acknowledged[one] = 0
            world.do(step)
        world.settle(200 * H)
        status = commands.status(world.planner.state, world.now)
        assert status["healthy"], status
        running = [o for o in world.planner.state.operations.values() if o.running]
        assert [o for o in running if o.kind is not Kind.DRAIN] == []


TestEvents = Events.TestCase
TestEvents.settings = settings(settings.default, max_examples=settings.default.max_examples, stateful_step_count=40)
