"""The loader's codec: requests encoded before the clock runs, replies checked many at a time.

A client library would cost as much as a server and would be measured with it. Here a connection's requests are one
long bytes object, of which a turn sends the next slice, and the replies to it, all of one size when all is well, are
checked by comparing columns. What differs from that is taken apart frame by frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from struct import Struct

from twistedkv.errors import Status
from twistedkv.wire.client import GET, PUT, RESULT
from twistedkv.wire.frames import HEADER, HEADER_BYTES, MAGIC, PROTOCOL_VERSION

_PUT_FRAME = Struct(">BBBBIIQQQH")
_RESULT_HEAD = Struct(">BBBBIIBQ")
_RESULT_BODY_BYTES = 9
_NAMES = {int(status): status.name for status in Status}


class LoadError(Exception):
    """The measurement cannot go on; the text says why."""


class Requests:
    """One connection's requests, encoded: request ids and write numbers from 1, all frames of one size."""

    def __init__(self, data: bytes, count: int, value: bytes) -> None:
        self.data = memoryview(data)
        self.count = count
        self.frame_bytes = len(data) // count if count else 0
        self.value = value
        """What each reply carries."""


def encode_puts(keys: Sequence[bytes], value: bytes, margin: int) -> Requests:
    """PUTs of `value` to these keys, which have one length.

    Each names as its client's oldest unfinished write the one `margin` numbers before it, so the sender must not be
    further ahead of its oldest unanswered request than that.
    """
    pack = _PUT_FRAME.pack
    parts: list[bytes] = []
    for number, key in enumerate(keys, start=1):
        body_bytes = 26 + len(key) + len(value)
        oldest = max(1, number - margin + 1)
        parts += (
            pack(MAGIC, PROTOCOL_VERSION, PUT, 0, number, body_bytes, number, oldest, 0, len(key)),
            key,
            value,
        )
    return Requests(b"".join(parts), len(keys), b"")


def encode_gets(keys: Sequence[bytes], value: bytes) -> Requests:
    """GETs of these keys, which have one length, and each hold `value`."""
    pack = HEADER.pack
    parts: list[bytes] = []
    for number, key in enumerate(keys, start=1):
        parts += (pack(MAGIC, PROTOCOL_VERSION, GET, 0, number, len(key)), key)
    return Requests(b"".join(parts), len(keys), value)


class Replies:
    """Takes bytes received, tells which requests they answer, and counts what was not SUCCESS with the right value."""

    def __init__(self, value: bytes) -> None:
        self.failures: Counter[str] = Counter()
        self._value = value
        self._size = HEADER_BYTES + _RESULT_BODY_BYTES + len(value)
        head = _RESULT_HEAD.pack(
            MAGIC, PROTOCOL_VERSION, RESULT, 0, 0, _RESULT_BODY_BYTES + len(value), int(Status.SUCCESS), 0
        )
        # Type, length and status of each reply; the request id (4 to 7) and the version (13 on) differ.
        self._columns = [(place, head[place : place + 1]) for place in (0, 1, 2, 3, 8, 9, 10, 11, 12)]
        self._ids = Struct(f">4xI{self._size - 8}x").iter_unpack
        self._rest = b""

    def feed(self, data: bytes) -> list[int]:
        """The request ids of all replies that are complete now, in order. Raises LoadError for bytes that are none."""
        if self._rest:
            data = self._rest + data
        size = self._size
        count = len(data) // size
        used = count * size
        chunk = data if used == len(data) else data[:used]
        if count and self._all_well(chunk, count):
            ids = [request_id for (request_id,) in self._ids(chunk)]
            return ids + self._one_by_one(data[used:])
        return self._one_by_one(data)

    def _all_well(self, chunk: bytes, count: int) -> bool:
        size = self._size
        for place, expected in self._columns:
            if chunk[place::size] != expected * count:
                return False
        return not self._value or chunk.count(self._value) == count

    def _one_by_one(self, data: bytes) -> list[int]:
        ids = []
        offset = 0
        while len(data) - offset >= HEADER_BYTES:
            magic, _, message_type, _, request_id, length = HEADER.unpack_from(data, offset)
            if magic != MAGIC or message_type != RESULT or length < _RESULT_BODY_BYTES:
                raise LoadError(f"a reply was expected, got {data[offset : offset + HEADER_BYTES].hex(' ')}")
            end = offset + HEADER_BYTES + length
            if end > len(data):
                break
            status = data[offset + HEADER_BYTES]
            value = data[offset + HEADER_BYTES + _RESULT_BODY_BYTES : end]
            if status != Status.SUCCESS:
                self.failures[_NAMES.get(status, f"status {status}")] += 1
            elif value != self._value:
                self.failures["another value than was stored"] += 1
            ids.append(request_id)
            offset = end
        self._rest = data[offset:]
        return ids
