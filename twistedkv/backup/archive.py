r"""The file of one shard: chunks, each with a checksum that hangs on all chunks before it.

    file   = magic "TKVBACK1", chunks
    chunk  = kind u8, count u32, length u32, checksum u32, body of that length      (big-endian)

The checksum is the CRC-32 of the chunk's first nine bytes and its body, begun with the checksum of the chunk before it
(of the first chunk: of the magic). So a changed bit is noticed, and chunks that are missing, moved or of another file.

kind     body
HEAD     first of all. JSON: `cluster`, `run` (of the backup, drawn at random), `shard`, `slots`
RECORDS  `count` keys and records as two columns, as they were found
UPDATES  the same, of keys that were written meanwhile; a record may be a tombstone: the key was deleted
END      last of all. JSON: `version` (epoch, sequence), `records`, `updates`

Whoever applies RECORDS and UPDATES in the order of the file, the later over the earlier, has the shard as it was at
`version` (`twistedkv.core.backup` says why). A record is as in memory (`twistedkv.records`), with its version and the
moment at which it expires.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import IntEnum
from hashlib import sha256
from struct import Struct
from typing import IO, Any
from zlib import crc32

import attrs

from twistedkv.core.entries import decode_records, encode_records
from twistedkv.errors import Damaged, ProtocolError
from twistedkv.limits import FRAME_BYTES_MAX
from twistedkv.records import epoch_of, sequence_of, version_of

MAGIC = b"TKVBACK1"
_HEAD = Struct(">BII")
_CHECKSUM = Struct(">I")
CHUNK_HEAD_BYTES = _HEAD.size + _CHECKSUM.size
BODY_BYTES_MAX = FRAME_BYTES_MAX
"""What came in one frame is kept in one chunk."""


class Kind(IntEnum):
    """Of a chunk."""

    HEAD = 1
    RECORDS = 2
    UPDATES = 3
    END = 4


@attrs.frozen
class Head:
    """What a file is of."""

    cluster: str
    run: str
    shard: int
    first_slot: int
    last_slot: int


@attrs.frozen
class End:
    """What a file holds."""

    version: int
    """Of the shard's newest update that is in it."""
    records: int
    updates: int


class ArchiveWriter:
    """Writes one file. Memory does not grow with it."""

    def __init__(self, stream: IO[bytes], head: Head) -> None:
        self._stream = stream
        self._digest = sha256()
        self._checksum = crc32(MAGIC)
        self.bytes = 0
        self.records = 0
        self.updates = 0
        self._write(MAGIC)
        slots = [head.first_slot, head.last_slot]
        self._chunk(Kind.HEAD, 0, _json(cluster=head.cluster, run=head.run, shard=head.shard, slots=slots))

    @property
    def sha256(self) -> str:
        """Of all bytes written."""
        return self._digest.hexdigest()

    def add_records(self, packed: bytes, count: int) -> None:
        """Keys and records as two columns, as they came."""
        self._chunk(Kind.RECORDS, count, packed)
        self.records += count

    def add_updates(self, keys: Sequence[bytes], records: Sequence[bytes]) -> None:
        """What was written meanwhile, each key once."""
        self._chunk(Kind.UPDATES, len(keys), encode_records(keys, records))
        self.updates += len(keys)

    def end(self, version: int) -> None:
        """There is no more."""
        at = [epoch_of(version), sequence_of(version)]
        self._chunk(Kind.END, 0, _json(version=at, records=self.records, updates=self.updates))

    def _chunk(self, kind: Kind, count: int, body: bytes) -> None:
        head = _HEAD.pack(kind, count, len(body))
        self._checksum = crc32(body, crc32(head, self._checksum))
        self._write(head + _CHECKSUM.pack(self._checksum))
        self._write(body)

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self.bytes += len(data)


Chunk = tuple[Kind, list[bytes], list[bytes]]
"""RECORDS or UPDATES, keys, records."""


class ArchiveReader:
    """Reads one file, a chunk at a time. `name` is for errors, which are Damaged and say where."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self._digest = sha256()
        self._checksum = crc32(MAGIC)
        self._number = 0
        self.bytes = 0
        """Read until now."""
        self.end: End | None = None
        """When all has been read."""
        self._place = "its beginning"
        if self._read(len(MAGIC)) != MAGIC:
            raise self._damaged("this is no file of a backup")
        kind, _, body = self._next()
        if kind is not Kind.HEAD:
            raise self._damaged("the first chunk is not the head")
        self.head = self._head_of(body)

    @property
    def sha256(self) -> str:
        """Of all bytes read."""
        return self._digest.hexdigest()

    def chunks(self) -> Iterator[Chunk]:
        """All chunks to the end, which has to be the file's. Raises Damaged."""
        counts = {Kind.RECORDS: 0, Kind.UPDATES: 0}
        while True:
            kind, count, body = self._next()
            if kind is Kind.END:
                break
            if kind is Kind.HEAD:
                raise self._damaged("a second head")
            try:
                keys, records = decode_records(body)
            except ProtocolError as error:
                raise self._damaged(str(error)) from None
            if len(keys) != count:
                raise self._damaged(f"{count} keys were announced, there are {len(keys)}")
            counts[kind] += count
            yield kind, keys, records
        end = self._end_of(body)
        if (end.records, end.updates) != (counts[Kind.RECORDS], counts[Kind.UPDATES]):
            raise self._damaged("it says another number of records or updates than there are")
        if self._stream.read(1):
            raise self._damaged("there are bytes after the end")
        self.end = end

    def _next(self) -> tuple[Kind, int, bytes]:
        self._number += 1
        self._place = f"chunk {self._number} at byte {self.bytes}"
        head = self._read(_HEAD.size)
        kind, count, length = _HEAD.unpack(head)
        [expected] = _CHECKSUM.unpack(self._read(_CHECKSUM.size))
        if length > BODY_BYTES_MAX:
            raise self._damaged(f"{length} bytes were announced, a chunk has at most {BODY_BYTES_MAX}")
        body = self._read(length)
        self._checksum = crc32(body, crc32(head, self._checksum))
        if self._checksum != expected:
            raise self._damaged(f"the checksum is {self._checksum:08x}, and should be {expected:08x}")
        try:
            return Kind(kind), count, body
        except ValueError:
            raise self._damaged(f"there is no kind {kind} of chunks") from None

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        self.bytes += len(data)
        if len(data) < size:
            raise self._damaged(f"it is cut short: {size} bytes are expected here, there are {len(data)}")
        return data

    def _head_of(self, body: bytes) -> Head:
        document = self._document(body)
        match document:
            case {"cluster": str(cluster), "run": str(run), "shard": int(shard), "slots": [int(first), int(last)]}:
                return Head(cluster, run, shard, first, last)
        raise self._damaged("the head does not say what the file is of")

    def _end_of(self, body: bytes) -> End:
        document = self._document(body)
        match document:
            case {"version": [int(epoch), int(sequence)], "records": int(records), "updates": int(updates)}:
                return End(version_of(epoch, sequence), records, updates)
        raise self._damaged("the end does not say what the file holds")

    def _document(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"not JSON: {error}") from None

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"{self._name}, {self._place}: {what}")


def _json(**document: Any) -> bytes:
    return json.dumps(document).encode()
