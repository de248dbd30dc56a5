"""Frames and messages: what is read from a connection, before anybody acts on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs

from tests.wire.examples import EXAMPLES, LAYOUTS
from twistedkv.clustermap import ClusterMap
from twistedkv.core.entries import decode_entries
from twistedkv.errors import ProtocolError
from twistedkv.messages.client import MapUpdate
from twistedkv.messages.coordinator import Heartbeat
from twistedkv.messages.peer import Ack, Replicate
from twistedkv.wire import client, coordinator, peer
from twistedkv.wire.fields import Layout
from twistedkv.wire.frames import HEADER_BYTES, Frame, FrameDecoder, encode_frame

FRAME_BYTES_TRIED = 300
"""Limit of a frame's body in the target of frames: small, so that it is met."""


@attrs.frozen
class Reading:
    """What became of a stream that was fed in pieces."""

    frames: list[Frame]
    error: str
    at: int
    """Bytes fed when the error came, all of its piece included; without an error, all."""
    before: int
    """Bytes fed before the piece in which the error came."""


def read(pieces: list[bytes], frame_bytes_max: int = FRAME_BYTES_TRIED) -> Reading:
    """Feed a decoder. Raises AssertionError when it holds more than it may."""
    decoder = FrameDecoder(frame_bytes_max)
    frames: list[Frame] = []
    fed = 0
    for piece in pieces:
        try:
            frames += decoder.feed(piece)
        except ProtocolError as error:
            return Reading(frames, str(error), fed + len(piece), fed)
        fed += len(piece)
        assert decoder.buffered < HEADER_BYTES + frame_bytes_max
    assert decoder.buffered == fed - sum(HEADER_BYTES + len(body) for _, _, _, body in frames)
    return Reading(frames, "", fed, fed)


def cut(data: bytes, sizes: bytes) -> list[bytes]:
    """`data` in pieces of these sizes, again and again; nothing: in one."""
    lengths = [1 + size for size in sizes] or [len(data) or 1]
    pieces = []
    turns = itertools.cycle(lengths)
    while data:
        size = next(turns)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def check_stream(data: bytes) -> None:
    """The first byte says how many of the next ones are sizes of pieces; the rest is the stream."""
    count = data[0] % 8 if data else 0
    sizes, stream = data[1 : 1 + count], data[1 + count :]
    check_cuts(stream, [[stream], cut(stream, sizes), cut(stream, bytes([HEADER_BYTES]))])


def check_cuts(stream: bytes, cuts: list[list[bytes]]) -> None:
    """However a stream is cut, the same frames and the same error, at the same place.

    The place of an error is where the header ends that is wrong. Frames that came in the same piece before it are lost
    with it (`FrameDecoder.feed` says why), and no others.
    """
    whole = read([stream[i : i + 1] for i in range(len(stream))])
    encoded = b"".join(encode_frame(kind, body, request_id, flags) for kind, flags, request_id, body in whole.frames)
    assert stream.startswith(encoded), "frames do not survive being encoded again"
    if whole.error:
        assert whole.at == len(encoded) + HEADER_BYTES
    ends = list(itertools.accumulate(HEADER_BYTES + len(body) for _, _, _, body in whole.frames))
    for pieces in cuts:
        found = read(pieces)
        assert found.error == whole.error
        assert found.before < whole.at <= found.at or not whole.error
        given = sum(end <= found.before for end in ends) if found.error else len(ends)
        assert found.frames == whole.frames[:given]


def stream_seeds() -> list[bytes]:
    """Some frames of each family, in pieces of several sizes."""
    frames = [example.frame for example in EXAMPLES]
    wrong = bytearray(frames[0])
    wrong[1] = 9
    return [
        b"\x00" + b"".join(frames[:4]),
        b"\x02\x05\x11" + b"".join(frames[20:23]),
        b"\x01\x00" + frames[30] + bytes(wrong),
        b"\x00" + frames[3][:8] + b"\xff\xff\xff\xff",
    ]


# Messages: the first byte is the type, the rest the body.


def message_seeds(family: str) -> list[bytes]:
    """Every message of a family."""
    return [bytes([e.type_number]) + e.frame[HEADER_BYTES:] for e in EXAMPLES if e.family == family]


def _decoded(decode: Callable[[], Any]) -> Any:
    """The message; None when it was refused with our error."""
    try:
        return decode()
    except ProtocolError:
        return None


def check_layout(layout: Layout[Any], body: bytes) -> Any:
    """Whatever a layout decodes it encodes again: to the same message and, but for maps, to the same bytes."""
    message = _decoded(lambda: layout.decode(body))
    if message is not None:
        encoded = layout.encode(message)
        assert layout.decode(encoded) == message
        assert encoded == body or not _canonical(message)
    return message


def _canonical(message: Any) -> bool:
    """Whether there is one way to write a message. Servers of a map can be in any order, and there more than once."""
    return not isinstance(message, MapUpdate | ClusterMap)


def _by_table(family: str, data: bytes) -> tuple[int, bytes, Any]:
    """Type, body, and the message that the table of the type makes of it; None if there is no such message."""
    number, body = (data[0] if data else 0), data[1:]
    layout = LAYOUTS.get((family, number))
    return number, body, None if layout is None else check_layout(layout, body)


def check_opening(data: bytes) -> None:
    """HELLO and HELLO_REPLY."""
    _by_table("opening", data)


def check_client(data: bytes) -> None:
    """Requests and answers: the codecs written out by hand accept what their tables do, within the bounds of keys."""
    number, body, by_table = _by_table("client", data)
    assert _decoded(lambda: client.FAMILY.decode(number, body)) == by_table
    request = _decoded(lambda: client.decode_request(number, body))
    response = _decoded(lambda: client.decode_response(number, body))
    assert request is None or response is None
    for message in (request, response):
        assert message is None or message == by_table
    if request is not None:
        assert client.encode_request(request) == (number, body)
    if by_table is not None and number >= client.RESULT:
        assert response == by_table
    if response is not None and number == client.RESULT:
        frame = client.result_frame(7, response.status, response.version, response.value)
        assert frame == encode_frame(number, body, 7)


def check_peer(data: bytes) -> None:
    """Replication and fills: the codecs written out by hand equal their tables, also of what is in them."""
    number, body, message = _by_table("peer", data)
    if number == peer.REPLICATE:
        assert _decoded(lambda: peer.decode_replicate(body)) == message
    if number == peer.ACK:
        assert _decoded(lambda: peer.decode_ack(body)) == message
    if isinstance(message, Ack):
        assert peer.encode_ack(message.number, message.heard, message.refused, message.level) == body
    if isinstance(message, Replicate):
        assert peer.encode_replicate(message) == body
        for section in message.sections:
            _decoded(lambda section=section: list(decode_entries(section.entries, section.count)))  # type: ignore[misc]


def check_coordinator(data: bytes) -> None:
    """Servers, operators and the coordinator. A heartbeat is what its table says, whichever came before it."""
    number, body, message = _by_table("coordinator", data)
    if number != coordinator.HEARTBEAT:
        return
    (known,) = (seed[1:] for seed in message_seeds("coordinator") if seed[0] == coordinator.HEARTBEAT)
    for before in (b"", body, known):
        decoder = coordinator.HeartbeatDecoder()
        _decoded(lambda decoder=decoder, before=before: decoder.decode(before))  # type: ignore[misc]
        found = _decoded(lambda decoder=decoder: decoder.decode(body))  # type: ignore[misc]
        assert without_numbers(found) == without_numbers(message)
        assert found == message or before == known


def without_numbers(heartbeat: Heartbeat | None) -> Heartbeat | None:
    """But for the numbers of updates, which are not always the latest."""
    if heartbeat is None:
        return None
    return attrs.evolve(
        heartbeat, reports=[attrs.evolve(each, last=0, commit=0, bytes_stored=0) for each in heartbeat.reports]
    )
