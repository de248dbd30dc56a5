"""What operations of unknown outcome can explain, and what they cannot."""

from __future__ import annotations

from typing import Any

from tests.history.test_checkers import cas, delete, incr, read, write
from twistedkv.history.record import Record
from twistedkv.history.walk import UNSEEN, Place, Walk

START = Place((0, 0), None, None)


def made(record: Record, value: Any) -> Place:
    assert record.version is not None
    return Place(record.version, record, value, record.call, record.returned)


def test_without_anything_unknown_the_places_have_to_fit() -> None:
    places = [START, made(write(0, 1, "a", 1), "a"), made(cas(2, 3, "a", 1, "b", 2), "b")]
    assert Walk(places, [], []).explained()
    places[2] = made(cas(2, 3, None, 0, "b", 2), "b")
    walk = Walk(places, [], [])
    assert not walk.explained()
    assert walk.stuck == (1, None)


def test_a_deletion_explains_each_thing_once() -> None:
    places = [START, made(write(0, 1, "a", 1), "a"), made(cas(2, 3, None, 0, "b", 3), "b")]
    places.append(made(cas(4, 5, None, 0, "c", 5), "c"))
    assert not Walk(places, [], [delete(0, None)]).explained()
    assert Walk(places, [], [delete(0, None), delete(0, None)]).explained()


def test_what_was_called_too_late_explains_nothing() -> None:
    places = [START, made(write(0, 1, "a", 1), "a"), made(cas(2, 5, None, 0, "b", 3), "b")]
    assert Walk(places, [], [delete(5, None)]).explained()
    assert not Walk(places, [], [delete(6, None)]).explained()


def test_a_read_of_nothing_comes_as_early_as_it_can() -> None:
    places = [START, made(write(0, 10, "a", 1), "a"), made(write(11, 12, "b", 3), "b")]
    assert Walk(places, [read(0, 1, None), read(10, 11, None)], []).explained()
    missed = read(11, 12, None)
    walk = Walk(places, [missed], [])
    assert not walk.explained()
    assert walk.stuck == (2, missed)
    assert Walk(places, [missed], [delete(12, None)]).explained()
    assert not Walk(places, [missed], [delete(13, None)]).explained()


def test_additions_make_up_the_difference() -> None:
    places = [START, made(incr(0, 1, 1, 1), 1), made(incr(5, 6, 4, 4), 4), Place((1, 9), None, 5, 8, 9)]
    three = [incr(2, None), incr(3, None), incr(4, None)]
    assert Walk(places, [], three).explained()
    assert not Walk(places, [], three[:2]).explained()
    assert not Walk(places, [], [*three[:2], incr(10, None)]).explained()


def test_a_version_that_nobody_read_was_made_by_one_of_unknown_outcome() -> None:
    places = [START, made(write(0, 1, "a", 1), "a"), Place((1, 2), None, UNSEEN, 4, 5)]
    assert not Walk(places, [], []).explained()
    assert not Walk(places, [], [delete(2, None)]).explained()
    assert not Walk(places, [], [incr(2, None)]).explained()
    assert Walk(places, [], [write(2, None, "b")]).explained()
    assert Walk(places, [], [cas(2, None, "a", 1, "b")]).explained()
    assert not Walk(places, [], [cas(2, None, "a", 7, "b")]).explained()
    assert not Walk(places, [], [cas(2, None, None, 0, "b")]).explained()
    assert Walk(places, [], [cas(2, None, None, 0, "b"), delete(2, None)]).explained()


def test_many_that_stand_for_each_other_are_no_work() -> None:
    places = [START, *(made(incr(2 * n, 2 * n + 1, n, n), n) for n in range(1, 60))]
    places.append(made(incr(200, 201, 500, 99), 500))
    walk = Walk(places, [], [incr(0, None) for _ in range(200)])
    assert not walk.explained()
    assert walk.stuck == (59, None)
