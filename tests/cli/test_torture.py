"""`twistedkv torture`: its options. Whole runs are in tests/live/test_torture.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from twistedkv.cli import main
from twistedkv.cli.torture import PLOT_NAME, REPORT_NAME, TEXT_NAME, torture_command
from twistedkv.errors import Unavailable
from twistedkv.history.record import Record
from twistedkv.torture.plan import KINDS, Settings, draw_faults
from twistedkv.torture.process import Interrupted
from twistedkv.torture.run import Run

WRONG_READ = Record(2, 2, "k", "read", [], 3, 4, "ok", None)
HISTORY = [Record(1, 1, "k", "write", ["a"], 1, 2, "ok", "a", (1, 1))]


def torture(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["torture", *arguments])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of the runs that were asked for, and not made: each seems to have come to its end."""
    made: list[Settings] = []

    def run_here(settings: Settings, directory: Path, prepare: Any) -> Any:
        from twisted.internet.task import Clock

        made.append(settings)
        run = Run(Clock(), settings, directory)
        prepare(run)
        run.ran_seconds = settings.seconds
        run.healed_after = 0.5
        run.records = [*HISTORY, WRONG_READ] if settings.seed == 666 else HISTORY
        return run

    monkeypatch.setattr("twistedkv.torture.process.run_here", run_here)
    return made


def test_the_help_names_every_kind_of_fault() -> None:
    text = torture("--help").output
    for kind in KINDS:
        assert f"  {kind}  " in text


def test_a_plan_is_printed_and_nothing_done(here: Path) -> None:
    done = torture("--plan", "--seed", "7", "--seconds", "30")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        f"{fault.at:8.3f} s  {fault}" for fault in draw_faults(Settings(7, seconds=30.0))
    ]
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--faults", "kill,flood"], "flood is none of kill, kill-two"),
        (["--faults", ","], "nothing is none of"),
        (["--faults", "kill-two"], "needs 3 copies"),
        (["--copies", "4"], "4 copies need as many servers"),
        (["--seconds", "0"], "--seconds"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], sentence: str, runs: list[Settings]) -> None:
    done = torture(*arguments)
    assert done.exit_code == 2
    assert sentence in done.output
    assert runs == []


def test_a_report_does_not_overwrite_another(here: Path, runs: list[Settings]) -> None:
    (here / "full").mkdir()
    (here / "full" / "file").touch()
    done = torture("--report", "full")
    assert (done.exit_code, runs) == (2, [])
    assert "full is not empty" in done.output
    assert torture("--report", "new/one").exit_code == 0
    for _ in range(2):
        assert torture("--seed", "5").exit_code == 0
    assert sorted(path.name for path in here.iterdir()) == ["full", "new", "torture-5", "torture-5-2"]


def test_the_options_arrive_and_the_report_is_written(here: Path, runs: list[Settings]) -> None:
    shape = ("--servers", "5", "--copies", "3", "--shards", "7", "--clients", "2")
    done = torture("--seed", "9", "--seconds", "5", "--pause", "1", *shape, "--json")
    assert done.exit_code == 0
    assert runs == [Settings(9, 5.0, 5, 3, 7, 2, 1.0)]
    document = json.loads(done.stdout)
    assert (document["seed"], document["good"], document["report"]) == (9, True, "torture-9")
    assert json.loads((here / "torture-9" / REPORT_NAME).read_text())["operations"] == 1
    assert "Nothing acknowledged was lost" in (here / "torture-9" / TEXT_NAME).read_text()
    assert (here / "torture-9" / PLOT_NAME).read_text().startswith("<?xml")


def test_a_seed_that_was_drawn_is_named(runs: list[Settings]) -> None:
    done = torture("--faults", "kill, freeze,kill")
    assert f"seed {runs[0].seed} (again: --seed {runs[0].seed})" in done.output
    assert runs[0].kinds == ("kill", "freeze")


def test_a_wrong_history_is_exit_code_1_and_explained(here: Path, runs: list[Settings]) -> None:
    done = torture("--seed", "666")
    assert done.exit_code == 1
    assert "key k" in done.output
    assert "WRONG" in (here / "torture-666" / PLOT_NAME).read_text()
    assert "violation-1.svg" in done.output
    assert (here / "torture-666" / "violation-1.svg").read_text().startswith("<?xml")


def test_a_cluster_that_does_not_start_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_here(*_: object) -> None:
        raise Unavailable("the cluster did not get ready")

    monkeypatch.setattr("twistedkv.torture.process.run_here", run_here)
    done = torture("--seed", "1")
    assert done.exit_code == 3
    assert "did not get ready" in done.output


def test_ended_at_once_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_here(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr("twistedkv.torture.process.run_here", run_here)
    done = torture("--seed", "1")
    assert done.exit_code == 130
    assert "torture-1" in done.output


def test_it_is_one_of_the_commands() -> None:
    assert main.get_command(None, "torture") is torture_command  # type: ignore[arg-type]
