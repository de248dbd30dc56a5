"""Two systems measured in turns, and their ratio: on a machine whose speed comes and goes, only that says something."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import attrs


@attrs.frozen
class Comparison:
    """One line of the table.

    target  of `ratio`, at least (`more_is_better`) or at most; None: there is none, the line is for comparison
    """

    name: str
    unit: str
    ours: list[float]
    theirs: list[float]
    target: float | None
    more_is_better: bool = True

    @property
    def ratio(self) -> float:
        """Of the medians."""
        theirs = statistics.median(self.theirs)
        return statistics.median(self.ours) / theirs if theirs else 0.0

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest ratio of two measurements that stood beside each other."""
        ratios = [mine / other for mine, other in zip(self.ours, self.theirs, strict=True) if other]
        return (min(ratios), max(ratios)) if ratios else (0.0, 0.0)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.more_is_better else self.ratio <= self.target

    def as_text(self) -> str:
        """One line."""
        low, high = self.spread
        sign = ">=" if self.more_is_better else "<="
        verdict = {None: "", True: "met", False: "NOT MET"}[self.met]
        target = "" if self.target is None else f"target {sign} {self.target:g}, {verdict}"
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        return (
            f"{self.name:<44} {ours:>12,.0f} {theirs:>12,.0f} {self.unit:<6} "
            f"{self.ratio:>6.2f} ({low:.2f} to {high:.2f})  {target}"
        ).rstrip()


@attrs.frozen
class Bound:
    """One line of the table that has no other system in it: a figure and what it may be at most."""

    name: str
    unit: str
    values: list[float]
    most: float | None
    by_median: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the worst value, or the median, is within the bound; None if there is none."""
        judged = statistics.median(self.values) if self.by_median else max(self.values)
        return None if self.most is None else judged <= self.most

    def as_text(self) -> str:
        """One line."""
        verdict = {None: "", True: "met", False: "NOT MET"}[self.met]
        target = "" if self.most is None else f"target <= {self.most:g}, {verdict}"
        worst, middle = max(self.values), statistics.median(self.values)
        return f"{self.name:<44} {middle:>12,.1f} {'':>12} {self.unit:<6} worst {worst:,.1f}  {target}".rstrip()


def alternate(
    runs: int, ours: Callable[[], list[float]], theirs: Callable[[], list[float]]
) -> tuple[list[list[float]], list[list[float]]]:
    """Measure each `runs` times, in turns. Each call returns several figures; the results are by figure."""
    mine, other = [], []
    for _ in range(runs):
        mine.append(ours())
        other.append(theirs())
    return [list(column) for column in zip(*mine, strict=True)], [list(column) for column in zip(*other, strict=True)]
