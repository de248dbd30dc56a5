"""A small part of `make faults` and `make powercuts`: power cuts, full disks, and disks that fail, on real processes.

In a process of its own, because that leaves the host's mounts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lmdb")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "scenarios",
    [["power-cut-node", "power-cut-all"], ["power-cut-interval"], ["disk-full-everywhere"], ["sync-fails"]],
    ids=lambda scenarios: "-and-".join(scenarios).replace("-", "_"),
)
def test_disks(scenarios: list[str]) -> None:
    command = [sys.executable, "-m", "tests.faults", "--short", *scenarios]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if ": skipped: " in line]
    if skipped and os.environ.get("CI") != "true":
        pytest.skip("; ".join(skipped))
