"""Keys to slots: CRC16/XMODEM of the key, or of its hash tag, modulo 16384, exactly as Redis Cluster has it.

The hash tag is what stands between the first `{` and the first `}` after it, if that is not empty; keys with the same
tag are in the same slot and so in the same shard.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from itertools import repeat
from operator import and_

from twistedkv.limits import SLOTS

_MASK = SLOTS - 1


def slot_of(key: bytes) -> int:
    """The slot of `key`, 0 to 16383."""
    if b"{" in key:
        start = key.index(b"{") + 1
        end = key.find(b"}", start)
        if end > start:
            key = key[start:end]
    return crc_hqx(key, 0) & _MASK


def slots_of(keys: Sequence[bytes]) -> list[int]:
    """The slot of each key."""
    if b"{" in b"".join(keys):
        return list(map(slot_of, keys))
    return list(map(and_, map(crc_hqx, keys, repeat(0)), repeat(_MASK)))


def slot_ranges(shards: int) -> list[tuple[int, int]]:
    """`shards` contiguous ranges (first slot, last slot), both included, that differ in length by one at most."""
    if not 1 <= shards <= SLOTS:
        raise ValueError(f"a cluster has 1 to {SLOTS} shards, not {shards}")
    return [(i * SLOTS // shards, (i + 1) * SLOTS // shards - 1) for i in range(shards)]
