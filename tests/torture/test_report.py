"""The verdict in words, and what becomes of a run that is not good."""

from __future__ import annotations

import json

import attrs
import pytest

from twistedkv.history.record import Record
from twistedkv.history.verdict import check
from twistedkv.torture.incidents import COORDINATOR, Incident, Mark, milliseconds_text
from twistedkv.torture.meter import Meter, Wait
from twistedkv.torture.plan import Fault, Settings
from twistedkv.torture.report import PROBLEMS_SHOWN, Report, cause_of

RIGHT = [
    Record(1, 1, "k", "write", ["a"], 1, 2, "ok", "a", (1, 1)),
    Record(1, 2, "k", "read", [], 3, 4, "ok", "a", (1, 1)),
]
STALE = [
    *RIGHT,
    Record(2, 3, "k", "write", ["b"], 5, 6, "ok", "b", (1, 2)),
    attrs.evolve(RIGHT[1], op=4, call=7, returned=8),
]


def incident(began: float, over: float | None, text: str, kind: str = "kill") -> Incident:
    return Incident(Fault(1, began, kind), began, text, over=over, result="replaced")


def report(records: list[Record], *problems: str) -> Report:
    meter = Meter()
    for number, record in enumerate(records):
        meter.began(number, 1.0)
        meter.ended(number, 1.97, reads=record.f == "read", result="ok")
    skipped = Incident(Fault(2, 2.0, "kill"), 2.0, "kill server 1", skipped="too much")
    incidents = [incident(0.9, 3.0, "server 2 frozen", "freeze"), skipped]
    return Report(Settings(7), 2.0, meter, incidents, 0.4, 1, list(problems), check(records), 0.1)


def test_a_good_run() -> None:
    good = report(RIGHT)
    assert good.good
    text = good.as_text()
    assert "2 answered in 2.0 s, 1/s" in text
    assert "faults        1 done, 1 skipped: more than" in text
    assert "              1 freeze\n" in text
    assert "longest wait  0.97 s (server 2 frozen)" in text
    assert "0.4 s after the end of the faults" in text
    assert text.endswith(
        "2 operations, 1 fault.\nNothing acknowledged was lost, no read was stale, nothing was executed twice."
    )
    assert max(map(len, text.splitlines())) <= 80
    document = json.loads(json.dumps(good.as_json()))
    assert (document["good"], document["faults"], document["faults_skipped"]) == (True, 1, 1)
    assert document["longest_wait_cause"] == "server 2 frozen"


def test_a_wrong_history_is_explained() -> None:
    wrong = report(STALE)
    assert not wrong.good
    assert wrong.brief == "WRONG"
    assert "key k" in wrong.as_text()
    assert "WRONG: what the cluster has answered contradicts itself" in wrong.as_text().splitlines()[-1]
    assert wrong.as_json()["violations"]


def test_what_the_checkers_do_not_see_is_wrong_too() -> None:
    problems = [f"key {number} differs" for number in range(PROBLEMS_SHOWN + 3)]
    wrong = report(RIGHT, *problems)
    assert not wrong.good
    assert "key 0 differs" in wrong.as_text()
    assert "and 3 more of that kind" in wrong.as_text()
    assert wrong.conclusion.startswith("WRONG")


@pytest.mark.parametrize(
    "began, ended, cause",
    [
        (1.05, 2.0, "first"),
        (5.05, 5.5, "first, second"),
        (4.0, 9.0, "second, third"),
        (10.0, 10.1, ""),
        (0.0, 0.5, ""),
        (3.0, 3.0, ""),
    ],
)
def test_a_wait_comes_from_the_faults_that_were_going_on(began: float, ended: float, cause: str) -> None:
    incidents = [
        incident(1.0, 6.0, "first"),
        Incident(Fault(3, 1.05, "kill"), 1.05, "nothing", skipped="too much"),
        incident(5.0, 6.0, "second"),
        incident(6.5, None, "third"),
    ]
    incidents[-1].marks.append(Mark(2, "killed", 1, 6.5, 9.5))
    assert cause_of(Wait(began, ended), incidents) == cause


def test_what_came_of_a_fault() -> None:
    killed = incident(1.0, 2.2, "server 2 killed")
    killed.marks.append(Mark(2, "killed", 1, 1.0, 1.9, replaced=True))
    killed.longest_wait = 0.024
    assert killed.describe() == "replaced after 0.9 s, longest wait 24 ms"
    away = incident(1.0, 2.2, "coordinator killed")
    away.marks.append(Mark(COORDINATOR, "killed", 1, 1.0, 1.9))
    away.answered = 1234
    assert away.describe() == "back after 0.9 s, 1,234 operations meanwhile"
    away.marks[0].kind = "frozen"
    assert away.describe() == "1,234 operations meanwhile"
    assert away.as_json()["marks"][0]["kind"] == "frozen"


def test_milliseconds() -> None:
    assert [milliseconds_text(seconds) for seconds in (0, 0.0244, 0.1, 0.97, 12.3)] == [
        "0 ms",
        "24 ms",
        "0.10 s",
        "0.97 s",
        "12.30 s",
    ]
