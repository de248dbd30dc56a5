"""The newest part of the logs, in two files beside the tables.

To put a few updates into tables costs more of the processor, and of the disk, than the updates themselves. So what is
new in the logs is appended to a file by one write, which returns when that is on the disk; the tables get it later,
much of it at once (`durable`). While they do, the other file is used; so the first one is free when that is done.

    tail      MAGIC, checksum u32, number u64, length u32, chunks
    chunk     shard u16, first u64, last u64, epoch u32, commit u64, length u32, entries

The checksum covers the store's id and all that follows. Tails are numbered without a gap, over both files. What is left
in a file from its earlier uses has numbers that the tables have, and the write that a crash has cut short is the last
one of all: if anything newer follows what cannot be read, the disk has lost what it was given.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct
from zlib import crc32

from twistedkv.chunks import Chunk
from twistedkv.errors import StorageFailed
from twistedkv.limits import TAIL_BYTES
from twistedkv.storage.directory import allocate
from twistedkv.storage.disk import Tail

FILES = ("tail.0", "tail.1")
CHUNK_HEAD = Struct(">HQQIQI")
HEAD = Struct(">4sIQI")
MAGIC = b"\xf7LOG"
_CHECKED_FROM = 8
_LOOKED_AT_BYTES_MAX = 64 * 1024 * 1024
"""When a newer tail is looked for behind the last one."""


def encode_tail(tail: Tail, store_id: bytes) -> bytes:
    """As it is appended."""
    parts = [b""]
    for (shard, _), (chunk, commit, _) in tail.chunks.items():
        entries = chunk.entries
        parts.append(CHUNK_HEAD.pack(shard, chunk.first, chunk.last, chunk.epoch, commit, len(entries)))
        parts.append(entries)
    body = b"".join(parts)
    head = HEAD.pack(MAGIC, 0, tail.number, len(body))
    checksum = crc32(body, crc32(head[_CHECKED_FROM:], crc32(store_id)))
    return HEAD.pack(MAGIC, checksum, tail.number, len(body)) + body


def decode_tail(data: bytes, at: int, store_id: bytes) -> tuple[Tail, int] | None:
    """The tail that begins there, and where it ends; None when none does, or it is not intact."""
    if at + HEAD.size > len(data):
        return None
    magic, checksum, number, length = HEAD.unpack_from(data, at)
    end = at + HEAD.size + length
    if magic != MAGIC or end > len(data) or crc32(data[at + _CHECKED_FROM : end], crc32(store_id)) != checksum:
        return None
    tail = Tail(number)
    at += HEAD.size
    while at < end:
        shard, first, last, epoch, commit, length = CHUNK_HEAD.unpack_from(data, at)
        at += CHUNK_HEAD.size
        tail.chunks[shard, first] = Chunk(first, last, epoch, data[at : at + length]), commit, 0
        at += length
    return tail, end


def decode_tails(data: bytes, store_id: bytes, stored: int) -> list[Tail]:
    """Those of one file that the tables, which have all up to `stored`, have not. Raises StorageFailed for a gap."""
    found: list[Tail] = []
    at = 0
    while (tail := decode_tail(data, at, store_id)) is not None and (
        not found or tail[0].number == found[-1].number + 1
    ):
        found.append(tail[0])
        at = tail[1]
    last = max(stored, found[-1].number if found else 0)
    looked_at = 0  # values may be full of what looks like a tail
    while 0 <= (at := data.find(MAGIC, at)) <= len(data) - HEAD.size and looked_at < _LOOKED_AT_BYTES_MAX:
        newer = decode_tail(data, at, store_id)
        if newer is not None and newer[0].number > last:
            raise StorageFailed(f"tail {newer[0].number} stands behind tail {last}, and what was between is lost")
        looked_at += HEAD.unpack_from(data, at)[3]
        at += 1
    return [tail for tail in found if tail.number > stored]


class TailFiles:
    """Those of one store. Raises OSError when they cannot be made."""

    def __init__(self, directory: Path, store_id: bytes) -> None:
        self._paths = [directory / name for name in FILES]
        self._store_id = store_id
        self._descriptors: list[int] = []
        for path in self._paths:
            allocate(path, TAIL_BYTES)
            self._descriptors.append(os.open(path, os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC))
        self._used = 0
        self._at = 0

    def read(self, stored: int) -> list[Tail]:
        """Those that the tables, which have all up to `stored`, have not. Raises StorageFailed when one is missing."""
        found: list[Tail] = []
        for path in self._paths:
            try:
                found += decode_tails(path.read_bytes(), self._store_id, stored)
            except StorageFailed as error:
                raise StorageFailed(f"{path} is damaged: {error}") from None
        found.sort(key=lambda tail: tail.number)
        for place, tail in enumerate(found):
            if tail.number != stored + 1 + place:
                both = f"{self._paths[0]} or {self._paths[1].name}"
                raise StorageFailed(f"{both} is damaged: tail {tail.number} follows tail {stored + place}")
        return found

    def append(self, tail: Tail) -> None:
        """Returns when it is on the disk. Raises OSError; the same may then be tried again."""
        used, at = (1 - self._used, 0) if tail.begins else (self._used, self._at)
        data = encode_tail(tail, self._store_id)
        end = at + len(data)
        left = memoryview(data)
        while left:
            left = left[os.pwrite(self._descriptors[used], left, end - len(left)) :]
        self._used, self._at = used, end

    def close(self) -> None:
        """Use them no more."""
        for descriptor in self._descriptors:
            os.close(descriptor)
