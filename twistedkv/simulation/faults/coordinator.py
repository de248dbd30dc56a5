"""What can happen to the coordinator, and what an operator may ask of it."""

from __future__ import annotations

import random

from twistedkv.simulation.faults.scene import Scene
from twistedkv.simulation.process import Process


class CoordinatorFaults:
    """It is killed, at any time or at a step; frozen; slow; its store fails; it cannot start a server."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._cluster = scene.cluster
        self._timeline = scene.timeline
        self._pause = 0.5
        """So long after its end it is started again."""
        self._step_fault = ""
        self._steps_left = 0
        self._spawns_to_fail = 0
        self._cluster.coordinator_exited = self._exited
        self._cluster.store_faults = self._store_fault
        self._cluster.spawn_faults = self._spawn_fault

    @property
    def _process(self) -> Process:
        return self._cluster.processes["coordinator"]

    def kill_coordinator(self, chance: random.Random, seconds: float) -> bool:
        if not self._process.alive:
            return False
        self._pause = min(seconds, 2.0)
        self._process.kill()
        return True

    def _exited(self) -> None:
        self._scene.later(self._pause, self._start)
        self._pause = 0.5

    def _start(self) -> None:
        if not self._process.alive:
            self._cluster.start_coordinator()

    def freeze_coordinator(self, chance: random.Random, seconds: float) -> bool:
        process = self._process
        if not process.running:
            return False
        process.freeze()
        self._scene.later(seconds, process.thaw)
        return True

    def slow_coordinator(self, chance: random.Random, seconds: float) -> bool:
        process = self._process
        process.slow_down(chance.choice((0.001, 0.01, 0.05)))
        self._scene.later(seconds, lambda: process.slow_down(0))
        return True

    def store_error(self, chance: random.Random, seconds: float) -> bool:
        self._step_fault, self._steps_left = "error", chance.randint(1, 10)
        return True

    def kill_in_step(self, chance: random.Random, seconds: float) -> bool:
        self._step_fault, self._steps_left = chance.choice(("before", "after")), chance.randint(1, 30)
        return True

    def _store_fault(self, moment: str) -> None:
        wanted = "before" if self._step_fault == "error" else self._step_fault
        if self._scene.over or moment != wanted:
            return
        self._steps_left -= 1
        if self._steps_left > 0:
            return
        fault, self._step_fault = self._step_fault, ""
        if fault == "error":
            self._timeline.tell("the coordinator's store fails")
            raise OSError("no space left on device")
        self._process.die_here()

    def spawn_error(self, chance: random.Random, seconds: float) -> bool:
        if not self._cluster.shape.spawns:
            return False
        self._spawns_to_fail = chance.randint(1, 4)
        return True

    def _spawn_fault(self) -> None:
        if self._spawns_to_fail and not self._scene.over:
            self._spawns_to_fail -= 1
            self._timeline.tell("a server cannot be started")
            raise OSError("resource temporarily unavailable")

    def switch(self, chance: random.Random, seconds: float) -> bool:
        configurations = self._cluster.configurations
        client = self._cluster.processes.get(f"client {chance.randint(1, self._cluster.shape.clients)}")
        if not configurations or client is None or not client.running or client.ending:
            return False
        configuration = chance.choice(configurations)
        if not configuration.secondaries:
            return False
        target = chance.choice(configuration.secondaries).server_id
        self._timeline.tell(f"an operator wants server {target} as primary of shard {configuration.shard}")
        client.program.client.admin("switch", shard=configuration.shard, server=target).addErrback(lambda _: None)
        return True

    def end(self) -> None:
        """No more faults: it runs."""
        self._start()
