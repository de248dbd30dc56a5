"""Reads all that is in a store, prints a line for each thing, and at the end "read", or "noticed" if it is damaged.

    python tests/storage/reading.py DIRECTORY

A program of its own: LMDB may end the process that reads a damaged file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from twistedkv.errors import StorageFailed
from twistedkv.limits import SLOTS
from twistedkv.storage.durable import DurableStore
from twistedkv.storage.lmdb import LmdbDisk


def main(directory: Path) -> None:
    """Read it."""
    noticed = False
    try:
        store = DurableStore(LmdbDisk(directory))
        for shard, slots in {0: range(2), 1: range(2, 4), 2: range(4, SLOTS)}.items():
            store.place(shard, slots)
        for shard, kept in sorted(store.kept().items()):
            print(shard, kept.state, kept.last, kept.commit, kept.folded, kept.table_at, kept.table)
            for chunk in kept.chunks:
                print(shard, chunk.first, chunk.last, chunk.epoch, chunk.entries)
        for slot in range(4):
            items, damaged = store.inspect(slot)
            noticed = noticed or bool(damaged)
            for key, record in sorted(items):
                print(slot, key, record)
        for slots in (range(2), range(2, 4)):
            print(store.count(slots))
    except StorageFailed as error:
        print(error, file=sys.stderr)
        noticed = True
    print("noticed" if noticed else "read")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
