"""Drawings as SVG text: the few shapes that this package draws. Pure, and without dependencies.

Lengths are in pixels, from the upper left corner. Attributes are given as keywords, with `_` for `-`:
`drawing.line(0, 0, 10, 10, stroke="#888", stroke_width=1)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

FONT = "-apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

Point = tuple[float, float]


def number(value: float) -> str:
    """A length, short: `1.5`, `2`."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _attributes(attributes: dict[str, object]) -> str:
    parts = []
    for name, value in attributes.items():
        text = number(value) if isinstance(value, float) else str(value)
        parts.append(f' {name.rstrip("_").replace("_", "-")}="{escape(text)}"')
    return "".join(parts)


class Drawing:
    """A drawing of a fixed size, to which shapes are added from the back to the front."""

    def __init__(self, width: float, height: float, background: str = "#ffffff") -> None:
        self.width = width
        self.height = height
        self._parts: list[str] = []
        if background:
            self.rect(0, 0, width, height, fill=background)

    def element(self, name: str, content: str | None = None, title: str = "", **attributes: object) -> None:
        """Any element. `content` is text; `title` is shown when the mouse rests on the element."""
        inner = f"<title>{escape(title)}</title>" if title else ""
        inner += escape(content, quote=False) if content is not None else ""
        start = f"<{name}{_attributes(attributes)}"
        self._parts.append(f"{start}>{inner}</{name}>" if inner else f"{start}/>")

    def rect(self, x: float, y: float, width: float, height: float, title: str = "", **attributes: object) -> None:
        """A rectangle."""
        size = {"x": float(x), "y": float(y), "width": float(width), "height": float(height)}
        self.element("rect", None, title, **size, **attributes)

    def line(self, x1: float, y1: float, x2: float, y2: float, title: str = "", **attributes: object) -> None:
        """A line."""
        ends = {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)}
        self.element("line", None, title, **ends, **attributes)

    def circle(self, x: float, y: float, radius: float, title: str = "", **attributes: object) -> None:
        """A circle."""
        self.element("circle", None, title, cx=float(x), cy=float(y), r=float(radius), **attributes)

    def polyline(self, points: Iterable[Point], **attributes: object) -> None:
        """A line through points."""
        self.element("polyline", None, "", points=_points(points), **({"fill": "none"} | attributes))

    def polygon(self, points: Iterable[Point], title: str = "", **attributes: object) -> None:
        """An area with corners."""
        self.element("polygon", None, title, points=_points(points), **attributes)

    def text(self, x: float, y: float, content: str, title: str = "", **attributes: object) -> None:
        """A line of text, from the left unless `text_anchor` says otherwise. `y` is its base line."""
        self.element("text", content, title, x=float(x), y=float(y), **attributes)

    def as_text(self) -> str:
        """The whole document."""
        size = f'width="{number(self.width)}" height="{number(self.height)}"'
        box = f'viewBox="0 0 {number(self.width)} {number(self.height)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} font-family="{FONT}">'
        return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *self._parts, "</svg>", ""])


def _points(points: Iterable[Point]) -> str:
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)


def round_steps(most: float, count: int) -> Sequence[float]:
    """About `count` round numbers from 0 up to at least `most`, for an axis: 0, 500, 1000, 1500."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / count
    magnitude = 1.0
    while magnitude * 10 <= rough:
        magnitude *= 10
    while magnitude > rough:
        magnitude /= 10
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= rough)
    steps = [0.0]
    while steps[-1] < most:
        steps.append(round(len(steps) * step, 9))
    return steps
