"""Latencies and stalls."""

from hypothesis import given
from hypothesis import strategies as st

from twistedkv.cli.measure import Meter, percentile


def test_nothing_happened() -> None:
    summary = Meter(10.0).summary(10.0)
    assert summary.as_json() == {
        "operations": 0,
        "seconds": 0.0,
        "operations_per_second": 0.0,
        "latency_ms": {"p50": 0.0, "p99": 0.0},
        "longest_stall_ms": 0.0,
        "longest_operation_ms": 0.0,
        "longest_gap_ms": 0.0,
    }


def test_a_slow_operation_is_the_stall() -> None:
    meter = Meter(0.0)
    meter.completed(0.0, 1.0)
    meter.completed(1.0, 1.5)
    meter.completed(1.5, 4.0)
    summary = meter.summary(4.0)
    assert (summary.longest_operation_ms, summary.longest_gap_ms, summary.longest_stall_ms) == (2500, 2500, 2500)
    assert (summary.p50_ms, summary.p99_ms) == (1000, 2500)
    assert summary.operations_per_second == 0.75


def test_overlapping_operations_make_a_shorter_gap_than_the_longest_of_them() -> None:
    meter = Meter(0.0)
    meter.completed(0.0, 1.0)
    meter.completed(0.0, 2.0)
    summary = meter.summary(2.0)
    assert (summary.longest_operation_ms, summary.longest_gap_ms, summary.longest_stall_ms) == (2000, 1000, 2000)


def test_silence_at_the_end_is_a_gap_and_a_wait_for_the_user_is_none() -> None:
    meter = Meter(0.0)
    meter.completed(0.0, 1.0)
    assert meter.summary(9.0).longest_gap_ms == 8000
    meter.resumed(9.0)
    meter.completed(9.0, 9.5)
    assert meter.summary(9.5).longest_gap_ms == 1000


@given(st.lists(st.floats(0, 100), min_size=1), st.integers(1, 100))
def test_a_percentile_is_the_smallest_that_so_many_do_not_exceed(numbers: list[float], percent: int) -> None:
    ordered = sorted(numbers)
    chosen = percentile(ordered, percent)
    assert 100 * sum(number <= chosen for number in ordered) >= percent * len(ordered)
    assert 100 * sum(number < chosen for number in ordered) < percent * len(ordered)
