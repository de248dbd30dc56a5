"""`make faults`: what is chosen, what is skipped and why, the table, the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults import __main__ as program
from tests.faults.scene import Figures
from tests.faults.stage import Scenario, Stage


class _Acted:
    """In place of a cluster."""

    figures = Figures(operations=1_200, unknown=3, faults=2, stall_seconds=0.25, recoveries=[0.5, 1.25])


def stands(stage: Stage) -> None:
    """Something that holds."""
    stage.scenes.append(_Acted())  # type: ignore[arg-type]
    (stage.directory / "kept").mkdir()
    (stage.directory / "kept" / f"seed-{stage.seed}").touch()


def falls(stage: Stage) -> None:
    """Something that does not."""
    stands(stage)
    stage.report.holds(False, "it stands")


def breaks(stage: Stage) -> None:
    """Something that does not come to its end."""
    stands(stage)
    raise RuntimeError("what nobody thought of")


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(program, "SCENARIOS", (Scenario(stands), Scenario(falls), Scenario(breaks)))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)


def test_what_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["stands", "--times", "2", "--seed", "7"]) == 0
    said = capsys.readouterr().out
    assert "== stands, seed 7: Something that holds." in said
    assert "== stands, seed 8: " in said
    assert said.count("stands    ok           2       1,200        3  250 ms       1.25 s        0") == 2
    assert "2 runs: 2 ok, 0 failed, 0 skipped; 2,400 operations, 4 faults, 0 s" in said


@pytest.mark.parametrize(("name", "why"), [("falls", "FAIL it stands"), ("breaks", "what nobody thought of")])
def test_what_does_not_hold_leaves_its_history(
    name: str, why: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert program.main(["stands", name, "--seed", "7"]) == 1
    said = capsys.readouterr().out
    assert why in said
    assert f"again: python -m tests.faults --seed 7 {name}\n" in said
    assert [path.name for path in tmp_path.glob(f"*/{name}-7/*")] == ["seed-7"]
    assert not list(tmp_path.glob("*/stands-7"))


def test_histories_are_kept_if_that_is_asked_for(tmp_path: Path) -> None:
    assert program.main(["stands", "--seed", "7", "--keep-history", str(tmp_path / "kept")]) == 0
    assert (tmp_path / "kept" / "stands-7" / "seed-7").exists()


def test_a_missing_tool_is_a_reason_to_skip_but_not_for_the_build(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "SCENARIOS", (Scenario(stands), Scenario(falls, needs=("network",))))
    monkeypatch.setitem(program.MISSING, "network", lambda: "a tool is missing: apt-get install -y nftables")
    assert program.main([]) == 0
    said = capsys.readouterr().out
    assert "== falls: skipped: a tool is missing: apt-get install -y nftables" in said
    assert "1 ok, 0 failed, 1 skipped" in said
    monkeypatch.setenv("CI", "true")
    assert program.main([]) == 1
    assert "== falls: FAIL: a tool is missing" in capsys.readouterr().out


def test_nothing_is_looked_for_that_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> Any:
        raise AssertionError("this process must stay where it is")

    for need in program.MISSING:
        monkeypatch.setitem(program.MISSING, need, leave)
    assert program.main(["stands"]) == 0


def test_a_short_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Something that is told how."""
    told: list[tuple[int, bool]] = []

    def takes(stage: Stage, times: int = 10) -> None:
        told.append((times, stage.recovery_seconds_max == program.PATIENCE_SECONDS))

    monkeypatch.setattr(program, "SCENARIOS", (Scenario(takes, short={"times": 1}),))
    assert program.main([]) == program.main(["--short"]) == 0
    assert told == [(10, False), (1, True)]


def test_a_wrong_name_and_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as wrong:
        program.main(["flies"])
    assert wrong.value.code == 2
    assert "there is no scenario flies: choose from stands, falls, breaks" in capsys.readouterr().err
    assert program.main(["--list"]) == 0
    assert "falls " in capsys.readouterr().out
