"""Where faults happen, and how many may happen at a time.

A cluster with n copies survives n - 1 failures at a time and not more. So a fault that takes a server out of service is
skipped when some shard would be left without a member that is well and has been for a while; everything that does not
endanger data is done always.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from twistedkv.simulation.cluster import Cluster
from twistedkv.simulation.process import Process
from twistedkv.simulation.workload import Workload

CONVALESCENCE_BEATS = 10
"""So long after a fault a server is not yet well: what the fault has caused may still be on its way."""


class Scene:
    """The cluster, its clients, and who is well."""

    def __init__(self, cluster: Cluster, workload: Workload) -> None:
        self.cluster = cluster
        self.workload = workload
        self.timeline = cluster.timeline
        self.servers = list(cluster.shape.server_ids)
        self.over = False
        """The time of faults is over."""
        self.unstorable: dict[int, None] = {}
        """Servers whose stores are about to fail."""
        self.full: dict[int, None] = {}
        """Servers whose disks are full."""
        self.slow_disks: dict[int, float] = {}
        """Servers whose disks take so many seconds for a batch."""
        self._unwell_until = dict.fromkeys(self.servers, 0.0)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Have something done, if the faults are not over by then."""
        self.timeline.at(self.timeline.now + seconds, lambda: None if self.over else call())

    def well(self, server_id: int) -> bool:
        """Whether nothing has happened to the server for a while."""
        process = self.cluster.processes.get(f"server {server_id}")
        if process is None or not process.running or process.ending or server_id in self.unstorable:
            return False
        return self._unwell_until[server_id] < self.timeline.now

    def expendable(self, server_id: int) -> bool:
        """Whether every shard would still have a member that is well, or nothing is lost with a process."""
        if self.cluster.shape.durable:
            return True
        for configuration in self.cluster.configurations:
            if all(member.server_id != server_id for member in configuration.everyone):
                continue
            others = [m for m in configuration.members if m.server_id != server_id]
            if not any(self.well(m.server_id) and self.cluster.core_of(m) for m in others):
                return False
        return True

    def victim(self, chance: random.Random, seconds: float) -> Process | None:
        """A server that may be taken out of service for so long."""
        server_id = chance.choice(self.servers)
        process = self.cluster.processes.get(f"server {server_id}")
        if process is None or not process.running or process.ending or not self.expendable(server_id):
            return None
        self.unwell(server_id, seconds)
        return process

    def unwell(self, server_id: int, seconds: float) -> None:
        """Something happens to the server, and takes so long."""
        until = self.timeline.now + seconds + CONVALESCENCE_BEATS * self.cluster.shape.heartbeat_seconds
        self._unwell_until[server_id] = max(self._unwell_until[server_id], until)
