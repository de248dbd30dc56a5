"""The meter: counts and waits by bins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.torture.meter import BIN_SECONDS, Meter


def test_answers_are_counted_where_they_came() -> None:
    meter = Meter()
    for number, (now, reads, result) in enumerate(
        [(0.05, True, "ok"), (0.08, False, "ok"), (0.25, True, "fail"), (0.31, False, "info")]
    ):
        meter.began(number, now - 0.01)
        meter.ended(number, now, reads=reads, result=result)
    assert list(meter.reads) == [1, 0, 0, 0]
    assert list(meter.writes) == [1, 0, 0, 0]
    assert list(meter.unanswered) == [0, 0, 1, 1]
    assert (meter.answered, meter.total_not_done, meter.total_unknown) == (2, 1, 1)
    assert meter.answered_between(0.0, 0.05) == 2
    assert meter.answered_between(0.1, 0.4) == 0


def test_a_long_wait_grows_from_bin_to_bin() -> None:
    meter = Meter()
    meter.began(1, 0.05)
    assert meter.waiting_now(0.25) == pytest.approx(0.2)
    meter.ended(1, 0.32, reads=True, result="ok")
    assert list(meter.waits) == pytest.approx([0.05, 0.15, 0.25, 0.27])
    assert (meter.longest.began, meter.longest.seconds) == (0.05, pytest.approx(0.27))
    assert meter.longest_between(0.0, 0.15) == pytest.approx(0.15)
    assert meter.waiting_now(0.4) == 0


def test_what_has_not_ended_at_the_end_has_waited() -> None:
    meter = Meter()
    meter.began(1, 0.0)
    meter.finish(0.5)
    assert meter.longest.seconds == 0.5
    assert meter.answered == 0
    assert meter.waiting_now(1.0) == 0


def test_the_rate_is_that_of_the_last_full_second() -> None:
    meter = Meter()
    for number in range(300):
        meter.began(number, number / 100)
        meter.ended(number, number / 100, reads=True, result="ok")
    assert meter.rate(3.0) == pytest.approx(100, abs=2)
    assert meter.rate(0.0) >= 0


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 3)), min_size=1, max_size=30))
def test_no_wait_is_longer_than_the_longest_and_that_one_is_found(spans: list[tuple[float, float]]) -> None:
    meter = Meter()
    for number, (began, seconds) in enumerate(spans):
        meter.began(number, began)
        meter.ended(number, began + seconds, reads=False, result="ok")
    longest = max(ended - began for began, ended in ((b, b + s) for b, s in spans))
    assert meter.longest.seconds == longest
    assert max(meter.waits) == pytest.approx(longest)
    assert len({len(meter.reads), len(meter.writes), len(meter.unanswered), len(meter.waits)}) == 1
    assert meter.answered == sum(meter.writes) == len(spans)
    assert meter.longest_between(0, len(meter.waits) * BIN_SECONDS) == pytest.approx(longest)
