"""Stores to try, and what makes a durable one say exactly what a store in memory says at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twistedkv.limits import SLOTS
from twistedkv.storage.durable import DurableStore
from twistedkv.storage.interface import Store
from twistedkv.storage.memory import MemoryStore

MAP_BYTES = 1 << 20
SHARDS = {0: range(2), 1: range(2, 4), 2: range(4, SLOTS)}


def open_durable(directory: Path, **options: int) -> DurableStore:
    """A store over LMDB. Skips the test where the package is missing."""
    pytest.importorskip("lmdb")
    from twistedkv.storage.lmdb import LmdbDisk

    return placed(DurableStore(LmdbDisk(directory / "store", map_bytes=options.get("map_bytes", MAP_BYTES))))


def placed(store: DurableStore) -> DurableStore:
    """The same, when it knows which slots are whose."""
    for shard, slots in SHARDS.items():
        store.place(shard, slots)
    return store


def open_memory(directory: Path) -> MemoryStore:
    """A store in memory."""
    return MemoryStore()


OPENINGS: list[Callable[[Path], Store]] = [open_memory, open_durable]


def settle(store: Store) -> None:
    """Have all that was put stored."""
    if isinstance(store, DurableStore):
        batch = store.take(everything=True)
        if batch is not None:
            store.disk.write(batch)
            store.written(batch)


def close(store: Store) -> None:
    """What was not settled is gone."""
    if isinstance(store, DurableStore):
        store.disk.close()
