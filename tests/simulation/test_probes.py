"""What a batch of runs has seen, and that wrong code would have been caught."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.simulation.mutants import MUTANTS
from twistedkv.core.steps import Change
from twistedkv.simulation.cluster import Cluster, Shape
from twistedkv.simulation.invariants import Invariants
from twistedkv.simulation.probes import WANTED, counting
from twistedkv.simulation.run import simulate
from twistedkv.simulation.timeline import Timeline
from twistedkv.simulation.workload import history_on


@pytest.fixture(autouse=True)
def forget_logged_errors(logged_errors: Any) -> Iterator[None]:
    """Faults make the coordinator log errors; what should not be logged is a problem of the run."""
    yield
    logged_errors.flush()
    logged_errors.events.clear()


@pytest.mark.parametrize(
    ("name", "first"), [("no_dedup", 1), ("no_lease", 9), ("acknowledge_at_once", 18), ("read_uncommitted", 18)]
)
def test_a_mutant_is_caught(name: str, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within so many seeds of the one that catches it at present, since any change of the system changes all runs."""
    MUTANTS[name](monkeypatch)
    assert any(simulate(seed, 10.0).problems for seed in range(first, first + 40))


def test_counting_ends_with_the_run() -> None:
    counts: dict[str, int] = {}
    with counting(counts):
        pass
    outcome = simulate(9, 1.0)
    assert not counts
    assert set(WANTED) & set(outcome.counts)


def test_configurations_that_break_a_rule_are_noticed() -> None:
    timeline = Timeline(1)
    cluster = Cluster(timeline, Shape(shards=1))
    invariants = Invariants(cluster, history_on(timeline))
    cluster.start_coordinator()
    for server_id in (1, 2, 3):
        cluster.start_server(server_id)
    assert timeline.run_while(lambda: not cluster.serving, 5)
    assert timeline.problems == []
    assert invariants.looked
    [now] = cluster.configurations
    twice = attrs.evolve(now, primary=now.secondaries[0], secondaries=(now.primary,))
    invariants.stored(Change(shards={0: twice}), {0: now})
    assert "I1: shard 0, epoch 1 names two" in timeline.problems[0]
    stranger = attrs.evolve(now.primary, store_id=bytes(16))
    invariants.stored(Change(shards={0: attrs.evolve(now, epoch=9, primary=stranger)}), {0: now})
    assert "I5" in timeline.problems[-1]
