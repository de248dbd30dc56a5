"""Does the drawn faults, each when its time has come."""

from __future__ import annotations

import random
from collections.abc import Callable

from twistedkv.simulation.cluster import Cluster
from twistedkv.simulation.faults.clients import ClientFaults
from twistedkv.simulation.faults.coordinator import CoordinatorFaults
from twistedkv.simulation.faults.drawing import KINDS, Fault
from twistedkv.simulation.faults.links import LinkFaults
from twistedkv.simulation.faults.scene import Scene
from twistedkv.simulation.faults.servers import ServerFaults
from twistedkv.simulation.workload import Workload

Perform = Callable[[random.Random, float], bool]
"""(chance, seconds) -> whether it was done."""


class Faults:
    """Everything that goes wrong in one run."""

    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        self._cluster = cluster
        self._timeline = cluster.timeline
        self._scene = Scene(cluster, workload)
        self._servers = ServerFaults(self._scene)
        self._links = LinkFaults(self._scene)
        self._coordinator = CoordinatorFaults(self._scene)
        groups = (self._servers, self._links, self._coordinator, ClientFaults(self._scene))
        names = {kind: kind.replace(" ", "_") for kind in KINDS}
        self._perform: dict[str, Perform] = {
            kind: getattr(group, name) for group in groups for kind, name in names.items() if hasattr(group, name)
        }
        self.done: dict[str, int] = {}
        """How many of each kind were done."""

    def schedule(self, faults: list[Fault]) -> None:
        """Have them happen."""
        for fault in faults:
            self._timeline.at(self._timeline.now + fault.at, self._happen, fault)

    def _happen(self, fault: Fault) -> None:
        if not self._scene.over and self._perform[fault.kind](random.Random(fault.chance), fault.seconds):
            self.done[fault.kind] = self.done.get(fault.kind, 0) + 1

    def end(self) -> None:
        """No more faults; whatever is broken is mended."""
        self._scene.over = True
        self._timeline.tell("the faults end")
        self._links.end()
        for process in list(self._cluster.processes.values()):
            process.thaw()
            if process.alive and process.reactor.turn_seconds:
                process.slow_down(0)
        self._coordinator.end()
        self._servers.end()
