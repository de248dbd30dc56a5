"""Failpoints: what may be asked for, and that it happens once, to the right process."""

from __future__ import annotations

import os
import signal

import pytest

from twistedkv.errors import ConfigurationError
from twistedkv.failpoints import DURABLE_NAMES, EXIT_CODE, Failpoint, Failpoints, parse


def test_a_point_is_parsed() -> None:
    assert parse("recovery.promoted:kill:S_b") == Failpoint("recovery.promoted", "kill", "S_b", 1)
    assert parse("recovery.filled:freeze:S_aa:3") == Failpoint("recovery.filled", "freeze", "S_aa", 3)
    assert parse("mapstore.before_apply") == Failpoint("mapstore.before_apply", "", "", 1)
    assert parse("mapstore.after_apply:7") == Failpoint("mapstore.after_apply", "", "", 7)


@pytest.mark.parametrize(
    "text", ["", "recovery.promoted", "recovery.promoted:kill", "x:kill:S_a", "recovery.sealed:stop:S_a",
             "recovery.sealed:kill:S_z", "recovery.sealed:kill:S_a:x", "mapstore.apply:1"],
)  # fmt: skip
def test_what_is_none_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TWISTEDKV_FAIL: expected name:action:target.*mapstore.before_apply"):
        parse(text)


def test_a_durable_step_takes_a_count_and_nothing_else() -> None:
    with pytest.raises(ConfigurationError, match=r"expected mapstore.after_apply\[:count\], got"):
        parse("mapstore.after_apply:kill:S_b")


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


@pytest.mark.parametrize("name", DURABLE_NAMES)
def test_the_process_that_passes_a_durable_step_that_often_ends_at_once(name: str) -> None:
    ended: list[int] = []
    points = Failpoints(parse(f"{name}:3"), end=ended.append)
    assert points.durable
    for _ in range(2):
        points.passed_durable(name)
        points.passed_durable("another.step")
    assert ended == []
    points.passed_durable(name)
    assert ended == [EXIT_CODE]
    assert points.passed("recovery.sealed", {"S_a": 5}) is None


def test_other_points_end_no_process_at_a_durable_step() -> None:
    ended: list[int] = []
    for points in (Failpoints(end=ended.append), Failpoints(parse("recovery.sealed:kill:S_a"), end=ended.append)):
        assert not points.durable
        points.passed_durable("mapstore.after_apply")
    assert ended == []
