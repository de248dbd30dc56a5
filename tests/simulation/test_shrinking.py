"""Failing runs are made smaller, and stay failing in the same way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.core.dedup import DedupTable, Lookup
from twistedkv.simulation.run import Outcome, faults_of, simulate
from twistedkv.simulation.shrinking import kinds_of, minimize, shorten


@given(st.sets(st.integers(0, 39), max_size=5))
def test_what_is_needed_is_left_and_nothing_else(needed: set[int]) -> None:
    tried: list[list[int]] = []

    def fails(items: list[int]) -> bool:
        tried.append(items)
        return needed <= set(items)

    assert shorten(range(40), fails) == sorted(needed)
    assert len(tried) < 400


def test_if_either_of_two_is_enough_one_is_left() -> None:
    assert shorten([1, 2, 3, 4, 5], lambda items: 2 in items or 4 in items) in ([2], [4])


def test_problems_are_told_apart_by_what_they_are_and_not_by_when() -> None:
    first = Outcome(1, problems=["1.250000 invariant I6: server 1", "history, by versions: key r0.1: a stale read"])
    again = Outcome(1, problems=["7.500000 invariant I6: server 2"])
    assert kinds_of(first) & kinds_of(again) == {"invariant I6:"}
    assert not kinds_of(Outcome(1, problems=["2.000000 not healed 60 s after"])) & kinds_of(first)


def test_a_run_that_fails_is_made_smaller(monkeypatch: pytest.MonkeyPatch, logged_errors: Any) -> None:
    monkeypatch.setattr(DedupTable, "find", lambda self, client, number, since, retried: Lookup.NEW)
    seed = next(seed for seed in range(1, 60) if simulate(seed, 6.0).problems)
    told: list[str] = []
    smaller = minimize(seed, 6.0, told.append)
    assert smaller is not None
    assert kinds_of(smaller.outcome) & kinds_of(simulate(seed, 6.0))
    assert len(smaller.faults) < smaller.faults_before
    assert set(smaller.faults) <= set(faults_of(seed, 6.0))
    assert told
    for fault in smaller.faults:
        fewer = [each for each in smaller.faults if each is not fault]
        assert not kinds_of(smaller.outcome) & kinds_of(simulate(seed, 6.0, fewer)), "one more could be left out"
    logged_errors.flush()
    logged_errors.events.clear()


def test_a_run_that_does_not_fail_is_left_alone(logged_errors: Any) -> None:
    assert minimize(4, 0.5) is None
    logged_errors.flush()
    logged_errors.events.clear()
