"""What only the SQLite store has: the file, its lock, and its settings."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from twistedkv.core.steps import Change
from twistedkv.errors import ConfigurationError, Superseded
from twistedkv.mapstore.sqlite import SqliteMapStore


def test_a_second_coordinator_gets_a_clear_error(tmp_path: Path) -> None:
    first = SqliteMapStore(tmp_path / "map.sqlite")
    with pytest.raises(ConfigurationError, match=r"map\.sqlite: is in use by another coordinator \(pid \d+\)"):
        SqliteMapStore(tmp_path / "map.sqlite")
    first.close()
    SqliteMapStore(tmp_path / "map.sqlite").close()


def test_a_lock_that_was_lost_does_not_let_an_older_one_write(tmp_path: Path) -> None:
    older = SqliteMapStore(tmp_path / "map.sqlite")
    (tmp_path / "map.sqlite.lock").unlink()
    newer = SqliteMapStore(tmp_path / "map.sqlite")
    with pytest.raises(Superseded):
        older.apply(Change(version=1))
    newer.apply(Change(version=1))
    older.close()
    newer.close()


def test_it_is_written_in_the_safest_way(tmp_path: Path) -> None:
    store = SqliteMapStore(tmp_path / "map.sqlite")
    database = store._database
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.sqlite").write_bytes(b"certainly not a database, but long enough to look at" * 10)
    with pytest.raises(ConfigurationError, match="cannot be used as map store"):
        SqliteMapStore(tmp_path / "map.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used as map store"):
        SqliteMapStore(tmp_path / "file" / "map.sqlite")


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    SqliteMapStore(tmp_path / "map.sqlite").close()
    database = sqlite3.connect(tmp_path / "map.sqlite")
    database.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    database.commit()
    database.close()
    with pytest.raises(ConfigurationError, match="version 99, not 1"):
        SqliteMapStore(tmp_path / "map.sqlite")


def test_a_failed_write_can_be_repeated(tmp_path: Path) -> None:
    store = SqliteMapStore(tmp_path / "map.sqlite")
    other = sqlite3.connect(tmp_path / "map.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store._database.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.apply(Change(version=1))
    other.execute("ROLLBACK")
    other.close()
    store.apply(Change(version=1))
    assert store.load().map.version == 1
    store.close()
