"""The throw-away cluster is waited for, stopped, and explained when it does not come up."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.cluster import local_cluster
from benchmarks.frames import LoadError

STARTS = """
ready, args = None, sys.argv
ready = args[args.index("--ready-file") + 1]
with open(os.environ["SEEN"], "w") as seen:
    json.dump({"pid": os.getpid(), "args": args[1:], "base": os.path.dirname(ready)}, seen)
with open(ready, "w") as file:
    json.dump({"address": "127.0.0.1:7499", "pid": os.getpid()}, file)
signal.pause()
"""
FAILS = """
print("the port is in use")
sys.exit(1)
"""


@pytest.fixture
def twistd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is looked for."""
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path / "twistd"


def write(path: Path, program: str, python: str = sys.executable) -> None:
    path.write_text(f"#!{python} -S\nimport json, os, signal, sys\n{program}", "utf-8")
    path.chmod(0o755)


def test_it_runs_as_long_as_it_is_used(twistd: Path) -> None:
    write(twistd, STARTS)
    with local_cluster(["--copies", "3"]) as address:
        assert address == ("127.0.0.1", 7499)
        seen = json.loads((twistd.parent / "seen.json").read_text("utf-8"))
        os.kill(seen["pid"], 0)
        assert seen["args"][:5] == ["-n", "--pidfile=", "twistedkv", "cluster", "--port"]
        assert seen["args"][-2:] == ["--copies", "3"]
    with pytest.raises(ProcessLookupError):
        os.kill(seen["pid"], 0)
    assert not Path(seen["base"]).exists()


def test_the_end_of_its_log_says_why_it_did_not_start(twistd: Path) -> None:
    write(twistd, FAILS)
    with pytest.raises(LoadError, match="the port is in use"), local_cluster():
        pass


def test_the_machine_is_described() -> None:
    facts = machine.describe()
    assert facts["cores"] >= 1
    assert facts["cpu"]
    assert str(facts["python"]).endswith(".".join(map(str, sys.version_info[:3])))
