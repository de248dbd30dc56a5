"""Drawings: what comes out is XML, and says what was put in."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from twistedkv.svg import Drawing, number, round_steps

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_shapes_are_elements_in_the_order_in_which_they_were_added() -> None:
    drawing = Drawing(100, 50.5)
    drawing.line(1, 2, 3.25, 4, stroke="#888", stroke_width=1)
    drawing.text(1, 2, "a < b & c", text_anchor="end")
    drawing.polygon([(0, 0), (1, 1.5)], "what it is")
    drawing.polyline([(0, 0), (2, 2)], stroke="red")
    drawing.circle(5, 6, 7)
    root = ElementTree.fromstring(drawing.as_text())
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("100", "50.5", "0 0 100 50.5")
    background, line, text, polygon, polyline, circle = root
    assert background.tag == NAMESPACE + "rect"
    assert line.attrib == {"x1": "1", "y1": "2", "x2": "3.25", "y2": "4", "stroke": "#888", "stroke-width": "1"}
    assert (text.text, text.get("text-anchor")) == ("a < b & c", "end")
    assert (polygon.get("points"), polygon[0].text) == ("0,0 1,1.5", "what it is")
    assert polyline.get("fill") == "none"
    assert circle.get("r") == "7"


def test_without_a_background_nothing_is_behind() -> None:
    assert len(ElementTree.fromstring(Drawing(1, 1, background="").as_text())) == 0


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Cn"])))
def test_any_text_arrives(content: str) -> None:
    drawing = Drawing(1, 1, background="")
    drawing.rect(0, 0, 1, 1, content, fill=content)
    [rect] = ElementTree.fromstring(drawing.as_text())
    assert rect.get("fill") == content
    assert ["".join(title.itertext()) for title in rect] == ([content] if content else [])


def test_numbers_are_short() -> None:
    assert [number(value) for value in (0, 2.0, 1.5, 1.006, 100, -0.25)] == ["0", "2", "1.5", "1.01", "100", "-0.25"]


@given(st.floats(0.001, 1e9), st.integers(2, 12))
def test_an_axis_has_about_so_many_steps_and_reaches_the_top(most: float, count: int) -> None:
    steps = round_steps(most, count)
    assert steps[0] == 0
    assert steps[-1] >= most > steps[-2]
    assert count / 2.6 <= len(steps) - 1 <= count + 1


def test_an_axis_of_nothing() -> None:
    assert list(round_steps(0, 4)) == [0, 1]
    assert list(round_steps(1900, 4)) == [0, 500, 1000, 1500, 2000]
