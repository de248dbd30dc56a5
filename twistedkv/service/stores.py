"""The store that a server's options ask for."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.logger import Logger

from twistedkv.errors import ConfigurationError, StorageFailed
from twistedkv.service.config import CoordinatorOptions, ServerOptions
from twistedkv.storage.durable import DurableStore
from twistedkv.storage.inspection import examine, watch
from twistedkv.storage.interface import Store
from twistedkv.storage.memory import MemoryStore

log = Logger()


def open_store(options: ServerOptions) -> Store:
    """Open it. Raises ConfigurationError when it cannot be used.

    What is damaged is moved aside and kept, and an empty store takes its place: this server is then filled from the
    other copies, under a new store id, so nobody takes it for the one that had the data (I9).
    """
    if options.engine == "memory":
        log.info("engine {storage}", storage=options.storage)
        return MemoryStore()
    try:
        import twistedkv.storage.lmdb  # noqa: F401
    except ImportError:
        raise ConfigurationError("engine: lmdb needs a package: pip install 'twistedkv[lmdb]'") from None
    path = options.store_dir or options.data_dir / "store"
    at_once = options.durability == "interval"
    log.info("engine {storage}; in {path}", storage=options.storage, path=path)
    try:
        examine(path)
        return _open(path, at_once)
    except StorageFailed as error:
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
        log.critical(
            "{error}. It is moved to {aside}, and this server begins with an empty store, which the other copies fill",
            error=str(error),
            aside=aside,
        )
        path.rename(aside)
        return _open(path, at_once)


def _open(path: Path, at_once: bool) -> DurableStore:
    from twistedkv.storage.lmdb import LmdbDisk

    watch(path)
    disk = LmdbDisk(path)
    try:
        return DurableStore(disk, at_once=at_once)
    except StorageFailed:
        disk.close()
        raise


def stores_in(base_dir: Path) -> list[Path]:
    """Directories in which servers that were spawned here have their data."""
    return sorted(base_dir.glob("server_*.store"))


def check_engine(options: CoordinatorOptions) -> None:
    """Raise ConfigurationError when the servers that are about to be spawned would begin empty beside their data."""
    if options.spawn and options.engine == "memory" and (stores := stores_in(options.base_dir)):
        raise ConfigurationError(
            f"engine: the data of this cluster are on disk, in {stores[0]} and others: start it with --engine lmdb, or "
            "choose another --base-dir, or move these directories away if the data are not needed"
        )
