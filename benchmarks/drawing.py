"""The table of comparisons as a plot: a bar for each ratio, and a mark where it should be."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparing import Comparison
from twistedkv.svg import Drawing, round_steps

_ROW, _LEFT, _WIDTH, _TOP = 22.0, 330.0, 520.0, 34.0
_GOOD, _BAD, _PLAIN, _INK = "#3a7d44", "#b5482f", "#8a8f98", "#30343b"


def bars(rows: Sequence[Comparison]) -> str:
    """The plot as SVG. Right of the line at 1 is more than the other system's figure."""
    most = max([1.5, *(max(row.spread[1], row.target or 0.0) for row in rows)])
    drawing = Drawing(_LEFT + _WIDTH + 70, _TOP + _ROW * len(rows) + 30)

    def place(ratio: float) -> float:
        return _LEFT + ratio / most * _WIDTH

    drawing.text(10, 20, "twistedkv as a multiple of the other system", font_size=13, fill=_INK, font_weight="bold")
    bottom = _TOP + _ROW * len(rows)
    for step in round_steps(most, 6):
        drawing.line(place(step), _TOP - 4, place(step), bottom, stroke="#e3e5e8" if step != 1 else _INK)
        drawing.text(place(step), bottom + 16, f"{step:g}", font_size=11, fill=_INK, text_anchor="middle")
    for index, row in enumerate(rows):
        top = _TOP + index * _ROW
        fill = _PLAIN if row.met is None else _GOOD if row.met else _BAD
        drawing.text(10, top + 14, row.name, font_size=12, fill=_INK)
        drawing.rect(_LEFT, top + 4, place(row.ratio) - _LEFT, _ROW - 9, fill=fill, title=row.as_text())
        low, high = row.spread
        drawing.line(place(low), top + 10.5, place(high), top + 10.5, stroke=_INK)
        if row.target is not None:
            drawing.line(place(row.target), top + 1, place(row.target), top + _ROW - 2, stroke=_INK, stroke_width=2)
        drawing.text(place(max(high, row.ratio)) + 6, top + 14, f"{row.ratio:.2f}", font_size=11, fill=_INK)
    return drawing.as_text()
