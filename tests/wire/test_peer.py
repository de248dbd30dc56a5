"""The peer family: the hand-written codecs of REPLICATE and ACK equal their tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import of_layout
from twistedkv.errors import ProtocolError
from twistedkv.messages.peer import Ack, Replicate, Section
from twistedkv.wire.peer import (
    ACK,
    FAMILY,
    REPLICATE,
    decode_ack,
    decode_replicate,
    encode_ack,
    encode_replicate,
)

LAYOUT = FAMILY.layouts[REPLICATE]
ACK_LAYOUT = FAMILY.layouts[ACK]


@given(of_layout(LAYOUT))
def test_replicate_equals_its_table(message: Replicate) -> None:
    body = LAYOUT.encode(message)
    assert encode_replicate(message) == body
    assert decode_replicate(body) == message


@given(of_layout(LAYOUT), st.data())
def test_every_shortened_or_lengthened_replicate_is_refused(message: Replicate, data: st.DataObject) -> None:
    body = LAYOUT.encode(message)
    with pytest.raises(ProtocolError):
        decode_replicate(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(ProtocolError):
        decode_replicate(body + b"\0")


@given(st.binary(max_size=200))
def test_garbage_decodes_as_the_table_does(body: bytes) -> None:
    results = []
    for decode in (decode_replicate, LAYOUT.decode):
        try:
            results.append(decode(body))
        except ProtocolError:
            results.append(None)
    assert results[0] == results[1]


@given(of_layout(ACK_LAYOUT), st.data())
def test_ack_equals_its_table(ack: Ack, data: st.DataObject) -> None:
    body = ACK_LAYOUT.encode(ack)
    assert encode_ack(ack.number, ack.heard, ack.refused, ack.level) == body
    assert decode_ack(body) == ack
    for wrong in (body[: data.draw(st.integers(0, len(body) - 1))], body + b"\0"):
        with pytest.raises(ProtocolError):
            decode_ack(wrong)


@given(st.binary(max_size=40) | st.binary(min_size=8, max_size=8).map(lambda number: number + bytes(2)))
def test_garbage_is_an_ack_as_the_table_has_it_or_none(body: bytes) -> None:
    results = []
    for decode in (decode_ack, ACK_LAYOUT.decode):
        try:
            results.append(decode(body))
        except ProtocolError:
            results.append(None)
    assert results[0] == results[1]


def test_a_length_that_points_past_the_end_takes_no_memory() -> None:
    section = Section(1, 1, 0, 1, 1, b"")
    body = bytearray(encode_replicate(Replicate(1, [section])))
    body[-4:] = b"\xff\xff\xff\xff"
    with pytest.raises(ProtocolError):
        decode_replicate(bytes(body))
