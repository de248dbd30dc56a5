"""The disk of the durable engine: LMDB, through the package `lmdb`.

One file, `data.mdb`, in the data directory, with these tables, beside what is new in the logs (`tail`); every value
stands behind its checksum:

    meta              format, cluster, coordinator, server, store: whose data this is; batch: number of the last one
    shards            shard                      what `core.saved` makes of a replica
    log               shard, first sequence      last sequence u64, epoch u32, commit u64, folded u64, entries
    tables            shard, place               sequence u64, a piece of the dedup table
    records:<shard>   slot, key                  record

A table for each shard, because LMDB knows how many keys a table has, and removes one at once. `writemap` is never used:
with it a full disk would kill the process. Numbers in keys are big-endian, so that they stand in their order.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct
from typing import Any

import lmdb

from twistedkv.chunks import Chunk
from twistedkv.clustermap import STORE_ID_BYTES
from twistedkv.errors import ConfigurationError, DamagedRecord, StorageFailed
from twistedkv.limits import SHARDS_MAX
from twistedkv.storage.checked import CHECKSUM_BYTES, open_item, open_record, seal_item
from twistedkv.storage.directory import LOCK_BYTES, allocate, lengthen, lock_directory, sync_directories
from twistedkv.storage.disk import Batch, Found, Tail
from twistedkv.storage.lmdberrors import DAMAGE_AT_OPENING, DAMAGED, as_ours
from twistedkv.storage.tail import TailFiles

FORMAT = b"2"
MAP_BYTES = 256 * 1024 * 1024
"""The map begins with so much, and is doubled when it is full."""
_TABLES = 4
_PUT_AT_ONCE = 64
"""Records given to LMDB in one call, during which no other thread runs."""
_SLOT = Struct(">H")
_LOG_KEY = Struct(">HQ")
_CHUNK_HEAD = Struct(">QIQQ")
_TABLE_KEY = Struct(">HI")
_SEQUENCE = Struct(">Q")


class LmdbDisk:
    """`storage.disk.Disk` in a directory, which is made if there is none.

    `bytes_max`: what its file may have; 0: whatever the file system has. Raises ConfigurationError, with what to do,
    when the directory cannot be used or is not for this version, StorageFailed when what is in it is damaged.
    """

    def __init__(self, path: Path, *, bytes_max: int = 0, map_bytes: int = MAP_BYTES) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._lock = lock_directory(path)
        self._env: Any = None
        try:
            self._open(map_bytes)
        except BaseException:
            if self._env is not None:
                self._env.close()
            os.close(self._lock)
            raise

    def _open(self, map_bytes: int) -> None:
        path = self._path
        try:
            if (path / DAMAGED).exists():
                raise StorageFailed(f"data-dir {path}: {(path / DAMAGED).read_text('utf-8', 'replace').strip()}")
            lengthen(path / "data.mdb")
            allocate(path / "lock.mdb", LOCK_BYTES)
            self._env = lmdb.open(
                str(path),
                map_size=map_bytes,
                max_dbs=SHARDS_MAX + _TABLES,
                readahead=False,
                writemap=False,
                max_spare_txns=1,
            )
            with self._env.begin(write=True) as txn:
                self._meta, self._shards, self._log, self._table = (
                    self._env.open_db(name, txn=txn) for name in (b"meta", b"shards", b"log", b"tables")
                )
                self._tables = {
                    int(name[8:]): self._env.open_db(name, txn=txn, create=False)
                    for name in [bytes(name) for name, _ in txn.cursor()]
                    if name.startswith(b"records:")
                }
                self.store_id, self.server_id = self._whose(txn)
                self.stored = int(open_item(b"batch", txn.get(b"batch", db=self._meta), f"the batch in {path}"))
            self._tails = TailFiles(path, self.store_id)
        except DAMAGE_AT_OPENING as error:
            raise StorageFailed(f"data-dir {path}: is damaged: {error}") from error
        except (lmdb.Error, OSError) as error:
            raise ConfigurationError(
                f"data-dir {path}: cannot be opened: {error}: make room if its file system is full, and see that this "
                "user may write there; or name another directory: this server is then filled from the other copies"
            ) from error
        sync_directories(path)
        self._psize: int = self._env.stat()["psize"]
        self._visible = dict(self._tables)
        self._txn = self._env.begin()

    # Whose data this is.

    def _whose(self, txn: Any) -> tuple[bytes, int]:
        found = {name: txn.get(name, db=self._meta) for name in (b"format", b"store", b"server")}
        if found[b"format"] is None:
            store_id = secrets.token_bytes(STORE_ID_BYTES)
            self._put_meta(txn, b"format", FORMAT)
            self._put_meta(txn, b"store", store_id)
            self._put_meta(txn, b"batch", b"0")
            return store_id, 0
        version = open_item(b"format", found[b"format"], f"the format in {self._path}")
        if version != FORMAT:
            raise ConfigurationError(
                f"data-dir {self._path}: its format is {version.decode('ascii', 'replace')}, and this version of "
                f"twistedkv reads and writes {FORMAT.decode()}: use the version that made it, or another directory, "
                "which is then filled from the other copies"
            )
        store_id = open_item(b"store", found[b"store"] or b"", f"the store id in {self._path}")
        server = found[b"server"]
        return store_id, 0 if server is None else int(open_item(b"server", server, f"the server id in {self._path}"))

    def _put_meta(self, txn: Any, name: bytes, value: bytes) -> None:
        txn.put(name, seal_item(name, value), db=self._meta)

    def claim(self, cluster: str, coordinator: bytes, server_id: int) -> None:
        """This is the data of this server of that cluster, from now on.

        Raises ConfigurationError when it is another's.
        """
        with self._errors(), self._env.begin(write=True) as txn:
            for name, value, what in (
                (b"cluster", cluster.encode(), "cluster"),
                (b"coordinator", coordinator.hex().encode(), "another making of cluster"),
                (b"server", b"%d" % server_id, "server"),
            ):
                found = txn.get(name, db=self._meta)
                if found is None:
                    self._put_meta(txn, name, value)
                    continue
                had = open_item(name, found, f"the {what} in {self._path}")
                if had != value:
                    this = what.rpartition(" ")[2]
                    raise ConfigurationError(
                        f"data-dir {self._path}: holds the data of {what} {had.decode()}, and this is {this} "
                        f"{value.decode()}: name the directory that belongs to it, or an empty one"
                    )
        self.server_id = server_id
        self.refresh()

    # Looking.

    def find(self) -> dict[int, Found]:
        """See Disk."""
        found: dict[int, Found] = {}
        for key, stored in self._rows(self._shards, b""):
            [shard] = _SLOT.unpack(key)
            state = open_item(key, stored, f"the state of shard {shard} in {self._path}")
            found[shard] = Found(state, self._chunks_of(shard), *self._table_of(shard))
        return found

    def tails(self) -> list[Tail]:
        """See Disk."""
        return self._tails.read(self.stored)

    def _chunks_of(self, shard: int) -> list[tuple[int, int, int]]:
        chunks = []
        before = None
        for key, stored in self._rows(self._log, _SLOT.pack(shard)):
            size = len(stored) - CHECKSUM_BYTES - _CHUNK_HEAD.size
            if len(key) == _LOG_KEY.size and size >= 0:
                first: int = _LOG_KEY.unpack(key)[1]
                last: int = _CHUNK_HEAD.unpack_from(stored, CHECKSUM_BYTES)[0]
                if first <= last and (before is None or first <= before + 1):
                    chunks.append((first, last, size))
                    before = last
                    continue
            raise StorageFailed(f"the log of shard {shard} in {self._path} is damaged: it has a gap after {before}")
        return chunks

    def _table_of(self, shard: int) -> tuple[int, list[bytes]]:
        sequence = 0
        pieces = []
        for key, stored in self._rows(self._table, _SLOT.pack(shard)):
            item = open_item(key, stored, f"the dedup table of shard {shard} in {self._path}")
            [sequence] = _SEQUENCE.unpack_from(item)
            pieces.append(item[_SEQUENCE.size :])
        return sequence, pieces

    def _rows(self, table: Any, prefix: bytes, txn: Any = None) -> Iterator[tuple[bytes, bytes]]:
        with self._errors(), (txn or self._txn).cursor(table) as cursor:
            if cursor.set_range(prefix):
                for key, stored in cursor:
                    if not key.startswith(prefix):
                        break
                    yield key, stored

    def get(self, shard: int, slot: int, key: bytes) -> bytes | None:
        """See Disk."""
        stored = self._stored(shard, slot, key)
        return None if stored is None else open_record(slot, key, stored)

    def has(self, shard: int, slot: int, key: bytes) -> bool:
        """See Disk."""
        return self._stored(shard, slot, key) is not None

    def _stored(self, shard: int, slot: int, key: bytes) -> bytes | None:
        table = self._visible.get(shard)
        if table is None:
            return None
        try:
            found: bytes | None = self._txn.get(_SLOT.pack(slot) + key, db=table)
        except lmdb.Error as error:
            raise as_ours(error, self._path) from error
        return found

    def inspect(self, shard: int, slot: int) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """See Disk."""
        table = self._visible.get(shard)
        items: list[tuple[bytes, bytes]] = []
        damaged: list[bytes] = []
        for row, stored in () if table is None else self._rows(table, _SLOT.pack(slot)):
            key = row[_SLOT.size :]
            try:
                items.append((key, open_record(slot, key, stored)))
            except DamagedRecord:
                damaged.append(key)
        return items, damaged

    def count(self, shard: int) -> int:
        """See Disk."""
        table = self._visible.get(shard)
        with self._errors():
            return 0 if table is None else int(self._txn.stat(table)["entries"])

    def chunk(self, shard: int, first: int) -> tuple[Chunk, int, int]:
        """See Disk."""
        key = _LOG_KEY.pack(shard, first)
        with self._errors():
            stored = self._txn.get(key, db=self._log) or b""
        item = open_item(key, stored, f"the log of shard {shard} in {self._path}")
        last, epoch, commit, folded = _CHUNK_HEAD.unpack_from(item)
        return Chunk(first, last, epoch, item[_CHUNK_HEAD.size :]), commit, folded

    def read_everything(self, bytes_written: int) -> None:
        """Each page, or be killed by what is wrong with it; and take so many free ones. Raises StorageFailed."""
        tables = (self._meta, self._shards, self._log, self._table, *self._visible.values())
        for table in tables:
            found = sum(1 for _ in self._rows(table, b""))
            with self._errors():
                if found != self._txn.stat(table)["entries"]:
                    raise StorageFailed(f"{self._path} is damaged: a table has {found} rows, and says another number")
        with self._errors(), suppress(lmdb.MapFullError), self._env.begin(write=True) as txn:
            txn.put(b"try", bytes(bytes_written), db=self._meta)
            txn.abort()

    # Writing, in other threads.

    def write(self, batch: Batch) -> None:
        """See Disk."""
        made: dict[int, Any] = {}
        with self._errors(), self._env.begin(write=True) as txn:
            self._write_logs(txn, batch)
            for shard in batch.dropped:
                if shard in self._tables:
                    txn.drop(self._tables[shard], delete=False)
            self._write_records(txn, batch, made)
            self._put_meta(txn, b"batch", b"%d" % batch.number)
        self._tables.update(made)

    def append(self, tail: Tail) -> None:
        """See Disk."""
        with self._errors():
            self._tails.append(tail)

    def _write_logs(self, txn: Any, batch: Batch) -> None:
        for shard in batch.restarted:
            for table in (self._log, self._table):
                self._remove_all(txn, table, _SLOT.pack(shard))
        for shard, first in batch.trimmed:
            txn.delete(_LOG_KEY.pack(shard, first), db=self._log)
        for its, (chunk, commit, folded) in batch.chunks.items():
            key = _LOG_KEY.pack(*its)
            head = _CHUNK_HEAD.pack(chunk.last, chunk.epoch, commit, folded)
            txn.put(key, seal_item(key, head + chunk.entries), db=self._log)
        for shard, (sequence, pieces) in batch.tables.items():
            self._remove_all(txn, self._table, _SLOT.pack(shard))
            for place, piece in enumerate(pieces):
                key = _TABLE_KEY.pack(shard, place)
                txn.put(key, seal_item(key, _SEQUENCE.pack(sequence) + piece), db=self._table)
        for shard, state in batch.states.items():
            key = _SLOT.pack(shard)
            txn.put(key, seal_item(key, state), db=self._shards)

    def _remove_all(self, txn: Any, table: Any, prefix: bytes) -> None:
        for key in [key for key, _ in self._rows(table, prefix, txn)]:
            txn.delete(key, db=table)

    def _write_records(self, txn: Any, batch: Batch, made: dict[int, Any]) -> None:
        stored: dict[int, list[tuple[bytes, bytes]]] = {}
        for slot in sorted(batch.records):
            shard, head = batch.shard_of[slot], _SLOT.pack(slot)
            table = self._tables.get(shard) or made.get(shard)
            if table is None:
                table = made[shard] = self._env.open_db(b"records:%d" % shard, txn=txn)
            rows = stored.setdefault(shard, [])
            for key, record in sorted(batch.records[slot].items()):
                if record is None:
                    txn.delete(head + key, db=table)
                else:
                    rows.append((head + key, seal_item(key, record)))
        for shard, rows in stored.items():
            with txn.cursor(self._tables.get(shard) or made[shard]) as cursor:
                for start in range(0, len(rows), _PUT_AT_ONCE):
                    cursor.putmulti(rows[start : start + _PUT_AT_ONCE])

    def refresh(self) -> None:
        """See Disk."""
        self._txn.abort()
        self._txn = self._env.begin()
        if len(self._visible) != len(self._tables):
            self._visible = dict(self._tables)

    # Space.

    def make_room(self) -> bool:
        """See Disk. The map grows when the disk has room for more than it."""
        map_bytes: int = self._env.info()["map_size"]
        used, limit = self.room()
        if used >= limit or map_bytes >= 2 * limit:
            return False
        self._txn.abort()
        self._env.set_mapsize(2 * map_bytes)
        self._txn = self._env.begin()
        return True

    def bytes_used(self) -> int:
        """See Disk."""
        tables = (self._meta, self._shards, self._log, self._table, *self._visible.values())
        stats = [self._txn.stat(table) for table in tables]
        pages: int = sum(each["branch_pages"] + each["leaf_pages"] + each["overflow_pages"] for each in stats)
        return self._psize * pages

    def room(self) -> tuple[int, int]:
        """See Disk."""
        used = self.bytes_used()
        about = os.statvfs(self._path)
        file_bytes: int = (self._env.info()["last_pgno"] + 1) * self._psize
        limit = about.f_bavail * about.f_frsize + max(used, file_bytes)
        return used, min(limit, self._bytes_max) if self._bytes_max else limit

    def close(self) -> None:
        """See Disk."""
        self._txn.abort()
        self._env.close()
        self._tails.close()
        os.close(self._lock)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            raise as_ours(error, self._path) from error
