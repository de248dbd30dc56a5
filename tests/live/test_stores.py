"""Data directories of real daemons: which of them are refused, and with what sentence; and one that was damaged."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.cluster import Cluster, Daemon, wait_for

pytest.importorskip("lmdb")

VALUES = {b"key-%d" % number: random.Random(number).randbytes(2000) for number in range(300)}
ENGINE = "--engine=lmdb"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A coordinator that waits for its two servers."""
    with Cluster(tmp_path, servers=2, copies=2, shards=4) as cluster:
        cluster.start_coordinator()
        yield cluster


def _start(cluster: Cluster, number: int, *flags: str, name: str = "") -> Daemon:
    data_dir = cluster.directory / (name or f"data_{number}")
    return cluster.start_server(name or f"server_{number}", f"--id={number}", ENGINE, *flags, f"--data-dir={data_dir}")


def _refused(daemon: Daemon, text: str) -> None:
    assert daemon.wait() != 0, "whoever has started it is told that it has failed"
    assert text in daemon.said(), daemon.said()
    assert "Traceback" not in daemon.said()


def _registered(daemon: Daemon) -> None:
    wait_for("it is registered", lambda: "registered as server" in daemon.said())


def test_a_directory_that_is_in_use(cluster: Cluster) -> None:
    _registered(_start(cluster, 1))
    second = cluster.start_server("second", ENGINE, f"--data-dir={cluster.directory / 'data_1'}")
    _refused(second, "another server uses it: give each server a directory of its own, or end the other one")


def test_the_directory_of_another_server(cluster: Cluster) -> None:
    first = _start(cluster, 1)
    _registered(first)
    first.kill()
    other = _start(cluster, 2, f"--store-dir={cluster.directory / 'data_1' / 'store'}")
    _refused(other, "this is to be server 2, but its data-dir has the data of server 1: name the directory of server 2")


def test_the_directory_of_another_cluster(cluster: Cluster, tmp_path: Path) -> None:
    first = _start(cluster, 1)
    _registered(first)
    first.kill()
    (tmp_path / "other").mkdir()
    with Cluster(tmp_path / "other", servers=1, copies=1) as other:
        other.start_coordinator()
        server = other.start_server("server_1", ENGINE, f"--data-dir={tmp_path / 'data_1'}")
        _refused(server, "holds the data of another making of cluster")


def test_a_path_that_cannot_be_written(cluster: Cluster) -> None:
    server = cluster.start_server("server", ENGINE, "--data-dir=/proc/nowhere")
    _refused(server, "twistedkv: data-dir /proc/nowhere/store: cannot be used: ")


def test_an_unknown_format(cluster: Cluster) -> None:
    first = _start(cluster, 1)
    _registered(first)
    first.kill()
    from twistedkv.storage.lmdb import LmdbDisk

    disk = LmdbDisk(cluster.directory / "data_1" / "store")
    with disk._env.begin(write=True) as txn:
        disk._put_meta(txn, b"format", b"99")
    disk.close()
    _refused(_start(cluster, 1), "its format is 99, and this version of twistedkv reads and writes")


def test_the_package_is_missing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    hiding = cluster.directory / "hiding"
    hiding.mkdir()
    (hiding / "lmdb.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hiding), os.environ.get("PYTHONPATH", "")]))
    _refused(_start(cluster, 1), "twistedkv: engine: lmdb needs a package: pip install 'twistedkv[lmdb]'")


@pytest.mark.parametrize("how", ["truncated", "noise", "zeros in the middle"])
def test_a_damaged_store_is_moved_aside_and_filled_again(how: str, cluster: Cluster) -> None:
    daemons = {number: _start(cluster, number) for number in (1, 2)}
    cluster.healthy()
    cluster.shared.mput(VALUES)
    victim = daemons[2]
    victim.signal(signal.SIGTERM)
    victim.wait()
    data = cluster.directory / "data_2" / "store" / "data.mdb"
    content = bytearray(data.read_bytes())
    if how == "truncated":
        del content[len(content) // 4 :]
    elif how == "noise":
        content[:] = os.urandom(len(content))
    else:
        content[16 * 4096 : len(content) // 2] = bytes(len(content) // 2 - 16 * 4096)
    data.write_bytes(content)
    again, restarts = _start(cluster, 2), 0
    while True:  # what is damaged may be found only when it is read: the process ends then, and the next one knows
        try:
            cluster.healthy(seconds=5)
            client = cluster.shared
            checks = [client.verify(key, value) for key, value in VALUES.items()]
            if again.running and all(len(check) == 2 and all(copy.matches for copy in check) for check in checks):
                break
        except AssertionError:
            pass
        if not again.running:
            restarts += 1
            assert restarts <= 3, again.said()
            again = _start(cluster, 2)
    assert {key: one and one.value for key, one in cluster.shared.mget(VALUES).items()} == VALUES
    print(how, restarts, sorted(path.name for path in (cluster.directory / "data_2").iterdir()))
