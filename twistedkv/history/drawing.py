"""A violation as a timeline (SVG): a row for each process, a bar for each operation from its call to its return.

Time goes to the right, but not to scale: a bar is at least as wide as what is written on it, or in a second with a
thousand operations nothing could be read. What counts is the order of calls and returns, and that is exact: of two
bars of which one begins to the right of the other's end, the first was over when the second began.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from unicodedata import east_asian_width

import attrs

from twistedkv.history.record import FOREVER, Fault, Record
from twistedkv.history.violation import Scale, Violation, answered, in_words, letter, printable, shown, times_of
from twistedkv.svg import Drawing

OPERATIONS_MAX = 60
"""In one drawing."""
NEIGHBOURS = 12
"""So many are drawn at least, if there are as many: those that are nearest to the violation."""

COLOURS = {
    "read": ("#dbeafe", "#2563eb"),
    "write": ("#dcfce7", "#15803d"),
    "cas": ("#ede9fe", "#7c3aed"),
    "delete": ("#ffedd5", "#c2410c"),
    "incr": ("#cffafe", "#0e7490"),
}
"""Of a bar and its border, by kind of operation."""
INK, FAINT, GRID, WRONG, FAULT = "#111827", "#6b7280", "#e5e7eb", "#dc2626", "#b45309"

MARGIN = 24.0
ROW = 52.0
BAR = 36.0
TICK_APART = 64.0
GAP = 14.0
"""Least distance between two moments, in pixels."""
TO_SCALE = 500.0
"""What is shared out between moments by their distance in time, in pixels."""
TAIL = 60.0
"""How far an unknown outcome goes on behind everything else, in pixels."""
WIDTH_MIN = 960.0
CHARACTER = 6.8
"""Width of a character of 12 pixels; of the wide ones of East Asia two of these."""
VALUE_CHARACTERS_MAX = 24


def draw_violation(violation: Violation, records: Iterable[Record], faults: Iterable[Fault] = ()) -> str:
    """The SVG document: the operations of the violation with their letters, and what went on around them."""
    own = [record for record in records if record.key == violation.key]
    window = choose_window(violation, own)
    return _Timeline(violation, window, len(own), list(faults)).as_text()


def choose_window(violation: Violation, own: Iterable[Record]) -> list[Record]:
    """The operations to be drawn, in the order of their calls.

    Those of the violation; those of the same key that were going on at the same time; and the nearest to them.
    """
    involved = list(violation.records)
    known = {id(record) for record in involved}

    def distance(record: Record) -> int:
        end = record.call if record.returned == FOREVER else record.returned
        spans = [(each.call, each.call if each.returned == FOREVER else each.returned) for each in involved]
        return min((max(0, record.call - last, first - end) for first, last in spans), default=0)

    others = sorted(((distance(r), r.call, i, r) for i, r in enumerate(own) if id(r) not in known), key=lambda e: e[:3])
    at_the_same_time = sum(not apart for apart, *_ in others)
    count = min(OPERATIONS_MAX, max(NEIGHBOURS, len(involved) + at_the_same_time)) - len(involved)
    chosen = involved + [record for *_, record in others[: max(0, count)]]
    return sorted(chosen, key=lambda record: record.call)


@attrs.frozen
class _Bar:
    record: Record
    letter: str
    """Empty for those that are not of the violation."""
    row: int
    lines: tuple[str, str]

    @property
    def width(self) -> float:
        """Least width, in pixels."""
        return max(map(text_width, self.lines)) + (30 if self.letter else 12)


class _Timeline:
    """One drawing while it is made."""

    def __init__(self, violation: Violation, window: Sequence[Record], total: int, faults: Sequence[Fault]) -> None:
        self._violation = violation
        self._total = total
        self._start = min((record.call for record in window), default=0)
        times = times_of(window)
        self._scale = Scale.of(times_of(violation.records))
        self._faults = [fault for fault in faults if self._start <= fault.at <= max(times, default=0)]
        self._rows: list[str] = []
        self._bars = self._place(window)
        self._left = MARGIN + max([text_width(name) for name in self._rows], default=0.0) + 16
        self._x, right = self._lay_out(sorted({*times, *(fault.at for fault in self._faults)}))
        self._right = max(right, WIDTH_MIN - MARGIN)
        self._head = self._title_lines()
        self._top = MARGIN + 26 + 18 * len(self._head) + 22 + 16 * bool(self._faults)
        self._bottom = self._top + ROW * len(self._rows)
        self._drawing = Drawing(self._right + MARGIN, self._bottom + 108)

    def as_text(self) -> str:
        """The document."""
        self._draw_title()
        self._draw_axis()
        for bar in sorted(self._bars, key=lambda bar: bool(bar.letter)):
            self._draw_bar(bar)
        self._draw_legend()
        return self._drawing.as_text()

    # Where everything is.

    def _place(self, window: Sequence[Record]) -> list[_Bar]:
        """A row for each process, those of the violation first; two for one that does two things at a time."""
        bars: list[_Bar] = []
        ends: list[tuple[int | str, int]] = []
        letters = {id(record): letter(number) for number, record in enumerate(self._violation.records)}
        of_violation = {record.process for record in self._violation.records}
        for record in sorted(window, key=lambda record: (record.process not in of_violation, record.call)):
            free = (i for i, (process, end) in enumerate(ends) if process == record.process and end < record.call)
            row = next(free, len(ends))
            ends[row : row + 1] = [(record.process, max(record.returned, record.call))]
            if row == len(self._rows):
                name = printable(str(record.process))
                self._rows.append(f"process {name}" if isinstance(record.process, int) else name)
            bars.append(_Bar(record, letters.get(id(record), ""), row, _lines(record)))
        return bars

    def _lay_out(self, times: Sequence[int]) -> tuple[dict[int, float], float]:
        """(where each moment is, the right end): far enough apart that each bar has its width."""
        span = max(1, times[-1] - times[0]) if times else 1
        needs: dict[int, list[tuple[int, float]]] = {}
        """By moment: (an earlier moment, how far behind that)."""
        right_of: dict[int, _Bar] = {}
        for bar in self._bars:
            before = right_of.get(bar.row)
            if before is not None:
                needs.setdefault(bar.record.call, []).append((before.record.call, before.width + 8))
            right_of[bar.row] = bar
            if bar.record.call < bar.record.returned < FOREVER:
                needs.setdefault(bar.record.returned, []).append((bar.record.call, bar.width))
        x: dict[int, float] = {}
        place = self._left + 12
        for number, time in enumerate(times):
            if number:
                place += GAP + TO_SCALE * (time - times[number - 1]) / span
            place = max([place, *(x[earlier] + apart for earlier, apart in needs.get(time, []))])
            x[time] = place
        return x, max([place + TAIL, *(x[bar.record.call] + bar.width + 16 for bar in self._bars)])

    # What is drawn.

    def _title_lines(self) -> list[str]:
        characters = int((self._right - MARGIN) / (CHARACTER + 0.4))
        count = f"{len(self._bars)} of its {self._total}" if len(self._bars) < self._total else f"all its {self._total}"
        about = f"Key {printable(self._violation.key)} ({count} operations are drawn). {printable(self._violation.why)}"
        return textwrap.wrap(about, characters)

    def _draw_title(self) -> None:
        sentence = printable(self._violation.text)
        self._drawing.element("title", f"key {printable(self._violation.key)}: {sentence}")
        y = MARGIN + 14
        title = f"{sentence[:1].upper()}{sentence[1:]}"
        self._drawing.text(MARGIN, y, title, font_size=18, font_weight="bold", fill=INK)
        for number, line in enumerate(self._head):
            self._drawing.text(MARGIN, y + 26 + 18 * number, line, font_size=13, fill=INK)

    def _draw_axis(self) -> None:
        draw = self._drawing
        for row, name in enumerate(self._rows):
            y = self._top + ROW * row
            if row % 2 == 0:
                draw.rect(MARGIN, y, self._right - MARGIN, ROW, fill="#f9fafb")
            draw.text(MARGIN + 6, y + ROW / 2 + 4, name, font_size=12, fill=FAINT)
        draw.line(self._left, self._bottom, self._right, self._bottom, stroke=FAINT)
        for time, important in self._ticks():
            x = self._x[time]
            colour, dashes = (WRONG, "3 3") if important else (GRID, "none")
            draw.line(x, self._top, x, self._bottom + 5, stroke=colour, stroke_dasharray=dashes, opacity=0.7)
            text = self._scale.text(time - self._start)
            colour, weight = (INK, "bold") if important else (FAINT, "normal")
            draw.text(x, self._bottom + 18, text, font_size=11, text_anchor="middle", fill=colour, font_weight=weight)
        for fault in self._faults:
            x = self._x[fault.at]
            draw.line(x, self._top - 4, x, self._bottom, stroke=FAULT, stroke_width=2, stroke_dasharray="6 4")
            draw.text(x + 4, self._top - 8, printable(fault.text), font_size=11, fill=FAULT)
        start = f"{self._start / 1e9:.6f}".rstrip("0").rstrip(".")
        about = f"time in {self._scale.unit} since {start} s of the history's clock (in order, not to scale)"
        draw.text(self._left, self._bottom + 38, about, font_size=12, fill=FAINT)

    def _ticks(self) -> list[tuple[int, bool]]:
        """(time, whether it is one of the violation): those first, others where there is room."""
        of_violation = set(times_of(self._violation.records))
        chosen: list[tuple[int, bool]] = []
        for time in sorted(self._x, key=lambda time: (time not in of_violation, time)):
            if all(abs(self._x[time] - self._x[other]) >= TICK_APART for other, _ in chosen):
                chosen.append((time, time in of_violation))
        return chosen

    def _draw_bar(self, bar: _Bar) -> None:
        draw, record = self._drawing, bar.record
        fill, border = COLOURS[record.f]
        x, y = self._x[record.call], self._top + ROW * bar.row + (ROW - BAR) / 2
        style: dict[str, object] = {"fill": fill, "stroke": border, "stroke_width": 1}
        if record.result == "fail":
            style["fill"] = "#ffffff"
        if bar.letter:
            style |= {"stroke": WRONG, "stroke_width": 2.5}
        about = f"{printable(str(record.process))}, operation {record.op}: {in_words(record)}"
        about += f" ({self._scale.span(record, self._start)} {self._scale.unit})"
        about += f", sent {record.attempts} times" if (record.attempts or 0) > 1 else ""
        about += f", answered by {printable(record.via)}" if record.via is not None else ""
        if record.returned == FOREVER:
            end = self._right - 14
            corners = [(x, y), (end, y), (self._right, y + BAR / 2), (end, y + BAR), (x, y + BAR)]
            draw.polygon(corners, f"process {about}", stroke_dasharray="5 4", fill_opacity=0.6, **style)
        else:
            width = max(6.0, self._x[record.returned] - x)
            draw.rect(x, y, width, BAR, f"process {about}", rx=3, **style)
        left = x + 6
        if bar.letter:
            draw.circle(x + 13, y + BAR / 2, 9, fill=WRONG)
            draw.text(
                x + 13, y + BAR / 2 + 4, bar.letter, font_size=11, font_weight="bold", fill="#fff", text_anchor="middle"
            )
            left = x + 26
        weight = "bold" if bar.letter else "normal"
        draw.text(left, y + 15, bar.lines[0], font_size=12, fill=INK, font_weight=weight)
        draw.text(left, y + 29, bar.lines[1], font_size=11, fill=INK if record.result == "ok" else FAINT)

    def _draw_legend(self) -> None:
        draw, x, y = self._drawing, MARGIN, self._bottom + 60
        entries = [(f, fill, border, 1.0, "none") for f, (fill, border) in COLOURS.items()]
        entries.append(("refused or failed", "#ffffff", FAINT, 1.0, "none"))
        entries.append(("outcome not known", "#f3f4f6", FAINT, 1.0, "4 3"))
        entries.append(("shows the violation", "#ffffff", WRONG, 2.5, "none"))
        for name, fill, border, width, dashes in entries:
            if x + 24 + text_width(name) > self._right:
                x, y = MARGIN, y + 22
            draw.rect(x, y, 18, 12, rx=2, fill=fill, stroke=border, stroke_width=width, stroke_dasharray=dashes)
            draw.text(x + 24, y + 10, name, font_size=12, fill=INK)
            x += 24 + text_width(name) + 18


def _lines(record: Record) -> tuple[str, str]:
    """What is written on a bar: what was asked, and what was answered."""
    args = [_short(value) for value in record.args]
    if record.f == "cas":
        expected = f"version {record.expected[0]}.{record.expected[1]}" if record.expected else "no key"
        asked = f"cas {args[0]} to {args[1]} if {expected}" if record.expected else f"cas to {args[1]} if {expected}"
    else:
        asked = " ".join([record.f, *args])
    value = record.value if record.f != "read" or record.result != "ok" else _cut(record.value)
    return asked, answered(attrs.evolve(record, value=value))


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > VALUE_CHARACTERS_MAX:
        return value[: VALUE_CHARACTERS_MAX - 1] + "…"
    return value


def _short(value: object) -> str:
    return shown(_cut(value))


def text_width(text: str) -> float:
    """About, in pixels."""
    return CHARACTER * sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
