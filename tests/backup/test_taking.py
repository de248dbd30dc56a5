"""Taking a backup, verifying it, restoring it: files on disk, a server core at the one end, a dict at the other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.backup.sources import Source
from tests.support.servers import WALL
from twistedkv.backup import restoring as restoring_module
from twistedkv.backup.manifest import Manifest
from twistedkv.backup.manifest import read as read_manifest
from twistedkv.backup.reading import check, open_backup
from twistedkv.backup.restoring import Restoring
from twistedkv.backup.taking import ATTEMPTS_MAX, Pace, Taking
from twistedkv.client.results import PartialFailure
from twistedkv.core import backup as core_backup
from twistedkv.errors import (
    ConfigurationError,
    Damaged,
    InvalidRequest,
    Lapsed,
    NotDone,
    OutcomeUnknown,
    ShardLost,
    Unavailable,
)
from twistedkv.limits import SLOTS
from twistedkv.messages.client import BackupBegin, BackupLog, BackupRecords
from twistedkv.slots import slot_of


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 50.0
        self.slept: list[float] = []

    def seconds(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Bar:
    """Notes how far it is."""

    def __init__(self) -> None:
        self.done = 0.0
        self.records = 0

    def advance(self, amount: float, count: int) -> None:
        self.done += amount
        self.records = count


class Target:
    """A cluster that keeps what it is given."""

    def __init__(self) -> None:
        self.state: dict[bytes, tuple[bytes, int]] = {}
        self.windows: list[int] = []
        self.failures: list[Exception] = []
        """For one key of each of the next windows."""

    def apply(self, changes: Mapping[bytes, tuple[bytes | None, int]]) -> None:
        self.windows.append(len(changes))
        failed = {}
        for key, (value, expiry) in changes.items():
            if self.failures and not failed:
                failed[key] = self.failures.pop(0)
            elif value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value, expiry
        if failed:
            raise PartialFailure("some", {}, failed)


def taking(
    source: Source, directory: Path, clock: Clock | None = None, rate: float = 0, bar: Bar | None = None
) -> Taking:
    clock = clock or Clock()
    pace = Pace(rate, clock.seconds, clock.sleep)
    names = iter(range(100))
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return Taking(source, directory, pace, bar or Bar(), lambda: f"run{next(names)}", lambda: now)


def restored(directory: Path, target: Target | None = None, wall: int = WALL, first: int = 0) -> Target:
    target = target or Target()
    clock = Clock()
    restoring = Restoring(target, directory, lambda: wall, clock.sleep)
    restoring.run(open_backup(directory), first, lambda size, records: None)
    return target


@pytest.fixture
def source() -> Source:
    made = Source()
    for n in range(200):
        made.put(b"key%d" % n, b"value%d" % n)
    return made


def checked(directory: Path) -> Manifest:
    sizes = []
    found = check(directory, lambda size, records: sizes.append(size))
    assert sum(sizes) <= found.bytes
    return found.manifest


def test_a_quiet_cluster(source: Source, tmp_path: Path) -> None:
    source.put(b"fleeting", b"v", WALL + 1000)
    bar = Bar()
    manifest = taking(source, tmp_path / "b", bar=bar).run(fresh=False)
    assert checked(tmp_path / "b") == manifest
    assert (bar.done, bar.records) == (pytest.approx(3.0), 201)
    assert sum(file.records for file in manifest.files) == 201
    assert [file.sequence for file in manifest.files] == [
        source.desk.core.replicas[shard].sequence for shard in range(3)
    ]
    assert manifest.files[0].taken == "2026-01-02T00:00:00.000+00:00"
    assert manifest.cluster == "test"
    assert restored(tmp_path / "b").state == source.state()
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "manifest.json",
        *(f"shard-0000{shard}.tkv" for shard in range(3)),
    ]
    assert not any(replica.pins for replica in source.desk.core.replicas.values())


def test_what_is_written_meanwhile(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shard is as it was at the version that the manifest names."""
    monkeypatch.setattr(core_backup, "BACKUP_PAGE_BYTES", 300)
    states: dict[tuple[int, int], dict[bytes, Any]] = {}
    turn = 0

    def note() -> None:
        for shard, replica in source.desk.core.replicas.items():
            slots = replica.configuration.slots  # type: ignore[union-attr]
            states[shard, replica.sequence] = {
                key: value for key, value in source.state().items() if slot_of(key) in slots
            }

    def write(request: Any) -> None:
        nonlocal turn
        turn += 1
        if turn % 2 == 0:
            for n in range(turn, turn + 3):
                source.put(b"key%d" % (n * 37 % 250), b"new%d" % turn, WALL + 5000 if n % 5 == 0 else 0)
                note()
                source.delete(b"key%d" % (n * 91 % 250))
                note()

    note()
    source.before = write
    manifest = taking(source, tmp_path).run(fresh=False)
    assert checked(tmp_path) == manifest
    assert sum(file.updates for file in manifest.files) > 10
    expected: dict[bytes, Any] = {}
    for file in manifest.files:
        expected.update(states[file.shard, file.sequence])
    assert restored(tmp_path).state == expected
    monkeypatch.setattr(restoring_module, "WINDOW_KEYS", 5)
    target = restored(tmp_path)
    assert target.state == expected
    assert max(target.windows) == 5


def test_a_shard_that_lapses_is_begun_again(source: Source, tmp_path: Path) -> None:
    def lapse(request: Any) -> None:
        if isinstance(request, BackupLog) and len(source.asked) in (2, 8):
            source.desk.core.replicas[0].pins.clear()

    source.before = lapse
    clock, bar = Clock(), Bar()
    run = taking(source, tmp_path, clock, bar=bar)
    run.run(fresh=False)
    assert [text.split(":")[0] for text in run.begun_again] == ["shard 0"]
    assert clock.slept
    assert (bar.done, run.records) == (pytest.approx(3.0), 200)
    checked(tmp_path)
    assert restored(tmp_path).state == source.state()


def test_a_shard_that_lapses_again_and_again(source: Source, tmp_path: Path) -> None:
    def lapse(request: Any) -> None:
        source.desk.core.replicas[1].pins.clear()

    source.before = lapse
    with pytest.raises(Lapsed):
        taking(source, tmp_path).run(fresh=False)
    begun = sum(isinstance(request, BackupBegin) for request in source.asked)
    assert begun == 1 + ATTEMPTS_MAX
    assert read_manifest(tmp_path / "unfinished.json") is not None
    assert not list(tmp_path.glob("*.part"))


def test_a_shard_that_has_other_slots_meanwhile(source: Source, tmp_path: Path) -> None:
    page = source.backup_records
    source.backup_records = lambda *args: attrs.evolve(page(*args), next_slot=SLOTS, next_after=b"")  # type: ignore[method-assign]
    with pytest.raises(Lapsed, match="other slots"):
        taking(source, tmp_path).run(fresh=False)


def test_what_will_not_change_ends_it_at_once(source: Source, tmp_path: Path) -> None:
    def refuse(request: Any) -> None:
        raise NotDone("UNSUPPORTED")

    source.before = refuse
    clock = Clock()
    with pytest.raises(NotDone):
        taking(source, tmp_path, clock).run(fresh=False)
    assert not clock.slept


def test_a_lost_shard_ends_it_at_once(source: Source, tmp_path: Path) -> None:
    def lose(request: Any) -> None:
        raise ShardLost("no copy")

    source.before = lose
    with pytest.raises(ShardLost):
        taking(source, tmp_path).run(fresh=False)


def test_an_interrupted_backup_goes_on(source: Source, tmp_path: Path) -> None:
    def interrupt(request: Any) -> None:
        if isinstance(request, BackupRecords) and request.slot >= 2 * SLOTS // 3:
            raise KeyboardInterrupt

    source.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        taking(source, tmp_path).run(fresh=False)
    with pytest.raises(Damaged, match="not complete"):
        open_backup(tmp_path)
    before = read_manifest(tmp_path / "unfinished.json")
    assert before is not None
    assert [file.shard for file in before.files] == [0, 1]
    source.before = lambda request: None
    source.asked.clear()
    run = taking(source, tmp_path)
    manifest = run.run(fresh=False)
    assert run.skipped == 2
    assert manifest.run == before.run
    assert sum(isinstance(request, BackupBegin) for request in source.asked) == 1
    assert checked(tmp_path) == manifest
    assert restored(tmp_path).state == source.state()


def test_what_is_cut_short_is_taken_again_and_fresh_begins_anew(source: Source, tmp_path: Path) -> None:
    def interrupt(request: Any) -> None:
        if isinstance(request, BackupBegin) and request.slot >= 2 * SLOTS // 3:
            raise KeyboardInterrupt

    source.before = interrupt
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            taking(source, tmp_path).run(fresh=False)
        (tmp_path / "shard-00000.tkv").write_bytes(b"")
        source.asked.clear()
    source.before = lambda request: None
    run = taking(source, tmp_path)
    run.run(fresh=True)
    assert run.skipped == 0
    assert checked(tmp_path).run == "run0"


def test_directories_that_are_something_else(source: Source, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    with pytest.raises(ConfigurationError, match="is not empty"):
        taking(source, tmp_path / "a").run(fresh=False)
    taking(source, tmp_path / "b").run(fresh=False)
    for fresh in (False, True):
        with pytest.raises(ConfigurationError, match="a complete one"):
            taking(source, tmp_path / "b").run(fresh=fresh)
    (tmp_path / "b" / "manifest.json").rename(tmp_path / "b" / "unfinished.json")
    with pytest.raises(ConfigurationError, match="3 shards, this is 'test' with 2"):
        taking(Source(2), tmp_path / "b").run(fresh=False)


def test_the_rate_is_kept_and_the_log_is_looked_at_meanwhile(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_backup, "BACKUP_PAGE_BYTES", 1000)
    clock = Clock()
    manifest = taking(source, tmp_path, clock, rate=500.0).run(fresh=False)
    size = sum(file.bytes for file in manifest.files)
    assert 0.5 * size / 500 < clock.now - 50.0 < 1.2 * size / 500
    assert max(clock.slept) <= 0.5
    pages = sum(isinstance(request, BackupRecords) for request in source.asked)
    assert sum(isinstance(request, BackupLog) for request in source.asked) > 2 * pages
    assert not [seconds for seconds in clock.slept if seconds <= 0]


# Verifying.


def test_a_flipped_bit_in_any_file_is_found_and_named(source: Source, tmp_path: Path) -> None:
    manifest = taking(source, tmp_path).run(fresh=False)
    for name in [file.file for file in manifest.files]:
        path = tmp_path / name
        data = path.read_bytes()
        for place in (0, 20, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
            with pytest.raises(Damaged, match=name):
                checked(tmp_path)
        path.write_bytes(data[:-1])
        with pytest.raises(Damaged, match=f"{name}, chunk .*cut short"):
            checked(tmp_path)
        path.write_bytes(data)
    checked(tmp_path)
    data = (tmp_path / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_bytes(data.replace(b'"records": ', b'"records": 1', 1))
    with pytest.raises(Damaged, match="its checksum"):
        checked(tmp_path)


def test_all_that_is_damaged_is_named(source: Source, tmp_path: Path) -> None:
    taking(source, tmp_path).run(fresh=False)
    (tmp_path / "shard-00000.tkv").unlink()
    (tmp_path / "shard-00002.tkv").write_bytes((tmp_path / "shard-00001.tkv").read_bytes())
    said: list[str] = []
    with pytest.raises(Damaged, match="2 of 3 files"):
        check(tmp_path, lambda size, records: None, said.append)
    assert said == [
        "shard-00000.tkv: it is missing",
        "shard-00002.tkv: it is of another backup or shard than the manifest says",
    ]


def test_a_file_that_is_whole_and_not_the_one_of_the_manifest(source: Source, tmp_path: Path) -> None:
    """As after a file system has brought back an older one."""
    first = taking(source, tmp_path / "a").run(fresh=False)
    source.put(b"key1", b"other")
    taking(source, tmp_path / "b").run(fresh=False)
    assert first.run == open_backup(tmp_path / "b").run
    for file in first.files:
        (tmp_path / "a" / file.file).write_bytes((tmp_path / "b" / file.file).read_bytes())
    with pytest.raises(Damaged, match="another version or number"):
        checked(tmp_path / "a")


def test_keys_of_other_slots(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taking(source, tmp_path).run(fresh=False)
    monkeypatch.setattr("twistedkv.backup.reading.slots_of", lambda keys: [SLOTS - 1] * len(keys))
    with pytest.raises(Damaged, match=r"shard-00000.tkv: it has keys that are not of its slots"):
        checked(tmp_path)


def test_there_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="there is no backup here"):
        open_backup(tmp_path)


# Restoring.


def test_what_has_expired_is_not_restored(source: Source, tmp_path: Path) -> None:
    source.put(b"soon", b"v", WALL + 1000)
    source.put(b"later", b"v", WALL + 100_000)
    taking(source, tmp_path).run(fresh=False)
    target = Target()
    target.state[b"soon"] = b"older", 0
    state = restored(tmp_path, target, wall=WALL + 1000).state
    assert b"soon" not in state
    assert state[b"later"] == (b"v", WALL + 100_000)


def test_what_has_failed_is_stored_again(source: Source, tmp_path: Path) -> None:
    taking(source, tmp_path).run(fresh=False)
    target = Target()
    target.failures = [OutcomeUnknown("perhaps"), Unavailable("no"), OutcomeUnknown("perhaps")]
    assert restored(tmp_path, target).state == source.state()
    target = Target()
    target.failures = [InvalidRequest("never")]
    with pytest.raises(InvalidRequest):
        restored(tmp_path, target)
    target.failures = [Unavailable("no")] * 5
    with pytest.raises(PartialFailure):
        restored(tmp_path, target)


def test_restored_again_it_is_the_same_and_one_may_go_on_in_the_middle(source: Source, tmp_path: Path) -> None:
    taking(source, tmp_path).run(fresh=False)
    target = restored(tmp_path)
    assert restored(tmp_path, target).state == source.state()
    part = restored(tmp_path, first=2)
    assert 0 < len(part.state) < len(target.state)


def test_only_some_slots(source: Source, tmp_path: Path) -> None:
    taking(source, tmp_path).run(fresh=False)
    slots = range(SLOTS // 4, SLOTS // 2)
    target = Target()
    run = Restoring(target, tmp_path, lambda: WALL, Clock().sleep, slots)
    run.run(open_backup(tmp_path), 0, lambda size, records: None)
    assert target.state == {key: value for key, value in source.state().items() if slot_of(key) in slots}
    assert run.finished == 3


def test_a_damaged_file_ends_it(source: Source, tmp_path: Path) -> None:
    manifest = taking(source, tmp_path).run(fresh=False)
    path = tmp_path / manifest.files[1].file
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Damaged):
        restored(tmp_path)


def test_a_manifest_that_is_not_complete_is_no_backup(source: Source, tmp_path: Path) -> None:
    from twistedkv.backup import manifest as module

    manifest = taking(source, tmp_path).run(fresh=False)
    module.write(tmp_path / "manifest.json", attrs.evolve(manifest, ended=""))
    with pytest.raises(Damaged):
        open_backup(tmp_path)
