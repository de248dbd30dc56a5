"""Frames: cut anywhere, bounded, and closed to what is not this protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.errors import ProtocolError
from twistedkv.limits import FRAME_BYTES_MAX
from twistedkv.wire.frames import HEADER_BYTES, Frame, FrameDecoder, encode_frame

frames = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFFFFFF), st.binary(max_size=50))


def encoded(many: list[Frame]) -> bytes:
    return b"".join(encode_frame(kind, body, request_id, flags) for kind, flags, request_id, body in many)


def test_expected_bytes() -> None:
    assert encode_frame(0x11, b"key", 0x01020304, 0x01) == bytes.fromhex("54 01 11 01 01020304 00000003") + b"key"


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_however_the_bytes_are_cut_the_frames_are_the_same(many: list[Frame], sizes: list[int]) -> None:
    data, decoder = encoded(many), FrameDecoder()
    received: list[Frame] = []
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        received += decoder.feed(data[:size])
        data = data[size:]
        turn += 1
    assert received == many
    assert decoder.buffered == 0


@given(st.lists(frames, min_size=1, max_size=4))
def test_byte_by_byte(many: list[Frame]) -> None:
    decoder = FrameDecoder()
    assert [frame for byte in encoded(many) for frame in decoder.feed(bytes([byte]))] == many


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_garbage_gives_nothing_but_protocol_errors(pieces: list[bytes]) -> None:
    decoder = FrameDecoder(frame_bytes_max=1000)
    try:
        for piece in pieces:
            decoder.feed(piece)
            assert decoder.buffered < HEADER_BYTES + 1000
    except ProtocolError:
        pass


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 100)), max_size=30))
def test_what_is_held_is_less_than_one_frame(turns: list[tuple[int, int]]) -> None:
    decoder, most = FrameDecoder(frame_bytes_max=100), HEADER_BYTES + 100
    for size, body_bytes in turns:
        data = encode_frame(1, bytes(body_bytes))
        for start in range(0, len(data), size):
            decoder.feed(data[start : start + size])
            assert decoder.buffered < most
    assert decoder.buffered == 0


def test_a_length_over_the_limit_is_refused_before_the_body_comes() -> None:
    header = encode_frame(1, b"")[:8]
    with pytest.raises(ProtocolError, match="limit"):
        FrameDecoder().feed(header + (FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    assert FrameDecoder().feed(header + FRAME_BYTES_MAX.to_bytes(4, "big")) == []


def test_the_largest_body_passes_and_a_larger_one_is_not_sent() -> None:
    [(_, _, _, body)] = FrameDecoder().feed(encode_frame(1, bytes(FRAME_BYTES_MAX)))
    assert len(body) == FRAME_BYTES_MAX
    with pytest.raises(ProtocolError, match="at most"):
        encode_frame(1, bytes(FRAME_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00", bytes(12)]
)
def test_another_protocol_is_told_apart_at_its_first_bytes(start: bytes) -> None:
    with pytest.raises(ProtocolError, match="not this protocol"):
        FrameDecoder().feed(start)


def test_another_version_is_refused() -> None:
    data = bytearray(encode_frame(1, b""))
    data[1] = 2
    with pytest.raises(ProtocolError, match="version 2"):
        FrameDecoder().feed(bytes(data))


def test_a_frame_does_not_share_memory_with_what_was_received() -> None:
    data = bytearray(encode_frame(1, b"abc"))
    [(_, _, _, body)] = FrameDecoder().feed(bytes(data))
    data[:] = bytes(len(data))
    assert type(body) is bytes
    assert body == b"abc"
