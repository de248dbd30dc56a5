"""What can happen to a client."""

from __future__ import annotations

import random

from twistedkv.simulation.faults.scene import Scene
from twistedkv.simulation.process import Process


class ClientFaults:
    """Clients that are killed, and others in their place, or frozen."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._cluster = scene.cluster

    def _client(self, chance: random.Random) -> Process | None:
        process = self._cluster.processes.get(f"client {chance.randint(1, self._cluster.shape.clients)}")
        return process if process is not None and process.running and not process.ending else None

    def kill_client(self, chance: random.Random, seconds: float) -> bool:
        process = self._client(chance)
        if process is None:
            return False
        process.kill()
        number = int(process.name.split()[1])
        self._scene.later(0.2, lambda: self._scene.workload.run_client(self._cluster.start_client(number)))
        return True

    def freeze_client(self, chance: random.Random, seconds: float) -> bool:
        process = self._client(chance)
        if process is None:
            return False
        process.freeze()
        self._scene.later(seconds, process.thaw)
        return True
