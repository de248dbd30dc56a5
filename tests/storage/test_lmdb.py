"""The disk of the durable engine: growth, refusals, errors, and files that were damaged."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.storage.stores import close, open_durable, settle
from twistedkv.chunks import Chunk
from twistedkv.errors import ConfigurationError, DiskFull, StorageFailed
from twistedkv.records import make_record
from twistedkv.storage.durable import DurableStore

lmdb = pytest.importorskip("lmdb")

from twistedkv.storage.inspection import CRASHED, examine  # noqa: E402
from twistedkv.storage.lmdb import FORMAT, LmdbDisk  # noqa: E402
from twistedkv.storage.lmdberrors import DAMAGED, as_ours  # noqa: E402

KILLED = (-signal.SIGABRT, -signal.SIGBUS, -signal.SIGSEGV)
CHILD = Path(__file__).with_name("reading.py")


# Space.


def test_the_map_grows_by_itself(tmp_path: Path) -> None:
    """A writer does what is done here: after DiskFull it asks for room, and tries the same batch again."""
    store = open_durable(tmp_path, map_bytes=1 << 18)
    grown = 0
    for number in range(200):
        store.put(1, b"%d" % number, make_record(number + 1, 0, bytes(10_000)))
        batch = store.take(everything=True)
        assert batch is not None
        while True:
            try:
                store.disk.write(batch)
                break
            except DiskFull as error:
                assert "no room" in str(error)
                assert store.disk.make_room()
                grown += 1
                assert store.get(1, b"0") is not None, "it can be read meanwhile"
        store.written(batch)
    assert grown >= 3
    assert store.disk.bytes_used() > 2_000_000 < store.disk.room()[1]
    close(store)
    store = open_durable(tmp_path, map_bytes=1 << 18)  # smaller than what is there
    assert store.keys == 200
    store.put(1, b"more", make_record(1, 0, b""))
    batch = store.take(everything=True)
    assert batch is not None
    try:
        store.disk.write(batch)
    except DiskFull:
        assert store.disk.make_room()
        store.disk.write(batch)
    close(store)


def test_a_batch_that_had_no_room_is_not_there(tmp_path: Path) -> None:
    """Not even the table that it would have been the first in."""
    store = open_durable(tmp_path, map_bytes=1 << 18)
    store.put(1, b"key", make_record(1, 0, bytes(1 << 19)))
    store.save(0, b"state")
    batch = store.take(everything=True)
    assert batch is not None
    with pytest.raises(DiskFull):
        store.disk.write(batch)
    store.disk.refresh()
    assert store.disk.get(0, 1, b"key") is None and store.disk.find() == {} and store.disk.count(0) == 0
    while True:
        assert store.disk.make_room()
        try:
            store.disk.write(batch)
            break
        except DiskFull:
            continue
    store.written(batch)
    assert store.get(1, b"key") == make_record(1, 0, bytes(1 << 19))
    close(store)


def test_a_limit_ends_growth(tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path / "store", bytes_max=40_000, map_bytes=1 << 16)
    assert disk.make_room()
    assert not disk.make_room()
    assert disk.room() == (disk.bytes_used(), 40_000)
    disk.close()


# Errors.


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "full"), DiskFull),
        (OSError(errno.EDQUOT, "quota"), DiskFull),
        (OSError(errno.EIO, "broken"), StorageFailed),
        (lmdb.MapFullError("full"), DiskFull),
        (lmdb.DiskError("full"), DiskFull),
        (lmdb.PanicError("broken"), StorageFailed),
    ],
)
def test_errors_are_ours_and_no_damage(error: Exception, kind: type[Exception], tmp_path: Path) -> None:
    store = open_durable(tmp_path)
    assert type(as_ours(error, tmp_path / "store")) is kind
    close(store)
    close(open_durable(tmp_path))


def test_a_write_cut_short_on_a_full_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB says EIO for it."""
    error = OSError(errno.EIO, "Input/output error")
    assert type(as_ours(error, tmp_path)) is StorageFailed
    monkeypatch.setattr("twistedkv.storage.lmdberrors._bytes_available", lambda path: 4096)
    assert type(as_ours(error, tmp_path)) is DiskFull


def test_damage_is_noted_for_the_next_process(tmp_path: Path) -> None:
    store = open_durable(tmp_path)
    assert type(as_ours(lmdb.CorruptedError("what"), tmp_path / "store")) is StorageFailed
    close(store)
    with pytest.raises(StorageFailed, match=f"data-dir {tmp_path}/store: was found damaged: what"):
        open_durable(tmp_path)


# Refusals.


def _refused(*arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        LmdbDisk(*arguments)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_a_directory_that_is_in_use(tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path)
    assert "another server uses it: give each server a directory of its own, or end the other one" in _refused(tmp_path)
    disk.close()
    LmdbDisk(tmp_path).close()


def test_a_directory_that_was_refused_is_not_in_use(tmp_path: Path) -> None:
    (tmp_path / DAMAGED).write_text("why")
    for _ in range(2):
        with pytest.raises(StorageFailed, match="why"):
            LmdbDisk(tmp_path)


def test_an_unknown_format(tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path)
    with disk._env.begin(write=True) as txn:
        disk._put_meta(txn, b"format", b"0.9")
    disk.close()
    text = _refused(tmp_path)
    assert (
        f"its format is 0.9, and this version of twistedkv reads and writes {FORMAT.decode()}: use the version" in text
    )


def test_something_else_called_data(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").mkdir()
    assert "cannot be opened" in _refused(tmp_path)


@pytest.mark.parametrize("content", [b"x" * 5, b"something else" * 1000])
def test_what_is_not_of_lmdb_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StorageFailed, match="is damaged"):
        LmdbDisk(tmp_path)


def test_whose_data_it_is(tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path)
    store_id = disk.store_id
    assert (len(store_id), disk.server_id) == (16, 0)
    disk.claim("cluster", b"\1" * 16, 3)
    disk.claim("cluster", b"\1" * 16, 3)
    disk.close()
    disk = LmdbDisk(tmp_path)
    assert (disk.store_id, disk.server_id) == (store_id, 3)
    for claim, why in (
        (("other", b"\1" * 16, 3), "holds the data of cluster cluster, and this is cluster other"),
        (("cluster", b"\2" * 16, 3), "holds the data of another making of cluster 01010101"),
        (("cluster", b"\1" * 16, 4), "holds the data of server 3, and this is server 4: name the directory that"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            disk.claim(*claim)
    disk.close()


# Damage.


def _make(directory: Path) -> DurableStore:
    chance = random.Random(1)
    store = open_durable(directory)
    for batch in range(8):
        for shard in range(2):
            store.save(shard, b"state %d" % batch)
            store.archive(shard).append(Chunk(10 * batch + 1, 10 * batch + 10, 1, chance.randbytes(400)), 10 * batch)
        if batch == 4:
            store.keep_table(0, 40, [b"piece" * 20] * 3)
        for number in range(40):
            value = chance.randbytes(chance.choice((5, 50, 300, 6000)))
            store.put(
                chance.randrange(4), b"key %d" % chance.randrange(200), make_record(40 * batch + number + 1, 0, value)
            )
        settle(store)
    return store


def _damaged(content: bytes, kind: str, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    if kind == "flip":
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    elif kind == "truncate":
        del damaged[chance.randrange(len(damaged)) :]
    else:
        page = 4096 * chance.randrange(2, len(damaged) // 4096)
        damaged[page : page + 4096] = bytes(4096)
    return bytes(damaged)


@pytest.mark.parametrize(("kind", "rounds"), [("flip", 30), ("truncate", 6), ("zeros", 6)])
def test_damage_is_noticed(kind: str, rounds: int, tmp_path: Path) -> None:
    """Each round in a process of its own, because LMDB may end the one that reads a damaged file, and then another one
    has to find that out (`inspection`)."""
    close(_make(tmp_path / "whole"))
    content = (tmp_path / "whole" / "store" / "data.mdb").read_bytes()
    chance = random.Random(7)
    tried = tmp_path / "tried" / "store"
    outcomes: Counter[str] = Counter()
    expected = _read(tmp_path / "whole" / "store").stdout
    for number in range(rounds):
        shutil.rmtree(tried, ignore_errors=True)
        tried.mkdir(parents=True)
        (tried / "data.mdb").write_bytes(_damaged(content, kind, chance))
        done = _read(tried)
        if done.returncode in KILLED:
            (tried / CRASHED).write_text("Fatal Python error")
            with pytest.raises(StorageFailed, match=r"is damaged: reading it ends with -?[0-9]+: "):
                examine(tried)
            outcomes["killed"] += 1
            continue
        assert done.returncode == 0, f"round {number}: {done.returncode}, {done.stderr}"
        outcome = "as before" if done.stdout == expected else done.stdout.splitlines()[-1]
        if outcome == "read":
            known = set(expected.splitlines())
            wrong = [line for line in done.stdout.splitlines() if line not in known]
            raise AssertionError(f"round {number}: nobody has noticed, and this was read: {wrong[:5]}")
        assert outcome in ("as before", "noticed"), f"round {number}: {outcome}"
        outcomes[outcome] += 1
    assert outcomes["noticed"], outcomes


def _read(directory: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONFAULTHANDLER": ""}
    return subprocess.run(
        [sys.executable, str(CHILD), directory], capture_output=True, text=True, env=environment, check=False
    )
