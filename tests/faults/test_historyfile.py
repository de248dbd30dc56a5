"""The history that is written while it is made: nothing of it is lost, whoever's end comes when."""

from __future__ import annotations

from pathlib import Path

from tests.faults.historyfile import FileHistory, Log, append, append_fault, finished, merged, read
from twistedkv.history.record import FOREVER, Header, Record, header_line, read_header, read_history
from twistedkv.history.verdict import check


def written(path: Path, close: bool) -> FileHistory:
    """A write that has ended, one that has not, and a read that has not."""
    append(path, header_line(Header("1f2e", 7, {"servers": 3})))
    ticks = iter(range(100, 1_000, 100))
    history = FileHistory(path, now=lambda: next(ticks))
    done = history.begin(1, "r", "write", ["1-1"])
    append_fault(path, "server 1 is killed")
    history.begin(2, "r", "write", ["2-1"])
    history.begin(3, "r", "read", [])
    done.version = (1, 1)
    history.end(done, "ok")
    if close:
        history.close()
    return history


def expect(log: Log) -> None:
    """What `written` has written."""
    assert (log.header.commit, log.header.seed, log.header.configuration) == ("1f2e", 7, {"servers": 3})
    assert [fault.text for fault in log.header.faults] == ["server 1 is killed"]
    done, lost = log.records
    assert (done.args, done.result, done.call, done.returned, done.version) == (["1-1"], "ok", 100, 400, (1, 1))
    assert (lost.args, lost.result, lost.call, lost.returned) == (["2-1"], "info", 200, FOREVER)


def test_what_had_not_ended_when_the_load_ended_is_of_unknown_outcome(tmp_path: Path) -> None:
    written(tmp_path / "history", close=True)
    expect(read(tmp_path / "history"))


def test_what_had_begun_when_the_load_was_killed_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "history"
    written(path, close=False)
    expect(read(path))
    append(path, '{"process":4,"op":4,')
    path.write_bytes(path.read_bytes()[:-1])  # killed in the middle of a line
    expect(read(path))


def test_ends_are_told_to_who_wants_to_count_them(tmp_path: Path) -> None:
    ended: list[Record] = []
    history = FileHistory(tmp_path / "history", ended.append)
    history.end(history.begin(1, "r", "write", ["1-1"]), "fail")
    history.begin(2, "r", "delete", [])
    history.close()
    assert [record.result for record in ended] == ["fail", "info"]


def test_loads_on_one_cluster_make_one_history_without_common_names(tmp_path: Path) -> None:
    logs = []
    for name in ("one", "two"):
        written(tmp_path / name, close=True)
        logs.append(read(tmp_path / name))
    log = merged(logs)
    assert [record.process for record in log.records] == [1, "2/1", 2, "2/2"]
    assert log.header == logs[0].header


def test_what_is_kept_is_a_history_as_any_other(tmp_path: Path) -> None:
    written(tmp_path / "history", close=True)
    log = read(tmp_path / "history")
    lines = finished(log)
    header = read_header(lines[0])
    assert header == log.header
    records = read_history(lines)
    assert [str(record) for record in records] == [str(record) for record in log.records]
    assert check(records).linearizable
