"""Each request ends exactly once, whatever comes first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistedkv.net.calls import Calls
from twistedkv.wire.frames import Frame


def outcome(answer: Deferred[Frame]) -> list[Any]:
    seen: list[Any] = []
    answer.addBoth(lambda result: seen.append(result.value if isinstance(result, Failure) else result))
    return seen


def answer_to(request_id: int) -> Frame:
    return (0x20, 0, request_id, b"")


def test_an_answer_fires_its_request_and_no_other() -> None:
    calls = Calls()
    first, second = calls.new(10), calls.new(10)
    seen = [outcome(first[1]), outcome(second[1])]
    assert calls.answered(answer_to(second[0]))
    assert seen == [[], [answer_to(second[0])]]
    assert len(calls) == 1
    calls.lose(ConnectionError())


def test_an_answer_to_nothing_is_dropped() -> None:
    calls = Calls()
    assert not calls.answered(answer_to(1))
    request_id, answer = calls.new(10)
    seen = outcome(answer)
    assert calls.answered(answer_to(request_id))
    assert not calls.answered(answer_to(request_id))
    assert len(seen) == 1


def test_a_deadline_fails_its_request_and_the_late_answer_is_dropped() -> None:
    calls = Calls()
    request_id, answer = calls.new(deadline=5.0)
    seen = outcome(answer)
    calls.expire(4.9)
    assert seen == []
    calls.expire(5.0)
    assert [type(one) for one in seen] == [TimeoutError]
    assert not calls.answered(answer_to(request_id))
    assert len(calls) == 0


def test_the_end_of_the_connection_fails_all_once_and_later_ones_at_once() -> None:
    calls, error = Calls(), ConnectionError("gone")
    seen = [outcome(calls.new(10)[1]) for _ in range(3)]
    calls.lose(error)
    assert seen == [[error]] * 3
    request_id, late = calls.new(10)
    assert outcome(late) == [error]
    assert request_id == 0
    calls.lose(error)
    assert seen == [[error]] * 3


def test_a_callback_may_ask_again_while_others_are_failed() -> None:
    calls = Calls()
    seen: list[Any] = []

    def again(failure: Failure) -> None:
        seen.append(failure.value)
        seen.append(outcome(calls.new(10)[1]))

    calls.new(1)[1].addErrback(again)
    calls.new(1)[1].addErrback(again)
    calls.lose(ConnectionError())
    assert len(seen) == 4
    assert len(calls) == 0


def test_an_id_that_still_waits_is_not_given_again_when_the_numbers_have_gone_round() -> None:
    calls = Calls()
    first, answer = calls.new(10)
    waiting = outcome(answer)
    calls._last_id = 0xFFFFFFFF
    second, other = calls.new(10)
    assert first == 1
    assert second == 2
    assert calls.answered(answer_to(second))
    assert outcome(other) == [answer_to(2)]
    assert waiting == []
    calls.lose(ConnectionError())


steps = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.integers(0, 5)),
        st.tuples(st.just("answer"), st.integers(0, 12)),
        st.tuples(st.just("expire"), st.integers(0, 5)),
        st.tuples(st.just("lose"), st.just(0)),
    ),
    max_size=25,
)


@given(steps)
def test_each_request_ends_exactly_once_in_any_order_of_events(events: list[tuple[str, int]]) -> None:
    calls = Calls()
    ends: list[list[Any]] = []
    for event, number in [*events, ("lose", 0)]:
        if event == "new":
            ends.append(outcome(calls.new(number)[1]))
        elif event == "answer":
            calls.answered(answer_to(number))
        elif event == "expire":
            calls.expire(number)
        else:
            calls.lose(ConnectionError())
    assert all(len(end) == 1 for end in ends)
    assert len(calls) == 0


def test_a_failure_is_a_failure_of_its_error() -> None:
    calls = Calls()
    calls.lose(ConnectionError("gone"))
    _, answer = calls.new(1)
    failures: list[Failure] = []
    answer.addErrback(failures.append)
    with pytest.raises(ConnectionError, match="gone"):
        failures[0].raiseException()
