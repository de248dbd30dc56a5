"""Every message of every family: bytes and back, from its layout alone."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.strategies import of_layout
from tests.wire.examples import EXAMPLES, LAYOUTS, Example
from twistedkv import messages
from twistedkv.errors import ProtocolError
from twistedkv.messages import client, coordinator, hello, peer
from twistedkv.wire.fields import Layout
from twistedkv.wire.frames import FrameDecoder, encode_frame

every_layout = pytest.mark.parametrize(
    "layout", LAYOUTS.values(), ids=[f"{family}-{number:02x}" for family, number in LAYOUTS]
)
few = settings(max_examples=max(1, settings().max_examples // 3))
"""For what is done once more for each layout."""
every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.family}-{e.name}")


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """`data` in pieces, cut at these places."""
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@every_layout
@few
@given(data=st.data())
def test_round_trip(layout: Layout[Any], data: st.DataObject) -> None:
    message = data.draw(of_layout(layout))
    assert layout.decode(layout.encode(message)) == message


@every_layout
@few
@given(data=st.data(), at=st.lists(st.integers(0, 10_000), max_size=8))
def test_however_the_bytes_are_cut_the_message_is_the_same(
    layout: Layout[Any], data: st.DataObject, at: list[int]
) -> None:
    message = data.draw(of_layout(layout))
    frame = encode_frame(0x7F, layout.encode(message), 77, 1)
    decoder = FrameDecoder()
    frames = [frame for piece in cut(frame * 2, at) for frame in decoder.feed(piece)]
    assert [layout.decode(body) for _, _, _, body in frames] == [message, message]
    assert decoder.buffered == 0


@every_layout
@few
@given(data=st.data())
def test_a_changed_body_is_another_message_or_a_protocol_error(layout: Layout[Any], data: st.DataObject) -> None:
    body = bytearray(layout.encode(data.draw(of_layout(layout))))
    for _ in range(data.draw(st.integers(1, 4))):
        if not body:
            break
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    wrong = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        message = layout.decode(wrong)
    except ProtocolError:
        return
    assert isinstance(layout.encode(message), bytes)


@every_layout
@few
@given(body=st.binary(max_size=200))
def test_garbage_gives_nothing_but_protocol_errors(layout: Layout[Any], body: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        layout.decode(body)


@every_example
def test_expected_bytes(example: Example) -> None:
    body = example.layout.encode(example.message)
    assert encode_frame(example.type_number, body, example.request_id, example.flags) == example.frame
    [(number, flags, request_id, received)] = FrameDecoder().feed(example.frame)
    assert (number, flags, request_id) == (example.type_number, example.flags, example.request_id)
    assert example.layout.decode(received) == example.message


@every_example
def test_every_split_in_two_of_the_expected_bytes(example: Example) -> None:
    for place in range(len(example.frame) + 1):
        decoder = FrameDecoder()
        frames = decoder.feed(example.frame[:place]) + decoder.feed(example.frame[place:])
        assert [example.layout.decode(body) for _, _, _, body in frames] == [example.message]


@every_example
def test_every_shortened_body_is_refused_or_means_something_else(example: Example) -> None:
    body = example.layout.encode(example.message)
    for end in range(len(body)):
        with contextlib.suppress(ProtocolError):
            assert example.layout.decode(body[:end]) != example.message


def test_every_message_type_has_an_example() -> None:
    shown = {(example.family, example.type_number) for example in EXAMPLES}
    # The coordinator family shares CONFIG_RESP with the client family, where it is shown.
    assert shown | {("coordinator", 0x22)} == set(LAYOUTS)


def test_every_message_class_is_on_the_wire() -> None:
    parts = {"ShardReport", "FillReport", "Usage", "Section", "RefusedSection", "ScanItem", "Watched"}
    on_the_wire = {getattr(layout.kind, "__name__", "") for layout in LAYOUTS.values()}
    for module in (client, coordinator, hello, peer):
        classes = {
            name
            for name, value in vars(module).items()
            if isinstance(value, type) and attrs.has(value) and value.__module__ == module.__name__
        }
        assert classes - parts <= on_the_wire, module.__name__
    assert messages.__doc__


@every_layout
def test_the_fields_of_a_layout_are_those_of_its_class(layout: Layout[Any]) -> None:
    kind: Any = layout.kind
    assert [name for name, _ in layout.fields] == [field.name for field in attrs.fields(kind)]
