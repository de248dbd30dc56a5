"""What must hold at every moment of a run, looked at where it could break.

When the coordinator stores: an epoch of a shard names one configuration (I1), epochs grow, a new primary was a member
before (I5) and holds every write that was acknowledged (I3, I5). Every few milliseconds: of each shard at most one
process that runs could answer a read (I7, I8), and none has committed more than it has.
"""

from __future__ import annotations

from twistedkv.clustermap import Configuration
from twistedkv.core.steps import Change
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.recording.history import History
from twistedkv.records import sequence_of, version_of
from twistedkv.simulation.cluster import Cluster
from twistedkv.slots import slot_of

LOOK_SECONDS = 0.02


class Invariants:
    """Watches one cluster. What is wrong goes to the timeline's problems, each once."""

    def __init__(self, cluster: Cluster, history: History) -> None:
        self._cluster = cluster
        self._timeline = cluster.timeline
        self._history = history
        self._named: dict[tuple[int, int], Configuration] = {}
        self._told: dict[str, None] = {}
        self._seen = 0
        self._acknowledged: dict[int, int] = {}
        """By slot: the newest version of an acknowledged write."""
        self.looked = 0
        """How often it has looked."""
        cluster.stored = self.stored
        self._timeline.at(self._timeline.now, self._look)

    def _wrong(self, text: str) -> None:
        if text not in self._told:
            self._told[text] = None
            self._timeline.problems.append(f"{self._timeline.now:.6f} invariant: {text}")

    def stored(self, change: Change, before: dict[int, Configuration]) -> None:
        """The coordinator has stored a change."""
        for shard, new in change.shards.items():
            old = before.get(shard)
            named = self._named.setdefault((shard, new.epoch), new)
            if named != new:
                self._wrong(f"I1: shard {shard}, epoch {new.epoch} names two configurations: {named} and {new}")
            if old is None or new.birth != old.birth:
                continue
            if new.epoch <= old.epoch:
                self._wrong(f"I1: shard {shard} goes from epoch {old.epoch} to {new.epoch}")
            if new.lost:
                continue
            strangers = [m for m in new.members if m not in old.everyone]
            if strangers or new.primary not in old.members:
                self._wrong(f"I5: shard {shard}, epoch {new.epoch}: {new.members} after {old.members}")
            self._check_holds(new)

    def _check_holds(self, configuration: Configuration) -> None:
        self._learn()
        core = self._cluster.core_of(configuration.primary)
        replica = core.replicas.get(configuration.shard) if core is not None else None
        if replica is None:
            return  # it has died since; nothing can be said of what it held
        newest = max((self._acknowledged.get(slot, 0) for slot in configuration.slots), default=0)
        if replica.last < newest:
            self._wrong(
                f"I3: shard {configuration.shard}, epoch {configuration.epoch}: the primary, server "
                f"{configuration.primary.server_id}, is at {replica.last}, but {newest} was acknowledged"
            )

    def _learn(self) -> None:
        # Records end in any order, so the last few hundred are looked at again.
        records = self._history.records
        for record in records[max(0, self._seen - 500) :]:
            if record.version is not None and record.result == "ok":
                slot = slot_of(record.key.encode())
                version = version_of(*record.version)
                self._acknowledged[slot] = max(self._acknowledged.get(slot, 0), version)
        self._seen = len(records)

    def _look(self) -> None:
        self.looked += 1
        leaders: dict[int, list[str]] = {}
        for server_id in self._cluster.shape.server_ids:
            process = self._cluster.processes.get(f"server {server_id}")
            if process is None or not process.running or process.program.core is None:
                continue
            now = process.reactor.seconds()
            for shard, replica in process.program.core.replicas.items():
                if replica.commit > sequence_of(replica.last):
                    self._wrong(f"I4: {process.name}, shard {shard}: commit {replica.commit} is past its log")
                if replica.role is ReplicaRole.PRIMARY and now < replica.lease_until:
                    leaders.setdefault(shard, []).append(f"{process.name} in epoch {replica.epoch}")
        for shard, names in leaders.items():
            if len(names) > 1:
                self._wrong(f"I7: shard {shard} could be read at {' and '.join(names)}")
        self._timeline.at(self._timeline.now + LOOK_SECONDS, self._look)
