"""What can happen to a server."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from twistedkv.simulation.faults.scene import Scene
from twistedkv.simulation.process import Process


class ServerFaults:
    """Servers that are killed, frozen, slow, stopped, or whose store fails; who is gone is started again, by us unless
    the coordinator does it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._cluster = scene.cluster
        self._timeline = scene.timeline
        self._cluster.server_exited = self._exited
        self._cluster.storage_faults = self._storage_fault
        self._cluster.disk_full = scene.full.__contains__
        self._cluster.disk_seconds = lambda server_id: scene.slow_disks.get(server_id, 0.001)

    def kill_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._scene.victim(chance, seconds)
        if process is not None:
            process.kill()
        return process is not None

    def power_off(self, chance: random.Random, seconds: float) -> bool:
        if self._cluster.shape.spawns:
            return False  # spawned servers are on the coordinator's host
        process = self._scene.victim(chance, seconds)
        if process is None:
            return False
        host = process.reactor.host
        self._cluster.network.down[host] = None
        process.kill("lost its power", silent=True)
        return True

    def freeze_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._scene.victim(chance, seconds)
        if process is None:
            return False
        process.freeze()
        self._scene.later(seconds, process.thaw)
        return True

    def slow_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._scene.victim(chance, seconds)
        if process is None:
            return False
        process.slow_down(chance.choice((0.001, 0.01, 0.1)))
        self._scene.later(seconds, lambda: process.slow_down(0))
        return True

    def stop_server(self, chance: random.Random, seconds: float) -> bool:
        process = self._scene.victim(chance, seconds)
        if process is None:
            return False
        self._timeline.tell(f"{process.name} is asked to end")
        process.reactor.callLater(0, process.end)
        return True

    def fail_storage(self, chance: random.Random, seconds: float) -> bool:
        """The next thing that is stored there is not, unless by then the copies of that server are needed."""
        process = self._scene.victim(chance, seconds)
        if process is None:
            return False
        server_id = int(process.name.split()[1])
        self._timeline.tell(f"{process.name}: its store is about to fail")
        self._scene.unstorable[server_id] = None
        return True

    def fill_disk(self, chance: random.Random, seconds: float) -> bool:
        """Nothing can be stored there for a while."""
        return self._disk_fault(chance, seconds, self._scene.full, None, "its disk is full")

    def slow_disk(self, chance: random.Random, seconds: float) -> bool:
        """Its disk takes long for each batch, for a while."""
        takes = chance.choice((0.02, 0.3, 2.0))
        return self._disk_fault(chance, seconds, self._scene.slow_disks, takes, f"its disk takes {takes:g} s a batch")

    def _disk_fault(
        self, chance: random.Random, seconds: float, servers: dict[int, Any], value: Any, what: str
    ) -> bool:
        process = self._scene.victim(chance, seconds) if self._cluster.shape.durable else None
        if process is None:
            return False
        server_id = int(process.name.split()[1])
        self._timeline.tell(f"{process.name}: {what}")
        servers[server_id] = value
        self._scene.later(seconds, lambda: servers.pop(server_id, None))
        return True

    def power_cut(self, chance: random.Random, seconds: float) -> bool:
        """All servers lose their power at once, and come back in any order, within so long or much more."""
        cluster = self._cluster
        if not cluster.shape.durable or cluster.shape.spawns:
            return False
        self._timeline.tell("power cut")
        for server_id in self._scene.servers:
            process = cluster.processes.get(f"server {server_id}")
            if process is not None and process.alive:
                cluster.network.down[process.reactor.host] = None
                self._scene.unwell(server_id, seconds)
                process.kill("lost its power", silent=True)
        return True

    def fill_server(self, chance: random.Random, seconds: float) -> bool:
        """Its disk is full for a while. It goes on, and so do the others: no copy is out of service for that."""
        process = self._cluster.processes.get(f"server {chance.choice(self._scene.servers)}")
        core = None if process is None or not process.running else process.program.core
        if process is None or core is None or core.store.full:
            return False
        self._timeline.tell(f"{process.name}: its disk is full for {seconds:.2f} s")
        core.store.full = True
        self._scene.later(seconds, partial(self._empty, process))
        return True

    def _empty(self, process: Process) -> None:
        core = process.program.core if process.alive else None
        if core is not None:
            core.store.full = False

    def _storage_fault(self, server_id: int) -> bool:
        scene = self._scene
        return not scene.over and server_id in scene.unstorable and scene.expendable(server_id)

    # Starting again.

    def _exited(self, server_id: int, process: Process) -> None:
        self._scene.unstorable.pop(server_id, None)
        if not self._scene.over and not self._cluster.shape.spawned(server_id):
            pause = random.Random(process.pid).choice((0.02, 0.3, 1.5, 4.0))
            self._scene.later(pause, lambda: self._start(server_id))

    def _start(self, server_id: int) -> None:
        process = self._cluster.processes.get(f"server {server_id}")
        if process is None or not process.alive:
            self._cluster.network.down.pop(self._cluster.host_of(server_id), None)
            self._cluster.start_server(server_id)

    def end(self) -> None:
        """No more faults: whoever is away is started, whoever is ending is started again afterwards."""
        self._scene.unstorable.clear()
        self._scene.full.clear()
        self._scene.slow_disks.clear()
        for process in self._cluster.processes.values():
            if process.name.startswith("server "):
                self._empty(process)
        for server_id in self._scene.servers:
            if not self._cluster.shape.spawned(server_id):
                self._timeline.at(self._timeline.now, self._keep, server_id)

    def _keep(self, server_id: int) -> None:
        process = self._cluster.server_process(server_id)
        if not process.alive:
            self._start(server_id)
        elif process.ending:
            self._timeline.at(self._timeline.now + 1.0, self._keep, server_id)
