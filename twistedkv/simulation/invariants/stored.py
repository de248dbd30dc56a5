"""When the coordinator decides: epochs, who may follow whom, who was judged by whom, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twistedkv.clustermap import Configuration, Member, Server, ServerState
from twistedkv.core.failover import failover_reason
from twistedkv.core.planner import Planner
from twistedkv.core.recovery import at_rest
from twistedkv.core.replica import Replica
from twistedkv.core.steps import Change
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import is_tombstone, record_version, sequence_of
from twistedkv.simulation.around import followed
from twistedkv.simulation.invariants.watch import Watch

STALL_BEATS = 3.0
"""Longer than anybody may have been stopped and judge others at once; the rule says 2, and a tick may be late."""
RECOVERED_BEATS = 1.5
"""So long after a stall nobody can have been silent for too long."""


class StoredChecks:
    """I1, I5, I9, I10, I16, I17."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        watch.cluster.stored = self.stored

    @contextmanager
    def around(self) -> Iterator[None]:
        """For the time of a run."""
        with followed(Planner, "tick", self._ticked):
            yield

    def _ticked(self, result: Any, planner: Planner, now: float) -> None:
        state = planner.state
        for shard, configuration in state.shards.items():
            if shard not in state.restless:
                why = failover_reason(state, configuration, now)
                if self._watch.broken("I17", at_rest(state, configuration) and not why):
                    self._watch.wrong("I17", f"shard {shard} is left alone: {why or configuration}")

    def stored(self, change: Change, before: dict[int, Configuration]) -> None:
        """The coordinator has stored a change; `before` are the shards as they were."""
        watch = self._watch
        for shard, new in change.shards.items():
            old = before.get(shard)
            named = watch.stored.setdefault((shard, new.epoch), new)
            if watch.broken("I1", named == new):
                watch.wrong("I1", f"shard {shard}, epoch {new.epoch} names two configurations: {named} and {new}")
            if old is None or new.birth != old.birth:
                continue
            if watch.broken("I1", new.epoch > old.epoch):
                watch.wrong("I1", f"shard {shard} goes from epoch {old.epoch} to {new.epoch}")
            if not new.lost:
                self._follows(old, new)
        self._judged(change)

    def _follows(self, old: Configuration, new: Configuration) -> None:
        watch = self._watch
        where = f"shard {new.shard}, epoch {new.epoch}"
        strangers = [m for m in new.members if m not in old.everyone]
        if watch.broken("I9", not strangers and new.primary in old.members):
            watch.wrong("I9", f"{where}: {new.members} after members {old.members} and learners {old.learners}")
        primary = watch.copy_of(new.primary, new.shard)
        if primary is None:
            return  # it has died since
        for member in new.members:
            other = watch.copy_of(member, new.shard)
            if other is None or other is primary or not _holds_data(other):
                continue
            if watch.broken("I5", primary.last >= other.last):
                watch.wrong(
                    "I5",
                    f"{where}: the primary, server {new.primary.server_id}, is at {primary.last}, "
                    f"but server {member.server_id} at {other.last}",
                )
        for member in new.secondaries:
            if member in old.learners:
                self._added(new, primary, member)

    def _added(self, new: Configuration, primary: Replica, member: Member) -> None:
        """A learner has become a member: it has everything that is committed, and nothing that was deleted."""
        learner = self._watch.copy_of(member, new.shard)
        if learner is None or learner.role is not ReplicaRole.LEARNER:
            return  # it has died since, or lost its place
        where = f"shard {new.shard}, epoch {new.epoch}: learner {member.server_id}"
        theirs, ours = _records(learner), _records(primary)
        missing = [
            key
            for key, record in ours.items()
            if sequence_of(record_version(record)) <= primary.commit
            and (key not in theirs or theirs[key][:8] < record[:8])
            and not (is_tombstone(record) and key not in theirs)
        ]
        if self._watch.broken("I10", not missing):
            self._watch.wrong("I10", f"{where} is added and lacks {missing[:3]}")
        ghosts = [
            key
            for key, record in theirs.items()
            if not is_tombstone(record) and (key not in ours or ours[key][:8] < record[:8])
        ]
        if self._watch.broken("I11", not ghosts):
            self._watch.wrong("I11", f"{where} is added and holds {ghosts[:3]}, which are gone or older")

    def _judged(self, change: Change) -> None:
        silences = [
            event
            for event in change.events
            if event.event == "server.failed" and ("missed" in event.text or "was lost" in event.text)
        ]
        failed: list[Server] = [s for s in change.servers.values() if s.state is ServerState.FAILED]
        if not silences or not failed:
            return
        process = self._watch.cluster.processes["coordinator"]
        beat = self._watch.cluster.shape.heartbeat_seconds
        since = self._watch.timeline.now - process.thawed_at
        stalled = process.frozen_seconds > STALL_BEATS * beat and since < RECOVERED_BEATS * beat
        names = ", ".join(str(server.server_id) for server in failed)
        if self._watch.broken("I16", not stalled):
            self._watch.wrong(
                "I16", f"server {names} is judged {since:.3f} s after a stall of {process.frozen_seconds:.3f} s"
            )


def _holds_data(replica: Replica) -> bool:
    return replica.role not in (ReplicaRole.NONE, ReplicaRole.LEARNER)


def _records(replica: Replica) -> dict[bytes, bytes]:
    store: Any = replica.store
    held: dict[bytes, bytes] = {} if replica.configuration is None else store.held(replica.configuration.slots)
    return held
