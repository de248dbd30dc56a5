"""Whole runs: nothing may be wrong, and the same seed has to give the same run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from twistedkv.recording.lanes import Habits
from twistedkv.simulation.cluster import Cluster, Shape
from twistedkv.simulation.faults.drawing import KINDS, draw_faults
from twistedkv.simulation.rest import differences
from twistedkv.simulation.run import simulate
from twistedkv.simulation.timeline import Killed, Timeline
from twistedkv.simulation.workload import Workload

SEEDS = range(1, 9)
SECONDS = 10.0


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_wrong(seed: int, logged_errors: Any) -> None:
    outcome = simulate(seed, SECONDS)
    logged_errors.flush(OSError, Killed)
    logged_errors.events.clear()  # whatever else was logged is a problem of the run
    assert not outcome.problems, "\n".join(outcome.problems)
    assert outcome.acknowledged > 50


@pytest.mark.parametrize("seed", [2, 5])
def test_a_seed_gives_the_same_run_whatever_the_order_of_hashes_is(seed: int) -> None:
    program = f"from twistedkv.simulation.run import simulate; print(simulate({seed}, 3.0).digest)"
    digests = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1


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
