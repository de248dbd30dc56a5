"""Backup, restore, export and import between real clusters of different shapes, under load and over a failure."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.live.cluster import BIN, Cluster, send, wait_for
from tests.live.pairs import Pairs, check_pairs
from twistedkv.blocking import Client


def contents(client: Client) -> dict[bytes, bytes]:
    return {item.key: item.value for item in client.scan(values=True)}


def backup(cluster: Cluster, directory: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(BIN / "twistedkv"), "--coordinator", cluster.address, "backup", str(directory), *options],
        stderr=subprocess.PIPE,
        text=True,
        env=cluster.environment(),
    )


def finished(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Cluster:  # type: ignore[misc]
    directory = tmp_path_factory.mktemp("small")
    with Cluster(directory, servers=2, copies=1, shards=5) as cluster:
        cluster.start_cluster()
        yield cluster  # type: ignore[misc]


def emptied(cluster: Cluster) -> Client:
    client = cluster.shared
    client.apply(dict.fromkeys(contents(client), (None, 0)))
    assert contents(client) == {}
    return client


def test_a_backup_under_load_over_a_failure_and_restored_elsewhere(tmp_path: Path, small: Cluster) -> None:
    fixed = {b"fixed%d" % n: os.urandom(50) + b"%d" % n for n in range(20_000)}
    moment = int(time.time() * 1000)
    fleeting: dict[bytes, tuple[bytes | None, int]] = {
        b"later": (b"v", moment + 3_600_000),
        b"soon": (b"v", moment + 4_000),
    }
    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster", servers=3, copies=2, shards=12) as cluster:
        cluster.start_cluster()
        cluster.shared.mput(fixed)
        cluster.shared.apply(fleeting)
        with Pairs(cluster.address) as pairs:
            least = pairs.rounds
            finished(backup(cluster, tmp_path / "quiet", "--rate", "4"))
            quiet = pairs.rounds
            process = backup(cluster, tmp_path / "failure", "--rate", "0.5")
            wait_for("the first shards", lambda: len(list((tmp_path / "failure").glob("shard-*.tkv"))) >= 3)
            victim = cluster.pids()[1]
            send(victim, 9)
            finished(process)
            most = pairs.rounds
            cluster.healed(victim)
        assert pairs.problems == []
    for name, bounds in {"quiet": (least, quiet), "failure": (quiet, most)}.items():
        manifest = json.loads((tmp_path / name / "manifest.json").read_bytes())
        assert sum(file["updates"] for file in manifest["files"]) > 0
        assert len(manifest["files"]) == 12
        small.command("backup", "verify", tmp_path / name)
        client = emptied(small)
        wait_for("one of the keys has expired", lambda: time.time() * 1000 > moment + 4_000)
        small.command("restore", tmp_path / name)
        found = contents(client)
        check_pairs(found, *bounds)
        assert {key: value for key, value in found.items() if key.startswith(b"fixed")} == fixed
        assert b"soon" not in found
        [record] = [line for line in small.command("export", "--prefix", "later").splitlines() if line]
        assert record == f"later\tv\t{moment + 3_600_000}"
        refused = small.cli(small.address, "restore", tmp_path / name)
        assert refused.returncode == 2
    small.command("restore", "--merge", tmp_path / "failure")
    assert contents(client) == found


def test_an_interrupted_backup_goes_on_and_a_flipped_bit_is_found(tmp_path: Path, small: Cluster) -> None:
    pairs = {b"key%d" % n: os.urandom(100) for n in range(20_000)}
    client = emptied(small)
    client.mput(pairs)
    directory = tmp_path / "b"
    process = backup(small, directory, "--rate", "1")
    wait_for("the first shards", lambda: len(list(directory.glob("shard-*.tkv"))) >= 2)
    process.send_signal(2)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in said
    first = (directory / "shard-00000.tkv").stat()
    small.command("backup", directory)
    assert (directory / "shard-00000.tkv").stat().st_ino == first.st_ino
    small.command("backup", "verify", directory)
    emptied(small)
    small.command("restore", directory)
    assert contents(client) == pairs
    file = directory / "shard-00003.tkv"
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0x10
    file.write_bytes(data)
    verified = small.cli(small.address, "backup", "verify", directory)
    assert verified.returncode == 1
    assert "shard-00003.tkv, chunk " in verified.stderr
    emptied(small)
    refused = small.cli(small.address, "restore", directory)
    assert refused.returncode == 2
    assert contents(client) == {}


@pytest.mark.parametrize("name", ["all.tsv", "all.jsonl"])
def test_export_and_import(tmp_path: Path, small: Cluster, name: str) -> None:
    moment = int(time.time() * 1000) + 3_600_000
    pairs = {os.urandom(20): os.urandom(n % 200) for n in range(3000)}
    client = emptied(small)
    client.mput(pairs)
    client.apply({b"fleeting\t%d" % n: (b"\n\0\xff", moment + n) for n in range(20)})
    file = tmp_path / name
    small.command("export", file)
    before = contents(client)
    assert len(before) == 3020
    emptied(small)
    small.command("import", file)
    assert contents(client) == before
    again = tmp_path / f"again-{name}"
    small.command("export", "-o", again)
    assert sorted(again.read_bytes().splitlines()) == sorted(file.read_bytes().splitlines())
