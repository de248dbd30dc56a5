"""`twistedkv torture` for real: to its verdict, interrupted, and killed. Nothing of it is left, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.live.cluster import BIN, Daemons, alive, wait_for
from twistedkv.history.record import read_history
from twistedkv.history.verdict import check

COVERS = ["twistedkv.torture.cluster", "twistedkv.torture.warden"]

FAULTS = "kill,freeze,kill-coordinator"


class Torture(Daemons):
    """One run of the command, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.outlived = True
        self.report = directory / "report"

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it."""
        command = [str(BIN / "twistedkv"), "torture", "--report", str(self.report), *arguments]
        with (self.directory / "output").open("wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment()
            )
        return self.process

    def said(self) -> str:
        """All that it has written."""
        return (self.directory / "output").read_text()

    def under_way(self) -> None:
        """Wait until operations were recorded."""
        history = self.report / "history.jsonl"
        wait_for("operations", lambda: history.exists() and len(history.read_text().splitlines()) > 100)

    @property
    def warden(self) -> int:
        """Its pid."""
        [warden] = [pid for pid, command in self.left().items() if "torture.warden" in command]
        return warden

    def daemons(self, name: str) -> list[int]:
        """Pids of `coordinator` or `server`."""
        left = self.left().items()
        return [pid for pid, command in left if f"twistedkv {name} " in command and "torture.warden" not in command]

    def __exit__(self, *error: Any) -> None:
        self.process.kill()
        self.process.wait()
        super().__exit__(*error)


def test_a_short_run_comes_to_a_good_end(tmp_path: Path) -> None:
    with Torture(tmp_path) as torture:
        process = torture.begin("--seconds", "5", "--seed", "3", "--pause", "0.5", "--faults", FAULTS, "--clients", "2")
        assert process.wait(120) == 0, torture.said()
        assert torture.left() == {}
        assert "Nothing acknowledged was lost, no read was stale" in torture.said()
        report = json.loads((torture.report / "report.json").read_text())
        assert report["good"] is True
        assert report["faults"] >= 1
        assert report["problems"] == []
        done = [incident for incident in report["incidents"] if not incident["skipped"]]
        assert all(incident["result"] for incident in done), "of every fault it is known what came of it"
        # What is in the file is what was checked.
        records = list(read_history((torture.report / "history.jsonl").read_text().splitlines()))
        assert check(records).linearizable
        assert len(records) == report["operations"]
        assert {record.key for record in records if record.f == "read"} == {record.key for record in records}
        journal = [json.loads(line) for line in (torture.report / "journal.jsonl").read_text().splitlines()]
        assert journal[0]["number"] == 1
        assert (torture.report / "plot.svg").read_text().endswith("</svg>\n")


def kill_the_torture(torture: Torture) -> None:
    """As the kernel would, that wants its memory."""
    torture.process.kill()


def kill_the_warden(torture: Torture) -> None:
    """Then the torture itself has to see to the rest."""
    os.kill(torture.warden, signal.SIGKILL)


@pytest.mark.parametrize("end", [kill_the_torture, kill_the_warden], ids=lambda end: end.__name__)
def test_nothing_is_left(tmp_path: Path, end: Callable[[Torture], None]) -> None:
    """Not even servers that are frozen, nor those whose coordinator was killed."""
    with Torture(tmp_path) as torture:
        process = torture.begin("--seconds", "600", "--seed", "1", "--faults", "switch", "--pause", "5")
        torture.under_way()
        assert len(torture.left()) == 6, "the torture, its warden, a coordinator and three servers"
        [coordinator] = torture.daemons("coordinator")
        servers = torture.daemons("server")
        os.kill(servers[0], signal.SIGSTOP)
        os.kill(coordinator, signal.SIGKILL)
        wait_for("the end of the coordinator", lambda: not alive(coordinator))
        end(torture)
        torture.assert_none_left()
        assert process.wait(60) != 0


def test_an_interrupted_run_has_a_verdict(tmp_path: Path) -> None:
    with Torture(tmp_path) as torture:
        process = torture.begin("--seconds", "600", "--seed", "1", "--faults", "switch", "--json")
        torture.under_way()
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0, torture.said()
        report = json.loads(torture.said().splitlines()[-1])
        assert (report["good"], report["interrupted"]) == (True, True)
        assert report["keys_read"] > 0
        assert torture.left() == {}


def test_a_second_interrupt_ends_everything(tmp_path: Path) -> None:
    with Torture(tmp_path) as torture:
        process = torture.begin("--seconds", "600", "--seed", "1", "--faults", "switch")
        torture.under_way()
        [coordinator] = torture.daemons("coordinator")
        os.kill(coordinator, signal.SIGSTOP)  # so that the cluster never is whole
        process.send_signal(signal.SIGINT)
        wait_for("the end of the faults", lambda: "no more faults" in torture.said())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, torture.said()
        assert "without a verdict" in torture.said()
        torture.assert_none_left()
