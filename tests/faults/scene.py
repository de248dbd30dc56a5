"""One cluster of real processes, a recorded load on it, and what has to hold at the end.

A scenario begins a `Scene`, makes faults and names each of them (`fault`), waits for the recovery from them
(`recovered`), and at the end calls `finish`: the load stops, every key is read once more, both checkers judge the
history, and every copy is asked whether it holds what was read.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from tests.acceptance.report import Report
from tests.faults import historyfile
from tests.faults.images import Image
from tests.faults.network import Network
from tests.faults.processes import ANSWER_SECONDS, ROOT, Field, Subordinate
from tests.live.cluster import Daemon, send, wait_for
from tests.live.load import shard_of
from twistedkv.errors import TwistedKVError
from twistedkv.history.record import Header, Record, header_line
from twistedkv.history.verdict import check
from twistedkv.limits import HEARTBEAT_SECONDS, MISSED_BEATS

SUSPICION_SECONDS = MISSED_BEATS * HEARTBEAT_SECONDS
"""D: a server that was silent for so long counts as failed."""
RECOVERY_SECONDS_MAX = 5 * HEARTBEAT_SECONDS + 2.0
STARTS_PER_SCENE_MAX = 50


@attrs.define
class Figures:
    """What is printed of a scenario."""

    operations: int = 0
    """Acknowledged."""
    unknown: int = 0
    faults: int = 0
    stall_seconds: float = 0.0
    """The longest operation of those that were acknowledged, or the longest time without one."""
    recoveries: list[float] = attrs.Factory(list)
    """Seconds until all was whole again, of each."""


class Scene:
    """See the module. `spawned`: the servers are children of `cluster`; else each is a daemon, and so are standbys.

    `formed`: it is waited for that all is there. `disk_megabytes`: the coordinator and each server have a file system
    of this size (`images`), and not our directory.
    """

    def __init__(
        self,
        report: Report,
        directory: Path,
        seed: int,
        *,
        network: Network | None = None,
        servers: int = 3,
        standbys: int = 0,
        spawned: bool = False,
        keep: Path | None = None,
        name: str = "scene",
        recovery_seconds_max: float = RECOVERY_SECONDS_MAX,
        disk_megabytes: int = 0,
        formed: bool = True,
        **options: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.report = report
        self.directory = directory
        self.network = network
        self.cluster = Field(directory, network, servers=servers, **options)
        self.random = random.Random(seed)
        self.figures = Figures()
        self.daemons: dict[int, Daemon] = {}
        """By server id, unless `spawned`."""
        self.coordinator: Daemon
        self.log: historyfile.Log | None = None
        """The whole history, after `finish`."""
        self._seed = seed
        self._name = name
        self._keep = keep
        self._recovery_seconds_max = recovery_seconds_max
        self._servers, self._standbys, self._spawned = servers, standbys, spawned
        self._options = options
        self.loads: list[Subordinate] = []
        """The first is the one that reads every key at the end."""
        self._began = 0.0
        self._disk_megabytes = disk_megabytes
        self._formed = formed
        self._mounted = contextlib.ExitStack()

    # Life.

    def __enter__(self) -> Scene:
        self.cluster.__enter__()
        try:
            if self._disk_megabytes:
                for name in ("coordinator", *(f"server_{number + 1}" for number in range(self._servers))):
                    self.give_disk(name, self._disk_megabytes)
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for load in self.loads:
            load.end()
        try:
            self.cluster.__exit__(kind, error, where)
        finally:
            self._mounted.close()
            if self._keep is not None:
                self._save(self._keep)

    def give_disk(self, name: str, megabytes: int) -> None:
        """A file system of its own for a daemon that has not been started yet."""
        image = Image(self.directory / "disks", name, megabytes=megabytes)
        self.cluster.disks[name] = self._mounted.enter_context(image)

    def _start(self) -> None:
        cluster = self.cluster
        if self._spawned:
            self.coordinator = cluster.start_cluster()
        else:
            self.coordinator = cluster.start_coordinator()
            for server in range(1, self._servers + self._standbys + 1):
                self.start_server(server, standby=server > self._servers)
            if not self._formed:
                return
            cluster.wait_ready(self.coordinator)
            count = self._servers + self._standbys
            cluster.status_when("all are there", lambda s: s["healthy"] and len(s["servers"]) == count)

    def start_server(self, server: int, *, standby: bool = False) -> None:
        """A daemon, with this id."""
        assert len(self.cluster.started) < STARTS_PER_SCENE_MAX
        flags = ["--standby"] if standby else []
        self.daemons[server] = self.cluster.start_server(f"server_{server}", f"--id={server}", *flags)

    def start_coordinator(self, fail: str = "") -> float:
        """Again, after it has ended. The moment from which it listens, which is when its absence is over."""
        assert len(self.cluster.started) < STARTS_PER_SCENE_MAX
        began, said = time.monotonic(), len(self.coordinator.said())
        self.coordinator = self.cluster.start_coordinator(fail=fail)
        wait_for("the coordinator listens", lambda: " listens on " in self.coordinator.said()[said:])
        took = time.monotonic() - began
        return self.note(f"the coordinator is there again, after {took:.1f} s" + (f", with {fail}" if fail else ""))

    # Load.

    def load(self, *, clients: int = 4, node: str = "", operations: int = 300, think: float = 0.01) -> Subordinate:
        """A load process, on a node of the network if one is named. Waits until it has done something."""
        number = len(self.loads)
        path = self._history(number)
        if not number:
            self._began = time.monotonic()
            commit = subprocess.run(
                ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
            ).stdout.strip()
            options = {"servers": self._servers, "standbys": self._standbys, "spawned": self._spawned} | self._options
            began = {"scenario": self._name, "began_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            historyfile.append(path, header_line(Header(commit or None, self._seed, options, (), began)))
        load = Subordinate(
            "tests.faults.load",
            path,
            self.cluster.address,
            *("--seed", self._seed + number, "--clients", clients, "--think", think),
            before=self.network.enter(node) if self.network is not None and node else [],
            log=self.directory / f"load-{number}.log",
        )
        self.loads.append(load)
        if clients:
            wait_for("load", lambda: load.ask().get("ok", 0) >= operations)
        else:
            load.ask()
        return load

    def _history(self, number: int) -> Path:
        return self.directory / f"history-{number}.jsonl"

    def done(self) -> int:
        """Operations that were acknowledged so far."""
        return sum(int(load.ask().get("ok", 0)) for load in self.loads)

    def work(self, operations: int = 300) -> None:
        """Wait until so many more operations have been acknowledged."""
        before = self.done()
        wait_for(f"{operations} more acknowledged operations", lambda: self.done() >= before + operations)

    def hunt(self, server: int, *, beside: Subordinate | None = None, clients: int = 2) -> Subordinate:
        """Pin clients to the server: they read, and a little they write, keys of which it is the primary now.

        They are part of the load, or of the load `beside`, which runs on another node. Returns that load.
        """
        status = self.cluster.status()
        shards = {shard["shard"] for shard in status["shards"] if shard["primary"] == server}
        client = self.cluster.shared
        client.refresh()
        keys = [key for key in (f"h{i}" for i in range(1000)) if shard_of(client, key.encode()) in shards][:10]
        assert keys, f"server {server} is primary of nothing"
        [address] = [one["address"] for one in status["servers"] if one["id"] == server]
        load = beside or self.loads[0]
        load.ask(hunt=keys, at=address, clients=clients, others=beside is None)
        if beside is not None:
            self.loads[0].ask(hunt=keys, at=address, clients=0)
        wait_for("the pinned clients read", lambda: load.ask(hunted=True).get("answered", 0) >= 20)
        return load

    # Faults.

    def fault(self, text: str) -> float:
        """Note that this is done to the cluster now. The moment."""
        self.figures.faults += 1
        return self.note(text)

    def note(self, text: str) -> float:
        """The same for what is no fault, or ends one."""
        historyfile.append_fault(self._history(0), text)
        self.report.measured(text)
        return time.monotonic()

    def kill(self, server: int, why: str = "") -> tuple[float, int]:
        """SIGKILL to a server: the moment, and its pid."""
        pid = self.cluster.pids()[server]
        since = self.fault(f"server {server} is killed{why}")
        send(pid, signal.SIGKILL)
        if server in self.daemons:
            self.daemons[server].wait()
        return since, pid

    def primary(self) -> int:
        """Some server that is primary of something, once everything is whole."""
        primaries = {int(shard["primary"]) for shard in self.cluster.healthy()["shards"]}
        return self.random.choice(sorted(primaries))

    @contextlib.contextmanager
    def frozen(self, server: int) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        pid = self.cluster.pids()[server]
        send(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            send(pid, signal.SIGCONT)

    def failed(self, server: int) -> None:
        """Wait until the coordinator takes this server for failed."""

        def holds(status: dict[str, Any]) -> bool:
            return any(one["id"] == server and one["state"] == "failed" for one in status["servers"])

        self.cluster.status_when(f"server {server} counts as failed", holds)

    def recovered(
        self,
        since: float,
        *,
        without: tuple[int, ...] = (),
        condition: Callable[[dict[str, Any]], object] = lambda status: True,
        more_seconds: float = 0.0,
        after: str = "it",
    ) -> None:
        """Wait until all shards have all copies, and their preferred primaries serve; processes `without` not counted.

        It has to be so soon after the moment `since`; `more_seconds` are granted for a reason that the scenario gives.
        """
        seconds_max = self._recovery_seconds_max + more_seconds

        def whole(status: dict[str, Any]) -> bool:
            used = {server["pid"] for server in status["servers"] if server["state"] != "failed"}
            return bool(status["healthy"] and not used & set(without) and condition(status))

        self.cluster.status_when("everything is whole again", whole)
        took = time.monotonic() - since
        self.figures.recoveries.append(took)
        self.report.holds(
            took <= seconds_max,
            f"{took:.2f} s after {after} every shard has all copies and its preferred primary",
            f"to be at most {seconds_max:.1f} s; load average {os.getloadavg()[0]:.1f}",
        )

    def journal(self, after: int = 0) -> list[dict[str, Any]]:
        """Events with a number above `after`."""
        events: list[dict[str, Any]] = self.cluster.shared.admin("journal", after=after)["events"]
        return events

    def last_event(self) -> int:
        """The number of the newest event."""
        number, events = 0, self.journal()
        while events:
            number = events[-1]["number"]
            events = self.journal(number)
        return number

    # The end.

    def finish(self, *, operations: int, faults: int, final: bool = True) -> historyfile.Log:
        """The load ends, and everything has to hold. At least so many operations and faults, or it proves nothing."""
        report, figures = self.report, self.figures
        for load in self.loads:
            load.ask(stop=True)
        if final:
            self.cluster.healthy()
            self.loads[0].ask(final=True)
        for load in self.loads:
            load.ask(end=True)
            load.process.wait(ANSWER_SECONDS)
        self.log = log = historyfile.merged(historyfile.read(self._history(i)) for i in range(len(self.loads)))
        self._count(log.records)
        report.holds(figures.operations >= operations, f"{figures.operations} operations, at least {operations}")
        report.holds(figures.faults >= faults, f"{figures.faults} faults, at least {faults}")
        self._judge(log.records)
        if final:
            self._verify(log.records)
        wrong = [daemon.name for daemon in self.cluster.started if _has_errors(daemon)]
        report.holds(not wrong, "no daemon has logged an error", wrong)
        report.measured(
            f"{figures.operations} operations in {time.monotonic() - self._began:.1f} s, {figures.unknown} of unknown "
            f"outcome, longest stall {figures.stall_seconds * 1000:.0f} ms, whole again after "
            f"{', '.join(f'{took:.2f}' for took in figures.recoveries) or '-'} s"
        )
        return log

    def _count(self, records: list[Record]) -> None:
        figures = self.figures
        figures.operations = sum(record.result == "ok" for record in records)
        figures.unknown = sum(record.result == "info" for record in records)
        done = [record for record in records if record.result == "ok" and not record.key.startswith("h")]
        ends = sorted(record.returned for record in done)
        gaps = [b - a for a, b in itertools.pairwise(ends)]
        longest = max([record.returned - record.call for record in done] + gaps, default=0)
        figures.stall_seconds = longest / 1e9

    def _judge(self, records: list[Record]) -> None:
        began = time.monotonic()
        verdict = check(records)
        text = f"linearizable, as both checkers say: {verdict.operations} operations on {verdict.keys} keys"
        self.report.holds(
            verdict.linearizable and not verdict.undecided,
            f"{text}, in {time.monotonic() - began:.1f} s",
            verdict.as_text(),
        )
        agree = {v.key for v in verdict.by_versions} == {v.key for v in verdict.by_search}
        self.report.holds(agree, "and they agree", verdict.as_text())

    def _verify(self, records: list[Record]) -> None:
        """Every copy holds what was read last."""
        last = {record.key: record for record in records if record.f == "read"}
        client, copies = self.cluster.client(), self.cluster.copies
        client.refresh()

        def wrong(record: Record) -> str:
            value = None if record.value is None else str(record.value).encode()
            try:
                checks = client.verify(record.key.encode(), value)
            except TwistedKVError as error:
                return f"{record.key}: {error}"
            fits = len(checks) == copies and all(one.matches for one in checks)
            return "" if fits else f"{record}: the copies hold {checks}"

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            problems = [text for text in pool.map(wrong, last.values()) if text]
        self.report.holds(
            not problems, f"all {copies} copies of all {len(last)} keys hold what was read last", problems[:5]
        )

    def _save(self, directory: Path) -> None:
        """The history as it is, and what the daemons said."""
        directory.mkdir(parents=True, exist_ok=True)
        log = self.log
        if log is None and self.loads:
            log = historyfile.merged(
                historyfile.read(self._history(i)) for i in range(len(self.loads)) if self._history(i).exists()
            )
        if log is not None:
            lines = historyfile.finished(log)
            (directory / f"{self._name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        for daemon in {daemon.output: daemon for daemon in self.cluster.started}.values():
            (directory / f"{self._name}-{daemon.output.name}").write_text(daemon.said(), "utf-8")


def _has_errors(daemon: Daemon) -> bool:
    said = daemon.said()
    return "Traceback" in said or "Unhandled" in said
