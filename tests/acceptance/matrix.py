"""The kill matrix: a second process is killed or frozen at each step of the recovery from a first failure.

    python -m tests.acceptance.matrix                               everything, as a table
    python -m tests.acceptance.matrix --only recovery.filled:S_b    one or some of the cells
    python -m tests.acceptance.matrix --copies 3 --json

Each cell is a cluster of its own, in processes of its own: a coordinator, four servers, and a standby (`--mode spawn`:
four servers that the coordinator starts and replaces). Clients write, and remember what was acknowledged. Server 1 is
killed; when the recovery from that has come to the step, the coordinator itself kills or freezes the victim (a
failpoint, TWISTEDKV_FAIL). Where the victim is S_a, the first failure is SIGSTOP, so that there is somebody to kill, or
to wake up at that very step. What was frozen is thawed later, and a killed coordinator is started again.

A cell is `ok` when the cluster has healed within a bound, every acknowledged write is there, counters are exact, and
every copy agrees. With two copies the second failure can take the last copy of a shard: that shard must be LOST then,
and only then (no process that holds a copy of its last configuration is alive), its requests must be answered with
ShardLost at once, all others must be intact, and accept-loss must make it usable: `LOST n`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.live.cluster import Cluster, Daemon, alive, send, wait_for
from tests.live.load import Load, shard_of
from twistedkv.blocking import Client
from twistedkv.errors import ShardLost, TwistedKVError
from twistedkv.failpoints import NAMES, TARGETS

ACTIONS = ("kill", "freeze")
SERVERS = 4
SHARDS = 12
PRELOADED = 600
REPLACE_AFTER_SECONDS = {"standby": 1.5, "spawn": 60.0}
"""By mode. Where servers are started again the survivors are not to take over because a start is slow."""
FIRE_SECONDS = 20.0
FROZEN_SECONDS = 2.5
"""Longer than the five heartbeats after which a silent server is taken for failed."""
HEAL_SECONDS = 30.0
CELL_SECONDS = 180.0

_NOT_YET = "a server that is started again has no process before it has registered"
ABSENT: dict[tuple[str, str, str], str] = {
    ("spawn", step, "S_aa"): _NOT_YET for step in NAMES[: NAMES.index("recovery.replaced")]
}
"""(mode, step, victim): why nobody plays that role at that step."""


class Cell:
    """One cluster, one failure and a second one."""

    def __init__(self, directory: Path, step: str, victim: str, action: str, copies: int, mode: str) -> None:
        self.step, self.victim, self.action, self.copies, self.mode = step, victim, action, copies, mode
        self.cluster = Cluster(
            directory, servers=SERVERS, copies=copies, shards=SHARDS, replace_after=REPLACE_AFTER_SECONDS[mode]
        )
        self.problems: list[str] = []
        self.notes: dict[str, Any] = {}
        self.processes: dict[str, int] = {}
        """By store id: the pid of every server process ever seen."""
        self.preloaded = {b"preloaded-%d" % i: os.urandom(200) for i in range(PRELOADED)}

    @property
    def _flags(self) -> tuple[str, ...]:
        return ("--spawn",) if self.mode == "spawn" else ()

    def run(self) -> dict[str, Any]:
        """The result, for JSON."""
        began = time.monotonic()
        result: dict[str, Any] = {"step": self.step, "victim": self.victim, "action": self.action}
        try:
            with self.cluster:
                result |= self._run()
        except (AssertionError, TwistedKVError) as error:
            self.problems.append(f"{type(error).__name__}: {error}")
        except Exception:
            self.problems.append(traceback.format_exc())
        if self.problems:
            result["outcome"] = "FAIL"
            result["problems"] = self.problems[:20]
        return result | {"seconds": round(time.monotonic() - began, 1)} | self.notes

    def _run(self) -> dict[str, Any]:
        cluster = self.cluster
        coordinator = cluster.start_coordinator(*self._flags, fail=f"{self.step}:{self.action}:{self.victim}")
        if self.mode == "standby":
            for server in range(1, SERVERS + 1):
                cluster.start_server(f"server_{server}", f"--id={server}")
            cluster.start_server("standby", "--standby", f"--id={SERVERS + 1}")
        cluster.wait_ready(coordinator)
        count = SERVERS + (self.mode == "standby")
        cluster.status_when("all are there", lambda s: s["healthy"] and len(s["servers"]) == count)
        self._note_processes()
        cluster.shared.mput(self.preloaded)
        with Load(cluster.address, writers=3, keys=40, pause_seconds=0.003) as load:
            wait_for("load", lambda: load.done() > 200)
            first = cluster.pids()[1]
            send(first, signal.SIGSTOP if self.victim == "S_a" else signal.SIGKILL)
            pid = self._wait_fired(coordinator)
            if pid is None:
                send(first, signal.SIGCONT)
                return {"outcome": "-"}
            fired = time.monotonic()
            self._aftermath(coordinator, pid, first)
            self._wait_settled()
            self.notes["healed_seconds"] = round(time.monotonic() - fired, 1)
            before = load.done()
            wait_for("the load goes on", lambda: load.done() > before + 100)
            load.stop()
            self.notes |= load.describe()
            lost = set(cluster.status()["lost"])
            self._check_loss(lost)
            self.problems += load.check(cluster.client(), self.copies, lost=lost)
            self._check_preloaded(lost)
            if lost:
                self._accept_loss(lost)
        for daemon in cluster.started:
            if "Traceback" in daemon.said() or "Unhandled" in daemon.said():
                self.problems.append(f"{daemon.name} has logged an error: {_errors_of(daemon)}")
        return {"outcome": f"LOST {len(lost)}" if lost else "ok"}

    def _note_processes(self) -> None:
        for server in self.cluster.status()["servers"]:
            self.processes[server["store"]] = server["pid"]

    def _wait_fired(self, coordinator: Daemon) -> int | None:
        """The pid that the failpoint was about; None when the recovery ends without it."""
        mark = f"failpoint {self.step}: {self.action} {self.victim}, pid "
        until = time.monotonic() + FIRE_SECONDS
        whole_since = None
        while time.monotonic() < until:
            said = coordinator.said()
            if mark in said:
                return int(said.partition(mark)[2].split()[0].strip())
            status = self._status()
            failed = "server.failed" in said
            whole = failed and status is not None and status["healthy"]
            whole_since = (whole_since or time.monotonic()) if whole else None
            if whole_since and time.monotonic() - whole_since > 1.5:
                return None
            time.sleep(0.02)
        return None

    def _status(self) -> dict[str, Any] | None:
        try:
            return self.cluster.shared.admin("status", deadline=0.5)
        except TwistedKVError:
            return None

    def _aftermath(self, coordinator: Daemon, pid: int, first: int) -> None:
        """What the world does after the second failure."""
        if self.victim == "coordinator" and self.action == "kill":
            coordinator.wait()
            time.sleep(0.5)
            self.cluster.start_coordinator(*self._flags)
        elif self.action == "kill":
            wait_for("the victim's end", lambda: not alive(pid))
        elif self.victim == "S_a":
            send(first, signal.SIGCONT)  # it wakes up at this step, and knows of nothing
        else:
            time.sleep(FROZEN_SECONDS)
            send(pid, signal.SIGCONT)

    def _wait_settled(self) -> None:
        def settled(status: dict[str, Any]) -> bool:
            for server in status["servers"]:
                self.processes[server["store"]] = server["pid"]
            active = sum(1 for server in status["servers"] if server["state"] == "active")
            if self.mode == "spawn" and active < SERVERS:
                return False
            return (
                all(
                    shard["state"] == "lost"
                    or (shard["state"] == "ok" and len(shard["secondaries"]) == self.copies - 1)
                    for shard in status["shards"]
                )
                and all(shard["state"] != "lost" or not self._has_copy(shard["shard"]) for shard in status["shards"])
                and not [operation for operation in status["operations"] if operation["state"] == "running"]
            )

        self.cluster.status_when("every shard is whole or lost, and nothing is under way", settled, HEAL_SECONDS)

    def _has_copy(self, shard: int) -> list[str]:
        """Who still holds a copy of the shard's last configuration and is alive."""
        configuration = self.cluster.shared.admin("map")["shards"][shard]
        members = [configuration["primary"], *configuration["secondaries"]]
        return [str(m["server_id"]) for m in members if alive(self.processes.get(m["store_id"], 0))]

    def _check_loss(self, lost: set[int]) -> None:
        holders_killed = 2 if self.action == "kill" and self.victim in ("S_b", "S_c", "other") else 1
        if lost and holders_killed < self.copies:
            self.problems.append(f"{holders_killed} of {self.copies} holders were killed, and {sorted(lost)} are lost")
        for shard in lost:
            holders = self._has_copy(shard)
            if holders:
                self.problems.append(f"shard {shard} is reported LOST, and server {', '.join(holders)} has a copy")

    def _check_preloaded(self, lost: set[int]) -> None:
        client = self.cluster.client()
        client.refresh()
        kept = [key for key in self.preloaded if shard_of(client, key) not in lost]
        found = client.mget(kept)
        wrong = [key for key in kept if (value := found[key]) is None or value.value != self.preloaded[key]]
        if wrong:
            self.problems.append(
                f"{len(wrong)} of {len(kept)} preloaded keys are missing or wrong, such as {wrong[0]!r}"
            )
        for key in kept[::6]:
            checks = client.verify(key, self.preloaded[key])
            if len(checks) != self.copies or not all(check.matches for check in checks):
                self.problems.append(f"the copies of {key!r} are {checks}")

    def _accept_loss(self, lost: set[int]) -> None:
        client = self.cluster.client()
        client.refresh()
        samples = {shard_of(client, key): key for key in self.preloaded}
        for shard in lost:
            _expect_lost(self.problems, client, samples[shard])
        self.cluster.command("admin", "accept-loss", "--yes", "all")
        self.cluster.status_when("healthy after accept-loss", lambda status: status["healthy"], HEAL_SECONDS)
        for shard in lost:
            if client.get(samples[shard]) is not None:
                self.problems.append(f"shard {shard} was lost, and {samples[shard]!r} is there after accept-loss")
            client.put(samples[shard], b"new")
            checks = client.verify(samples[shard], b"new")
            if len(checks) != self.copies or not all(check.matches for check in checks):
                self.problems.append(f"after accept-loss the copies of {samples[shard]!r} are {checks}")


def _expect_lost(problems: list[str], client: Client, key: bytes) -> None:
    for what, call in (("GET", lambda: client.get(key)), ("PUT", lambda: client.put(key, b"x"))):
        began = time.monotonic()
        try:
            call()
            problems.append(f"{what} of {key!r} succeeded in a lost shard")
        except ShardLost:
            if time.monotonic() - began > 2:
                problems.append(f"{what} of {key!r} was answered after {time.monotonic() - began:.1f} s")
        except TwistedKVError as error:
            problems.append(f"{what} of {key!r} in a lost shard: {type(error).__name__}: {error}")


def _errors_of(daemon: Daemon) -> str:
    said = daemon.said()
    at = max(said.find("Traceback"), said.find("Unhandled"))
    return said[max(0, at - 300) : at + 1500]


# The whole table.


def run_apart(arguments: Sequence[str]) -> dict[str, Any]:
    """A cell in a process of its own."""
    command = [sys.executable, "-m", "tests.acceptance.matrix", "--cell", *arguments]
    step, victim, action, *_ = arguments[0].split(":")
    result: dict[str, Any] = {"step": step, "victim": victim, "action": action, "seconds": CELL_SECONDS}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CELL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return result | {"outcome": "FAIL", "problems": [f"the cell did not end within {CELL_SECONDS:.0f} s"]}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return result | {"outcome": "FAIL", "problems": [done.stdout[-2000:] + done.stderr[-3000:]]}


def judge(result: dict[str, Any], mode: str) -> dict[str, Any]:
    """A step that nobody has passed is right only where that is known."""
    reason = ABSENT.get((mode, result["step"], result["victim"]))
    if result["outcome"] == "-":
        if reason is None:
            return result | {"outcome": "FAIL", "problems": ["the step was not passed with this victim"]}
        return result | {"reason": reason}
    return result


def table(results: list[dict[str, Any]], mode: str) -> str:
    """Steps by victims: kill / freeze."""
    by_place = {(r["step"], r["victim"], r["action"]): r for r in results}
    steps = [step for step in NAMES if any(r["step"] == step for r in results)]
    victims = [victim for victim in TARGETS if any(r["victim"] == victim for r in results)]

    def text(step: str, victim: str) -> str:
        parts = []
        for action in ACTIONS:
            result = by_place.get((step, victim, action))
            if result is None:
                continue
            parts.append("-" if result["outcome"] == "-" else f"{result['outcome']} {result['seconds']:.0f}s")
        return "-" if set(parts) == {"-"} else " / ".join(parts)

    rows = [["step", *victims], *([step, *(text(step, victim) for victim in victims)] for step in steps)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    reasons = sorted({(r["step"], r["victim"], r["reason"]) for r in results if r.get("reason")})
    lines += ["", *(f"- {step}, {victim}: {reason}" for step, victim, reason in reasons)] if reasons else []
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Kill or freeze each process at each step of a recovery, under load.")
    parser.add_argument("--only", action="append", metavar="STEP[:VICTIM[:ACTION]]", help="only these cells")
    parser.add_argument("--copies", type=int, default=2, help="copies of each shard [2]")
    parser.add_argument("--mode", choices=["standby", "spawn"], default="standby", help="who replaces a failed server")
    parser.add_argument("--parallel", type=int, default=2, help="cells at a time [2]")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--keep", metavar="DIR", help="keep the logs of all cells here")
    parser.add_argument("--cell", metavar="STEP:VICTIM:ACTION", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        step, victim, action = options.cell.split(":")
        with tempfile.TemporaryDirectory() as temporary:
            directory = Path(options.keep or temporary) / f"{step}-{victim}-{action}"
            directory.mkdir(parents=True, exist_ok=True)
            print(json.dumps(Cell(directory, step, victim, action, options.copies, options.mode).run()))
        return 0
    wanted = [only.split(":") for only in options.only or []]
    cells = [
        (step, victim, action)
        for step in NAMES
        for victim in TARGETS
        for action in ACTIONS
        if not wanted or any([step, victim, action][: len(only)] == only for only in wanted)
    ]
    if not cells:
        parser.error(f"no such cell: the steps are {', '.join(NAMES)}; the victims {', '.join(TARGETS)}")
    began = time.monotonic()
    more = [
        f"--copies={options.copies}",
        f"--mode={options.mode}",
        *([f"--keep={options.keep}"] if options.keep else []),
    ]
    results = []
    with concurrent.futures.ThreadPoolExecutor(options.parallel) as pool:
        for result in pool.map(lambda cell: run_apart([":".join(cell), *more]), cells):
            judged = judge(result, options.mode)
            results.append(judged)
            place = f"{judged['step']}:{judged['victim']}:{judged['action']}"
            print(f"{place:45} {judged['outcome']:8} {judged['seconds']:5.1f} s", file=sys.stderr, flush=True)
            for problem in judged.get("problems", []):
                print(f"    {problem}", file=sys.stderr)
    failed = [result for result in results if result["outcome"] == "FAIL"]
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        print(table(results, options.mode))
        print(
            f"\n{options.copies} copies, {options.mode}: {len(results)} cells in {time.monotonic() - began:.0f} s, "
            f"{len(failed)} failed"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
