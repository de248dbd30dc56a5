"""The rows of the table, as far as they can be looked at without what they measure."""

from __future__ import annotations

import random

import pytest

from benchmarks import growth, heartbeats, leak, refill
from benchmarks.__main__ import LONG, LONG_SECONDS, ROWS
from benchmarks.frames import LoadError
from benchmarks.peers import etcd_version, free_ports
from twistedkv.core.commands import healthy


def test_long_rows_are_not_among_those_that_run_by_default() -> None:
    assert not set(ROWS) & set(LONG)
    assert set(LONG) == set(LONG_SECONDS)


def test_the_version_of_etcd() -> None:
    assert etcd_version("etcd Version: 3.4.23\nGit SHA: x\n") == (3, 4)
    assert etcd_version("etcd Version: 10.12.0") == (10, 12)
    assert etcd_version("") == ()


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


# Refill.


def event(second: str, name: str) -> dict[str, str]:
    return {"time": f"2026-11-25T03:32:{second}Z", "event": name}


def test_a_refill_is_from_the_first_fill_to_the_end_of_the_last() -> None:
    events = [
        event("01.000", "server.failed"),
        event("02.000", "learner.added"),
        event("02.250", "learner.added"),
        event("03.000", "learner.completed"),
        event("03.500", "learner.completed"),
        event("04.000", "switch.done"),
    ]
    assert refill.fill_seconds(events) == 1.5
    with pytest.raises(LoadError, match="no fill"):
        refill.fill_seconds(events[:3])


def test_a_refill_is_scaled_to_a_million_keys() -> None:
    assert refill.Refill(1.5, 500_000, 2.0).seconds_per_million == 3.0
    assert refill.Refill(1.5, 0, 2.0).seconds_per_million == 0.0


# Growth.


def test_half_of_the_free_memory_may_be_used() -> None:
    meminfo = "MemTotal:       8000 kB\nMemFree: 10 kB\nMemAvailable:   2000 kB\n"
    assert growth.no_room(1_000 * 1024, meminfo) == ""
    assert "they need" in growth.no_room(1_000 * 1024 + 1, meminfo)
    assert "not known" in growth.no_room(1, "MemTotal: 8000 kB\n")


# Leak.


def test_growth_of_memory_is_of_the_last_quarter_to_the_second() -> None:
    assert leak.growth([1, 2, 100, 100, 100, 9, 9, 9, 9, 103, 102, 101]) == 102 / 100
    with pytest.raises(LoadError, match="too few"):
        leak.growth([1, 2, 3])


def test_the_mix_has_all_kinds_of_commands() -> None:
    chance = random.Random(1)
    kinds = {(words[0], len(words)) for words in (leak.command(chance) for _ in range(200))}
    assert kinds == {(b"SET", 3), (b"SET", 5), (b"GET", 2), (b"DEL", 2)}


# The coordinator.


def test_simulated_servers_keep_their_coordinator_content() -> None:
    load = heartbeats.SimulatedLoad(servers=4, shards=10, copies=3)
    for _ in range(10):
        load.beat()
    planner = load.service.planner
    assert planner is not None and healthy(planner.state)
    state = planner.state
    assert {view.keys for view in state.views.values()} == {load.servers[0].beats * heartbeats.UPDATES_PER_BEAT}
    assert sum(len(server.roles) for server in load.servers) == 30
