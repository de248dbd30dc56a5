"""Frames that are packed in one step are those of the layouts, and addresses and arguments are checked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.client.arguments import (
    check_deadline,
    check_delta,
    check_key,
    check_scan,
    check_value,
    check_version,
    parse_addresses,
)
from twistedkv.client.numbers import WriteNumbers
from twistedkv.client.operations import WRITES, Operation, encode
from twistedkv.errors import InvalidRequest
from twistedkv.limits import KEY_BYTES_MAX, SCAN_KEYS_MAX, VALUE_BYTES_MAX, WRITE_WINDOW
from twistedkv.messages.client import Cas, Delete, Execute, ExecuteMode, Get, GetMany, Incr, Put, PutMany, Scan
from twistedkv.wire.client import CAS, DELETE, EXECUTE, GET, GET_MANY, INCR, PUT, PUT_MANY, SCAN, encode_request
from twistedkv.wire.frames import RETRY, encode_frame

U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
KEYS = st.binary(min_size=1, max_size=KEY_BYTES_MAX)


@given(
    st.sampled_from([GET, PUT, DELETE, CAS, INCR]),
    KEYS,
    st.binary(max_size=99),
    st.integers(1, 2**64 - 1),
    U64,
    U64,
    U64,
    I64,
    st.booleans(),
)
def test_frames_are_those_of_the_layouts(
    kind: int, key: bytes, value: bytes, number: int, oldest: int, since: int, expected: int, delta: int, retry: bool
) -> None:
    operation = Operation(kind, key, 0, 0.0, None, value, delta if kind == INCR else expected)
    messages: dict[int, Any] = {
        GET: Get(key),
        PUT: Put(number, oldest, since, key, value),
        DELETE: Delete(number, oldest, since, key),
        CAS: Cas(number, oldest, since, expected, key, value),
        INCR: Incr(number, oldest, since, delta, key),
    }
    if kind != GET:
        operation.number, operation.since, operation.maybe = number, since, retry
        operation.numbers = WriteNumbers(oldest)
    flags = RETRY if retry and kind != GET else 0
    message_type, body = encode_request(messages[kind])
    assert encode(operation, 4711) == encode_frame(message_type, body, 4711, flags)


def test_a_whole_message_is_sent_as_it_is() -> None:
    scan = Scan(5, b"after", 10, b"prefix", True)
    assert encode(Operation(SCAN, b"", 5, 0.0, None, scan), 1) == encode_frame(*encode_request(scan), 1)


@given(st.lists(KEYS, min_size=1, max_size=4, unique=True), st.integers(1, 2**64 - 1), U64, U64, st.booleans())
def test_several_keys_are_stored_with_a_number_and_read_without(
    keys: list[bytes], number: int, oldest: int, since: int, retry: bool
) -> None:
    values = [key[:9] for key in keys]
    write = Operation(PUT_MANY, b"", 5, 0.0, None, PutMany(0, 0, 0, 5, keys, values))
    read = Operation(GET_MANY, b"", 5, 0.0, None, GetMany(5, keys))
    assert (write.writes, read.writes) == (True, False)
    write.number, write.since, write.maybe, write.numbers = number, since, retry, WriteNumbers(oldest)
    expected = encode_request(PutMany(number, oldest, since, 5, keys, values))
    assert encode(write, 4711) == encode_frame(*expected, 4711, RETRY if retry else 0)
    assert encode(read, 4711) == encode_frame(*encode_request(GetMany(5, keys)), 4711)


@pytest.mark.parametrize("writes", [0, WRITES])
def test_commands_that_write_are_sent_with_a_number(writes: int) -> None:
    commands = Execute(0, 0, 0, 5, 2, ExecuteMode.SINGLE, [], [[b"INCR", b"k"]])
    operation = Operation(EXECUTE, b"k", 5, 0.0, None, commands, writes)
    assert operation.writes == bool(writes)
    if writes:
        operation.number, operation.since, operation.maybe, operation.numbers = 9, 7, True, WriteNumbers(8)
        expected = encode_frame(
            *encode_request(Execute(9, 8, 7, 5, 2, ExecuteMode.SINGLE, [], [[b"INCR", b"k"]])), 1, RETRY
        )
    else:
        expected = encode_frame(*encode_request(Execute(0, 0, 0, 5, 2, ExecuteMode.SINGLE, [], [[b"INCR", b"k"]])), 1)
    assert encode(operation, 1) == expected


@given(st.lists(st.one_of(st.none(), st.integers(0, 50))))
def test_the_oldest_number_is_the_lowest_that_has_not_ended(steps: list[int | None]) -> None:
    numbers, unfinished = WriteNumbers(), []
    for step in steps:
        if step is None:
            unfinished.append(numbers.give())
        elif unfinished:
            numbers.end(unfinished.pop(step % len(unfinished)))
        assert numbers.oldest == (min(unfinished) if unfinished else numbers.next)


def test_numbers_end_where_the_window_ends() -> None:
    numbers = WriteNumbers()
    given = [numbers.give() for _ in range(WRITE_WINDOW)]
    assert given == list(range(1, WRITE_WINDOW + 1))
    assert not numbers.available
    assert numbers.give() == 0
    numbers.end(2)
    assert numbers.give() == 0
    numbers.end(1)
    assert [numbers.give(), numbers.give(), numbers.give()] == [WRITE_WINDOW + 1, WRITE_WINDOW + 2, 0]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7400", ("127.0.0.1", 7400)),
        ("db.example", ("db.example", 7400)),
        ("[::1]:99", ("::1", 99)),
        ("[::1]", ("::1", 7400)),
        ("::1", ("::1", 7400)),
        (" localhost:1 ", ("localhost", 1)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_addresses(text) == [address]
    assert parse_addresses([text, text]) == [address, address]


@pytest.mark.parametrize("text", ["", ":7400", "a:b", "a:0", "a:65536", "a:-1", "a:", []])
def test_what_is_no_address(text: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"127\.0\.0\.1:7400"):
        parse_addresses(text)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (check_key, [b"k", bytes(KEY_BYTES_MAX)], ["k", b"", bytes(KEY_BYTES_MAX + 1), None]),
        (check_value, [b"", bytes(VALUE_BYTES_MAX)], ["v", bytes(VALUE_BYTES_MAX + 1), None]),
        (check_version, [0, 2**64 - 1], [-1, 2**64, "1", None]),
        (check_delta, [0, -(2**63), 2**63 - 1], [2**63, -(2**63) - 1, 1.5, b"1"]),
        (check_deadline, [0.001, 5], [0, -1, float("nan"), "1", None]),
    ],
)
def test_arguments(check: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(InvalidRequest):
            check(value)


def test_arguments_of_a_scan() -> None:
    check_scan(b"", 1)
    for prefix, page in ((b"", 0), (b"", SCAN_KEYS_MAX + 1), ("x", 1), (bytes(KEY_BYTES_MAX + 1), 1)):
        with pytest.raises(InvalidRequest):
            check_scan(prefix, page)
