"""`twistedkv simulate` and `twistedkv check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from twistedkv.cli import main
from twistedkv.cli.simulate import check_command


def test_a_history_is_simulated_and_checked(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("twistedkv.simulation.batch.be_quiet", lambda: None)
    path = tmp_path / "history.jsonl"
    simulated = CliRunner().invoke(
        main, ["simulate", "--seed", "4", "--seconds", "0.5", "--story", "--history", str(path)]
    )
    assert simulated.exit_code == 0, simulated.output
    assert "the faults end" in simulated.output
    checked = CliRunner().invoke(main, ["check", str(path)])
    assert checked.exit_code == 0
    assert "by search: no violation" in checked.output


def test_a_wrong_history_is_refused_with_the_operations_that_show_it(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(
        '{"process":1,"op":1,"key":"k","f":"write","args":["a"],"call_ns":1,"return_ns":2,"result":"ok","version":[1,1]}\n'
        '{"process":1,"op":2,"key":"k","f":"read","call_ns":3,"return_ns":4,"result":"ok","value":null}\n'
    )
    checked = CliRunner().invoke(check_command, [str(path)])
    assert checked.exit_code == 1
    assert "a key was not found although it was there all the time" in checked.output
