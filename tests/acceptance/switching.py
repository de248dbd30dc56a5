"""Every shard's primary is switched to another server and back, many times, under load.

`python -m tests.acceptance.switching [--times 20]`
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.acceptance.report import Report, run, spread
from tests.live.cluster import Cluster, wait_for
from tests.live.load import Load

STALL_MS_MAX = 50.0


def script(report: Report, directory: Path) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    with Cluster(directory) as cluster:
        cluster.start_cluster()
        shards = cluster.healthy()["shards"]
        with Load(cluster.address, writers=3, pause_seconds=0.001) as load:
            wait_for("load", lambda: load.done() > 250 * times)
        report.measured(f"for comparison, without a switch: {load.describe()}")
        report.holds(not load.failures, "and no failed request", load.last_errors)
        took = []
        with Load(cluster.address, writers=3, pause_seconds=0.001, name="switched") as load:
            wait_for("load", lambda: load.done() > 100)
            for _ in range(times):
                for role in ("secondary", "primary"):
                    for shard in shards:
                        target = shard["primary"] if role == "primary" else shard["secondaries"][0]
                        answer = cluster.shared.admin("switch", shard=shard["shard"], server=target)
                        took.append(answer["milliseconds"])
        report.measured(f"{len(took)} switches, as the coordinator sees them: {spread(took)}")
        report.holds(not load.failures, f"{load.done()} operations meanwhile, none failed", load.last_errors)
        problems = load.check(cluster.shared, 2)
        report.holds(not problems, "every acknowledged write is there, on both copies", problems[:5])
        seconds, what = load.longest
        report.below(seconds * 1000, STALL_MS_MAX, f"longest stall that a client saw ({what})")


if __name__ == "__main__":
    run("point 6: switches under load", script)
