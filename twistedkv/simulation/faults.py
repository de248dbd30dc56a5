"""What goes wrong in a run: drawn as a list before it begins, done as far as the promise of the cluster allows.

A cluster with n copies survives n - 1 failures at a time and not more. So a fault that takes a server out of service is
skipped when some shard would be left without a member that is well and has been for a while; everything that does not
endanger data is done always. Each run draws which kinds of faults it has at all (swarm testing).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import attrs

from twistedkv.simulation.cluster import COORDINATOR_HOST, Cluster
from twistedkv.simulation.process import Process
from twistedkv.simulation.timeline import Timeline
from twistedkv.simulation.workload import Workload

CONVALESCENCE_BEATS = 10
"""So long after a fault a server is not yet well: what the fault has caused may still be on its way."""

KINDS = (
    "kill server",
    "power off",
    "freeze server",
    "slow server",
    "stop server",
    "cut coordinator",
    "cut peers",
    "isolate server",
    "cut client",
    "reset",
    "reset all",
    "kill coordinator",
    "freeze coordinator",
    "slow coordinator",
    "store error",
    "kill in step",
    "switch",
    "kill client",
    "freeze client",
    "storm",
)


WEIGHTS = {"kill server": 4, "freeze server": 3, "power off": 2, "isolate server": 2, "kill coordinator": 2}
"""How often those are drawn, in place of once."""


@attrs.frozen
class Fault:
    """One thing that goes wrong. What exactly depends on `chance`, and on who is there then."""

    at: float
    """Seconds after the faults begin."""
    kind: str
    seconds: float
    """How long, of what ends by itself."""
    chance: int
    """Seed of what is left to be drawn."""


def draw_faults(timeline: Timeline, seconds: float, mean_pause: float) -> list[Fault]:
    """The faults of a run."""
    chance = timeline.stream("faults")
    kinds = [kind for kind in KINDS if chance.random() < 0.6] or ["kill server"]
    faults = []
    at = chance.expovariate(1 / mean_pause)
    while at < seconds:
        length = chance.choice((0.1, 0.5, 1.0, 2.0, 5.0)) * chance.uniform(0.5, 1.5)
        faults.append(
            Fault(
                at, chance.choices(kinds, [WEIGHTS.get(kind, 1) for kind in kinds])[0], length, chance.getrandbits(32)
            )
        )
        at += chance.expovariate(1 / mean_pause)
    return faults


class Faults:
    """Does them."""

    def __init__(self, cluster: Cluster, workload: Workload, spare_servers: int = 0) -> None:
        self._cluster = cluster
        self._workload = workload
        self._timeline = cluster.timeline
        self._servers = list(range(1, cluster.shape.servers + spare_servers + 1))
        self._unwell_until = dict.fromkeys(self._servers, 0.0)
        self._calm = cluster.network.weather
        self._over = False
        self._coordinator_pause = 0.5
        """So long after its end the coordinator is started again."""
        self._step_fault = ""
        self._steps_left = 0
        self.done: dict[str, int] = {}
        """How many of each kind were done."""
        cluster.server_exited = self._server_exited
        cluster.coordinator_exited = self._coordinator_exited
        cluster.store_faults = self._store_fault

    def schedule(self, faults: list[Fault]) -> None:
        """Have them happen."""
        for fault in faults:
            self._timeline.at(self._timeline.now + fault.at, self._happen, fault)

    def _happen(self, fault: Fault) -> None:
        if self._over:
            return
        name = "_" + fault.kind.replace(" ", "_")
        perform: Callable[[random.Random, float], bool] = getattr(self, name)
        if perform(random.Random(fault.chance), fault.seconds):
            self.done[fault.kind] = self.done.get(fault.kind, 0) + 1

    def _later(self, seconds: float, call: Callable[[], object]) -> None:
        self._timeline.at(self._timeline.now + seconds, lambda: None if self._over else call())

    # What may be done.

    def _well(self, server_id: int) -> bool:
        process = self._cluster.processes.get(f"server {server_id}")
        if process is None or not process.running or process.ending:
            return False
        return self._unwell_until[server_id] < self._timeline.now

    def _expendable(self, server_id: int) -> bool:
        """Whether every shard would still have a member that is well."""
        for configuration in self._cluster.configurations:
            if all(member.server_id != server_id for member in configuration.everyone):
                continue
            others = [m for m in configuration.members if m.server_id != server_id]
            if not any(self._well(m.server_id) and self._cluster.core_of(m) for m in others):
                return False
        return True

    def _victim(self, chance: random.Random, seconds: float) -> Process | None:
        """A server that may be taken out of service for so long."""
        server_id = chance.choice(self._servers)
        process = self._cluster.processes.get(f"server {server_id}")
        if process is None or not process.running or process.ending or not self._expendable(server_id):
            return None
        self._unwell(server_id, seconds)
        return process

    def _unwell(self, server_id: int, seconds: float) -> None:
        until = self._timeline.now + seconds + CONVALESCENCE_BEATS * self._cluster.shape.heartbeat_seconds
        self._unwell_until[server_id] = max(self._unwell_until[server_id], until)

    # Servers.

    def _kill_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, seconds)
        if process is not None:
            process.kill()
        return process is not None

    def _power_off(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, seconds)
        if process is None:
            return False
        host = process.reactor.host
        self._cluster.network.down[host] = None
        process.kill("lost its power", silent=True)
        return True

    def _server_exited(self, server_id: int, process: Process) -> None:
        if not self._over:
            pause = random.Random(process.pid).choice((0.02, 0.3, 1.5, 4.0))
            self._later(pause, lambda: self._start_server(server_id))

    def _start_server(self, server_id: int) -> None:
        process = self._cluster.processes.get(f"server {server_id}")
        if process is None or not process.alive:
            self._cluster.network.down.pop(self._cluster.host_of(server_id), None)
            self._cluster.start_server(server_id)

    def _freeze_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, seconds)
        if process is None:
            return False
        process.freeze()
        self._later(seconds, process.thaw)
        return True

    def _slow_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, seconds)
        if process is None:
            return False
        process.slow_down(chance.choice((0.001, 0.01, 0.1)))
        self._later(seconds, lambda: process.slow_down(0))
        return True

    def _stop_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, seconds)
        if process is None:
            return False
        self._timeline.tell(f"{process.name} is asked to end")
        process.reactor.callLater(0, process.end)
        return True

    # Links.

    def _cut(self, chance: random.Random, seconds: float, near: str, far: str) -> None:
        both = [(near, far), (far, near)]
        network = self._cluster.network
        links = [link for link in chance.choice((both[:1], both[1:], both)) if link not in network.cuts]
        for source, target in links:
            self._timeline.tell(f"the link from {source} to {target} is cut for {seconds:.2f} s")
            network.cut(source, target)
        for source, target in links:
            self._later(seconds, partial(network.heal, source, target))

    def _cut_coordinator(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, seconds)
        if process is not None:
            self._cut(chance, seconds, process.reactor.host, COORDINATOR_HOST)
        return process is not None

    def _cut_peers(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, seconds)
        other = chance.choice(self._servers)
        if process is None or process.name == f"server {other}":
            return False
        # Either of the two may be taken for failed, but not both.
        self._cut(chance, seconds, process.reactor.host, self._cluster.host_of(other))
        self._unwell(other, seconds)
        return True

    def _isolate_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, seconds)
        if process is None:
            return False
        hosts = [COORDINATOR_HOST, *(self._cluster.host_of(i) for i in self._servers)]
        # Cut one way, it may still be heard by the coordinator, and give up healthy copies that it cannot hear.
        for server_id in self._servers:
            self._unwell(server_id, seconds)
        state = chance.getrandbits(32)
        for host in hosts:
            if host != process.reactor.host:
                self._cut(random.Random(state), seconds, process.reactor.host, host)
        return True

    def _cut_client(self, chance: random.Random, seconds: float) -> bool:
        client = chance.randint(1, self._cluster.shape.clients)
        hosts = [COORDINATOR_HOST, *(self._cluster.host_of(i) for i in self._servers)]
        self._cut(chance, seconds, f"10.0.1.{client}", chance.choice(hosts))
        return True

    def _reset(self, chance: random.Random, seconds: float) -> bool:
        transports = list(self._cluster.network.transports)
        if not transports:
            return False
        transport = chance.choice(transports)
        here, there = transport.getHost().host, transport.getPeer().host
        self._timeline.tell(f"a connection between {here} and {there} is reset")
        self._cluster.network.reset(transport)
        return True

    def _reset_all(self, chance: random.Random, seconds: float) -> bool:
        process = self._victim(chance, 0.0)
        if process is None:
            return False
        self._timeline.tell(f"all connections of {process.name} are reset")
        for transport in list(self._cluster.network.transports):
            if transport.reactor is process.reactor:
                self._cluster.network.reset(transport)
        return True

    def _storm(self, chance: random.Random, seconds: float) -> bool:
        calm = self._calm
        self._timeline.tell(f"a storm for {seconds:.2f} s")
        latency = chance.choice((1.0, 10.0, 50.0)) * calm.latency_seconds_max
        self._cluster.network.weather = attrs.evolve(
            calm, loss=chance.uniform(0.0, 0.1), jitter=latency / calm.latency_seconds_max, pieces=0.9
        )
        for server_id in self._servers:
            self._unwell(server_id, seconds)
        self._later(seconds, self._calm_down)
        return True

    def _calm_down(self) -> None:
        self._cluster.network.weather = self._calm

    # The coordinator.

    @property
    def _coordinator(self) -> Process:
        return self._cluster.processes["coordinator"]

    def _kill_coordinator(self, chance: random.Random, seconds: float) -> bool:
        if not self._coordinator.alive:
            return False
        self._coordinator_pause = min(seconds, 2.0)
        self._coordinator.kill()
        return True

    def _coordinator_exited(self) -> None:
        self._later(self._coordinator_pause, self._start_coordinator)
        self._coordinator_pause = 0.5

    def _start_coordinator(self) -> None:
        if not self._coordinator.alive:
            self._cluster.start_coordinator()

    def _freeze_coordinator(self, chance: random.Random, seconds: float) -> bool:
        process = self._coordinator
        if not process.running:
            return False
        process.freeze()
        self._later(seconds, process.thaw)
        return True

    def _slow_coordinator(self, chance: random.Random, seconds: float) -> bool:
        process = self._coordinator
        process.slow_down(chance.choice((0.001, 0.01, 0.05)))
        self._later(seconds, lambda: process.slow_down(0))
        return True

    def _store_error(self, chance: random.Random, seconds: float) -> bool:
        self._step_fault, self._steps_left = "error", chance.randint(1, 10)
        return True

    def _kill_in_step(self, chance: random.Random, seconds: float) -> bool:
        self._step_fault, self._steps_left = chance.choice(("before", "after")), chance.randint(1, 30)
        return True

    def _store_fault(self, moment: str) -> None:
        wanted = "before" if self._step_fault == "error" else self._step_fault
        if self._over or moment != wanted:
            return
        self._steps_left -= 1
        if self._steps_left > 0:
            return
        fault, self._step_fault = self._step_fault, ""
        if fault == "error":
            self._timeline.tell("the coordinator's store fails")
            raise OSError("no space left on device")
        self._coordinator.die_here()

    # Clients and operators.

    def _switch(self, chance: random.Random, seconds: float) -> bool:
        configurations = self._cluster.configurations
        client = self._client(chance)
        if not configurations or client is None:
            return False
        configuration = chance.choice(configurations)
        if not configuration.secondaries:
            return False
        target = chance.choice(configuration.secondaries).server_id
        self._timeline.tell(f"an operator wants server {target} as primary of shard {configuration.shard}")
        client.program.client.admin("switch", shard=configuration.shard, server=target).addErrback(lambda _: None)
        return True

    def _client(self, chance: random.Random) -> Process | None:
        process = self._cluster.processes.get(f"client {chance.randint(1, self._cluster.shape.clients)}")
        return process if process is not None and process.running and not process.ending else None

    def _kill_client(self, chance: random.Random, seconds: float) -> bool:
        process = self._client(chance)
        if process is None:
            return False
        process.kill()
        number = int(process.name.split()[1])
        self._later(0.2, lambda: self._workload.run_client(self._cluster.start_client(number)))
        return True

    def _freeze_client(self, chance: random.Random, seconds: float) -> bool:
        process = self._client(chance)
        if process is None:
            return False
        process.freeze()
        self._later(seconds, process.thaw)
        return True

    # The end.

    def end(self) -> None:
        """No more faults; whatever is broken is mended."""
        self._over = True
        self._timeline.tell("the faults end")
        cluster = self._cluster
        cluster.network.weather = self._calm
        cluster.network.heal_all()
        for process in list(cluster.processes.values()):
            process.thaw()
            if process.alive and process.reactor.turn_seconds:
                process.slow_down(0)
        self._start_coordinator()
        for server_id in self._servers:
            self._timeline.at(self._timeline.now, self._keep, server_id)

    def _keep(self, server_id: int) -> None:
        process = self._cluster.server_process(server_id)
        if not process.alive:
            self._start_server(server_id)
        elif process.ending:
            self._timeline.at(self._timeline.now + 1.0, self._keep, server_id)
