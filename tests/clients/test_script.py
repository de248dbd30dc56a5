"""The sums that decide whether a client has lost something."""

from __future__ import annotations

import pytest

from tests.clients.script import Tally, same


def tally(*outcomes: str) -> Tally:
    """Increments of one counter: done, unknown or refused."""
    made = Tally("t", counters=1)
    for outcome in outcomes:
        key, by = made.next()
        if outcome == "done":
            made.done(key, by)
        else:
            made.failed(key, by, RuntimeError("not executed" if outcome == "refused" else "lost"))
    return made


@pytest.mark.parametrize(
    ("outcomes", "right"),
    [
        (["done", "done"], {2}),
        (["done", "refused"], {1}),
        (["refused"], {0}),
        (["unknown"], {0, 1}),
        (["unknown", "done", "unknown"], {4, 5, 8, 9}),
    ],
)
def test_a_sum_is_possible_or_not(outcomes: list[str], right: set[int]) -> None:
    for value in range(12):
        if value in right:
            tally(*outcomes).judge({"t:0": str(value)})
        else:
            with pytest.raises(AssertionError, match=f"t:0 is {value}"):
                tally(*outcomes).judge({"t:0": str(value)})


def test_a_counter_that_is_not_there_is_zero() -> None:
    tally("refused").judge({"t:0": None})
    with pytest.raises(AssertionError):
        tally("done").judge({"t:0": None})


def test_a_tally_says_what_it_has_heard() -> None:
    assert str(tally("done", "refused", "unknown", "unknown")) == (
        "1 increments are there, 2 of unknown outcome, 1 refused (RuntimeError: lost)"
    )


def test_same_shows_both() -> None:
    same(1, 1)
    with pytest.raises(AssertionError, match="'1' instead of '2'"):
        same(1, 2)
