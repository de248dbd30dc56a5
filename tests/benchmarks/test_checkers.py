"""The history that is measured is right, and has everything in it; the command prints what it measured."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import checkers
from benchmarks.checkers import linearizable_history, main
from twistedkv.history.record import line_of, read_history
from twistedkv.history.verdict import check

QUICK = ["--operations", "2000", "--keys", "20", "--processes", "8", "--unknown", "0.02", "--runs", "1"]


@pytest.mark.parametrize("unknown", [0.0, 0.05])
def test_the_history_is_right_and_has_operations_of_each_kind(unknown: float) -> None:
    records = linearizable_history(2000, 20, 8, unknown)
    verdict = check(records)
    assert verdict.linearizable, verdict.as_text()
    assert len(records) == verdict.operations == 2000
    assert {record.f for record in records} == {"read", "write", "cas", "delete", "incr"}
    assert any(record.result == "info" for record in records) == (unknown > 0)
    assert any(record.f == "read" and record.version is None for record in records)
    assert [line_of(record) for record in read_history(map(line_of, records))] == [line_of(r) for r in records]


def test_the_same_seed_makes_the_same_history() -> None:
    assert [str(record) for record in linearizable_history(100, 3, 4, 0.1)] == [
        str(record) for record in linearizable_history(100, 3, 4, 0.1)
    ]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["checker"] for row in printed["results"]] == ["by versions", "by search"]
    assert all(row["per_second"] > 0 and row["violations"] == row["undecided"] == 0 for row in printed["results"])
    assert printed["unknown"] > 0


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--checkers", "by versions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "2,000 operations" in lines[1]
    assert [line.split()[:2] for line in lines[3:]] == [["by", "versions"]]


def test_a_violation_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> Any:
        records = linearizable_history(*arguments)
        next(record for record in records if record.f == "read" and record.value).value = "another"
        return records

    monkeypatch.setattr(checkers, "linearizable_history", wrong)
    assert main(QUICK) == 1
