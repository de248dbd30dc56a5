"""The timeline of a violation: what is on it, in which order, and that any text arrives."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.history.test_checkers import WRONG, op, read, write
from tests.history.test_exactness import changed_histories
from twistedkv.history.drawing import BAR, OPERATIONS_MAX, choose_window, draw_violation, text_width
from twistedkv.history.record import FOREVER, Fault, Record
from twistedkv.history.verdict import check
from twistedkv.history.violation import Violation
from twistedkv.history.witness import check_by_versions

SVG = "{http://www.w3.org/2000/svg}"


def drawn(violation: Violation, records: list[Record], faults: list[Fault] | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(draw_violation(violation, records, faults or []))


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(SVG + "text")]


def bars(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """By what is shown when the mouse rests on them."""
    return {
        title.text or "": element
        for element in root.iter()
        for title in element.findall(SVG + "title")
        if element is not root
    }


def span_of(bar: ElementTree.Element) -> tuple[float, float]:
    if bar.tag == SVG + "polygon":
        places = [float(point.split(",")[0]) for point in (bar.get("points") or "").split()]
        return min(places), max(places)
    left = float(bar.get("x") or 0)
    return left, left + float(bar.get("width") or 0)


@pytest.mark.parametrize("name", WRONG)
def test_every_violation_can_be_drawn(name: str) -> None:
    for violation in (*check(WRONG[name]).by_versions, *check(WRONG[name]).by_search):
        root = drawn(violation, WRONG[name])
        found = texts(root)
        assert found[0].lower() == violation.text.lower()
        assert violation.why.split()[-1] in " ".join(found)
        letters = [text for text in found if len(text) == 1 and text.isupper()]
        assert sorted(letters) == [chr(ord("A") + number) for number in range(len(violation.records))]


def test_a_bar_goes_from_the_call_to_the_return() -> None:
    history = WRONG["an unacknowledged write that was read and vanishes"]
    root = drawn(check(history).violations[0], history)
    found = bars(root)
    spans = {name.split(",")[0]: span_of(bar) for name, bar in found.items()}
    first, unknown, early, late = (spans[f"process {number}"] for number in (0, 2, 3, 5))
    assert first[1] < unknown[0] < early[0] < early[1] < late[0] < late[1] < unknown[1]
    names = texts(root)
    assert {"process 0", "process 2", 'write "b"', "outcome not known", '"a", version 1.1'} <= set(names)
    [about] = [text for text in names if text.startswith("time in")]
    assert about.startswith("time in ns since 0 s of the history's clock")


def test_what_is_written_on_a_bar_fits_on_it() -> None:
    history = [write(0, 1, "a", 1), write(2, 1000, "b" * 50, 2), read(3, 4, "a", 1), read(1001, 1002, "a", 1)]
    root = drawn(check_by_versions(history)[0], history)
    found = bars(root)
    assert len(found) == 4
    for bar in found.values():
        left, right = span_of(bar)
        top = float(bar.get("y") or 0)
        inside = [
            text
            for text in root.iter(SVG + "text")
            if left <= float(text.get("x") or 0) <= right and top < float(text.get("y") or 0) < top + BAR
        ]
        assert len(inside) >= 2
        assert all(float(text.get("x") or 0) + text_width(text.text or "") <= right for text in inside)


def test_a_fault_in_the_window_is_drawn() -> None:
    history = WRONG["a stale read"]
    names = texts(drawn(check(history).violations[0], history, [Fault(2, "kill server 1"), Fault(99, "freeze")]))
    assert "kill server 1" in names
    assert "freeze" not in names


def test_only_what_went_on_around_the_violation_is_drawn() -> None:
    many = [read(1000 + number, 1_000_000, "a", 1) for number in range(200)]
    for number, record in enumerate(many):
        record.process = f"reader {number}"
    other = write(0, 1, "z", 7)
    other.key = "another"
    stale = read(2_000_000, 2_000_001, "a", 1)
    history = [write(0, 1, "a", 1), write(500, 900, "b", 2), *many, stale, other]
    violation = check_by_versions([history[0], history[1], stale])[0]
    window = choose_window(violation, [record for record in history if record.key == "k"])
    assert len(window) == 12
    assert set(map(id, violation.records)) <= set(map(id, window))
    assert "12 of its 203 operations are drawn" in " ".join(texts(drawn(violation, history)))
    stale.call = 1500
    assert len(choose_window(violation, history)) == OPERATIONS_MAX


def test_two_things_that_a_process_does_at_once_are_in_two_rows() -> None:
    history = [op(1, 0, 10, "write", "a", version=1), op(1, 5, 20, "read", version=2, value="b")]
    root = drawn(check_by_versions(history)[0], history)
    assert texts(root).count("process 1") == 2


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_arrives(key: str, value: str) -> None:
    history = [write(0, 1, value, 1), read(2, 3, None)]
    for record in history:
        record.key, record.process, record.via = key, value, value
    [violation] = check_by_versions(history)
    root = drawn(violation, history, [Fault(1, value)])
    assert any(text.startswith("write ") for text in texts(root))


@given(changed_histories())
def test_order_is_exact_however_far_apart_things_are(records: list[Record]) -> None:
    for record in records:
        record.call *= 10**6
        record.returned = record.returned * 10**6 if record.returned != FOREVER else FOREVER
    for violation in check_by_versions(records):
        root = drawn(violation, records)
        ticks = [float(line.get("x1") or 0) for line in root.iter(SVG + "line") if line.get("opacity")]
        assert len(ticks) >= 1
        for earlier, later in pairwise(sorted(records, key=lambda record: record.call)):
            titles = bars(root)
            spans = [
                next(span_of(bar) for name, bar in titles.items() if f"operation {record.op}:" in name)
                for record in (earlier, later)
            ]
            assert (spans[0][0] < spans[1][0]) == (earlier.call < later.call)
