"""Workload files of the original system, replayed while a server is killed or frozen in the middle.

`python -m tests.acceptance.workload [--kills 20] [--freezes 5]`
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.acceptance.report import Report, run, spread
from tests.live.cluster import BIN, Cluster, send

KILLED_MS_MAX = 150.0
FROZEN_MS_MAX = 1500.0


def replay(cluster: Cluster, file: Path) -> tuple[dict[str, Any], str, int]:
    """The summary, what was said, and the exit code."""
    done = subprocess.run(
        [str(BIN / "twistedkv"), "replay", "--quiet", "--json", str(file)],
        capture_output=True,
        text=True,
        env=cluster.environment({"TWISTEDKV_COORDINATOR": cluster.address}),
        check=False,
    )
    return json.loads(done.stdout), done.stderr[-2000:], done.returncode


def failing(report: Report, cluster: Cluster, file: Path, seconds: float, number: int, times: int) -> list[float]:
    """The longest stall of each replay, in ms."""
    stalls = []
    name = signal.Signals(number).name
    for round_number in range(1, times + 1):
        pids = cluster.pids()
        server = random.randrange(1, 4)
        after = seconds * random.uniform(0.2, 0.7)
        timer = threading.Timer(after, send, (pids[server], number))
        timer.start()
        summary, said, code = replay(cluster, file)
        timer.join()
        cluster.healed(pids[server])
        stalls.append(summary["longest_stall_ms"])
        text = (
            f"{name} {round_number}: server {server} after {after:.1f} s of {summary['seconds']:.1f}, "
            f"stall {summary['longest_stall_ms']:.0f} ms, {summary['checks_passed']} checks passed, "
            f"{summary['checks_failed']} failed, {summary['operations_failed']} operations failed"
        )
        report.holds(code == 0 and summary["complete"], text, said)
    return stalls


def script(report: Report, directory: Path) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--freezes", type=int, default=5)
    options = parser.parse_args()
    file = directory / "workload.txt"
    with Cluster(directory) as cluster:
        cluster.start_cluster()
        cluster.command("generate-workload", "-o", file)
        summary, said, code = replay(cluster, file)
        report.holds(
            code == 0,
            f"{summary['operations']} operations in {summary['seconds']:.1f} s, "
            f"{summary['checks_passed']} checks passed, "
            f"{summary['checks_failed']} failed, longest stall {summary['longest_stall_ms']:.0f} ms",
            said,
        )
        stalls = failing(report, cluster, file, summary["seconds"], signal.SIGKILL, options.kills)
        frozen = failing(report, cluster, file, summary["seconds"], signal.SIGSTOP, options.freezes)
        report.measured(f"stalls with a killed child: {spread(stalls)}")
        report.measured(f"stalls with a frozen server: {spread(frozen)}")
        report.below(max(stalls), KILLED_MS_MAX, "longest stall with a killed child")
        report.below(max(frozen), FROZEN_MS_MAX, "longest stall with a frozen server")


if __name__ == "__main__":
    run("point 2: workload files", script)
