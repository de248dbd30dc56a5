"""`twistedkv simulate`, and `twistedkv check` on what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from twistedkv.cli import main


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
