"""Makes a failing run smaller: as many of its faults as possible are left out while it still fails in the same way.

Delta debugging (Zeller and Hildebrandt, 2002) on the list of faults: leave out halves, quarters, ... and single ones,
until no single fault can be left out any more. Each fault brings its own chance, so leaving one out changes nothing of
what the others draw, though it does change what they meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from twistedkv.simulation.faults.drawing import Fault
from twistedkv.simulation.run import Outcome, faults_of, simulate

T = TypeVar("T")

RUNS_MAX = 500
PAUSE_SECONDS = 2.0
"""So long after its last fault a smaller run may end."""


@attrs.frozen
class Smaller:
    """A failing run made smaller."""

    faults: list[Fault]
    seconds: float
    outcome: Outcome
    faults_before: int
    runs: int


def shorten(items: Sequence[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """A part of the items, in order, that still fails, and of which no single one can be left out."""
    left = list(items)
    size = max(1, len(left) // 2)
    while left:
        start = 0
        shortened = False
        while start < len(left):
            fewer = left[:start] + left[start + size :]
            if fails(fewer):
                left, shortened = fewer, True
            else:
                start += size
        if size == 1 and not shortened:
            break
        size = max(1, size // 2) if not shortened or size > len(left) else size
    return left


def kinds_of(outcome: Outcome) -> set[str]:
    """What kinds of problems there were: the invariants, or the words that a problem begins with."""
    kinds = set()
    for problem in outcome.problems:
        words = [word for word in problem.split()[:4] if not word[0].isdigit()]
        kinds.add(" ".join(words[:2]))
    return kinds


def minimize(seed: int, seconds: float, tell: Callable[[str], None] = lambda text: None) -> Smaller | None:
    """The smallest run that fails as this seed does; None if the seed does not fail. `tell` is given progress."""
    runs = 0
    first = simulate(seed, seconds)
    kinds = kinds_of(first)
    if not kinds:
        return None
    drawn = faults_of(seed, seconds)
    best = Smaller(drawn, seconds, first, len(drawn), 1)

    def fails(faults: list[Fault], within: float) -> bool:
        nonlocal runs, best
        if runs >= RUNS_MAX:
            return False
        runs += 1
        outcome = simulate(seed, within, faults)
        if not kinds & kinds_of(outcome):
            return False
        best = Smaller(faults, within, outcome, len(drawn), runs)
        tell(f"{len(faults)} of {len(drawn)} faults still fail")
        return True

    left = shorten(drawn, lambda faults: fails(faults, seconds))
    end = left[-1].at + left[-1].seconds + PAUSE_SECONDS if left else PAUSE_SECONDS
    if end < seconds:
        fails(left, end)
    return attrs.evolve(best, runs=runs + 1)
