"""Each check notices what it is for, on a cluster in which something was put wrong by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import pytest

from tests.simulation.test_cluster import done, formed
from twistedkv.clustermap import Configuration, ServerState
from twistedkv.core.operations import Event
from twistedkv.core.replica import Replica
from twistedkv.core.steps import Change
from twistedkv.history.record import Record
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.simulation.cluster import Cluster
from twistedkv.simulation.invariants.copies import CopyChecks
from twistedkv.simulation.invariants.every import Invariants
from twistedkv.simulation.invariants.log import LogChecks
from twistedkv.simulation.invariants.serving import ServingChecks
from twistedkv.simulation.invariants.stored import StoredChecks
from twistedkv.simulation.invariants.watch import Watch


class Watched:
    """A cluster with a few keys, looked at."""

    def __init__(self, stack: ExitStack) -> None:
        self.cluster: Cluster = formed()
        self.invariants = Invariants(self.cluster)
        stack.enter_context(self.invariants.around())
        for configuration in self.cluster.configurations:  # it was formed before anybody looked
            self.invariants.watch.stored[configuration.shard, configuration.epoch] = configuration
        client = self.cluster.start_client(1)
        self.run(0.5)
        self.versions = {f"k{n}": done(self.cluster, client.program.client.put(b"k%d" % n, b"v")) for n in range(30)}
        self.run(0.5)
        assert self.problems == []

    @property
    def problems(self) -> list[str]:
        return self.cluster.timeline.problems

    @property
    def configuration(self) -> Configuration:
        return self.cluster.configurations[0]

    def run(self, seconds: float) -> None:
        self.cluster.timeline.run_until(self.cluster.timeline.now + seconds)

    def copy(self, place: int) -> Replica:
        """Of shard 0: of the primary, or of the secondary."""
        replica = self.invariants.watch.copy_of(self.configuration.members[place], 0)
        assert replica is not None
        return replica

    def now(self, replica: Replica) -> float:
        process = self.invariants.watch.process_of(replica)
        assert process is not None
        return process.reactor.seconds()

    def said(self, invariant: str) -> bool:
        """Whether that was noticed, and is the first that was."""
        return bool(self.problems) and f"invariant {invariant}:" in self.problems[0]


@pytest.fixture
def watched(logged_errors: Any) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(stack)
    logged_errors.flush()
    logged_errors.events.clear()


def test_a_healthy_cluster_breaks_nothing_and_was_looked_at(watched: Watched) -> None:
    looked = watched.invariants.watch.looked
    assert {"I2", "I3", "I4", "I7"} <= set(looked)
    watched.run(1.0)
    assert watched.problems == []


def test_I1_a_configuration_that_was_not_stored(watched: Watched) -> None:
    replica = watched.copy(1)
    replica.configure(attrs.evolve(watched.configuration, epoch=77), watched.now(replica))
    assert watched.said("I1")


def test_I2_an_epoch_that_goes_back(watched: Watched) -> None:
    replica = watched.copy(1)
    replica.epoch -= 1
    replica.tick(watched.now(replica), beat=False, stalled=False)
    assert watched.said("I2")


def test_I3_an_answer_that_not_every_copy_knows_of(watched: Watched) -> None:
    key, version = next(iter(watched.versions.items()))
    record = Record(1, 1, key, "write", ["v"], 0, 1, "ok", version=((version >> 42) + 1, 1))
    watched.invariants.answered(record)
    assert watched.said("I3")


def test_I3_a_commit_that_a_member_lacks(watched: Watched) -> None:
    primary, secondary = watched.copy(0), watched.copy(1)
    secondary.last -= 1
    primary.commit += 1
    primary.leading.advance(watched.now(primary))
    assert watched.said("I3")


def test_I4_two_updates_with_one_version(watched: Watched) -> None:
    checks = LogChecks(watched.invariants.watch)
    checks._same(watched.copy(0), 5, (4, b"k", b"a"))
    checks._same(watched.copy(1), 5, (4, b"k", b"a"))
    assert watched.problems == []
    checks._same(watched.copy(1), 5, (3, b"k", b"a"))
    assert watched.said("I4")


def test_I5_a_primary_that_holds_less_than_a_member(watched: Watched) -> None:
    before = watched.configuration
    watched.copy(1).last += 1
    after = attrs.evolve(before, epoch=before.epoch + 1)
    watched.invariants.stored.stored(Change(shards={0: after}), {0: before})
    assert watched.said("I5")


@pytest.mark.parametrize(("invariant", "level"), [("I6", 1), ("I8", 0)])
def test_a_primary_that_begins_to_serve_too_early(watched: Watched, invariant: str, level: int) -> None:
    primary = watched.copy(0)
    checks = CopyChecks(watched.invariants.watch)
    checks.grace_until[primary] = watched.now(primary) + 1.0
    serving = ServingChecks(watched.invariants.watch, checks)
    primary.configuration = attrs.evolve(watched.configuration, released=False)
    serving._begins(primary, primary.sequence + level, watched.now(primary))
    assert watched.said(invariant)


def test_I7_a_lease_that_outlives_the_promise(watched: Watched) -> None:
    secondary = watched.copy(1)
    secondary.promise_until = 0.0
    primary = watched.copy(0)
    primary.leading.advance(watched.now(primary))
    assert watched.said("I7")


def test_I7_two_that_could_answer_reads(watched: Watched) -> None:
    secondary = watched.copy(1)
    secondary.role = ReplicaRole.PRIMARY
    secondary.lease_until = watched.now(secondary) + 1
    ServingChecks(watched.invariants.watch, CopyChecks(watched.invariants.watch)).look()
    assert watched.said("I7")


def test_I9_a_member_that_was_none(watched: Watched) -> None:
    before = watched.configuration
    stranger = attrs.evolve(before.primary, store_id=bytes(16))
    after = attrs.evolve(before, epoch=before.epoch + 1, primary=stranger)
    StoredChecks(watched.invariants.watch).stored(Change(shards={0: after}), {0: before})
    assert watched.said("I9")


def test_I10_a_learner_that_is_to_be_added_and_is_not_counted(watched: Watched) -> None:
    primary = watched.copy(0)
    [follower] = primary.leading.followers.values()
    follower.counted = False
    primary.leading._tell_updated(follower)
    assert watched.said("I10")


def test_I10_and_I11_what_an_added_learner_holds(watched: Watched) -> None:
    before = watched.configuration
    [secondary] = before.secondaries
    learner = watched.copy(1)
    learner.role = ReplicaRole.LEARNER
    as_learner = attrs.evolve(before, secondaries=(), learners=(secondary,))
    after = attrs.evolve(before, epoch=before.epoch + 1)
    slot, key = next((s, k) for s in before.slots for k, _ in learner.store.items(s))
    record = learner.store.get(slot, key)
    assert record is not None
    learner.store.drop([slot])
    watched.invariants.stored.stored(Change(shards={0: after}), {0: as_learner})
    assert watched.said("I10")
    learner.store.put(slot, key, record)
    learner.store.put(slot, b"ghost", record)
    again = attrs.evolve(after, epoch=after.epoch + 1)
    watched.invariants.stored.stored(Change(shards={0: again}), {0: as_learner})
    assert "invariant I11:" in watched.problems[1]


def test_I12_a_write_that_is_executed_again(watched: Watched) -> None:
    checks = LogChecks(watched.invariants.watch)
    primary = watched.copy(0)
    for version in (1, 2, 3):
        checks._same(primary, version, (version - 1, b"k", b"v"))
    primary.last = 2
    checks._executed_once(primary, bytes(16), 7, 1)
    assert watched.problems == []
    primary.last = 4
    checks._executed_once(primary, bytes(16), 7, 3)
    assert watched.said("I12")


def test_I13_a_read_of_what_is_not_committed(watched: Watched) -> None:
    key, version = next(iter(watched.versions.items()))
    record = Record(1, 1, key, "read", [], 0, 1, "ok", "v", ((version >> 42) + 1, 1))
    watched.invariants.answered(record)
    assert watched.said("I13")


def test_I14_a_copy_that_forgets_that_it_was_sealed(watched: Watched) -> None:
    replica = watched.copy(1)
    epoch = watched.cluster.disk.promised[0] = replica.epoch + 1
    assert replica.seal(epoch, watched.now(replica)).holds
    assert watched.problems == []
    replica.role = ReplicaRole.SECONDARY
    replica.tick(watched.now(replica), beat=False, stalled=False)
    assert watched.said("I14")


def test_I16_a_judgement_right_after_a_stall(watched: Watched) -> None:
    coordinator = watched.cluster.processes["coordinator"]
    event = Event(1, 0.0, "server.failed", "server 1: 5 heartbeats missed (1.00 s)", None, None, 1, None)
    failed = attrs.evolve(watched.cluster.disk.servers[1], state=ServerState.FAILED)
    change = Change(servers={1: failed}, events=[event])
    watched.invariants.stored.stored(change, {})
    assert watched.problems == []
    coordinator.thawed_at, coordinator.frozen_seconds = watched.cluster.timeline.now, 2.0
    watched.invariants.stored.stored(change, {})
    assert watched.said("I16")


def test_I17_a_shard_that_is_left_alone_although_it_lacks_a_copy(watched: Watched) -> None:
    planner = watched.cluster.processes["coordinator"].program.planner
    assert not planner.state.restless
    watched.run(0.1)
    assert watched.problems == []
    assert watched.invariants.watch.looked["I17"]
    planner.state.shards[0] = attrs.evolve(watched.configuration, secondaries=())
    watched.run(0.1)
    assert watched.said("I17")


def test_I17_a_shard_that_is_left_alone_although_its_primary_does_not_serve(watched: Watched) -> None:
    planner = watched.cluster.processes["coordinator"].program.planner
    report = planner.state.report(0, watched.configuration.primary)
    assert report is not None
    report.role = ReplicaRole.STEPPED_DOWN
    watched.run(0.1)
    assert watched.said("I17")


def test_a_sentence_is_said_once(watched: Watched) -> None:
    watch = Watch(watched.cluster)
    watch.wrong("I1", "no")
    watch.wrong("I1", "no")
    assert len(watched.problems) == 1
