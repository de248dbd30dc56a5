"""A run as a drawing: throughput and waits over time, and below them who was killed or frozen when. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from twistedkv.svg import Drawing, round_steps
from twistedkv.torture.incidents import COORDINATOR, Incident, Mark, target_name
from twistedkv.torture.meter import BIN_SECONDS, Meter

WIDTH = 1120
LEFT = 92
RIGHT = 28
TOP = 100
RATE_HEIGHT = 190
WAIT_HEIGHT = 150
ROW_HEIGHT = 24
GAP = 40
FOOT = 74
COLUMNS_MAX = 480
"""More bins than this are drawn together."""
WAIT_MIN = 0.001
"""Lower end of the scale of waits, which is logarithmic; seconds."""

INK = "#1f2933"
SOFT = "#616e7c"
GRID = "#e4e7eb"
PANEL = "#fafbfc"
READS = "#2f7ed8"
WRITES = "#8dbcf0"
WAITS = "#52606d"
KILLED = "#d64545"
FROZEN = "#2bb0c9"
SWITCHED = "#8662c7"
GOOD = "#207227"
BAD = "#ab091e"

COLOURS = {"killed": KILLED, "frozen": FROZEN, "switched": SWITCHED}
LEGEND = (
    ("reads", READS, "answered reads"),
    ("writes", WRITES, "answered writes"),
    ("waits", WAITS, "longest wait"),
    ("killed", KILLED, "killed, until replaced"),
    ("frozen", FROZEN, "frozen"),
    ("switched", SWITCHED, "planned switch"),
)


@attrs.frozen
class Plot:
    """What is drawn."""

    title: str
    details: str
    """The second line."""
    peak: str
    """What stands beside the longest wait."""
    good: bool
    """Whether nothing was wrong."""
    seconds: float
    """Length of the time axis; what comes after it is not drawn."""
    faults_ended: float
    """After so many seconds there were no more faults."""
    meter: Meter
    incidents: Sequence[Incident]
    servers: int

    @property
    def bins_per_column(self) -> int:
        """How many bins of the meter are one column."""
        return max(1, math.ceil(self.seconds / BIN_SECONDS / COLUMNS_MAX))


def draw(plot: Plot) -> str:
    """The SVG document."""
    rows = plot.servers + 2
    rate_bottom = TOP + RATE_HEIGHT
    wait_top = rate_bottom + GAP
    rows_top = wait_top + WAIT_HEIGHT + GAP
    bottom = rows_top + rows * ROW_HEIGHT
    drawing = Drawing(WIDTH, bottom + FOOT)
    x = _scale(0, plot.seconds, LEFT, WIDTH - RIGHT)
    _head(drawing, plot)
    for top, height in ((TOP, RATE_HEIGHT), (wait_top, WAIT_HEIGHT), (rows_top, rows * ROW_HEIGHT)):
        drawing.rect(LEFT, top, WIDTH - RIGHT - LEFT, height, fill=PANEL)
    _time_axis(drawing, plot, x, [(TOP, rate_bottom), (wait_top, wait_top + WAIT_HEIGHT), (rows_top, bottom)])
    _spans(drawing, plot, x, [(TOP, rate_bottom), (wait_top, wait_top + WAIT_HEIGHT)])
    _rates(drawing, plot, x)
    _waits(drawing, plot, x, wait_top)
    _hairlines(drawing, plot, x, [(TOP, rate_bottom), (wait_top, wait_top + WAIT_HEIGHT)])
    _rows(drawing, plot, x, rows_top)
    _legend(drawing, bottom + FOOT - 18)
    return drawing.as_text()


Scale = Callable[[float], float]


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (end - start) * (min(max(value, low), high) - low) / (high - low)


def _head(drawing: Drawing, plot: Plot) -> None:
    colour = GOOD if plot.good else BAD
    drawing.circle(LEFT + 6, 28, 6, fill=colour)
    drawing.text(LEFT + 20, 34, plot.title, font_size=18, font_weight=600, fill=INK)
    drawing.text(LEFT, 56, plot.details, font_size=12, fill=SOFT)


def _panel_title(drawing: Drawing, top: float, text: str) -> None:
    drawing.text(LEFT, top - 9, text, font_size=12, font_weight=600, fill=INK)


def _time_axis(drawing: Drawing, plot: Plot, x: Scale, panels: Sequence[tuple[float, float]]) -> None:
    steps = [second for second in round_steps(plot.seconds, 12) if second <= plot.seconds]
    for second in steps:
        for top, bottom in panels:
            drawing.line(x(second), top, x(second), bottom, stroke=GRID, stroke_width=1)
        bottom = panels[-1][1]
        drawing.text(x(second), bottom + 16, f"{second:g}", font_size=11, fill=SOFT, text_anchor="middle")
    drawing.text(
        (LEFT + WIDTH - RIGHT) / 2,
        panels[-1][1] + 33,
        "seconds since the clients began",
        font_size=11,
        fill=SOFT,
        text_anchor="middle",
    )


def _spans(drawing: Drawing, plot: Plot, x: Scale, panels: Sequence[tuple[float, float]]) -> None:
    """What lasts, behind the curves."""
    for top, bottom in panels:
        for _, mark in _marks(plot):
            start, end = x(mark.began), x(_end(plot, mark))
            drawing.rect(start, top, max(1.0, end - start), bottom - top, fill=COLOURS[mark.kind], fill_opacity=0.1)
        if plot.faults_ended < plot.seconds:
            ended = x(plot.faults_ended)
            drawing.line(ended, top, ended, bottom, stroke=SOFT, stroke_width=1, stroke_dasharray="2 3")


def _hairlines(drawing: Drawing, plot: Plot, x: Scale, panels: Sequence[tuple[float, float]]) -> None:
    """The moments of the faults, before the curves."""
    moments = [(mark.began, mark.kind) for _, mark in _marks(plot)]
    moments += [(incident.began, "switched") for incident in _switches(plot)]
    for top, bottom in panels:
        for began, kind in moments:
            drawing.line(x(began), top, x(began), bottom, stroke=COLOURS[kind], stroke_width=1, stroke_opacity=0.75)


def _columns(counts: array[int], width: int) -> list[int]:
    return [sum(counts[start : start + width]) for start in range(0, len(counts), width)]


def _rates(drawing: Drawing, plot: Plot, x: Scale) -> None:
    width = plot.bins_per_column
    seconds = width * BIN_SECONDS
    reads = [count / seconds for count in _columns(plot.meter.reads, width)]
    writes = [count / seconds for count in _columns(plot.meter.writes, width)]
    both = [sum(pair) for pair in zip(reads, writes, strict=True)]
    steps = round_steps(max(both, default=0.0), 4)
    y = _scale(0, steps[-1], TOP + RATE_HEIGHT, TOP)
    _panel_title(drawing, TOP, "Throughput, operations/s")
    for step in steps:
        _level(drawing, y(step), f"{step:,.0f}")
    base = TOP + RATE_HEIGHT
    drawing.polygon(_area(both, seconds, x, y, base, plot.seconds), fill=WRITES)
    drawing.polygon(_area(reads, seconds, x, y, base, plot.seconds), fill=READS)


def _waits(drawing: Drawing, plot: Plot, x: Scale, top: float) -> None:
    width = plot.bins_per_column
    waits = plot.meter.waits
    longest = [max(waits[start : start + width]) for start in range(0, len(waits), width)]
    most = max(1.0, plot.meter.longest.seconds)
    high = 10.0 ** math.ceil(math.log10(most)) if most > 1 else 1.0
    base = top + WAIT_HEIGHT
    logarithmic = _scale(math.log10(WAIT_MIN), math.log10(high), base, top)

    def y(seconds: float) -> float:
        return logarithmic(math.log10(max(seconds, WAIT_MIN)))

    _panel_title(drawing, top, "Longest wait of an operation")
    level = WAIT_MIN
    while level <= high * 1.001:
        _level(drawing, y(level), f"{level:g} s" if level >= 1 else f"{level * 1000:g} ms")
        level *= 10
    seconds = width * BIN_SECONDS
    drawing.polygon(_area(longest, seconds, x, y, base, plot.seconds), fill=WAITS, fill_opacity=0.85)
    peak = plot.meter.longest
    if peak.seconds:
        right = peak.ended < plot.seconds / 2
        place = x(peak.ended) + (8 if right else -8 - (x(peak.ended) - x(peak.began)))
        anchor = "start" if right else "end"
        height = max(y(peak.seconds) + 4, top + 12)
        halo = {"stroke": PANEL, "stroke_width": 3, "paint_order": "stroke"}
        style: dict[str, Any] = {"font_size": 11, "font_weight": 600, "fill": INK, "text_anchor": anchor} | halo
        drawing.text(place, height, plot.peak, **style)


def _level(drawing: Drawing, y: float, label: str) -> None:
    drawing.line(LEFT, y, WIDTH - RIGHT, y, stroke=GRID, stroke_width=1)
    drawing.text(LEFT - 8, y + 4, label, font_size=11, fill=SOFT, text_anchor="end")


def _area(
    values: Sequence[float], width_seconds: float, x: Scale, y: Scale, base: float, until: float
) -> list[tuple[float, float]]:
    """The corners of steps, one for each value."""
    corners = [(x(0), base)]
    end = 0.0
    for place, value in enumerate(values):
        start, end = place * width_seconds, (place + 1) * width_seconds
        if start >= until:
            break
        corners += [(x(start), y(value)), (x(end), y(value))]
    return [*corners, (x(end), base)]


def _rows(drawing: Drawing, plot: Plot, x: Scale, top: float) -> None:
    """A row for each process, and one for the switches."""
    _panel_title(drawing, top, "Faults")
    targets = [COORDINATOR, *range(1, plot.servers + 1)]
    names = [*(target_name(target) for target in targets), "switches"]
    for number, name in enumerate(names):
        middle = top + (number + 0.5) * ROW_HEIGHT
        drawing.text(LEFT - 8, middle + 4, name, font_size=11, fill=INK, text_anchor="end")
        if number:
            edge = top + number * ROW_HEIGHT
            drawing.line(LEFT, edge, WIDTH - RIGHT, edge, stroke=GRID, stroke_width=1)
    half = ROW_HEIGHT / 2 - 6
    for incident, mark in _marks(plot):
        middle = top + (targets.index(mark.target) + 0.5) * ROW_HEIGHT
        start, end = x(mark.began), x(_end(plot, mark))
        title = f"{mark.began:.1f} s: {incident.as_text()}"
        colour = COLOURS[mark.kind]
        drawing.rect(
            start, middle - half, max(3.0, end - start), 2 * half, title, fill=colour, fill_opacity=0.55, rx=2.0
        )
        if mark.kind == "killed":
            for way in (1, -1):
                drawing.line(
                    start - 4, middle - 4 * way, start + 4, middle + 4 * way, title, stroke=colour, stroke_width=2
                )
        else:
            drawing.line(start, middle - half - 2, start, middle + half + 2, title, stroke=colour, stroke_width=2)
    middle = top + (len(targets) + 0.5) * ROW_HEIGHT
    for incident in _switches(plot):
        place = x(incident.began)
        corners = [(place, middle - 6), (place + 6, middle), (place, middle + 6), (place - 6, middle)]
        drawing.polygon(corners, f"{incident.began:.1f} s: {incident.as_text()}", fill=SWITCHED)


def _legend(drawing: Drawing, y: float) -> None:
    x = float(LEFT)
    for _, colour, text in LEGEND:
        drawing.rect(x, y - 9, 12, 10, fill=colour, rx=2.0)
        drawing.text(x + 18, y, text, font_size=11, fill=INK)
        x += 18 + 6.2 * len(text) + 26


def _marks(plot: Plot) -> list[tuple[Incident, Mark]]:
    return [(incident, mark) for incident in plot.incidents if not incident.skipped for mark in incident.marks]


def _switches(plot: Plot) -> list[Incident]:
    return [incident for incident in plot.incidents if incident.fault.kind == "switch" and not incident.skipped]


def _end(plot: Plot, mark: Mark) -> float:
    return plot.seconds if mark.ended is None else mark.ended
