"""Checksums of what is stored: a disk that returns something else than it was given is noticed.

Each item is stored behind a CRC-32 of its key and itself: what is found under another key is wrong, too.
"""

from __future__ import annotations

from zlib import crc32

from twistedkv.errors import DamagedRecord, StorageFailed

CHECKSUM_BYTES = 4


def seal_item(key: bytes, item: bytes) -> bytes:
    """As it is stored."""
    return crc32(item, crc32(key)).to_bytes(CHECKSUM_BYTES, "big") + item


def intact(key: bytes, stored: bytes) -> bool:
    """Whether this is what was stored under this key."""
    return len(stored) >= CHECKSUM_BYTES and crc32(stored[CHECKSUM_BYTES:], crc32(key)) == int.from_bytes(
        stored[:CHECKSUM_BYTES], "big"
    )


def open_item(key: bytes, stored: bytes, what: str) -> bytes:
    """The item. Raises StorageFailed when it is damaged."""
    if not intact(key, stored):
        raise StorageFailed(f"{what} is damaged: its checksum is wrong")
    return stored[CHECKSUM_BYTES:]


def open_record(slot: int, key: bytes, stored: bytes) -> bytes:
    """A record. Raises DamagedRecord when it is damaged."""
    item = stored[CHECKSUM_BYTES:]
    if crc32(item, crc32(key)) != int.from_bytes(stored[:CHECKSUM_BYTES], "big") or len(item) < 9:
        raise DamagedRecord(slot, key)
    return item
