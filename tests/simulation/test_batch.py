"""Batches: totals, what they must have seen, the same digests elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from twistedkv.simulation import batch
from twistedkv.simulation.batch import Totals, digests_elsewhere, run_batch
from twistedkv.simulation.coverage import WANTED
from twistedkv.simulation.run import Outcome


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch, logged_errors: Any) -> Any:
    """Logging stays as the tests have it."""
    monkeypatch.setattr(batch, "be_quiet", lambda: None)
    yield
    logged_errors.flush()
    logged_errors.events.clear()


@pytest.mark.usefixtures("loud")
def test_a_seed_gives_the_same_run_in_another_process_whatever_the_order_of_hashes_is() -> None:
    here = {outcome.seed: outcome.digest for outcome in run_batch([2, 5], 3.0, 1)}
    assert digests_elsewhere([2, 5], 3.0) == here


def test_several_processes_share_the_work_and_keep_the_order() -> None:
    outcomes = list(run_batch([3, 1, 2], 0.5, 2))
    assert [outcome.seed for outcome in outcomes] == [3, 1, 2]
    assert all(outcome.workload is None and not outcome.problems for outcome in outcomes)


def outcome(seed: int, **fields: Any) -> Outcome:
    return Outcome(seed, acknowledged=10, simulated_seconds=2.0, took_seconds=seed / 10, **fields)


def test_totals_name_the_wrong_seeds_and_the_slowest() -> None:
    totals = Totals()
    for seed in range(1, 8):
        totals.add(outcome(seed, problems=["no"] if seed == 3 else [], counts={"shard.promoted": 2}))
    text = "\n".join(totals.lines(7.0))
    assert "7 seeds in 7.0 s: 70 operations acknowledged (10/s), 14 failovers" in text
    assert "slowest: seed 7 (0.7 s), seed 6 (0.6 s)" in text
    assert "WRONG: 1 seeds: 3" in text
    assert f"coverage: 1 of {len(WANTED)} things" in text
    assert not totals.missing


def test_a_large_batch_that_has_not_seen_everything_fails_and_says_what() -> None:
    counts = dict.fromkeys(WANTED, 1)
    totals, poorer = Totals(), Totals()
    for seed in range(100):
        totals.add(outcome(seed, counts=dict(counts)))
        poorer.add(outcome(seed, counts=dict(counts) | {"refused: GAP": 0}))
    assert not totals.missing
    assert "everything that a batch has to have seen was seen" in "\n".join(totals.lines(1.0))
    assert poorer.missing == ["resent gap"]
    assert "COVERAGE: the batch has not seen: resent gap" in "\n".join(poorer.lines(1.0))
