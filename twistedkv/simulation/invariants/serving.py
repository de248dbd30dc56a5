"""Primaries: what counts as committed, who may read and since when, and what clients are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from twistedkv.core.leading import Leading
from twistedkv.core.mailbox import Mailbox
from twistedkv.core.replica import Replica
from twistedkv.core.serving import Serving
from twistedkv.history.record import Record
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import version_of
from twistedkv.simulation.around import followed, replaced
from twistedkv.simulation.invariants.copies import CopyChecks
from twistedkv.simulation.invariants.watch import Watch
from twistedkv.slots import slot_of

_READING = (ReplicaRole.PRIMARY, ReplicaRole.SWITCHING)
_ROUNDING_SECONDS = 1e-6


class ServingChecks:
    """I3, I6, I7, I8, I13."""

    def __init__(self, watch: Watch, copies: CopyChecks) -> None:
        self._watch = watch
        self._copies = copies
        self._committed: dict[Replica, int] = {}

    @contextmanager
    def around(self) -> Iterator[None]:
        """For the time of a run."""
        with ExitStack() as stack:
            for context in (
                followed(Leading, "advance", self._advanced),
                replaced(Leading, "_try_to_serve", self._around_try_to_serve),
                replaced(Serving, "_answer_read", self._around_answer_read),
            ):
                stack.enter_context(context)
            yield

    def _advanced(self, result: Any, leading: Leading, now: float) -> None:
        replica = leading._replica
        if replica.role not in (*_READING, ReplicaRole.RECONCILING):
            return
        if replica.commit > self._committed.get(replica, 0):
            self._committed[replica] = replica.commit
            self._everybody_has(replica, replica.commit, "I3", "commits")
        if replica.role in _READING:
            self._lease(replica)

    def _everybody_has(self, replica: Replica, sequence: int, invariant: str, does: str) -> None:
        watch = self._watch
        if watch.broken(invariant, replica.sequence >= sequence):
            watch.wrong(invariant, f"{Watch.name(replica)} {does} {sequence}, and lacks it")
        for follower in replica.leading.followers.values():
            other = watch.copy_of(follower.member, replica.shard)
            if other is None or not follower.counted or other.role is ReplicaRole.NONE:
                continue
            if other.role is ReplicaRole.LEARNER and (not follower.learner or other.fill != follower.fill):
                continue  # it has lost its place, and will be filled again
            if watch.broken(invariant, other.sequence >= sequence):
                watch.wrong(
                    invariant,
                    f"{Watch.name(replica)} {does} {sequence}, and {Watch.name(other)} is at {other.sequence}",
                )

    def _lease(self, replica: Replica) -> None:
        """Every copy that is counted has promised not to serve before the lease is over."""
        watch = self._watch
        process = watch.process_of(replica)
        if process is None or replica.lease_until <= process.reactor.seconds():
            return
        assert replica.configuration is not None
        for member in replica.configuration.members:
            other = watch.copy_of(member, replica.shard)
            if member == replica.me or other is None or other.role is not ReplicaRole.SECONDARY:
                continue
            their = watch.process_of(other)
            assert their is not None
            lease = process.reactor.clock.true(replica.lease_until)
            promise = their.reactor.clock.true(other.promise_until)
            if watch.broken("I7", lease <= promise + _ROUNDING_SECONDS):
                watch.wrong(
                    "I7",
                    f"{Watch.name(replica)} may read until {lease:.6f}, {Watch.name(other)} promises {promise:.6f}",
                )

    def _around_try_to_serve(self, original: Any) -> Any:
        def try_to_serve(leading: Leading, now: float) -> None:
            replica = leading._replica
            role, level = replica.role, replica.sequence
            original(leading, now)
            if role is ReplicaRole.RECONCILING and replica.role in _READING:
                self._begins(replica, level, now)

        return try_to_serve

    def _begins(self, replica: Replica, level: int, now: float) -> None:
        watch = self._watch
        self._everybody_has(replica, level, "I6", "begins to serve at")
        assert replica.configuration is not None
        promised = self._copies.grace_until.get(replica, 0.0)
        if watch.broken("I8", now >= promised or replica.configuration.released):
            watch.wrong(
                "I8",
                f"{Watch.name(replica)} begins to serve at {now:.6f}, and has promised not to before {promised:.6f}",
            )
        if now >= replica.lease_until:
            return  # it may have been superseded for long, and does no harm
        for process, other in watch.others(replica):
            may_read = other.role in _READING and process.reactor.seconds() < other.lease_until
            if watch.broken("I8", not may_read):
                watch.wrong("I8", f"{Watch.name(replica)} begins to serve, and {Watch.name(other)} may still read")

    # What clients are told.

    def _around_answer_read(self, original: Any) -> Any:
        def answer_read(serving: Serving, mailbox: Mailbox, request_id: int, sequence: int, frame: bytes) -> None:
            before = mailbox.size
            original(serving, mailbox, request_id, sequence, frame)
            if mailbox.size > before:
                replica = serving.replica
                if self._watch.broken("I13", sequence <= replica.commit):
                    self._watch.wrong(
                        "I13", f"{Watch.name(replica)} answers with {sequence}, and has committed {replica.commit}"
                    )

        return answer_read

    def answered(self, record: Record) -> None:
        """A client has its answer: what it tells of is on every copy."""
        if record.result != "ok" or record.version is None:
            return
        slot = slot_of(record.key.encode())
        configuration = next((c for c in self._watch.cluster.configurations if slot in c.slots), None)
        if configuration is None or configuration.lost:
            return
        version = version_of(*record.version)
        invariant = "I3" if record.writes else "I13"
        for member in configuration.members:
            other = self._watch.copy_of(member, configuration.shard)
            known = other is None or other.role is ReplicaRole.NONE or other.last >= version
            if self._watch.broken(invariant, known) and other is not None:
                self._watch.wrong(invariant, f"{Watch.name(other)} is at {other.last}, a client knows {version}")

    def look(self) -> None:
        """Of each shard at most one process that runs could answer a read."""
        readers: dict[int, list[Replica]] = {}
        for server_id in self._watch.cluster.shape.server_ids:
            process = self._watch.cluster.processes.get(f"server {server_id}")
            if process is None or not process.running or process.program.core is None:
                continue
            now = process.reactor.seconds()
            for shard, replica in process.program.core.replicas.items():
                if replica.role in _READING and now < replica.lease_until:
                    readers.setdefault(shard, []).append(replica)
        for shard, found in readers.items():
            names = " and ".join(map(Watch.name, found))
            if self._watch.broken("I7", len(found) == 1):
                self._watch.wrong("I7", f"shard {shard} could be read at {names}")
