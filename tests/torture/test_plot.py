"""The plot: a drawing that says what happened, to scale."""

from __future__ import annotations

from xml.etree import ElementTree

import attrs
import pytest

from tests.test_svg import NAMESPACE
from twistedkv.torture.incidents import COORDINATOR, Incident, Mark
from twistedkv.torture.meter import Meter
from twistedkv.torture.plan import Fault
from twistedkv.torture.plot import (
    BAD,
    COLUMNS_MAX,
    FROZEN,
    GOOD,
    KILLED,
    LEFT,
    RATE_HEIGHT,
    READS,
    RIGHT,
    SWITCHED,
    TOP,
    WAITS,
    WIDTH,
    Plot,
    draw,
)


def busy_meter(seconds: int, per_second: int = 100) -> Meter:
    meter = Meter()
    for number in range(seconds * per_second):
        began = number / per_second
        meter.began(number, began)
        meter.ended(number, began + 0.005, reads=number % 2 == 0, result="ok")
    return meter


def some_incidents() -> list[Incident]:
    killed = Incident(Fault(1, 2.0, "kill", server=2), 2.0, "server 2 killed", over=3.0, result="replaced")
    killed.marks.append(Mark(2, "killed", 1, 2.0, 3.0, replaced=True))
    frozen = Incident(Fault(2, 5.0, "freeze-coordinator"), 5.0, "coordinator frozen", over=6.0, result="back")
    frozen.marks.append(Mark(COORDINATOR, "frozen", 2, 5.0, 6.0))
    switched = Incident(Fault(3, 7.0, "switch", shard=1), 7.0, "shard 1 switched to server 3", result="done <quickly>")
    skipped = Incident(Fault(4, 8.0, "kill", server=1), 8.0, "kill server 1", skipped="too much")
    return [killed, frozen, switched, skipped]


PLOT = Plot(
    title="1,000 operations, 3 faults: nothing lost",
    details="seed 7",
    peak="1.00 s (server 2 killed)",
    good=True,
    seconds=10.0,
    faults_ended=9.5,
    meter=busy_meter(10),
    incidents=some_incidents(),
    servers=3,
)


def root_of(plot: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(draw(plot))


def texts_of(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(NAMESPACE + "text")]


def corners_of(root: ElementTree.Element, colour: str) -> list[tuple[float, float]]:
    [area] = [area for area in root.iter(NAMESPACE + "polygon") if area.get("fill") == colour]
    pairs = (corner.split(",") for corner in area.get("points", "").split())
    return [(float(x), float(y)) for x, y in pairs]


def test_it_has_a_title_axes_with_units_and_a_legend() -> None:
    texts = texts_of(root_of(PLOT))
    for expected in (
        PLOT.title,
        PLOT.details,
        PLOT.peak,
        "Throughput, operations/s",
        "Longest wait of an operation",
        "10 ms",
        "1 s",
        "seconds since the clients began",
        "coordinator",
        "server 3",
        "switches",
        "killed, until replaced",
        "frozen",
        "planned switch",
        "answered reads",
    ):
        assert expected in texts


@pytest.mark.parametrize("good, colour", [(True, GOOD), (False, BAD)])
def test_the_verdict_has_a_colour(good: bool, colour: str) -> None:
    circles = list(root_of(attrs.evolve(PLOT, good=good)).iter(NAMESPACE + "circle"))
    assert [circle.get("fill") for circle in circles] == [colour]


def test_the_throughput_is_to_scale() -> None:
    root = root_of(PLOT)
    corners = corners_of(root, READS)
    assert min(x for x, _ in corners) == LEFT
    assert max(x for x, _ in corners) == pytest.approx(WIDTH - RIGHT, abs=0.5)
    heights = {TOP + RATE_HEIGHT - y for _, y in corners[1:-1]}
    full = 100.0  # the axis ends there: 50 reads and 50 writes a second
    assert all(height == pytest.approx(RATE_HEIGHT * 50 / full, rel=0.25) for height in heights)
    waits = corners_of(root, WAITS)
    assert min(x for x, _ in waits) == LEFT


def test_faults_stand_at_their_times_and_say_what_they_were() -> None:
    root = root_of(PLOT)
    width = WIDTH - RIGHT - LEFT
    bars = [rect for rect in root.iter(NAMESPACE + "rect") if len(rect)]
    assert [(rect.get("fill"), float(rect.get("x", 0)), float(rect.get("width", 0))) for rect in bars] == [
        (KILLED, pytest.approx(LEFT + 0.2 * width), pytest.approx(0.1 * width)),
        (FROZEN, pytest.approx(LEFT + 0.5 * width), pytest.approx(0.1 * width)),
    ]
    assert [rect[0].text for rect in bars] == ["2.0 s: server 2 killed: replaced", "5.0 s: coordinator frozen: back"]
    [diamond] = [area for area in root.iter(NAMESPACE + "polygon") if area.get("fill") == SWITCHED]
    assert diamond[0].text == "7.0 s: shard 1 switched to server 3: done <quickly>"
    assert "kill server 1" not in draw(PLOT), "a skipped fault has not happened"


def test_a_fault_without_an_end_lasts_until_the_end() -> None:
    incidents = some_incidents()
    incidents[0].marks[0].ended = None
    bars = [rect for rect in root_of(attrs.evolve(PLOT, incidents=incidents)).iter(NAMESPACE + "rect") if len(rect)]
    assert float(bars[0].get("x", 0)) + float(bars[0].get("width", 0)) == pytest.approx(WIDTH - RIGHT)


def test_long_runs_are_drawn_with_wider_columns_and_empty_ones_at_all() -> None:
    long = attrs.evolve(PLOT, seconds=600.0, meter=busy_meter(600, 20))
    assert long.bins_per_column == -(-6000 // COLUMNS_MAX)
    assert len(corners_of(root_of(long), READS)) <= 2 * COLUMNS_MAX + 4
    assert "Throughput, operations/s" in texts_of(root_of(attrs.evolve(PLOT, meter=Meter(), incidents=[])))


def test_waits_of_more_than_a_second_fit() -> None:
    meter = busy_meter(10)
    meter.began(-1, 1.0)
    meter.ended(-1, 5.0, reads=True, result="ok")
    assert "10 s" in texts_of(root_of(attrs.evolve(PLOT, meter=meter)))
