"""backup, backup verify, restore: what the commands say, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.backup.sources import Source
from tests.cli.fakes import FakeClient, on_a_terminal, one_sentence, run
from twistedkv.cli import backup as module
from twistedkv.clustermap import ClusterMap
from twistedkv.errors import Lapsed, ShardLost, Unavailable
from twistedkv.slots import slot_of


class Client(FakeClient):
    """A fake whose backup requests a server core answers."""

    def __init__(self) -> None:
        super().__init__()
        self.source = Source()
        for n in range(50):
            self.source.put(b"key%d" % n, b"value")
        self.failure: Exception | None = None

    def refresh(self, *, deadline: float | None = None) -> ClusterMap:
        super().refresh()
        self._map = self.source.cluster_map
        return self._map

    def _fails(self) -> None:
        if self.failure is not None:
            raise self.failure

    def backup_begin(self, slot: int, *, deadline: float | None = None) -> Any:
        self._fails()
        return self.source.backup_begin(slot)

    def backup_records(
        self, slot: int, after: bytes = b"", pin: int = 0, prefix: bytes = b"", *, deadline: float | None = None
    ) -> Any:
        return self.source.backup_records(slot, after, pin)

    def backup_log(self, slot: int, pin: int, after: int, *, deadline: float | None = None) -> Any:
        return self.source.backup_log(slot, pin, after)

    def backup_end(self, slot: int, pin: int, *, deadline: float | None = None) -> None:
        self.source.backup_end(slot, pin)


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def taken(client: Client, tmp_path: Path) -> Path:
    directory = tmp_path / "b"
    assert run(client, "backup", str(directory)).exit_code == 0
    return directory


def test_there_and_back(client: Client, taken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch)
    verified = run(client, "backup", "verify", str(taken))
    assert verified.exit_code == 0
    assert "50 records" in verified.stderr
    target = FakeClient()
    result = run(target, "restore", str(taken))
    assert result.exit_code == 0
    assert "restored 50 records of 3 shards in " in result.stderr
    assert {key: held.value for key, held in target.data.items()} == {b"key%d" % n: b"value" for n in range(50)}


def test_for_programs(client: Client, taken: Path) -> None:
    document = json.loads(run(client, "backup", "verify", str(taken), "--json").stdout)
    assert document["records"] == 50
    assert document["shards"] == 3
    manifest = json.loads((taken / "manifest.json").read_bytes())
    assert [document[name] for name in ("cluster", "begun", "ended")] == [
        manifest[name] for name in ("cluster", "begun", "ended")
    ]
    restored = json.loads(run(FakeClient(), "restore", str(taken), "--json").stdout)
    assert restored.pop("seconds") >= 0
    assert restored == {"shards": 3, "stored": 50, "expired": 0}


def test_verify_needs_no_cluster_and_names_what_is_wrong(client: Client, taken: Path) -> None:
    client.reachable = False
    opened = len(client.opened)
    assert run(client, "backup", "verify", str(taken)).exit_code == 0
    file = taken / "shard-00001.tkv"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    result = run(client, "backup", "verify", str(taken))
    assert len(client.opened) == opened
    assert result.exit_code == 1
    damaged, error = result.stderr.splitlines()
    assert damaged.startswith("damaged: shard-00001.tkv, chunk 2 at byte ")
    assert "1 of 3 files" in error
    assert run(client, "backup", "verify", str(taken.parent)).exit_code == 1


def test_nothing_is_restored_of_what_is_damaged(client: Client, taken: Path) -> None:
    file = taken / "shard-00002.tkv"
    file.write_bytes(file.read_bytes()[:-1])
    target = FakeClient()
    result = run(target, "restore", str(taken))
    assert result.exit_code == 2
    assert "shard-00002.tkv" in one_sentence(result)
    assert target.data == {}


def test_a_cluster_that_has_keys(taken: Path) -> None:
    target = FakeClient()
    target.put(b"key1", b"other")
    target.put(b"mine", b"v")
    result = run(target, "restore", str(taken))
    assert result.exit_code == 2
    assert "--merge" in one_sentence(result)
    assert run(target, "restore", str(taken), "--merge").exit_code == 0
    assert target.data[b"key1"].value == b"value"
    assert target.data[b"mine"].value == b"v"
    assert len(target.data) == 51


def test_one_shard(taken: Path) -> None:
    target = FakeClient()
    target.put(b"mine", b"v")
    assert run(target, "restore", str(taken), "--shard", "7").exit_code == 2
    assert run(target, "restore", str(taken), "--shard", "1").exit_code == 0
    assert {slot_of(key) >= 8192 for key in target.data if key != b"mine"} == {True}
    assert len(target.data) > 10
    refused = run(target, "restore", str(taken), "--shard", "0")
    assert one_sentence(refused).startswith("shard 0 has keys already")


def test_a_restore_that_fails_says_how_to_go_on(taken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    manifest = json.loads((taken / "manifest.json").read_bytes())
    target = FakeClient()
    target.failures = {b"key%d" % n: Unavailable("no server served it") for n in range(25)}
    result = run(target, "restore", str(taken))
    assert result.exit_code == 3
    assert "not finished: 0 of 3 files are restored; --from 0 goes on" in result.stderr
    target = FakeClient()
    assert run(target, "restore", str(taken), "--from", "2").exit_code == 0
    assert len(target.data) == manifest["files"][2]["records"]
    assert run(target, "restore", str(taken), "--from", "4").exit_code == 2


def test_a_backup_that_fails_goes_on(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    client.failure = ShardLost("no copy is left")
    result = run(client, "backup", str(tmp_path / "b"))
    assert result.exit_code == 3
    assert "not finished: the same command goes on" in result.stderr
    client.failure = Lapsed("begin it again")
    assert run(client, "backup", str(tmp_path / "b")).exit_code == 3
    client.failure = None
    assert run(client, "backup", str(tmp_path / "b"), "--rate", "0").exit_code == 0
    result = run(client, "backup", str(tmp_path / "b"))
    assert result.exit_code == 2
    assert "a complete one" in one_sentence(result)


def test_a_shard_that_was_begun_again_is_named(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    dropped = []

    def drop(request: object) -> None:
        pins = client.source.desk.core.replicas[0].pins
        if pins and not dropped:
            dropped.append(True)
            pins.clear()

    client.source.before = drop
    result = run(client, "backup", str(tmp_path / "b"))
    assert result.exit_code == 0
    assert result.stderr.startswith("begun again: shard 0: ")


def test_wrong_usage(client: Client, tmp_path: Path) -> None:
    for arguments in (["a", "b"], ["verify", "a", "b"], ["--rate", "0.01", str(tmp_path / "b")], []):
        assert run(client, "backup", *arguments).exit_code == 2
    file = tmp_path / "file"
    file.touch()
    assert run(client, "backup", str(file / "b")).exit_code == 3
    assert run(client, "restore", str(tmp_path / "none")).exit_code == 2
