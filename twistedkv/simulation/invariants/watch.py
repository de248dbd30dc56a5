"""What all checks need: the whole cluster at one moment, and where to say what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from twistedkv.clustermap import Configuration, Member
from twistedkv.core.replica import Replica
from twistedkv.simulation.cluster import Cluster
from twistedkv.simulation.process import Process


class Watch:
    """One cluster. What is wrong goes to the timeline's problems, each once."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.timeline = cluster.timeline
        self.stored: dict[tuple[int, int], Configuration] = {}
        """By shard and epoch: every configuration that the coordinator has stored."""
        self.looked: dict[str, int] = {}
        """By invariant: how often something could have been wrong."""
        self._told: dict[str, None] = {}

    def wrong(self, invariant: str, text: str) -> None:
        """An invariant is broken."""
        sentence = f"{invariant}: {text}"
        if sentence not in self._told:
            self._told[sentence] = None
            self.timeline.problems.append(f"{self.timeline.now:.6f} invariant {sentence}")

    def broken(self, invariant: str, holds: object) -> bool:
        """Look at it: whether it does not hold. To be said by `wrong`, whose sentence costs more than the look."""
        self.looked[invariant] = self.looked.get(invariant, 0) + 1
        return not holds

    def copy_of(self, member: Member, shard: int) -> Replica | None:
        """The member's copy, if its process lives and has one."""
        core = self.cluster.core_of(member)
        return None if core is None else core.replicas.get(shard)

    def process_of(self, replica: Replica) -> Process | None:
        """The process that a copy is in, if it lives."""
        process = self.cluster.processes.get(f"server {replica.me.server_id}")
        alive = process is not None and process.alive and process.program.store_id == replica.me.store_id
        return process if alive else None

    def others(self, replica: Replica) -> Iterator[tuple[Process, Replica]]:
        """Every other copy of the shard, in a process that lives, running or frozen."""
        for server_id in self.cluster.shape.server_ids:
            process = self.cluster.processes.get(f"server {server_id}")
            if process is not None and process.alive and process.program.core is not None:
                other = process.program.core.replicas.get(replica.shard)
                if other is not None and other is not replica:
                    yield process, other

    @staticmethod
    def name(replica: Replica) -> str:
        """For sentences."""
        return f"server {replica.me.server_id}, shard {replica.shard}, {replica.role.name} in epoch {replica.epoch}"
