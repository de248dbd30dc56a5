"""The coordinator is killed for a minute under load; a server that is killed meanwhile is replaced afterwards.

`python -m tests.acceptance.without_coordinator [--seconds 60]`
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.acceptance.report import Report, run
from tests.live.cluster import Cluster, wait_for
from tests.live.load import Load


def script(report: Report, directory: Path) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with Cluster(directory) as cluster:
        coordinator = cluster.start_coordinator()
        servers = [cluster.start_server(f"server_{i}", f"--id={i}") for i in (1, 2, 3)]
        cluster.start_server("standby", "--standby", "--id=4")
        cluster.wait_ready(coordinator)
        cluster.status_when("the standby", lambda s: s["healthy"] and len(s["servers"]) == 4)
        with Load(cluster.address, deadline=30.0) as load:
            wait_for("load", lambda: load.done() > 500)
            coordinator.kill()
            before, began = load.done(), time.monotonic()
            slowest = None
            while time.monotonic() - began < seconds:
                done = load.done()
                time.sleep(1)
                slowest = min(slowest or 1e9, load.done() - done)
            count = load.done() - before
            longest, what = load.longest
            report.holds(
                not load.failures and slowest,
                f"without a coordinator for {seconds:.0f} s: {count} operations, none failed, at least {slowest} in "
                f"each second, the longest took {longest * 1000:.0f} ms ({what})",
                load.last_errors,
            )
            servers[1].kill()
            killed = time.monotonic()
            time.sleep(2)
            coordinator = cluster.start_coordinator()
            cluster.wait_ready(coordinator)
            cluster.healed(servers[1].pid)
            took = time.monotonic() - killed
            report.holds(True, f"a server killed 2 s before the coordinator's return is replaced after {took:.1f} s")
            done = load.done()
            wait_for("load", lambda: load.done() > done + 500)
        report.holds(not load.failures, f"{load.done()} operations, none failed: {load.describe()}", load.last_errors)
        problems = load.check(cluster.shared, 2)
        report.holds(not problems, "every acknowledged write is there, on both copies", problems[:5])


if __name__ == "__main__":
    run("point 7: without a coordinator", script)
