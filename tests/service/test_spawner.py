"""Local servers as processes: started, killed when frozen, started again, taken back, ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.conftest import LoggedErrors
from tests.service.coordinating import OPTIONS, Coordination, Operator, Process
from twistedkv.mapstore.interface import SpawnedProcess
from twistedkv.service import processes, spawner
from twistedkv.service.cluster import ClusterService
from twistedkv.service.parent import PARENT_VARIABLE
from twistedkv.service.space import space_arguments
from twistedkv.watermarks import Eviction, Limits


class Spawning(Coordination):
    """A coordinator that spawns; its processes are played by `Process` and `FakeServer`."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, owns: bool, **changes: Any) -> None:
        options = attrs.evolve(OPTIONS, base_dir=tmp_path, spawn=True, owns_servers=owns, **changes)
        super().__init__(options)
        self.service = self.make(ClusterService if owns else type(self.service))
        self.signals: list[tuple[int, int]] = []
        self.start_times: dict[int, int] = {}
        monkeypatch.setattr(processes.os, "kill", self.kill)
        monkeypatch.setattr(processes, "start_time", self.start_time)

    def start_time(self, pid: int) -> int:
        running = any(process.pid == pid and process.running for process in self.machine.processes)
        return self.start_times.get(pid, pid + 7 if running else 0)

    def kill(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        for process in self.machine.processes:
            if process.pid == pid and process.running and number == signal.SIGKILL:
                self.machine.callLater(0, self.end, process)

    def end(self, process: Process) -> None:
        """The process is killed, and reaped; its connection breaks."""
        if process.running:
            process.end(signal=9)
        for server in self.servers:
            if server.pid == process.pid and server.connection is not None:
                server.connection.abort()
        self.machine.settle()

    def begin(self) -> Spawning:
        """Start, and have all processes register."""
        self.service.startService()
        self.register()
        self.pump(0.5)
        return self

    def register(self) -> None:
        """Processes that have not registered yet do."""
        for process in self.machine.processes:
            if process.running and not any(server.pid == process.pid for server in self.servers):
                self.server(process.server_id, pid=process.pid)
        self.machine.settle()

    def pump(self, seconds: float) -> None:
        for server in self.servers:
            if server.told_to_end:
                self.finish(server.pid)
        super().pump(seconds)

    def finish(self, pid: int) -> None:
        """The process ends in order."""
        for process in self.machine.processes:
            if process.pid == pid and process.running:
                process.end()

    def running(self) -> list[Process]:
        """Processes that run."""
        return [process for process in self.machine.processes if process.running]

    def stop(self) -> None:
        done: list[Any] = []
        self.service.stopService().addBoth(done.append)
        for _ in range(80):
            self.machine.pump_seconds(0.1, 0.1)
            for server in self.servers:
                if server.told_to_end and server.obeys:
                    self.finish(server.pid)
        assert done == [None], done


@pytest.fixture
def owned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spawning]:
    """A `cluster`."""
    spawning = Spawning(tmp_path, monkeypatch, owns=True).begin()
    yield spawning
    if spawning.service.planner is not None:
        spawning.stop()
    assert spawning.running() == []
    assert spawning.machine.getDelayedCalls() == []


def test_the_processes_are_twistd_servers_bound_to_this_one(owned: Spawning) -> None:
    assert [process.server_id for process in owned.machine.processes] == [1, 2, 3]
    process = owned.machine.processes[0]
    assert "twisted.scripts.twistd" in process.args[2]
    assert process.args[3:7] == ["-n", "--pidfile=", process.args[5], "twistedkv"]
    assert process.args[5].endswith("server_1.log")
    assert "--coordinator=127.0.0.1:7400" in process.args
    assert "--die-with-parent" in process.args
    assert "--moved" not in process.args
    line_ports = [arg for each in owned.machine.processes for arg in each.args if arg.startswith("--line-port")]
    assert line_ports == ["--line-port=7379", "--line-port=7380", "--line-port=7381"]
    assert {"--line-idle=0", "--course-port=0"} <= set(process.args)
    assert process.env[PARENT_VARIABLE] == str(os.getpid())
    assert "TWISTEDKV_FAIL" not in process.env
    assert process.files[0] == "w", "its standard input ends with us"
    assert Operator(owned).ask("status")["healthy"]


def test_servers_are_told_of_their_other_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"line_port": 0, "moved": True, "line_idle_seconds": 0.5, "course_port": 9000}
    spawning = Spawning(tmp_path, monkeypatch, owns=True, **changes).begin()
    for number, process in enumerate(spawning.machine.processes, 1):
        assert {"--line-port=0", "--moved", "--line-idle=0.5", f"--course-port={9000 + number}"} <= set(process.args)
    spawning.stop()


def test_servers_are_told_of_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(10**9, 0, 0.7, 0.9, Eviction.LRU)
    spawning = Spawning(tmp_path, monkeypatch, owns=True, limits=limits).begin()
    for process in spawning.machine.processes:
        assert set(space_arguments(limits)) <= set(process.args)
    spawning.stop()


@pytest.mark.parametrize("owns", [False, True])
def test_a_server_that_is_added_is_kept_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owns: bool) -> None:
    spawning = Spawning(tmp_path, monkeypatch, owns=owns, servers_max=4).begin()
    assert spawning.service.spawner is not None
    spawning.service.spawner.add(4)
    spawning.service.spawner.add(4)
    spawning.pump(0.2)
    assert [process.server_id for process in spawning.machine.processes] == [1, 2, 3, 4]
    assert "--line-port=7382" in spawning.machine.processes[3].args
    spawning.register()
    spawning.pump(1)
    spawning.end(spawning.machine.processes[3])
    spawning.pump(0.2)
    assert [process.server_id for process in spawning.running()] == [1, 2, 3, 4]
    spawning.register()
    spawning.pump(1)
    if not owns:
        spawning.stop()
        spawning.service = spawning.make(type(spawning.service))
        spawning.service.startService()
        spawning.pump(0.5)
        assert [process.server_id for process in spawning.running()] == [1, 2, 3, 4], "it is taken back"
        for process in spawning.running():
            process.end(signal=9)
    spawning.stop()


def test_a_killed_server_is_failed_over_first_and_started_again_then(owned: Spawning) -> None:
    owned.machine.processes[0].end(signal=9)
    assert len(owned.machine.processes) == 3, "not in the same call"
    assert len(owned.service.planner.state.seals) == 2  # type: ignore[union-attr]
    owned.machine.settle()
    assert owned.service.planner.state.seals == {}  # type: ignore[union-attr]
    assert len(owned.machine.processes) == 3
    owned.machine.pump_seconds(0.06)
    again = owned.machine.processes[3]
    assert again.server_id == 1
    owned.register()
    owned.pump(3)
    assert Operator(owned).ask("status")["healthy"]
    events = [event["event"] for event in Operator(owned).ask("journal")["events"]]
    assert "server.replacing" in events
    assert "server.replaced" in events
    killed = [e for e in Operator(owned).ask("journal")["events"] if e["event"] == "server.failed"]
    assert "killed by SIGKILL" in killed[0]["text"]


def test_a_frozen_server_is_killed_and_started_again(owned: Spawning) -> None:
    frozen = owned.servers[0]
    frozen.obeys = False
    owned.pump(1.5)
    assert owned.signals == [(frozen.pid, signal.SIGKILL)]
    assert [process.server_id for process in owned.running()] == [2, 3, 1]
    owned.register()
    owned.pump(3)
    assert Operator(owned).ask("status")["healthy"]


def test_a_process_that_never_registers_is_killed(owned: Spawning, logged_errors: LoggedErrors) -> None:
    owned.machine.processes[0].end(signal=9)
    owned.pump(0.5)
    silent = owned.machine.processes[3]
    owned.pump(spawner.START_SECONDS + 1)
    assert (silent.pid, signal.SIGKILL) in owned.signals
    assert len(owned.machine.processes) == 5
    assert "has not registered" in logged_errors.events[0]["text"]
    logged_errors.events.clear()
    owned.register()
    owned.pump(1)


def test_a_server_that_cannot_start_is_tried_at_growing_intervals_and_quoted(
    owned: Spawning, logged_errors: LoggedErrors, tmp_path: Path
) -> None:
    pauses = []
    process = owned.machine.processes[0]
    for _ in range(6):
        (tmp_path / "server_1.out").write_text("Traceback\nOSError: the port is haunted\n")
        process.end(code=1)
        ended = owned.machine.seconds()
        count = len(owned.machine.processes)
        while len(owned.machine.processes) == count:
            owned.pump(0.05)
        pauses.append(owned.machine.seconds() - ended)
        process = owned.machine.processes[-1]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.2
    assert pauses[-1] > 5
    texts = [e["text"] for e in Operator(owned).ask("journal")["events"] if e["event"] == "server.unstartable"]
    assert len(texts) == 1
    assert "failed to start 5 times" in texts[0]
    assert "exit code 1" in texts[0]
    assert "the port is haunted" in texts[0]
    logged_errors.events.clear()
    owned.register()
    owned.pump(1)


def test_what_cannot_be_executed_is_tried_again(
    owned: Spawning, logged_errors: LoggedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = owned.machine.spawnProcess

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise OSError("out of memory")

    owned.machine.spawnProcess = fails  # type: ignore[method-assign]
    owned.machine.processes[0].end(signal=9)
    owned.pump(30)
    assert "out of memory" in logged_errors.events[0]["text"]
    logged_errors.events.clear()
    owned.machine.spawnProcess = spawn  # type: ignore[method-assign]
    owned.pump(11)
    assert len(owned.running()) == 3
    owned.register()
    owned.pump(1)


def test_the_end_of_a_cluster_is_the_end_of_its_servers(owned: Spawning) -> None:
    owned.stop()
    assert all(server.told_to_end for server in owned.servers)
    assert owned.signals == []
    assert owned.disk.stopped_in_order


def test_who_does_not_end_in_time_is_killed(owned: Spawning) -> None:
    owned.servers[1].obeys = False
    owned.stop()
    assert owned.signals == [(owned.servers[1].pid, signal.SIGKILL)]
    assert not owned.disk.stopped_in_order


def test_one_that_is_just_starting_when_all_ends_is_killed(owned: Spawning) -> None:
    owned.machine.processes[0].end(signal=9)
    owned.pump(0.2)
    owned.stop()
    assert owned.signals == [(owned.machine.processes[3].pid, signal.SIGKILL)]


def test_a_pause_is_over_when_all_ends(owned: Spawning) -> None:
    owned.machine.processes[0].end(code=1)
    owned.stop()
    assert len(owned.machine.processes) == 3


def test_after_an_orderly_end_a_new_cluster_is_begun(owned: Spawning) -> None:
    highest = max(c.epoch for c in owned.service.whole_map().shards)
    owned.stop()
    owned.restart()
    assert owned.service.whole_map().shards == ()
    owned.register()
    owned.pump(1)
    assert min(c.epoch for c in owned.service.whole_map().shards) > highest
    events = [event["text"] for event in Operator(owned).ask("journal")["events"]]
    assert any("stopped in order" in text for text in events)


@pytest.mark.parametrize("accepted", ["by flag", "by command"])
def test_after_a_kill_the_shards_are_lost_until_that_is_accepted(
    owned: Spawning, logged_errors: LoggedErrors, accepted: str
) -> None:
    owned.service.planner = None  # as good as killed
    owned.service.stopService()
    for process in owned.running():
        process.end(signal=9)
    owned.machine.pump_seconds(3, 0.1)
    owned.disk.stopped_in_order = False
    owned.restart(accept_loss=accepted == "by flag")
    if accepted == "by command":
        assert "twistedkv admin accept-loss all" in logged_errors.events[0]["command"] + " admin accept-loss all"
        assert logged_errors.events[0]["count"] == 6
        logged_errors.events.clear()
    owned.register()
    owned.pump(1)
    operator = Operator(owned)
    if accepted == "by command":
        assert operator.ask("status")["lost"] == [0, 1, 2, 3, 4, 5]
        assert len(operator.ask("accept-loss", shard="all")["shards"]) == 6
        owned.pump(3)
    assert operator.ask("status")["healthy"]


# Servers that outlive the coordinator.


@pytest.fixture
def outliving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spawning]:
    """A `coordinator --spawn`."""
    spawning = Spawning(tmp_path, monkeypatch, owns=False).begin()
    yield spawning
    spawning.stop()
    assert spawning.machine.getDelayedCalls() == []


def test_daemons_are_not_bound_to_us_and_are_recorded(outliving: Spawning) -> None:
    process = outliving.machine.processes[0]
    assert "--die-with-parent" not in process.args
    assert PARENT_VARIABLE not in process.env
    assert process.files[0] != "w"
    boot = processes.boot_id()
    assert outliving.disk.processes == [
        SpawnedProcess(p.server_id, p.pid, p.pid + 7, boot) for p in outliving.machine.processes
    ]


def test_the_next_coordinator_takes_them_back(outliving: Spawning) -> None:
    outliving.stop()
    assert len(outliving.running()) == 3
    assert not any(server.told_to_end for server in outliving.servers)
    outliving.restart()
    for server in outliving.servers:
        server.connect()
    outliving.pump(3)
    assert len(outliving.machine.processes) == 3
    assert Operator(outliving).ask("status")["healthy"]


def test_one_that_has_gone_meanwhile_is_started_again(outliving: Spawning) -> None:
    outliving.stop()
    outliving.machine.processes[0].running = False
    outliving.restart()
    assert len(outliving.machine.processes) == 4
    for server in outliving.servers[1:]:
        server.connect()
    outliving.register()
    outliving.pump(4)
    assert Operator(outliving).ask("status")["healthy"]


def test_one_that_goes_later_is_noticed_without_being_our_child(outliving: Spawning) -> None:
    outliving.stop()
    outliving.restart()
    for server in outliving.servers:
        server.connect()
    outliving.pump(1)
    outliving.machine.processes[0].running = False
    outliving.servers[0].connection.abort()  # type: ignore[union-attr]
    outliving.pump(1)
    assert len(outliving.machine.processes) == 4
    outliving.register()
    outliving.pump(3)
    assert Operator(outliving).ask("status")["healthy"]


def test_a_frozen_one_is_killed_by_pid_and_a_stranger_with_its_pid_is_not(outliving: Spawning) -> None:
    outliving.stop()
    outliving.restart()
    for server in outliving.servers:
        server.connect()
    outliving.pump(1)
    frozen, other = outliving.servers[:2]
    frozen.obeys = False
    outliving.pump(1.5)
    assert outliving.signals == [(frozen.pid, signal.SIGKILL)]
    outliving.signals.clear()
    outliving.start_times[other.pid] = 999
    other.obeys = False
    outliving.pump(1.5)
    assert outliving.signals == []
    outliving.register()
    outliving.pump(1)


def test_a_record_of_another_boot_means_nothing(outliving: Spawning) -> None:
    outliving.stop()
    outliving.disk.processes = [attrs.evolve(p, boot="another") for p in outliving.disk.processes]
    outliving.restart()
    assert len(outliving.machine.processes) == 6


def test_processes_that_cannot_be_recorded_run_all_the_same(outliving: Spawning, logged_errors: LoggedErrors) -> None:
    def fails(processes: Any) -> None:
        raise OSError("full")

    outliving.service.store.record_processes = fails  # type: ignore[method-assign]
    outliving.machine.processes[0].end(signal=9)
    outliving.pump(0.5)
    assert len(outliving.running()) == 3
    assert logged_errors.flush(OSError)
    outliving.register()
    outliving.pump(1)


def test_our_own_start_time_is_known() -> None:
    assert processes.start_time(os.getpid()) > 0
    assert processes.start_time(2**22 + 1) == 0
    assert processes.boot_id()
