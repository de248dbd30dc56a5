"""Each copy by itself: what it is told, what it has promised, and what a learner keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from twistedkv.clustermap import Configuration
from twistedkv.core.leading import Leading
from twistedkv.core.progress import Follower
from twistedkv.core.replica import Replica
from twistedkv.messages.coordinator import ReplicaRole, Sealed
from twistedkv.messages.peer import RefusedSection, Section
from twistedkv.simulation.around import followed, replaced
from twistedkv.simulation.invariants.stored import RECOVERED_BEATS, STALL_BEATS
from twistedkv.simulation.invariants.watch import Watch
from twistedkv.storage.durable import DurableStore
from twistedkv.storage.interface import Store
from twistedkv.storage.memory import MemoryStore


class CopyChecks:
    """I1, I2, I9, I10, I11, I14, I16."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._promised: dict[Replica, int] = {}
        """The highest epoch that each copy has answered for."""
        self._sealed: dict[Replica, int] = {}
        """Copies that were sealed, and no configuration of that epoch has come since."""
        self.grace_until: dict[Replica, float] = {}
        """By the copy's clock: what it has promised to the primaries that it has acknowledged."""
        self._asked_for: dict[Follower, None] = {}
        """Learners that the coordinator was asked to add."""

    @contextmanager
    def around(self) -> Iterator[None]:
        """For the time of a run."""
        with ExitStack() as stack:
            for context in (
                followed(Replica, "configure", self._configured),
                followed(Replica, "seal", self._was_sealed),
                followed(Replica, "append", self._appended),
                followed(Replica, "tick", self._ticked),
                replaced(Replica, "purge", self._around_purge),
                replaced(MemoryStore, "put_newer", self._around_put_newer),
                replaced(DurableStore, "put_newer", self._around_put_newer),
                followed(Leading, "_tell_updated", self._told_updated),
                followed(Leading, "_give_up", self._gave_up),
            ):
                stack.enter_context(context)
            yield

    def _configured(self, result: Any, replica: Replica, configuration: Configuration, now: float) -> None:
        watch = self._watch
        stored = watch.stored.get((configuration.shard, configuration.epoch))
        if watch.broken("I1", stored == configuration):
            watch.wrong("I1", f"{Watch.name(replica)} is told {configuration}, stored is {stored}")
        if self._sealed.get(replica, configuration.epoch + 1) <= configuration.epoch:
            del self._sealed[replica]
        self._kept_promise(replica)
        if replica.configuration is configuration and replica.me not in configuration.everyone:
            store: Any = replica.store
            keeps = replica.whole and replica.me.server_id in configuration.preferred
            empty = keeps or not store.held(configuration.slots)
            if watch.broken("I9", replica.role is ReplicaRole.NONE and empty):
                watch.wrong(
                    "I9", f"{Watch.name(replica)}, store {replica.me.store_id.hex()}, is not named and holds on"
                )

    def _was_sealed(self, answer: Sealed, replica: Replica, epoch: int, now: float) -> None:
        watch = self._watch
        promised = watch.cluster.disk.promised.get(replica.shard, 0)
        if watch.broken("I1", epoch <= promised):
            watch.wrong("I1", f"{Watch.name(replica)} is sealed at {epoch}, promised is {promised}")
        if answer.holds and answer.epoch == epoch > self._promised.get(replica, 0):
            if watch.broken("I14", replica.role is ReplicaRole.SEALED):
                watch.wrong("I14", f"{Watch.name(replica)} has answered SEAL {epoch}")
            self._sealed[replica] = epoch
        self._promised[replica] = max(self._promised.get(replica, 0), answer.epoch)
        self._kept_promise(replica)

    def _appended(self, refused: RefusedSection | None, replica: Replica, section: Section, now: float) -> None:
        if refused is None:
            promised = self._promised.get(replica, 0)
            if self._watch.broken("I2", section.epoch >= promised):
                self._watch.wrong(
                    "I2", f"{Watch.name(replica)} takes an update of epoch {section.epoch} and has promised {promised}"
                )
            self.grace_until[replica] = now + replica.timing.grace
        self._kept_promise(replica)

    def _ticked(self, result: Any, replica: Replica, now: float, **_: Any) -> None:
        self._kept_promise(replica)
        for follower in replica.leading.followers.values():
            if follower in self._asked_for and self._watch.broken("I10", follower.counted):
                server_id = follower.member.server_id
                self._watch.wrong("I10", f"{Watch.name(replica)}: server {server_id} may be added, and is not counted")

    def _kept_promise(self, replica: Replica) -> None:
        promised = self._promised.get(replica, 0)
        if self._watch.broken("I2", replica.epoch >= promised):
            self._watch.wrong("I2", f"{Watch.name(replica)} has promised {promised}")
        self._promised[replica] = max(promised, replica.epoch)
        sealed = self._sealed.get(replica)
        if sealed is not None and self._watch.broken("I14", replica.role is ReplicaRole.SEALED):
            self._watch.wrong("I14", f"{Watch.name(replica)} was sealed at {sealed}, and no configuration came since")

    # Learners.

    def _around_purge(self, original: Any) -> Any:
        def purge(replica: Replica) -> None:
            before = len(replica.deletions)
            original(replica)
            kept = replica.role is not ReplicaRole.LEARNER or len(replica.deletions) == before
            if self._watch.broken("I11", kept):
                self._watch.wrong("I11", f"{Watch.name(replica)} forgets deletions during its fill")

        return purge

    def _around_put_newer(self, original: Any) -> Any:
        def put_newer(store: Store, slot: int, key: bytes, record: bytes) -> bool:
            before = store.get(slot, key) or b""
            stored: bool = original(store, slot, key, record)
            after = (store.get(slot, key) or b"")[:8]
            if self._watch.broken("I11", after >= before[:8] and after >= record[:8]):
                self._watch.wrong(
                    "I11",
                    f"{key!r} goes from version {before[:8].hex()} to {after.hex()}, offered was {record[:8].hex()}",
                )
            return stored

        return put_newer

    def _told_updated(self, result: Any, leading: Leading, follower: Follower) -> None:
        if self._watch.broken("I10", follower.counted):
            name, server_id = Watch.name(leading._replica), follower.member.server_id
            self._watch.wrong("I10", f"{name}: server {server_id} is to be added, and is not counted")
        self._asked_for[follower] = None

    def _gave_up(self, result: Any, leading: Leading, follower: Follower, reason: str) -> None:
        replica = leading._replica
        process = self._watch.process_of(replica)
        if process is None or "acknowledged nothing" not in reason:
            return
        beat = replica.timing.heartbeat
        since = self._watch.timeline.now - process.thawed_at
        stalled = process.frozen_seconds > STALL_BEATS * beat and since < RECOVERED_BEATS * beat
        if self._watch.broken("I16", not stalled):
            name, server_id = Watch.name(replica), follower.member.server_id
            stall = f"{since:.3f} s after it was frozen for {process.frozen_seconds:.3f} s itself"
            self._watch.wrong("I16", f"{name} judges server {server_id} {stall}")
