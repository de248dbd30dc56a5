"""Four daemons and a standby, started by hand, with pid files and logs of their own; then two of five killed at once.

`python -m tests.acceptance.daemons [--rounds 5]`
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from pathlib import Path

from tests.acceptance.report import Report, run
from tests.live.cluster import Cluster, send, wait_for
from tests.live.load import Load


def replaced_by_a_standby(report: Report, directory: Path) -> None:
    with Cluster(directory) as cluster:
        coordinator = cluster.start_coordinator(daemonized=True)
        servers = [cluster.start_server(f"server_{i}", f"--id={i}", daemonized=True) for i in (1, 2, 3)]
        cluster.wait_ready(coordinator)
        standby = cluster.start_server("standby", "--standby", "--id=4", daemonized=True)
        daemons = [coordinator, *servers, standby]
        cluster.status_when("the standby", lambda s: s["healthy"] and s["servers"][-1]["state"] == "standby")
        parents = {
            int(Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[1]) for daemon in daemons
        }
        report.holds(
            not parents & {daemon.pid for daemon in daemons} and os.getpid() not in parents,
            f"five daemons, pids {[daemon.pid for daemon in daemons]}, no parent among them",
        )
        with Load(cluster.address) as load:
            wait_for("load", lambda: load.done() > 500)
            servers[1].kill()
            began = time.monotonic()
            cluster.status_when(
                "the standby has everything",
                lambda s: s["healthy"] and all(2 not in shard["preferred"] for shard in s["shards"]),
            )
            report.holds(True, f"server 2 was killed; the standby took over within {time.monotonic() - began:.1f} s")
            after = cluster.shared.admin("journal", after=0)["events"][-1]["number"]
            cluster.start_server("server_2_again", "--id=2", daemonized=True)
            cluster.status_when(
                "server 2 has copies again",
                lambda s: s["healthy"] and any(2 in (x["primary"], *x["secondaries"]) for x in s["shards"]),
            )
            events = cluster.shared.admin("journal", after=after)["events"]
            own = [event for event in events if event["server"] == 2]
            learned = {event["shard"] for event in own if event["event"] == "learner.added"}
            completed = {event["shard"] for event in own if event["event"] == "learner.completed"}
            report.holds(
                learned and learned == completed,
                f"started again it joined as learner of shards {sorted(learned)} and became their member",
            )
            done = load.done()
            wait_for("load", lambda: load.done() > done + 500)
        report.holds(not load.failures, f"{load.done()} operations, none failed: {load.describe()}", load.last_errors)
        problems = load.check(cluster.shared, 2)
        report.holds(not problems, "every acknowledged write is there, on both copies", problems[:5])
        for daemon in reversed(cluster.started):
            daemon.signal(signal.SIGTERM)
        cluster.assert_none_left()
        left = [daemon.name for daemon in daemons if (directory / f"{daemon.name}.pid").exists()]
        report.holds(left in ([], ["server_2"]), "all of them ended by SIGTERM", left)


def two_at_once(report: Report, directory: Path, rounds: int) -> None:
    with Cluster(directory, servers=5, copies=3, shards=20, replace_after=2) as cluster:
        coordinator = cluster.start_coordinator()
        daemons = {i: cluster.start_server(f"server_{i}", f"--id={i}") for i in range(1, 6)}
        cluster.wait_ready(coordinator)
        with Load(cluster.address) as load:
            for round_number in range(1, rounds + 1):
                cluster.healthy()
                done = load.done()
                wait_for("load", lambda done=done: load.done() > done + 500)
                pair = random.sample(range(1, 6), 2)
                began = time.monotonic()
                for server in pair:
                    send(daemons[server].pid, signal.SIGKILL)
                for server in pair:
                    daemons[server].wait()
                status = cluster.status_when(
                    "three servers hold everything",
                    lambda s, pair=set(pair): s["healthy"] and not any(pair & set(x["preferred"]) for x in s["shards"]),
                )
                report.holds(
                    not status["lost"],
                    f"round {round_number}: servers {pair} killed at once, the others hold 3 copies of all after "
                    f"{time.monotonic() - began:.1f} s",
                )
                for server in pair:
                    daemons[server] = cluster.start_server(f"server_{server}", f"--id={server}")
                cluster.status_when(
                    "five servers share",
                    lambda s: s["healthy"] and all(x["primaries"] + x["secondaries"] >= 12 for x in s["servers"]),
                )
        report.holds(not load.failures, f"{load.done()} operations, none failed: {load.describe()}", load.last_errors)
        problems = load.check(cluster.shared, 3)
        report.holds(not problems, "every acknowledged write is there, on all three copies", problems[:5])


def script(report: Report, directory: Path) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name in ("standby", "pairs"):
        (directory / name).mkdir()
    replaced_by_a_standby(report, directory / "standby")
    two_at_once(report, directory / "pairs", options.rounds)


if __name__ == "__main__":
    run("point 5: daemons that were started by hand", script)
