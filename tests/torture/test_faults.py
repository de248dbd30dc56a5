"""Faults: done when their time has come, as far as that is allowed, and followed until they are over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.torture.scenes import FakeCluster
from twistedkv.torture.faults import CONVALESCENCE_SECONDS, Faults
from twistedkv.torture.incidents import COORDINATOR, Incident
from twistedkv.torture.meter import Meter
from twistedkv.torture.plan import Fault


class Stage:
    """Faults on a cluster that is none, on a clock that the test moves."""

    def __init__(self, clock: Clock, cluster: FakeCluster, *faults: Fault) -> None:
        self.clock = clock
        self.cluster = cluster
        self.meter = Meter()
        self.faults = Faults(clock, cluster, self.meter, clock.seconds)
        self.told: list[str] = []
        self.faults.told = lambda incident: self.told.append(incident.as_text())
        self.faults.schedule(faults)

    def until(self, seconds: float) -> None:
        for tenth in range(round(self.clock.seconds() * 10) + 1, round(seconds * 10) + 1):
            self.clock.advance(tenth / 10 - self.clock.seconds())
            if not self.cluster.away:
                self.faults.seen(self.cluster.make_look(), self.clock.seconds())

    @property
    def incidents(self) -> list[Incident]:
        return self.faults.incidents


@pytest.fixture
def stage(clock: Clock) -> Iterator[Any]:
    stages: list[Stage] = []

    def make(*faults: Fault, cluster: FakeCluster | None = None) -> Stage:
        stages.append(Stage(clock, cluster or FakeCluster(), *faults))
        return stages[-1]

    yield make
    for each in stages:
        each.faults.end()
        assert each.faults.problems == []


def test_a_killed_server_is_followed_until_it_is_replaced(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "kill", server=2))
    run.until(0.9)
    assert run.incidents == []
    run.until(1.5)
    assert run.cluster.sent("SIGKILL") == [200]
    assert run.faults.state_of(2) == "killed"
    assert run.told == []
    run.cluster.replace(2)
    run.until(1.6)
    assert run.faults.state_of(2) == ""
    assert run.told == ["server 2 killed: replaced after 0.6 s, longest wait 0 ms"]
    assert run.faults.settled


def test_a_frozen_server_goes_on_after_its_time(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "freeze", server=1, seconds=0.5))
    run.meter.began(1, 1.0)
    run.until(1.3)
    assert (run.cluster.sent("SIGSTOP"), run.cluster.sent("SIGCONT")) == ([100], [])
    assert run.faults.state_of(1) == "frozen"
    run.until(1.5)
    assert run.cluster.sent("SIGCONT") == [100]
    run.meter.ended(1, 1.5, reads=True, result="ok")
    run.until(2.0)
    assert run.told == ["server 1 frozen for 0.5 s: went on, longest wait 0.50 s"]


def test_a_frozen_server_that_was_replaced_is_not_woken(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "freeze", server=1, seconds=2.0))
    run.until(2.0)
    run.cluster.failed.add(1)
    run.until(2.2)
    run.cluster.replace(1)
    run.until(3.5)
    assert run.cluster.sent("SIGCONT") == []
    assert "replaced after 1.3 s" in run.told[0]


def test_what_would_be_too_much_is_skipped(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "kill", server=2), Fault(2, 1.2, "kill", server=1), Fault(3, 1.3, "freeze", server=2))
    run.until(1.5)
    assert run.cluster.sent("SIGKILL") == [200]
    assert run.cluster.sent("SIGSTOP") == []
    assert run.told == [
        "kill server 1: skipped, shard 0 has no other healthy copy",
        "freeze server 2 for 0.0 s: skipped, server 2 is not there",
    ]
    assert [incident.skipped != "" for incident in run.incidents] == [False, True, True]
    assert len(run.faults.done) == 1


def test_a_server_that_the_coordinator_does_not_miss_yet_counts_as_killed(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "kill", server=2), Fault(2, 1.0, "kill", server=1))
    run.cluster.failed = set()
    original = run.cluster.signal

    def slow(pid: int, number: signal.Signals) -> bool:
        done = original(pid, number)
        run.cluster.failed.clear()
        return bool(done)

    run.cluster.signal = slow
    run.until(1.1)
    assert run.cluster.sent("SIGKILL") == [200]


@pytest.mark.parametrize("pause, allowed", [(CONVALESCENCE_SECONDS - 0.2, False), (CONVALESCENCE_SECONDS + 0.2, True)])
def test_a_server_that_was_frozen_is_not_well_at_once(stage: Any, pause: float, allowed: bool) -> None:
    run = stage(Fault(1, 1.0, "freeze", server=2, seconds=0.5), Fault(2, 1.5 + pause, "kill", server=1))
    run.until(4.0)
    assert run.cluster.sent("SIGKILL") == ([100] if allowed else [])


def test_two_are_killed_where_there_are_three_copies(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "kill-two", server=1, second=2, seconds=0.3), cluster=FakeCluster(5, 3))
    run.until(1.2)
    assert run.cluster.sent("SIGKILL") == [100]
    run.until(1.4)
    assert run.cluster.sent("SIGKILL") == [100, 200]
    run.cluster.replace(1)
    run.until(1.6)
    assert run.told == []
    run.cluster.replace(2)
    run.until(1.8)
    assert run.told == ["servers 1 and 2 killed: replaced after 0.7 s, longest wait 0 ms"]


def test_the_second_of_two_is_spared_when_that_would_be_too_much(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "kill-two", server=1, second=2, seconds=0.3), cluster=FakeCluster(5, 3))
    run.until(1.2)
    run.cluster.silent[3] = 5.0
    run.until(1.4)
    run.cluster.replace(1)
    run.until(1.6)
    assert run.cluster.sent("SIGKILL") == [100]
    assert "server 1 killed, the other one spared: replaced" in run.told[0]


def test_the_coordinator_is_killed_and_started_again(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "kill-coordinator", seconds=0.5), Fault(2, 1.2, "kill", server=1))
    run.meter.began(1, 1.2)
    run.meter.ended(1, 1.2, reads=True, result="ok")
    run.until(1.4)
    assert run.cluster.sent("SIGKILL") == [7]
    assert run.faults.state_of(COORDINATOR) == "killed"
    assert run.told == ["kill server 1: skipped, the coordinator is away"]
    run.until(2.0)
    assert run.cluster.starts == 1
    assert run.told[1] == "coordinator killed: back after 0.5 s, 1 operations meanwhile"


def test_the_coordinator_is_frozen(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "freeze-coordinator", seconds=0.5), Fault(2, 1.2, "switch", shard=0))
    run.until(2.5)
    assert (run.cluster.sent("SIGSTOP"), run.cluster.sent("SIGCONT"), run.cluster.starts) == ([7], [7], 0)
    assert run.told == [
        "switch shard 0: skipped, the coordinator is away",
        "coordinator frozen for 0.5 s: 0 operations meanwhile",
    ]


def test_a_shard_is_switched_to_another_copy(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "switch", shard=1))
    run.until(1.1)
    assert run.cluster.switched == [(1, 3)]
    assert run.told == ["shard 1 switched to server 3: done in 8 ms, longest wait 0 ms"]


def test_a_switch_that_was_refused_is_told(stage: Any) -> None:
    run = stage(Fault(1, 1.0, "switch", shard=1))
    run.cluster.refuses_switches = True
    run.until(1.1)
    assert run.told == ["shard 1 switched to server 3: not done: the target has failed"]
    assert run.faults.settled


def test_at_the_end_everybody_is_woken_and_the_coordinator_started(stage: Any) -> None:
    run = stage(
        Fault(1, 1.0, "freeze", server=1, seconds=3.0),
        Fault(2, 1.1, "kill-coordinator", seconds=3.0),
        Fault(3, 2.0, "kill", server=3),
    )
    run.until(1.5)
    run.faults.end()
    assert run.cluster.sent("SIGCONT") == [100]
    assert run.cluster.starts == 1
    assert not run.faults.settled
    run.until(3.0)
    assert run.cluster.sent("SIGKILL") == [7]
    assert run.faults.settled
