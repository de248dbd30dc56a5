"""Whole runs: nothing may be wrong, and the same seed has to give the same run."""

from __future__ import annotations

from twistedkv.recording.lanes import Habits
from twistedkv.simulation.batch import Totals, run_batch
from twistedkv.simulation.cluster import Cluster, Shape
from twistedkv.simulation.faults.drawing import KINDS, draw_faults
from twistedkv.simulation.rest import differences
from twistedkv.simulation.timeline import Timeline
from twistedkv.simulation.workload import Workload

SEEDS = 150
SECONDS = 20.0


def test_nothing_is_wrong_in_a_batch_that_has_seen_everything() -> None:
    totals = Totals()
    problems = []
    for outcome in run_batch(range(1, SEEDS + 1), SECONDS, jobs=2):
        totals.add(outcome)
        problems += [f"seed {outcome.seed}: {problem}" for problem in outcome.problems]
        assert outcome.acknowledged > 5  # of a cluster whose coordinator is killed again and again, not more
    assert not problems, "\n".join(problems)
    assert totals.counts["acknowledged"] > SEEDS * 500
    assert not totals.missing


def test_each_kind_of_fault_can_be_drawn_and_done() -> None:
    drawn = {fault.kind for seed in range(30) for fault in draw_faults(Timeline(seed), 20.0, 0.3)}
    assert drawn == set(KINDS)


def test_a_cluster_at_rest_has_no_differences_and_one_that_was_meddled_with_has() -> None:
    timeline = Timeline(1)
    cluster = Cluster(timeline, Shape(shards=1))
    assert differences(cluster) == ["the coordinator does not run"]
    cluster.start_coordinator()
    for server_id in (1, 2, 3):
        cluster.start_server(server_id)
    workload = Workload(timeline, Habits(lanes=1))
    assert timeline.run_while(lambda: bool(differences(cluster)), 5)
    process = cluster.start_client(1)
    workload.run_client(process)
    timeline.run_until(timeline.now + 2)
    workload.stopping = True
    assert timeline.run_while(lambda: workload.unfinished or bool(differences(cluster)), 5)
    [configuration] = cluster.configurations
    core = cluster.core_of(configuration.secondaries[0])
    assert core is not None
    core.store.put(0, b"x", bytes(9))
    assert "differ at" in differences(cluster)[0]
    core.replicas[0].dedup.clear()
    assert "remember different writes" in differences(cluster)[1]
