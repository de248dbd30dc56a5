"""The client family: bounds of keys and values, and hand-written codecs that equal the tables."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import of_layout
from twistedkv.columns import column_bytes, encode_column
from twistedkv.errors import ProtocolError, Status
from twistedkv.limits import COMMANDS_MAX, KEY_BYTES_MAX, KEYS_MAX, SLOTS, UPDATE_BYTES_MAX, VALUE_BYTES_MAX
from twistedkv.messages.client import (
    Cas,
    Delete,
    Execute,
    ExecuteMode,
    Get,
    GetMany,
    Incr,
    Noop,
    Put,
    PutMany,
    Result,
    Verify,
    Watched,
)
from twistedkv.wire import client
from twistedkv.wire.client import (
    FAMILY,
    decode_request,
    decode_response,
    encode_request,
    execute_bytes,
    result_frame,
)
from twistedkv.wire.frames import FrameDecoder, encode_frame

REQUESTS = [number for number in FAMILY.layouts if number < client.RESULT]
RESPONSES = [number for number in FAMILY.layouts if number >= client.RESULT]
WITH_KEY = {
    client.GET: Get,
    client.PUT: lambda key: Put(1, 1, 0, key, b"v"),
    client.DELETE: lambda key: Delete(1, 1, 0, key),
    client.CAS: lambda key: Cas(1, 1, 0, 0, key, b"v"),
    client.INCR: lambda key: Incr(1, 1, 0, 1, key),
    client.VERIFY: Verify,
}


WITH_KEYS = {
    client.PUT_MANY: lambda keys: PutMany(1, 1, 0, 5, keys, [b"v"] * len(keys)),
    client.GET_MANY: lambda keys: GetMany(5, keys),
}


SINGLE = Execute(1, 1, 0, 5, 2, ExecuteMode.SINGLE, [], [[b"GET", b"k"]])
TRANSACTION = Execute(1, 1, 0, 5, 3, ExecuteMode.TRANSACTION, [Watched(b"k", 7)], [[b"GET", b"k"], [b"DEL", b"k"]])


def is_sound(request: Any) -> bool:
    """Whether it is within the bounds that are not those of its fields."""
    if isinstance(request, Execute):
        count, watched = len(request.commands), bool(request.watched)
        sound = {
            ExecuteMode.SINGLE: count == 1 and not watched,
            ExecuteMode.TRANSACTION: True,
            ExecuteMode.BATCH: count > 0 and not watched,
        }
        return request.slot < SLOTS and all(request.commands) and sound[request.mode]
    if isinstance(request, PutMany):
        return len(set(request.keys)) == len(request.keys) == len(request.values)
    return len(getattr(request, "key", b"k")) > 0


def requests_of(number: int) -> st.SearchStrategy[Any]:
    """Requests that a server takes."""
    requests = of_layout(FAMILY.layouts[number])
    if number == client.EXECUTE:
        bounded = st.tuples(requests, st.integers(0, SLOTS - 1), st.sampled_from([2, 3]))
        requests = bounded.map(lambda drawn: attrs.evolve(drawn[0], slot=drawn[1], protocol=drawn[2]))
    if number in WITH_KEYS:
        keys = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4)
        bounded = st.tuples(requests, st.integers(0, SLOTS - 1), keys)
        requests = bounded.map(lambda drawn: attrs.evolve(drawn[0], slot=drawn[1], keys=drawn[2]))
    if number == client.PUT_MANY:
        values = st.lists(st.binary(max_size=20), min_size=4, max_size=4)
        requests = st.tuples(requests, values).map(
            lambda drawn: attrs.evolve(drawn[0], values=drawn[1][: len(drawn[0].keys)])
        )
    return requests.filter(is_sound)


@pytest.mark.parametrize("number", REQUESTS)
@given(data=st.data())
def test_requests_equal_their_tables(number: int, data: st.DataObject) -> None:
    layout = FAMILY.layouts[number]
    request = data.draw(requests_of(number))
    assert encode_request(request) == (number, layout.encode(request))
    assert decode_request(number, layout.encode(request)) == request


@given(requests_of(client.EXECUTE))
def test_the_size_of_an_execute_is_known_before_it_is_made(request: Execute) -> None:
    assert execute_bytes(request) == len(FAMILY.layouts[client.EXECUTE].encode(request))


@pytest.mark.parametrize("number", RESPONSES)
@given(data=st.data())
def test_responses_equal_their_tables(number: int, data: st.DataObject) -> None:
    layout = FAMILY.layouts[number]
    response = data.draw(of_layout(layout))
    assert decode_response(number, layout.encode(response)) == response


@given(of_layout(FAMILY.layouts[client.RESULT]), st.integers(0, 0xFFFFFFFF))
def test_a_result_frame_equals_its_table(result: Result, request_id: int) -> None:
    frame = result_frame(request_id, result.status, result.version, result.value)
    assert frame == encode_frame(client.RESULT, FAMILY.layouts[client.RESULT].encode(result), request_id)
    assert FrameDecoder().feed(frame)[0][2] == request_id


@given(st.integers(0, 255), st.binary(max_size=100))
def test_garbage_gives_nothing_but_protocol_errors(number: int, body: bytes) -> None:
    for decode in (decode_request, decode_response):
        with contextlib.suppress(ProtocolError):
            decode(number, body)


@pytest.mark.parametrize("number", WITH_KEY)
@pytest.mark.parametrize("size", [0, KEY_BYTES_MAX + 1])
def test_a_key_out_of_bounds_is_refused(number: int, size: int) -> None:
    # Written past the table, as a foreign client might do it.
    body = FAMILY.layouts[number].encode(WITH_KEY[number](bytes(200)))
    body = body.replace((200).to_bytes(2, "big") + bytes(200), size.to_bytes(2, "big") + bytes(size))
    if bytes(200) in body:
        body = body.replace(bytes(200), bytes(size))
    with pytest.raises(ProtocolError):
        decode_request(number, body)


@pytest.mark.parametrize("number", WITH_KEY)
@pytest.mark.parametrize("size", [1, KEY_BYTES_MAX])
def test_the_shortest_and_the_longest_key_pass(number: int, size: int) -> None:
    request = WITH_KEY[number](bytes(size))
    assert decode_request(*encode_request(request)) == request


@pytest.mark.parametrize("make", [lambda v: Put(1, 1, 0, b"k", v), lambda v: Cas(1, 1, 0, 0, b"k", v)])
def test_the_largest_value_passes_and_a_larger_one_is_refused(make: Any) -> None:
    largest = make(bytes(VALUE_BYTES_MAX))
    assert decode_request(*encode_request(largest)) == largest
    with pytest.raises(ProtocolError, match="at most"):
        decode_request(*encode_request(make(bytes(VALUE_BYTES_MAX + 1))))


@pytest.mark.parametrize("number", [0x00, 0x0F, 0x26, client.RESULT, 0x40, 0x81, 0xFF])
def test_what_is_no_request_is_refused(number: int) -> None:
    with pytest.raises(ProtocolError, match=f"0x{number:02x}"):
        decode_request(number, b"")


@pytest.mark.parametrize("number", [client.NOOP, client.PUT, 0x40])
def test_what_is_no_answer_is_refused(number: int) -> None:
    with pytest.raises(ProtocolError, match=f"0x{number:02x}"):
        decode_response(number, b"")


def test_a_put_that_ends_within_its_head_or_its_key_is_refused() -> None:
    _, body = encode_request(Put(1, 1, 0, b"key", b""))
    for end in range(len(body)):
        with pytest.raises(ProtocolError):
            decode_request(client.PUT, body[:end])


def test_a_result_that_is_too_short_is_refused() -> None:
    with pytest.raises(ProtocolError, match="too short"):
        decode_response(client.RESULT, bytes(8))


def test_a_noop_has_no_body() -> None:
    assert encode_request(Noop()) == (client.NOOP, b"")
    with pytest.raises(ProtocolError):
        decode_request(client.NOOP, b"x")


def test_an_answer_to_a_write_has_the_size_that_the_documents_say() -> None:
    assert len(result_frame(1, Status.SUCCESS, 5)) == 21


@pytest.mark.parametrize("request_", [SINGLE, TRANSACTION, attrs.evolve(TRANSACTION, commands=[])])
def test_a_command_and_a_transaction_pass(request_: Execute) -> None:
    assert decode_request(*encode_request(request_)) == request_


@pytest.mark.parametrize(
    "request_",
    [
        attrs.evolve(SINGLE, slot=SLOTS),
        attrs.evolve(SINGLE, protocol=1),
        attrs.evolve(SINGLE, protocol=4),
        attrs.evolve(SINGLE, commands=[]),
        attrs.evolve(SINGLE, commands=[[]]),
        attrs.evolve(SINGLE, commands=[[b"GET", b"k"]] * 2),
        attrs.evolve(SINGLE, watched=[Watched(b"k", 7)]),
        attrs.evolve(TRANSACTION, commands=[[b"GET", b"k"], []]),
        attrs.evolve(SINGLE, mode=ExecuteMode.BATCH, commands=[]),
        attrs.evolve(SINGLE, mode=ExecuteMode.BATCH, watched=[Watched(b"k", 7)]),
    ],
    ids=[
        "slot",
        "RESP1",
        "RESP4",
        "no command",
        "no name",
        "two commands",
        "watched alone",
        "no name in a transaction",
        "no command in a batch",
        "watched for a batch",
    ],
)
def test_what_is_no_command_and_no_transaction_is_refused(request_: Execute) -> None:
    with pytest.raises(ProtocolError, match="Execute"):
        decode_request(*encode_request(request_))


def test_a_transaction_has_no_more_commands_than_its_table_allows() -> None:
    most = attrs.evolve(TRANSACTION, commands=[[b"x"]] * COMMANDS_MAX)
    assert decode_request(*encode_request(most)) == most
    body = bytearray(FAMILY.layouts[client.EXECUTE].encode(attrs.evolve(TRANSACTION, watched=[])))
    place = body.index((2).to_bytes(2, "big") + (2).to_bytes(4, "big"))
    body[place : place + 2] = (COMMANDS_MAX + 1).to_bytes(2, "big")
    with pytest.raises(ProtocolError, match="at most"):
        decode_request(client.EXECUTE, bytes(body) + bytes([0, 0, 0, 1, 0, 0, 0, 0]) * COMMANDS_MAX)


# Several keys in one message.


@pytest.mark.parametrize("number", WITH_KEYS)
@pytest.mark.parametrize("size", [1, KEY_BYTES_MAX])
def test_the_shortest_and_the_longest_keys_of_several_pass(number: int, size: int) -> None:
    for keys in ([bytes(size)], [bytes(size), b"other"], [b"%d" % n for n in range(KEYS_MAX)]):
        request = WITH_KEYS[number](keys)
        assert decode_request(*encode_request(request)) == request


@pytest.mark.parametrize("number", WITH_KEYS)
@pytest.mark.parametrize(
    "keys",
    [[], [b""], [b"a", b""], [b"a", bytes(KEY_BYTES_MAX + 1)], [b"%05d" % n for n in range(KEYS_MAX + 1)]],
    ids=["none", "empty", "one of them empty", "too long", "too many"],
)
def test_keys_of_several_out_of_bounds_are_refused(number: int, keys: list[bytes]) -> None:
    """Also when they are written past the table."""
    with pytest.raises(ProtocolError):
        decode_request(*encode_request(WITH_KEYS[number](keys)))
    head, tail = encode_request(WITH_KEYS[number]([b"key"]))[1].split(encode_column([b"key"]))
    if number == client.PUT_MANY:
        tail = encode_column([b"v"] * len(keys))
    with pytest.raises(ProtocolError):
        decode_request(number, head + encode_column(keys) + tail)


@pytest.mark.parametrize("number", WITH_KEYS)
def test_several_keys_are_of_a_slot_that_exists(number: int) -> None:
    for slot in (SLOTS, 65535):
        request = attrs.evolve(WITH_KEYS[number]([b"k"]), slot=slot)
        with pytest.raises(ProtocolError, match=f"slot {slot}"):
            decode_request(*encode_request(request))


@pytest.mark.parametrize(
    ("keys", "values"),
    [([b"a", b"b"], [b"v"]), ([b"a"], [b"v", b"w"]), ([b"a"], []), ([b"a", b"b", b"a"], [b"1", b"2", b"3"])],
    ids=["a value too few", "a value too many", "no value", "a key twice"],
)
def test_each_key_that_is_put_has_one_value_and_is_named_once(keys: list[bytes], values: list[bytes]) -> None:
    with pytest.raises(ProtocolError, match="PutMany"):
        decode_request(*encode_request(PutMany(1, 1, 0, 5, keys, values)))


def test_a_key_may_be_read_twice() -> None:
    request = GetMany(5, [b"a", b"a"])
    assert decode_request(*encode_request(request)) == request


def test_the_largest_update_of_several_passes_and_a_larger_one_is_refused() -> None:
    """It is what the log has to hold: keys, and values with the heads of records."""
    keys = [b"a", b"bc", b"d"]
    room = UPDATE_BYTES_MAX - column_bytes(keys) - column_bytes([bytes(9)] * 3) - 2 * VALUE_BYTES_MAX
    values = [bytes(VALUE_BYTES_MAX), bytes(VALUE_BYTES_MAX), bytes(room)]
    largest = PutMany(1, 1, 0, 5, keys, values)
    assert decode_request(*encode_request(largest)) == largest
    values[2] += b"v"
    with pytest.raises(ProtocolError, match="at most"):
        decode_request(*encode_request(largest))


def test_a_value_of_several_has_the_bounds_of_any_value() -> None:
    with pytest.raises(ProtocolError):
        encode_request(PutMany(1, 1, 0, 5, [b"a"], [bytes(VALUE_BYTES_MAX + 1)]))
