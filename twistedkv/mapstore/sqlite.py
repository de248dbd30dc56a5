"""The map store in one SQLite file: the default.

`journal_mode=WAL` with `synchronous=FULL`: a change is on the disk when `apply` returns, after one fsync of the log
instead of the four of a rollback journal. That matters, because a failover stores twice before clients may go on (busy
disk: median 0.5 ms against 2.6 ms a change, one in ten over 2.7 ms against 10 ms and more). FULL and nothing less: with
NORMAL the last changes can be missing after a power cut. One connection in one thread: SQLite before 3.51.3 can lose
pages of a write-ahead log that several connections write and reset, which therefore cannot happen here.

Two guards against a second coordinator: a lock on the file `<store>.lock`, for one on the same machine, which gets a
clear error at once; and the generation, checked in each transaction, for whatever the lock does not cover.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from twistedkv.clustermap import ClusterMap
from twistedkv.core.operations import Event
from twistedkv.core.steps import Change, Saved
from twistedkv.errors import ConfigurationError, Superseded
from twistedkv.mapstore.interface import JOURNAL_PAGE, JOURNAL_ROWS_MAX, SpawnedProcess
from twistedkv.mapstore.rows import (
    configuration_of,
    configuration_text,
    operation_of,
    operation_text,
    server_of,
    server_text,
)

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS servers (server_id INTEGER PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS shards (shard INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS promised (shard INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS operations (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY, time REAL NOT NULL, event TEXT NOT NULL, text TEXT NOT NULL,
    shard INTEGER, epoch INTEGER, server INTEGER, operation TEXT
);
CREATE TABLE IF NOT EXISTS processes (
    server_id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, start_time INTEGER NOT NULL, boot TEXT NOT NULL
);
"""


class SqliteMapStore:
    """See `interface.MapStore`. Raises ConfigurationError when the file cannot be used."""

    def __init__(self, path: Path, journal_rows_max: int = JOURNAL_ROWS_MAX) -> None:
        self._path = path
        self._journal_rows_max = journal_rows_max
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be used as map store: {error.strerror}") from error
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            self._open()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise ConfigurationError(f"{path}: cannot be used as map store: {error}") from error

    def _open(self) -> None:
        with self._transaction():
            schema = int(self._meta("schema", SCHEMA_VERSION))
            if schema != SCHEMA_VERSION:
                raise ConfigurationError(f"{self._path}: is a map store of version {schema}, not {SCHEMA_VERSION}")
            self.identity = bytes.fromhex(self._meta("identity", os.urandom(16).hex()))
            self.generation = int(self._meta("generation", 0)) + 1
            self._set_meta("schema", SCHEMA_VERSION)
            self._set_meta("identity", self.identity.hex())
            self._set_meta("generation", self.generation)

    def load(self) -> Saved:
        """See MapStore."""
        execute = self._database.execute
        servers = [server_of(row) for (row,) in execute("SELECT row FROM servers ORDER BY server_id")]
        shards = [configuration_of(row) for (row,) in execute("SELECT row FROM shards ORDER BY shard")]
        operations = [operation_of(row) for (row,) in execute("SELECT row FROM operations ORDER BY number")]
        return Saved(
            map=attrs.evolve(
                ClusterMap.empty(),
                version=int(self._meta("version", 0)),
                servers=MappingProxyType({server.server_id: server for server in servers}),
                shards=tuple(shards),
            ),
            promised=MappingProxyType(dict(execute("SELECT shard, epoch FROM promised"))),
            epoch_floor=int(self._meta("epoch_floor", 0)),
            operations=tuple(operations),
            last_event=execute("SELECT coalesce(max(number), 0) FROM journal").fetchone()[0],
            last_operation=int(self._meta("last_operation", 0)),
        )

    def apply(self, change: Change) -> None:
        """See MapStore."""
        with self._transaction():
            self._check_generation()
            execute, many = self._database.execute, self._database.executemany
            if change.born_anew:
                for table in ("servers", "shards", "promised"):
                    execute(f"DELETE FROM {table}")
            for shard, expected in change.expected.items():
                row = execute("SELECT epoch FROM shards WHERE shard = ?", (shard,)).fetchone()
                if (row[0] if row is not None else 0) != expected:
                    raise Superseded(
                        f"shard {shard} is not in epoch {expected} any more: another coordinator has acted"
                    )
            if change.version is not None:
                self._set_meta("version", change.version)
            if change.epoch_floor is not None:
                self._set_meta("epoch_floor", change.epoch_floor)
            if change.last_operation:
                self._set_meta("last_operation", change.last_operation)
            many("REPLACE INTO servers VALUES (?, ?)", [(i, server_text(s)) for i, s in change.servers.items()])
            many(
                "REPLACE INTO shards VALUES (?, ?, ?)",
                [(c.shard, c.epoch, configuration_text(c)) for c in change.shards.values()],
            )
            many("REPLACE INTO promised VALUES (?, ?)", list(change.promised.items()))
            many(
                "REPLACE INTO operations VALUES (?, ?, ?)",
                [(o.number, o.id, operation_text(o)) for o in change.operations.values()],
            )
            many("DELETE FROM operations WHERE id = ?", [(operation_id,) for operation_id in change.forgotten])
            many("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [attrs.astuple(e) for e in change.events])
            if change.events:
                execute("DELETE FROM journal WHERE number <= ?", (change.events[-1].number - self._journal_rows_max,))

    def journal(self, after: int, limit: int = JOURNAL_PAGE) -> list[Event]:
        """See MapStore."""
        rows = self._database.execute(
            "SELECT number, time, event, text, shard, epoch, server, operation FROM journal "
            "WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        return [Event(*row) for row in rows]

    def stopped_in_order(self) -> bool:
        """See MapStore."""
        return self._meta("stopped_in_order", "no") == "yes"

    def set_stopped_in_order(self, stopped: bool) -> None:
        """See MapStore."""
        with self._transaction():
            self._check_generation()
            self._set_meta("stopped_in_order", "yes" if stopped else "no")

    def heartbeat_ms(self) -> int:
        """See MapStore."""
        return int(self._meta("heartbeat_ms", 0))

    def set_heartbeat_ms(self, milliseconds: int) -> None:
        """See MapStore."""
        with self._transaction():
            self._check_generation()
            self._set_meta("heartbeat_ms", milliseconds)

    def processes(self) -> list[SpawnedProcess]:
        """See MapStore."""
        rows = self._database.execute("SELECT server_id, pid, start_time, boot FROM processes ORDER BY server_id")
        return [SpawnedProcess(*row) for row in rows]

    def record_processes(self, processes: Iterable[SpawnedProcess]) -> None:
        """See MapStore."""
        with self._transaction():
            self._check_generation()
            self._database.execute("DELETE FROM processes")
            self._database.executemany(
                "INSERT INTO processes VALUES (?, ?, ?, ?)", [attrs.astuple(process) for process in processes]
            )

    def close(self) -> None:
        """See MapStore."""
        self._database.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _check_generation(self) -> None:
        if int(self._meta("generation", 0)) != self.generation:
            raise Superseded("another coordinator has opened the map store: this one stops")

    def _meta(self, key: str, default: Any) -> str:
        row = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0] if row is not None else default)

    def _set_meta(self, key: str, value: Any) -> None:
        self._database.execute("REPLACE INTO meta VALUES (?, ?)", (key, str(value)))


def _locked(path: Path) -> int:
    """Take the lock, for as long as the returned file descriptor is open. Raises ConfigurationError if it is taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConfigurationError(
            f"{path.with_suffix('')}: is in use by another coordinator (pid {owner or 'unknown'}): "
            "stop that one, or choose another --base-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
