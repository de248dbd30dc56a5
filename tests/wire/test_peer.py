"""The peer family: the hand-written codec of REPLICATE equals its table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import of_layout
from twistedkv.errors import ProtocolError
from twistedkv.messages.peer import Replicate, Section
from twistedkv.wire.peer import FAMILY, REPLICATE, decode_replicate, encode_replicate

LAYOUT = FAMILY.layouts[REPLICATE]


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


def test_a_length_that_points_past_the_end_takes_no_memory() -> None:
    section = Section(1, 1, 0, 1, 1, b"")
    body = bytearray(encode_replicate(Replicate(1, [section])))
    body[-4:] = b"\xff\xff\xff\xff"
    with pytest.raises(ProtocolError):
        decode_replicate(bytes(body))
