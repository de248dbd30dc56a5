"""The guard of the hot paths: it counts the same each time, sees what has become dearer, and the table is kept."""

from __future__ import annotations

import pytest

from benchmarks import guard


def _loop(times: int) -> None:
    for _ in range(times):
        pass


def test_instructions_are_counted_and_not_timed() -> None:
    costs = [guard.counted(lambda n=n: _loop(n)) for n in (10, 20, 30)]  # type: ignore[misc]
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0
    assert guard.counted(lambda: _loop(10)) == costs[0]


def test_what_costs_more_is_named() -> None:
    before = {"a": 100.0, "b": 100.0, "c": 100.0}
    figures = {"a": 102.0, "b": 50.0, "c": 104.0, "d": 1000.0}
    assert guard.worse(figures, before) == ["c: 104 instructions for each request, 100 are written down"]


@pytest.mark.skipif(guard.compiled(), reason="the hot modules are compiled, and have no instructions")
def test_no_request_costs_more_than_is_written_down() -> None:
    figures, before = guard.instructions(), guard.written()
    if not before:
        pytest.skip("nothing is written down for this version of Python: python -m benchmarks.guard --write")
    assert set(figures) == set(before), "the table names other paths: python -m benchmarks.guard --write"
    assert not guard.worse(figures, before), "if that was meant: python -m benchmarks.guard --write"
