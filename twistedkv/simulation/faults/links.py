"""What can happen to the network."""

from __future__ import annotations

import random
from functools import partial

import attrs

from twistedkv.simulation.cluster import COORDINATOR_HOST
from twistedkv.simulation.faults.scene import Scene


class LinkFaults:
    """Links that are cut, connections that are reset, and bad weather everywhere."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._cluster = scene.cluster
        self._network = scene.cluster.network
        self._timeline = scene.timeline
        self._calm = self._network.weather

    @property
    def _hosts(self) -> list[str]:
        return [COORDINATOR_HOST, *(self._cluster.host_of(i) for i in self._scene.servers)]

    def _cut(self, chance: random.Random, seconds: float, near: str, far: str) -> None:
        both = [(near, far), (far, near)]
        links = [link for link in chance.choice((both[:1], both[1:], both)) if link not in self._network.cuts]
        for source, target in links:
            self._timeline.tell(f"the link from {source} to {target} is cut for {seconds:.2f} s")
            self._network.cut(source, target)
        for source, target in links:
            self._scene.later(seconds, partial(self._network.heal, source, target))

    def cut_coordinator(self, chance: random.Random, seconds: float) -> bool:
        process = self._scene.victim(chance, seconds)
        if process is not None:
            self._cut(chance, seconds, process.reactor.host, COORDINATOR_HOST)
        return process is not None

    def cut_peers(self, chance: random.Random, seconds: float) -> bool:
        process = self._scene.victim(chance, seconds)
        other = chance.choice(self._scene.servers)
        if process is None or process.name == f"server {other}":
            return False
        # Either of the two may be taken for failed, but not both.
        self._cut(chance, seconds, process.reactor.host, self._cluster.host_of(other))
        self._scene.unwell(other, seconds)
        return True

    def isolate_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._scene.victim(chance, seconds)
        if process is None:
            return False
        # Cut one way, it may still be heard by the coordinator, and give up healthy copies that it cannot hear.
        for server_id in self._scene.servers:
            self._scene.unwell(server_id, seconds)
        state = chance.getrandbits(32)
        for host in self._hosts:
            if host != process.reactor.host:
                self._cut(random.Random(state), seconds, process.reactor.host, host)
        return True

    def cut_client(self, chance: random.Random, seconds: float) -> bool:
        client = chance.randint(1, self._cluster.shape.clients)
        self._cut(chance, seconds, f"10.0.1.{client}", chance.choice(self._hosts))
        return True

    def reset(self, chance: random.Random, seconds: float) -> bool:
        transports = list(self._network.transports)
        if not transports:
            return False
        transport = chance.choice(transports)
        here, there = transport.getHost().host, transport.getPeer().host
        self._timeline.tell(f"a connection between {here} and {there} is reset")
        self._network.reset(transport)
        return True

    def reset_all(self, chance: random.Random, seconds: float) -> bool:
        process = self._scene.victim(chance, 0.0)
        if process is None:
            return False
        self._timeline.tell(f"all connections of {process.name} are reset")
        for transport in list(self._network.transports):
            if transport.reactor is process.reactor:
                self._network.reset(transport)
        return True

    def storm(self, chance: random.Random, seconds: float) -> bool:
        calm = self._calm
        self._timeline.tell(f"a storm for {seconds:.2f} s")
        latency = chance.choice((1.0, 10.0, 50.0)) * calm.latency_seconds_max
        self._network.weather = attrs.evolve(
            calm, loss=chance.uniform(0.0, 0.1), jitter=latency / calm.latency_seconds_max, pieces=0.9
        )
        for server_id in self._scene.servers:
            self._scene.unwell(server_id, seconds)
        self._scene.later(seconds, self._calm_down)
        return True

    def _calm_down(self) -> None:
        self._network.weather = self._calm

    def end(self) -> None:
        """No more faults: every link works, in calm weather."""
        self._calm_down()
        self._network.heal_all()
