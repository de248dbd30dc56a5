"""A batch is columns as long as it can be, and everybody in it gets what belongs to him."""

from __future__ import annotations

from typing import Any

import pytest

from twistedkv.client.lanes import Lane
from twistedkv.errors import NotDone
from twistedkv.line.batch import Batch, bytes_of
from twistedkv.line.reply import Reply, RunReply
from twistedkv.messages.client import Execute, ExecuteMode, PutMany
from twistedkv.resp import replies


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def answered(self, reply: Reply) -> None:
        self.told.append(reply.data)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def lane() -> Any:
    return Lane.__new__(Lane)


@pytest.fixture
def batch(lane: Any) -> Batch:
    return Batch(lane, 7)


def test_sets_are_one_message_with_the_last_value_of_each_key(batch: Batch, listener: Listener) -> None:
    batch.put(Reply(listener, [], 0.0), [b"a"], [b"1"])
    batch.put(Reply(listener, [], 0.0), [b"b"], [b"2"])
    batch.put(Reply(listener, [], 0.0), [b"a"], [b"3"])
    assert batch.writes and len(batch) == 3
    assert batch.message() == PutMany(0, 0, 0, 7, [b"a", b"b"], [b"3", b"2"])
    batch.callback(5)
    assert listener.told == [replies.OK] * 3


def test_with_any_other_command_all_are_commands_in_order(batch: Batch, listener: Listener, lane: Any) -> None:
    run = RunReply(listener, [], 0.0)
    run.begin([lane, lane], 1)
    batch.put(run, [b"a", b"b"], [b"1", b"2"])
    batch.add(Reply(listener, [], 0.0), [b"INCR", b"a"], 3)
    batch.put(Reply(listener, [], 0.0), [b"a"], [b"4"])
    message = batch.message()
    assert type(message) is Execute and message.mode is ExecuteMode.BATCH and message.protocol == 3
    assert message.commands == [
        [b"SET", b"a", b"1"],
        [b"SET", b"b", b"2"],
        [b"INCR", b"a"],
        [b"SET", b"a", b"4"],
    ]
    batch.callback(replies.array([replies.OK, replies.OK, b":2\r\n", replies.OK]))
    assert listener.told == [replies.OK * 2, b":2\r\n", replies.OK]


def test_one_command_is_no_list(batch: Batch, listener: Listener) -> None:
    batch.add(Reply(listener, [], 0.0), [b"INCR", b"a"], 2)
    message = batch.message()
    assert type(message) is Execute and message.mode is ExecuteMode.SINGLE
    batch.callback(b":1\r\n")
    assert listener.told == [b":1\r\n"]


def test_a_failure_is_everybodys(batch: Batch, listener: Listener, lane: Any) -> None:
    run = RunReply(listener, [], 0.0)
    run.begin([lane, lane], 1)
    batch.put(run, [b"a", b"b"], [b"1", b"2"])
    batch.put(Reply(listener, [], 0.0), [b"c"], [b"3"])
    batch.errback(NotDone("no"))
    error = listener.told[1]
    assert error.startswith(b"-") and listener.told == [error * 2, error]


def test_the_bytes_of_columns() -> None:
    assert bytes_of([b"ab", b"c"], [b"", b"defg"]) == 7
