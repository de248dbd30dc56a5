"""The store that the options ask for, and what is said when it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LoggedErrors
from twistedkv.chunks import Chunk
from twistedkv.errors import ConfigurationError
from twistedkv.records import make_record
from twistedkv.service.config import CoordinatorOptions, ServerOptions
from twistedkv.service.stores import check_engine, open_store, stores_in
from twistedkv.storage.durable import DurableStore
from twistedkv.storage.inspection import CRASHED
from twistedkv.storage.memory import MemoryStore


@pytest.fixture
def options(tmp_path: Path) -> Any:
    pytest.importorskip("lmdb")
    return lambda **more: ServerOptions(**({"engine": "lmdb", "data_dir": tmp_path} | more))


def _durable(options: ServerOptions) -> DurableStore:
    store = open_store(options)
    assert isinstance(store, DurableStore)
    return store


def _refusal(options: ServerOptions) -> str:
    with pytest.raises(ConfigurationError) as refused:
        open_store(options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_memory_needs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "twistedkv.storage.lmdb", None)
    assert isinstance(open_store(ServerOptions(data_dir=tmp_path)), MemoryStore)
    assert not list(tmp_path.iterdir())


def test_where_it_is(options: Any, tmp_path: Path) -> None:
    _durable(options()).disk.close()
    assert (tmp_path / "store" / "data.mdb").exists()
    _durable(options(store_dir=tmp_path / "server_1.store")).disk.close()
    assert [path.name for path in stores_in(tmp_path)] == ["server_1.store"]


def test_when_it_may_be_acknowledged(options: Any) -> None:
    for durability, settled in (("sync", 0), ("interval", 1)):
        store = _durable(options(durability=durability))
        store.save(0, b"state")
        assert store.settled() == settled
        store.disk.close()


def test_the_package_is_missing(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "twistedkv.storage.lmdb", None)
    assert _refusal(options()) == "engine: lmdb needs a package: pip install 'twistedkv[lmdb]'"


def test_two_servers_with_one_directory(options: Any, tmp_path: Path) -> None:
    store = _durable(options())
    assert "another server uses it: give each server a directory of its own" in _refusal(options())
    store.disk.close()


def test_a_path_that_is_a_file(options: Any, tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    assert f"data-dir {tmp_path}/store: cannot be used: File exists" in _refusal(options())


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_path_that_cannot_be_written(options: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be used: Permission denied" in _refusal(options())


@pytest.mark.parametrize("how", ["noise", "killed"])
def test_what_is_damaged_is_kept_aside(how: str, options: Any, tmp_path: Path, logged_errors: LoggedErrors) -> None:
    store = _durable(options())
    old = store.store_id
    store.place(0, range(10))
    for number in range(100):
        store.put(1, b"%d" % number, make_record(number + 1, 0, bytes(500)))
    batch = store.take(everything=True)
    assert batch is not None
    store.disk.write(batch)
    store.written(batch)
    store.disk.close()
    data = tmp_path / "store" / "data.mdb"
    content = bytearray(data.read_bytes())
    if how == "noise":
        content[8192:] = os.urandom(len(content) - 8192)
        content[:8192] = bytes(8192)
    else:
        for page in range(4 * 4096, len(content), 4096):
            content[page + 10 : page + 12] = b"\xff\xff"
        (tmp_path / "store" / CRASHED).write_text("Fatal Python error: Bus error")
    data.write_bytes(content)
    store = _durable(options())
    assert store.store_id != old and store.server_id == 0 and not store.kept()
    store.disk.close()
    [aside] = tmp_path.glob("store.damaged-*")
    assert (aside / "data.mdb").read_bytes() == content
    assert f"It is moved to {aside}, and this server begins with an empty store" in logged_errors.describe()
    logged_errors.events.clear()


def test_a_log_that_has_lost_something_is_kept_aside(options: Any, tmp_path: Path, logged_errors: LoggedErrors) -> None:
    """What was appended last may have been cut short by a crash; nothing before it can have been."""
    store = _durable(options())
    old = store.store_id
    store.save(0, b"state")
    batch = store.take()
    assert batch is not None
    store.disk.write(batch)
    store.written(batch)
    for number in (1, 2, 3):
        store.archive(0).append(Chunk(number, number, 1, b"entry %d" % number), number)
        tail = store.take_tail()
        assert tail is not None
        store.disk.append(tail)
        store.written(tail)
    store.disk.close()
    store = _durable(options())
    assert [chunk.entries for chunk in store.kept()[0].chunks] == [b"entry 1", b"entry 2", b"entry 3"]
    store.disk.close()
    [path] = [each for each in (tmp_path / "store").glob("tail.*") if b"entry 2" in each.read_bytes()]
    intact = path.read_bytes()
    path.write_bytes(intact.replace(b"entry 3", b"entry ?"))
    store = _durable(options())
    assert [chunk.entries for chunk in store.kept()[0].chunks] == [b"entry 1", b"entry 2"]
    store.disk.close()
    path.write_bytes(intact.replace(b"entry 2", b"entry ?"))
    store = _durable(options())
    assert store.store_id != old and not store.kept()
    store.disk.close()
    assert "tail 4 stands behind tail 2, and what was between is lost" in logged_errors.describe()
    logged_errors.events.clear()


OPENING = """
import sys
from pathlib import Path
from twistedkv.errors import DamagedRecord, StorageFailed
from twistedkv.service.config import ServerOptions
from twistedkv.service.stores import open_store
store = open_store(ServerOptions(engine="lmdb", data_dir=Path(sys.argv[1])))
store.place(0, range(10))
try:
    store.count(range(10))
    store.inspect(1)
except StorageFailed:
    sys.exit(74)
"""


@pytest.mark.parametrize("place", range(8))
def test_no_server_is_killed_for_ever(place: int, options: Any, tmp_path: Path) -> None:
    """Wherever a page is lost: after at most two processes that ended with it, one goes on."""
    store = _durable(options())
    store.place(0, range(10))
    for number in range(60):
        store.save(0, b"state %d" % number)
        store.put(1, b"%d" % number, make_record(number + 1, 0, bytes(100 * number)))
        batch = store.take(everything=True)
        assert batch is not None
        store.disk.write(batch)
        store.written(batch)
    store.disk.close()
    data = tmp_path / "store" / "data.mdb"
    content = bytearray(data.read_bytes())
    pages = len(content) // 4096 - 2
    for page in range(2 + place * pages // 8, 2 + (place + 1) * pages // 8):
        content[4096 * page : 4096 * page + 4096] = bytes(4096)
    data.write_bytes(content)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONFAULTHANDLER"}
    codes = []
    while not codes or codes[-1]:
        done = subprocess.run(
            [sys.executable, "-c", OPENING, tmp_path], env=environment, capture_output=True, text=True, check=False
        )
        codes.append(done.returncode)
        assert done.returncode <= 0 or done.returncode == 74, done.stderr
        assert len(codes) <= 3, (codes, done.stderr)


def test_a_cluster_does_not_begin_empty_beside_its_data(tmp_path: Path) -> None:
    (tmp_path / "server_2.store").mkdir()
    check_engine(CoordinatorOptions(base_dir=tmp_path))
    check_engine(CoordinatorOptions(base_dir=tmp_path, spawn=True, engine="lmdb"))
    with pytest.raises(ConfigurationError, match=r"on disk, in .*server_2\.store and others: start it with"):
        check_engine(CoordinatorOptions(base_dir=tmp_path, spawn=True))
