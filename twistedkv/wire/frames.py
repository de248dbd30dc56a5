"""Frames: the header that every message has, and the incremental decoder.

    offset size
    0      1    magic, 0x54 ("T")
    1      1    protocol version
    2      1    message type
    3      1    flags
    4      4    request id, chosen by the asking side; a reply carries it back
    8      4    length of the body in bytes

All numbers are unsigned and big-endian.
"""

from struct import Struct

from twistedkv.errors import ProtocolError
from twistedkv.limits import FRAME_BYTES_MAX

MAGIC = 0x54
PROTOCOL_VERSION = 1
PROTOCOL_VERSION_MIN = 1

HEADER = Struct(">BBBBII")
HEADER_BYTES = HEADER.size

RETRY = 0x01
"""Flag of a write: it may have been sent before, so look for its result first."""

Frame = tuple[int, int, int, bytes]
"""(message type, flags, request id, body). A plain tuple: one is made for every request."""


def encode_frame(message_type: int, body: bytes, request_id: int = 0, flags: int = 0) -> bytes:
    """One frame. Raises ProtocolError when the body is over FRAME_BYTES_MAX."""
    if len(body) > FRAME_BYTES_MAX:
        raise ProtocolError(f"a frame's body has at most {FRAME_BYTES_MAX} bytes, this one has {len(body)}")
    return HEADER.pack(MAGIC, PROTOCOL_VERSION, message_type, flags, request_id, len(body)) + body


class FrameDecoder:
    """Bytes in, frames out, however the bytes are cut. Holds at most one incomplete frame."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._frame_bytes_max = frame_bytes_max

    @property
    def buffered(self) -> int:
        """Bytes held of a frame that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take received bytes, return the frames that they complete, in order.

        Raises ProtocolError at a wrong magic, an unsupported version or a length over the limit. The decoder is of no
        use afterwards: where the next frame would begin is not known. Frames before the bad one are lost with it,
        which is right: the connection is closed, and a request that was not answered counts as unknown.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
            source: bytes | bytearray = buffer
        else:
            source = data
        frames: list[Frame] = []
        offset = 0
        end = len(source)
        unpack = HEADER.unpack_from
        while end - offset >= HEADER_BYTES:
            magic, version, message_type, flags, request_id, length = unpack(source, offset)
            if magic != MAGIC:
                raise ProtocolError(f"a frame begins with 0x{MAGIC:02x}, this with 0x{magic:02x}: not this protocol")
            if version != PROTOCOL_VERSION:
                raise ProtocolError(f"protocol version {version} is not known here, only {PROTOCOL_VERSION}")
            if length > self._frame_bytes_max:
                raise ProtocolError(f"a body of {length} bytes was announced, {self._frame_bytes_max} is the limit")
            start = offset + HEADER_BYTES
            if end - start < length:
                break
            offset = start + length
            frames.append((message_type, flags, request_id, bytes(source[start:offset])))
        if source is buffer:
            if offset:
                del buffer[:offset]
        elif offset < end:
            buffer += data[offset:]
        return frames
