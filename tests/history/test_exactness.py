"""Each checker says of every small history what the definition says: made by a model, and then made wrong."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tests.history.brute import is_linearizable
from twistedkv.history.record import FOREVER, Record
from twistedkv.history.search import check_by_search
from twistedkv.history.witness import check_by_versions

OPERATIONS_MAX = 7
INSTANTS = 14


@st.composite
def right_histories(draw: st.DrawFn) -> list[Record]:
    """What a store that does one thing at a time may have answered, of one key."""
    counts = draw(st.booleans())
    kinds = ["read", "read", "delete", "incr", "incr"] if counts else ["read", "read", "write", "cas", "cas", "delete"]
    moment, sequence = 0, 0
    value: Any = None
    version = None
    told: list[tuple[Any, Any]] = [(None, None)]
    records = []
    for number in range(draw(st.integers(2, OPERATIONS_MAX))):
        moment += draw(st.integers(0, 3))
        call, returned = moment - draw(st.integers(0, 3)), moment + draw(st.integers(0, 4))
        f = draw(st.sampled_from(kinds))
        record = Record(number, number, "k", f, [], call, returned, "ok")
        records.append(record)
        sequence += draw(st.integers(1, 2))
        before = (value, version)
        if f == "read":
            record.value, record.version = value, version
        elif f == "write":
            record.args = [f"v{number}"]
            value, version = record.args[0], (1, sequence)
        elif f == "delete":
            record.value = value is not None
            value, version = None, (1, sequence) if record.value else None
        elif f == "incr":
            record.args = [draw(st.sampled_from([1, 1, 2, -1]))]
            value, version = (value or 0) + record.args[0], (1, sequence)
            record.value = value
        else:
            old, record.expected = draw(st.sampled_from(told))
            record.args = [old, f"v{number}"]
            if record.expected == version:
                value, version = record.args[1], (1, sequence)
            else:
                record.result, record.mismatch, record.version = "fail", True, version
        if f != "read" and record.result == "ok":
            record.version = version
            if f == "delete":
                record.version = (1, sequence) if record.value else None
                version = None
        if f != "read" and draw(st.integers(0, 3)) == 0:
            if draw(st.booleans()):
                value, version = before
            _forget(record)
        elif value is not None and not record.mismatch:
            told.append((value, version))
    return records


def _forget(record: Record) -> None:
    record.result, record.returned, record.mismatch = "info", FOREVER, False
    record.value = record.version = None


def _read_another(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    other = draw(st.sampled_from(records))
    if victim.f == "read" and other.result == "ok":
        gone = other.f == "delete"
        victim.version = None if gone else other.version
        victim.value = None if gone else other.args[-1] if other.f in ("write", "cas") else other.value


def _mix_up(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    other = draw(st.sampled_from(records))
    if victim.f == other.f == "read" and victim.version and other.version:
        victim.value = other.value


def _find_another(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    versions = [None, *(r.version for r in records), (1, draw(st.integers(1, 12)))]
    if victim.mismatch or (victim.f == "delete" and victim.result == "ok"):
        victim.version = draw(st.sampled_from(versions))
        victim.value = None if victim.mismatch else victim.version is not None


def _move(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    victim.call += draw(st.integers(-INSTANTS, INSTANTS))
    if victim.returned != FOREVER:
        victim.returned = victim.call + draw(st.integers(0, 5))


def _count_wrong(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    if victim.f == "incr" and victim.result == "ok":
        victim.value += draw(st.sampled_from([-1, 1, 2]))


def _do_after_all(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    if victim.mismatch:
        victim.result, victim.mismatch, victim.value = "ok", False, victim.args[1]
        victim.version = (1, draw(st.integers(1, 12)))


def _leave_out(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    records.remove(victim)


def _never_hear(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    if victim.f != "read":
        _forget(victim)


def _renumber(draw: st.DrawFn, records: list[Record], victim: Record) -> None:
    """Only the versions get wrong, or not even these."""
    if victim.version is not None:
        old, new = victim.version, (1, draw(st.integers(1, 12)))
        for record in records:
            record.version = new if record.version == old else record.version
            record.expected = new if record.expected == old else record.expected


CHANGES = [_read_another, _read_another, _find_another, _move, _move, _count_wrong, _do_after_all, _leave_out]
CHANGES += [_never_hear, _renumber, _mix_up]


@st.composite
def changed_histories(draw: st.DrawFn) -> list[Record]:
    """The same with some changes, but such that every cas knows what it compares with from an answer."""
    records = draw(right_histories())
    for change in draw(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3)):
        if records:
            change(draw, records, draw(st.sampled_from(records)))
    known = [r for r in records if r.result == "ok" and r.version is not None]
    told = [(r.args[-1] if r.f in ("write", "cas") else r.value, r.version) for r in known]
    assume(all((r.args[0], r.expected) in told for r in records if r.f == "cas" and r.expected is not None))
    return records


def text(records: list[Record]) -> str:
    return "\n".join(map(str, sorted(records, key=lambda record: record.call)))


@given(right_histories())
def test_what_a_store_can_have_answered_is_right(records: list[Record]) -> None:
    assert is_linearizable(records, versions=True), text(records)
    assert not check_by_versions(records), text(records)
    assert not check_by_search(records)[0], text(records)


@settings(max_examples=max(500, settings.default.max_examples))
@given(changed_histories())
def test_each_checker_says_what_the_definition_says(records: list[Record]) -> None:
    records = [attrs.evolve(record) for record in records]
    with_versions, without = is_linearizable(records, versions=True), is_linearizable(records, versions=False)
    event(f"with versions {with_versions}, without {without}")
    assert without or not with_versions
    violations = check_by_versions(records)
    assert bool(violations) != with_versions, text(records)
    assert bool(check_by_search(records)[0]) != without, text(records)
    for violation in (*violations, *check_by_search(records)[0]):
        assert violation.as_text().count("\n") > len(violation.records)
