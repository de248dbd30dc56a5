"""What is done about LMDB's files before it opens them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.stores import close, open_durable, settle
from twistedkv.errors import ConfigurationError, StorageFailed
from twistedkv.records import make_record
from twistedkv.storage.directory import LOCK_BYTES, allocate, lengthen, lock_directory


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data file of a store that was closed."""
    store = open_durable(tmp_path)
    for number in range(50):
        store.put(1, b"%d" % number, make_record(number + 1, 0, bytes(3000)))
        settle(store)
    close(store)
    return tmp_path / "store" / "data.mdb"


def test_a_file_that_is_whole_is_left_alone(data: Path, tmp_path: Path) -> None:
    before = data.read_bytes()
    lengthen(data)
    lengthen(tmp_path / "never")
    assert data.read_bytes() == before and not (tmp_path / "never").exists()


@pytest.mark.parametrize("bytes_left", [8192, 20_000, 100_000])
def test_what_was_cut_off_is_found_damaged(data: Path, bytes_left: int) -> None:
    whole = data.stat().st_size
    os.truncate(data, bytes_left)
    script = """
import sys
from pathlib import Path
from twistedkv.errors import DamagedRecord, StorageFailed
from twistedkv.storage.durable import DurableStore
from twistedkv.storage.lmdb import LmdbDisk
try:
    store = DurableStore(LmdbDisk(Path(sys.argv[1])))
    store.place(0, range(2))
    damaged = 0
    for number in range(50):
        try:
            store.get(1, b"%d" % number)
        except DamagedRecord:
            damaged += 1
    store.items(1)
except (DamagedRecord, StorageFailed):
    print("noticed")
"""
    done = subprocess.run([sys.executable, "-c", script, data.parent], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) in ((0, "noticed\n"), (-signal.SIGABRT, "")), done.stderr
    assert data.stat().st_size == whole


@pytest.mark.parametrize(
    ("at", "changed", "why"),
    [
        (16, bytes(4), "does not begin as a file of LMDB"),
        (40, b"\x01\x02\x03\x04", "does not begin as a file of LMDB"),
        (16 + 120 + 6, b"\x01", "more pages than it can have"),
    ],
)
def test_what_cannot_be(data: Path, at: int, changed: bytes, why: str) -> None:
    with data.open("r+b") as file:
        for page in (0, 4096):
            file.seek(page + at)
            file.write(changed)
    with pytest.raises(StorageFailed, match=why):
        lengthen(data)


@pytest.mark.parametrize("size", [0, 10, 150])
def test_a_file_that_was_hardly_begun_is_for_lmdb_to_judge(tmp_path: Path, size: int) -> None:
    file = tmp_path / "data.mdb"
    file.write_bytes(bytes(size))
    lengthen(file)
    assert file.stat().st_size == size


def test_the_lock_file_has_room_of_its_own(tmp_path: Path) -> None:
    allocate(tmp_path / "lock.mdb", LOCK_BYTES)
    found = (tmp_path / "lock.mdb").stat()
    assert found.st_size == LOCK_BYTES and found.st_blocks * 512 >= LOCK_BYTES
    (tmp_path / "lock.mdb").unlink()
    close(open_durable(tmp_path))
    assert (tmp_path / "store" / "lock.mdb").stat().st_size == LOCK_BYTES


def test_one_process_has_a_directory(tmp_path: Path) -> None:
    lock = lock_directory(tmp_path / "a" / "b")
    with pytest.raises(ConfigurationError, match="another server uses it: give each server a directory of its own"):
        lock_directory(tmp_path / "a" / "b")
    os.close(lock)
    os.close(lock_directory(tmp_path / "a" / "b"))


def test_a_path_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/store: cannot be used: Not a directory"):
        lock_directory(tmp_path / "file" / "store")
