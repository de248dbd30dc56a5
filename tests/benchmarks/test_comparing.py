"""The table of targets: ratios, what is met, and the plot."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.comparing import Bound, Comparison, alternate
from benchmarks.drawing import bars


def test_a_ratio_is_of_the_medians_and_its_spread_of_pairs() -> None:
    row = Comparison("put", "/s", [10.0, 30.0, 20.0], [10.0, 10.0, 40.0], 1.25)
    assert row.ratio == 2.0
    assert row.spread == (0.5, 3.0)
    assert row.met
    assert "target >= 1.25, met" in row.as_text()


def test_less_is_better_for_some() -> None:
    row = Comparison("p99", "us", [20.0], [10.0], 1.0, more_is_better=False)
    assert row.met is False and "NOT MET" in row.as_text()
    assert Comparison("plain", "us", [1.0], [0.0], None).met is None


def test_a_bound_is_for_the_worst() -> None:
    assert Bound("outage", "ms", [10.0, 200.0], 150.0).met is False
    assert Bound("outage", "ms", [10.0, 100.0], 150.0).met
    assert "worst 200.0" in Bound("outage", "ms", [10.0, 200.0], None).as_text()


def test_measurements_take_turns() -> None:
    order: list[str] = []

    def one(name: str) -> list[float]:
        order.append(name)
        return [float(len(order)), 0.0]

    ours, theirs = alternate(2, lambda: one("ours"), lambda: one("theirs"))
    assert order == ["ours", "theirs"] * 2
    assert (ours, theirs) == ([[1.0, 3.0], [0.0, 0.0]], [[2.0, 4.0], [0.0, 0.0]])


def test_the_plot_has_a_bar_for_each() -> None:
    rows = [Comparison(f"row {n}", "/s", [1.0 + n], [2.0], 1.0) for n in range(3)]
    tree = ElementTree.fromstring(bars(rows))
    texts = [element.text for element in tree.iter() if element.tag.endswith("text")]
    assert {"row 0", "row 1", "row 2", "0.50", "1.00", "1.50"} <= set(texts)
