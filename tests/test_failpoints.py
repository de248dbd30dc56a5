"""Failpoints: what may be asked for, and that it happens once, to the right process."""

from __future__ import annotations

import os
import signal

import pytest

from twistedkv.errors import ConfigurationError
from twistedkv.failpoints import Failpoint, Failpoints, parse


def test_a_point_is_parsed() -> None:
    assert parse("recovery.promoted:kill:S_b") == Failpoint("recovery.promoted", "kill", "S_b", 1)
    assert parse("recovery.filled:freeze:S_aa:3") == Failpoint("recovery.filled", "freeze", "S_aa", 3)


@pytest.mark.parametrize(
    "text", ["", "recovery.promoted", "recovery.promoted:kill", "x:kill:S_a", "recovery.sealed:stop:S_a",
             "recovery.sealed:kill:S_z", "recovery.sealed:kill:S_a:x"],
)  # fmt: skip
def test_what_is_none_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TWISTEDKV_FAIL: expected name:action:target"):
        parse(text)


def test_without_the_variable_nothing_is_armed() -> None:
    points = Failpoints.from_environment({})
    assert not points.armed
    assert points.passed("recovery.promoted", {"S_b": 1}) is None


def test_it_fires_once_at_its_time_at_its_target() -> None:
    killed: list[tuple[int, int]] = []
    points = Failpoints(parse("recovery.promoted:freeze:S_b:2"), lambda pid, number: killed.append((pid, number)))
    assert points.armed
    assert points.wants("recovery.promoted")
    assert not points.wants("recovery.sealed")
    assert points.passed("recovery.sealed", {"S_b": 5}) is None
    assert points.passed("recovery.promoted", {"S_a": 5}) is None, "nobody plays the role: it does not count"
    assert points.passed("recovery.promoted", {"S_b": 5}) is None, "the first time"
    assert points.passed("recovery.promoted", {"S_b": 6}) == 6
    assert killed == [(6, signal.SIGSTOP)]
    assert not points.armed
    assert points.passed("recovery.promoted", {"S_b": 7}) is None


def test_the_coordinator_is_this_process() -> None:
    killed: list[tuple[int, int]] = []
    points = Failpoints(parse("recovery.sealed:kill:coordinator"), lambda pid, number: killed.append((pid, number)))
    assert points.passed("recovery.sealed", {}) == os.getpid()
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_a_process_that_is_gone_does_not_count() -> None:
    def kill(pid: int, number: int) -> None:
        raise ProcessLookupError

    points = Failpoints(parse("recovery.sealed:kill:S_a"), kill)
    assert points.passed("recovery.sealed", {"S_a": 5}) is None
    assert points.armed
