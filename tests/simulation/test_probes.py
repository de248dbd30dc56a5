"""What a batch of runs has seen, and that wrong code would have been caught."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from twistedkv.core.operations import Event
from twistedkv.core.steps import Change
from twistedkv.simulation.around import followed, replaced
from twistedkv.simulation.cluster import Cluster, Shape
from twistedkv.simulation.coverage import WANTED, missing, of_journal
from twistedkv.simulation.invariants.every import Invariants
from twistedkv.simulation.probes import counting
from twistedkv.simulation.run import simulate
from twistedkv.simulation.timeline import Timeline


@pytest.fixture(autouse=True)
def forget_logged_errors(logged_errors: Any) -> Iterator[None]:
    """Faults make the coordinator log errors; what should not be logged is a problem of the run."""
    yield
    logged_errors.flush()
    logged_errors.events.clear()


def test_what_is_put_around_a_method_is_taken_away_again() -> None:
    class Thing:
        def double(self, number: int) -> int:
            return 2 * number

    plain = Thing.double
    seen: list[Any] = []
    with followed(Thing, "double", lambda result, thing, number: seen.append((result, number))):
        assert Thing().double(4) == 8
        with replaced(Thing, "double", lambda original: lambda thing, number: -original(thing, number)):
            assert Thing().double(4) == -8
    assert Thing.double is plain
    assert seen == [(8, 4), (8, 4)]


def test_counting_ends_with_the_run() -> None:
    counts: dict[str, int] = {}
    with counting(counts):
        pass
    outcome = simulate(9, 1.0)
    assert not counts
    assert set(WANTED) & set(outcome.counts)


def test_what_was_not_seen_is_named() -> None:
    everything = dict.fromkeys(WANTED, 1.0)
    assert missing(everything) == []
    assert missing(everything | {"switch.done": 0.0}) == ["switch-over"]
    assert len(missing({})) == len(WANTED)


def test_a_failure_while_another_is_repaired_is_counted_from_the_journal() -> None:
    def event(kind: str, operation: str | None = None) -> Event:
        return Event(1, 0.0, kind, "", None, None, None, operation)

    recovery = [event("server.failed"), event("operation.started", "recovery-1")]
    done = event("operation.done", "recovery-1")
    assert "second failure" not in of_journal([*recovery, done, event("server.failed")])
    counts = of_journal([*recovery, event("server.failed"), done])
    assert counts["second failure"] == 1
    assert counts["server.failed"] == 2
    assert "second failure" not in of_journal([event("operation.started", "drain-2"), event("server.failed")])


def test_configurations_that_break_a_rule_are_noticed() -> None:
    timeline = Timeline(1)
    cluster = Cluster(timeline, Shape(shards=1))
    invariants = Invariants(cluster)
    cluster.start_coordinator()
    for server_id in (1, 2, 3):
        cluster.start_server(server_id)
    assert timeline.run_while(lambda: not cluster.serving, 5)
    assert timeline.problems == []
    assert invariants.watch.looked
    [now] = cluster.configurations
    twice = attrs.evolve(now, primary=now.secondaries[0], secondaries=(now.primary,))
    invariants.stored.stored(Change(shards={0: twice}), {0: now})
    assert "I1: shard 0, epoch 1 names two" in timeline.problems[0]
    stranger = attrs.evolve(now.primary, store_id=bytes(16))
    invariants.stored.stored(Change(shards={0: attrs.evolve(now, epoch=9, primary=stranger)}), {0: now})
    assert "I9" in timeline.problems[-1]
