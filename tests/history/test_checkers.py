"""Both checkers accept what a store can have answered and refuse what it cannot: hand-written, and made by a model."""

from __future__ import annotations

import random
from typing import Any

import attrs
import pytest

from twistedkv.errors import InvalidRequest
from twistedkv.history.record import FOREVER, Record, line_of, read_history
from twistedkv.history.search import check_by_search
from twistedkv.history.verdict import check
from twistedkv.history.witness import check_by_versions


def op(process: int, call: int, end: int | None, f: str, *args: Any, version: int = 0, **fields: Any) -> Record:
    record = Record(
        process, 0, "k", f, list(args), call, FOREVER if end is None else end, "info" if end is None else "ok"
    )
    record.version = (1, version) if version else None
    if f in ("write", "cas") and end is not None:
        record.value = args[-1]
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def write(call: int, end: int | None, value: str, version: int = 0) -> Record:
    return op(call, call, end, "write", value, version=version)


def read(call: int, end: int, value: Any, version: int = 0) -> Record:
    return op(call, call, end, "read", version=version, value=value)


def delete(call: int, end: int | None, version: int = 0) -> Record:
    return op(call, call, end, "delete", version=version, value=version > 0)


def cas(call: int, end: int | None, old: str | None, expected: int, new: str, version: int = 0) -> Record:
    return op(call, call, end, "cas", old, new, version=version, expected=(1, expected) if expected else None)


def incr(call: int, end: int | None, total: int | None = None, version: int = 0) -> Record:
    return op(call, call, end, "incr", 1, version=version, value=total)


RIGHT: dict[str, list[Record]] = {
    "reads see writes": [read(0, 1, None), write(2, 3, "a", 1), read(4, 5, "a", 1), read(4, 6, "a", 1)],
    "an old value while the write goes on": [write(0, 1, "a", 1), write(2, 9, "b", 2), read(3, 4, "a", 1)],
    "an unknown write that is seen": [write(0, None, "a"), read(1, 2, None), read(3, 4, "a", 1)],
    "an unknown write that never happens": [write(0, None, "a"), read(1, 2, None), read(3, 4, None)],
    "deleted and written again": [
        write(0, 1, "a", 1), delete(2, 3, 2), read(4, 5, None), write(6, 7, "b", 3), read(8, 9, "b", 3)
    ],
    "an unknown deletion that is seen": [write(0, 1, "a", 1), delete(2, None), read(3, 4, "a", 1), read(5, 6, None)],
    "an unknown deletion that two gaps could hold": [
        write(0, 10, "a", 1), write(0, 20, "b", 2), delete(1, None), read(9, 30, None), read(25, 35, None)
    ],
    "a deletion of nothing": [delete(0, 1), write(2, 3, "a", 1)],
    "cas": [cas(0, 1, None, 0, "a", 1), cas(2, 3, "a", 1, "b", 2), read(4, 5, "b", 2)],
    "cas after an unknown deletion": [write(0, 1, "a", 1), delete(2, None), cas(3, 4, None, 0, "b", 3)],
    "a mismatch": [
        write(0, 1, "a", 1), write(2, 3, "b", 2),
        op(4, 4, 5, "cas", "a", "c", version=2, expected=(1, 1), result="fail", mismatch=True, value=None),
    ],
    "a mismatch with the same sum at another version": [
        incr(0, 1, 1, 1), delete(2, 3, 2), incr(4, 5, 1, 3),
        op(6, 6, 7, "cas", 1, "c", version=3, expected=(1, 1), result="fail", mismatch=True, value=None),
    ],
    "a mismatch with an unknown write": [
        write(0, 1, "a", 1), write(2, None, "b"),
        op(4, 4, 5, "cas", "a", "c", version=2, expected=(1, 1), result="fail", mismatch=True, value=None),
    ],
    "sums": [incr(0, 1, 1, 1), incr(2, 9, 3, 3), incr(3, 8, 2, 2), read(10, 11, 3, 3)],
    "sums with unknown ones": [
        incr(0, 1, 1, 1), incr(2, None), incr(3, 4, 3, 3), incr(5, None), read(6, 7, 4, 4), read(8, 9, 4, 4)
    ],
    "a sum that begins again": [incr(0, 1, 1, 1), incr(2, 3, 2, 2), delete(4, None), incr(5, 6, 1, 4)],
    "an unknown cas that is seen": [write(0, 1, "a", 1), cas(2, None, "a", 1, "b"), read(3, 4, "b", 2)],
    "an unknown write that was deleted": [write(0, None, "a"), delete(2, 3, 2), read(4, 5, None)],
    "nothing, then what was written after an unknown deletion": [
        write(0, 1, "a", 1), delete(2, None), read(3, 4, None), write(5, None, "b"), delete(6, 7, 4)
    ],
    "one unknown deletion for the early reads, one for the late": [
        write(0, 1, "a", 1), delete(2, None), delete(9, None), read(3, 4, None), write(5, 6, "b", 3), read(10, 11, None)
    ],
}  # fmt: skip

WRONG: dict[str, list[Record]] = {
    "a stale read": [write(0, 1, "a", 1), write(2, 3, "b", 2), read(4, 5, "a", 1)],
    "nothing, although it was written": [write(0, 1, "a", 1), read(2, 3, None)],
    "time runs back between reads": [
        write(0, 1, "a", 1), write(2, 20, "b", 2), read(3, 4, "b", 2), read(5, 6, "a", 1)
    ],
    "a lost update": [write(0, 1, "a", 1), cas(2, 9, "a", 1, "b", 2), cas(3, 8, "a", 1, "c", 3)],
    "executed twice": [incr(0, 1, 1, 1), incr(2, 3, 3, 3)],
    "executed twice, unknown": [incr(0, 1, 1, 1), incr(2, None), incr(4, 5, 4, 4)],
    "split brain": [
        write(0, 1, "a", 1), write(2, 3, "b", 2), write(4, 5, "c", 3), read(6, 7, "b", 2), read(8, 9, "c", 3)
    ],
    "an unacknowledged write that was read and vanishes": [
        write(0, 1, "a", 1), write(2, None, "b"), read(3, 4, "b", 2), read(5, 6, "a", 1)
    ],
    "a lost write": [write(0, 1, "a", 1), write(2, 3, "b", 2), write(4, 5, "c", 3), read(6, 7, "a", 1)],
    "a value from nowhere": [write(0, 1, "a", 1), read(2, 3, "x", 2)],
    "read before it was written": [read(0, 1, "a", 1), write(2, 3, "a", 1)],
    "a deletion that comes back": [write(0, 1, "a", 1), delete(2, 3, 2), read(4, 5, "a", 1)],
    "deleted twice": [write(0, 1, "a", 1), delete(2, 3, 2), delete(4, 5, 3)],
    "a sum lost": [incr(0, 1, 1, 1), incr(2, 3, 2, 2), read(4, 5, 1, 1)],
    "nothing, and then what was there before": [
        write(0, 1, "a", 1), delete(2, None), read(3, 4, None), cas(5, 6, "a", 1, "b", 3)
    ],
    "nothing, and then the sum goes on": [incr(0, 1, 1, 1), delete(2, None), read(3, 4, None), incr(5, 6, 2, 3)],
    "nothing twice, and one deletion for both": [
        write(0, 1, "a", 1), delete(2, None), read(3, 4, None), write(5, 6, "b", 3), read(7, 8, None)
    ],
    "an unknown cas of what had been replaced": [
        write(0, 1, "a", 1), write(2, 3, "b", 2), cas(4, None, "a", 1, "c"), read(5, 6, "c", 3)
    ],
    "an unknown cas that removes an update": [
        write(0, 1, "a", 1), cas(2, None, "a", 1, "b"), cas(3, 4, "a", 1, "c", 2), read(5, 6, "b", 3)
    ],
    "an unknown write done twice": [
        write(0, None, "a"), read(1, 2, "a", 1), write(3, 4, "b", 2), read(5, 6, "a", 3)
    ],
    "a write that failed, and was done": [
        op(0, 0, 1, "write", "a", result="fail", value=None), read(2, 3, "a", 1)
    ],
    "nothing, before it was deleted": [write(0, 1, "a", 1), read(2, 3, None), delete(4, 5, 2)],
    "nothing, something else, and then what was there before": [
        write(0, 1, "a", 1), delete(2, None), read(3, 4, None), write(5, None, "b"), cas(6, 7, "a", 1, "c", 5)
    ],
    "a mismatch that found nothing where there was something": [
        write(0, 1, "a", 1), write(2, 3, "b", 2),
        op(4, 4, 5, "cas", "a", "c", expected=(1, 1), result="fail", mismatch=True, value=None),
    ],
    "a mismatch that found something where there was nothing": [
        write(0, 1, "a", 1), delete(2, 3, 2),
        op(4, 4, 5, "cas", "a", "c", version=3, expected=(1, 1), result="fail", mismatch=True, value=None),
    ],
    "a mismatch with what can have been made only of what was gone": [
        write(0, 1, "a", 1), delete(2, None), read(3, 4, None), cas(5, None, "a", 1, "c"),
        op(6, 6, 7, "cas", "a", "d", version=5, expected=(1, 1), result="fail", mismatch=True, value=None),
    ],
    "a mismatch with what nobody made": [
        write(0, 1, "a", 1),
        op(4, 4, 5, "cas", "a", "c", version=2, expected=(1, 1), result="fail", mismatch=True, value=None),
        read(6, 7, "a", 1),
    ],
    "a mismatch that was none": [
        write(0, 1, "a", 1),
        op(4, 4, 5, "cas", "a", "c", version=1, expected=(1, 1), result="fail", mismatch=True, value=None),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_accepted_by_both(name: str) -> None:
    verdict = check(RIGHT[name])
    assert verdict.linearizable, verdict.as_text()


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_by_both(name: str) -> None:
    verdict = check(WRONG[name])
    assert verdict.by_versions
    assert verdict.by_search
    assert "key k" in verdict.as_text()


def test_versions_against_real_time_are_an_error_that_only_the_witness_sees() -> None:
    history = [write(0, 1, "a", 2), write(2, 3, "b", 1), read(4, 5, "b", 1)]
    assert check_by_versions(history)
    assert not check_by_search(history)[0]


def test_the_same_version_twice() -> None:
    assert check_by_versions([write(0, 1, "a", 1), write(0, 1, "b", 1)])


def made_by_a_model(seed: int, operations: int, processes: int = 5) -> list[Record]:
    """A history of a store that does one thing at a time, at a random moment of each operation."""
    chance = random.Random(seed)
    free = [0] * processes
    plans = []
    for number in range(operations):
        process = chance.randrange(processes)
        call = free[process] + chance.randint(1, 50)
        end = call + chance.randint(1, 200)
        free[process] = end
        plans.append((chance.randint(call, end), call, end, number))
    state: str | None = None
    version = 0
    records = []
    for sequence, (_, call, end, number) in enumerate(sorted(plans), start=1):
        draw, unknown = chance.random(), chance.random() < 0.03
        kept = unknown and chance.random() < 0.5
        if draw < 0.5:
            records.append(read(call, end, state, version if state else 0))
        elif draw < 0.6:
            records.append(delete(call, None) if unknown else delete(call, end, sequence if state else 0))
            if state and not kept:
                state, version = None, sequence
        else:
            value = f"v{number}"
            compares = draw > 0.8
            if unknown:
                records.append(
                    cas(call, None, state, version if state else 0, value) if compares else write(call, None, value)
                )
            elif compares:
                records.append(cas(call, end, state, version if state else 0, value, sequence))
            else:
                records.append(write(call, end, value, sequence))
            if not kept:
                state, version = value, sequence
    return records


@pytest.mark.parametrize("seed", range(60))
def test_both_accept_every_history_of_a_model(seed: int) -> None:
    verdict = check(made_by_a_model(seed, 80))
    assert verdict.linearizable, verdict.as_text()


@pytest.mark.parametrize("seed", range(60))
def test_both_agree_when_an_answer_was_changed(seed: int) -> None:
    records = made_by_a_model(seed, 60)
    chance = random.Random(seed)
    victim = chance.choice([r for r in records if r.f == "read" and r.version])
    other = chance.choice([r for r in records if r.result == "ok" and r.f in ("write", "cas") and r.version])
    victim.value, victim.version = other.args[-1], other.version
    verdict = check(records)
    if not verdict.undecided:
        assert bool(verdict.by_versions) == bool(verdict.by_search), verdict.as_text()


def test_lines_are_read_as_they_were_written() -> None:
    for history in (*RIGHT.values(), *WRONG.values()):
        known = [attrs.evolve(record, process=number) for number, record in enumerate(history)]
        again = read_history(['{"seed": 1}', "", *map(line_of, known)])
        assert [str(record) for record in again] == [str(record) for record in known]
        assert [line_of(record) for record in again] == [line_of(record) for record in known]


@pytest.mark.parametrize("line", ["[", '{"f": "read"}', '{"f":1,"process":1,"op":1,"key":"k","call_ns":1}'])
def test_a_line_that_is_none_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(InvalidRequest, match="line 2"):
        read_history(['{"seed": 1}', line])


def test_a_search_that_takes_too_long_says_so() -> None:
    assert check_by_search(made_by_a_model(1, 50), steps_max=3) == ([], ["k"])
