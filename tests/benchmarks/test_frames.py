"""The loader's own codec equals the project's, and it misses nothing that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.frames import LoadError, Replies, encode_gets, encode_puts
from twistedkv.errors import Status
from twistedkv.messages.client import Get, Put
from twistedkv.wire.client import CONFIG_RESP, decode_request, result_frame
from twistedkv.wire.frames import FrameDecoder, encode_frame

KEYS = [b"key:%04d" % number for number in range(50)]
VALUE = b"value" * 4


def test_puts_are_puts_with_numbers_of_their_own() -> None:
    requests = encode_puts(KEYS, VALUE, margin=8)
    frames = FrameDecoder().feed(bytes(requests.data))
    assert [frame[2] for frame in frames] == list(range(1, 51))
    decoded = [decode_request(message_type, body) for message_type, _, _, body in frames]
    assert decoded == [Put(number, max(1, number - 7), 0, key, VALUE) for number, key in enumerate(KEYS, start=1)]
    assert requests.frame_bytes * requests.count == len(requests.data)


def test_gets_are_gets() -> None:
    frames = FrameDecoder().feed(bytes(encode_gets(KEYS, VALUE).data))
    assert [(request_id, decode_request(kind, body)) for kind, _, request_id, body in frames] == [
        (number, Get(key)) for number, key in enumerate(KEYS, start=1)
    ]


answers = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1),
        st.sampled_from([Status.SUCCESS, Status.SUCCESS, Status.SUCCESS, Status.WRONG_SERVER, Status.KEY_NOT_FOUND]),
        st.sampled_from([VALUE, VALUE, VALUE, VALUE[::-1], b"", b"a text"]),
    ),
    max_size=20,
)


@given(answers, st.lists(st.integers(1, 100), min_size=1, max_size=5))
def test_every_reply_is_seen_however_the_bytes_are_cut(many: list[tuple[int, Status, bytes]], sizes: list[int]) -> None:
    data = b"".join(result_frame(request_id, status, 7, value) for request_id, status, value in many)
    replies = Replies(VALUE)
    ids: list[int] = []
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        ids += replies.feed(data[:size])
        data = data[size:]
        turn += 1
    assert ids == [request_id for request_id, _, _ in many]
    assert sum(replies.failures.values()) == sum(
        status != Status.SUCCESS or value != VALUE for _, status, value in many
    )
    for status in (Status.WRONG_SERVER, Status.KEY_NOT_FOUND):
        assert replies.failures[status.name] == sum(answer[1] == status for answer in many)


def test_what_is_no_reply_ends_the_measurement() -> None:
    for wrong in (bytes(30), encode_frame(CONFIG_RESP, bytes(30), 1), b"HTTP/1.1 200 OK\r\n\r\n"):
        with pytest.raises(LoadError, match="a reply was expected"):
            Replies(b"").feed(wrong)
