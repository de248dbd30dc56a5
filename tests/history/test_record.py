"""The format of histories: what is kept, and what is refused with the number of its line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from twistedkv.errors import InvalidRequest
from twistedkv.history.record import (
    FOREVER,
    Fault,
    Header,
    Record,
    header_line,
    line_of,
    read_header,
    read_history,
    record_of,
)


def line(**changes: Any) -> str:
    """A write by process 1, with changes; a field that is `...` is left out."""
    fields: dict[str, Any] = {"process": 1, "op": 1, "key": "k", "f": "write", "args": ["a"], "call_ns": 10}
    fields |= {"return_ns": 20, "result": "ok", "value": "a", "version": [1, 1]} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...})


def read(**changes: Any) -> str:
    return line(**({"f": "read", "args": []} | changes))


CAS = {"f": "cas", "args": ["a", "b"], "expected": [1, 1]}


def test_how_often_and_by_whom_is_kept_if_it_is_known() -> None:
    record = record_of(line(attempts=3, via="server_2"))
    assert record is not None
    assert (record.attempts, record.via) == (3, "server_2")
    assert json.loads(line_of(record)) == json.loads(line(attempts=3, via="server_2"))
    unknown = record_of(line())
    assert unknown is not None
    assert (unknown.attempts, unknown.via) == (None, None)
    assert not {"attempts", "via"} & set(json.loads(line_of(unknown)))


def test_the_last_process_has_a_name() -> None:
    [record] = read_history([read(process="final", op=1)])
    assert record.process == "final"


def test_what_is_written_is_what_the_format_says() -> None:
    record = Record(7, 123, "k17", "cas", ["v3", "v9"], 5, FOREVER, "info", expected=(4, 977))
    assert line_of(record) == (
        '{"process":7,"op":123,"key":"k17","f":"cas","args":["v3","v9"],"call_ns":5,"return_ns":null,'
        '"result":"info","value":null,"version":null,"expected":[4,977]}'
    )


def test_a_header_says_how_the_history_came_about() -> None:
    header = Header("1f2e", 7, {"servers": 3}, (Fault(5, "kill server 1"), Fault(9, "freeze")), {"python": "3.11"})
    text = header_line(header)
    assert text == (
        '{"commit":"1f2e","seed":7,"configuration":{"servers":3},'
        '"faults":[{"at_ns":5,"fault":"kill server 1"},{"at_ns":9,"fault":"freeze"}],"python":"3.11"}'
    )
    assert read_header(text) == header
    assert read_history([text, line()])
    assert read_header("{}") == Header()
    assert read_header(line()) is None
    assert read_header("") is None


@pytest.mark.parametrize("text", ["[]", "{", '{"seed":"x"}', '{"faults":[{"at_ns":1}]}', '{"configuration":3}'])
def test_a_header_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="line 1"):
        read_header(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3", "an object was expected"),
        ("[" * 100_000, "RecursionError|JSONDecodeError"),
        ('{"seed": 1}', 'it has no "f"'),
        (line(f="swap"), "f or result is wrong"),
        (line(f=["read"]), "unhashable"),
        (line(result="maybe"), "f or result is wrong"),
        (line(key=...), "KeyError"),
        (line(args=[]), "a write has 1 args"),
        (read(args=["a"]), "a read has 0 args"),
        (line(call_ns=30), "the times are wrong"),
        (line(return_ns=None), "the times are wrong"),
        (line(call_ns="soon"), "soon"),
        (line(version=[1]), "not enough values"),
        (line(process=None), "neither a number nor a name"),
        (line(args=[5]), "a written value is a text"),
        (line(f="incr", args=["1"]), "a delta is an integer"),
        (line(f="incr", args=[True]), "a delta is an integer"),
        (line(**CAS | {"expected": None}), "a cas names an old value and its version, or neither"),
        (line(**CAS | {"args": [None, "b"]}), "a cas names an old value and its version, or neither"),
        (line(**CAS, mismatch=True), "mismatch is said of a cas that failed"),
        (line(mismatch=True, result="fail"), "mismatch is said of a cas that failed"),
        (read(version=None), "a read has a value and its version, or neither"),
        (read(value=None), "a read has a value and its version, or neither"),
        (read(value=1.5), "a value is a text or"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_its_number(text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=f"line 3 is no operation of a history: .*({why})"):
        read_history(['{"seed":1}', "", text])


def test_a_value_that_is_written_twice_is_refused() -> None:
    again = line(process=2, **CAS | {"args": ["x", "a"]})
    with pytest.raises(InvalidRequest, match="line 2 writes 'a' to k, as line 1 does"):
        read_history([line(), again])
    assert len(read_history([line(), line(process=2, key="another"), line(process=3, args=["b"])])) == 3


def test_a_process_that_does_two_things_at_once_is_refused() -> None:
    first, second = line(call_ns=10, return_ns=20), read(call_ns=19, return_ns=30)
    for lines, wrong in (([first, second], "line 2.*process 1.*line 1 has"), ([second, first], "line 1.*line 2 has")):
        with pytest.raises(InvalidRequest, match=wrong):
            read_history(lines)
    assert len(read_history([line(), read(call_ns=20, return_ns=20), read(call_ns=20, return_ns=25)])) == 3


def test_a_process_that_goes_on_after_an_unknown_outcome_is_refused() -> None:
    unknown = line(result="info", return_ns=None, value=None, version=None)
    with pytest.raises(InvalidRequest, match=r"line 2 is called by process 1.*the outcome is not known"):
        read_history([unknown, read(call_ns=50, return_ns=60)])
    assert len(read_history([unknown, read(process=2, call_ns=50, return_ns=60)])) == 2
