"""Daemons that were started one by one: no parent among them, and each can go and come back alone."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.cluster import Cluster, Daemon, wait_for
from tests.live.load import Load
from tests.live.test_cluster import more


@contextmanager
def by_hand(directory: Path, servers: int = 3, **options: Any) -> Iterator[tuple[Cluster, Daemon, list[Daemon]]]:
    """A coordinator and servers, formed and healthy."""
    with Cluster(directory, servers=servers, **options) as cluster:
        coordinator = cluster.start_coordinator()
        daemons = [cluster.start_server(f"server_{i + 1}", f"--id={i + 1}") for i in range(servers)]
        cluster.wait_ready(coordinator)
        cluster.healthy()
        yield cluster, coordinator, daemons


def test_a_standby_takes_over_and_the_killed_server_comes_back(tmp_path: Path) -> None:
    with by_hand(tmp_path) as (cluster, _, servers):
        cluster.start_server("standby", "--standby", "--id=4")
        cluster.status_when("the standby is there", lambda s: [x["state"] for x in s["servers"]][3:] == ["standby"])
        with Load(cluster.address) as load:
            more(load)
            servers[1].kill()
            status = cluster.status_when(
                "the standby has taken over",
                lambda s: s["healthy"] and all(2 not in shard["preferred"] for shard in s["shards"]),
            )
            assert {x["id"]: x["state"] for x in status["servers"]} == {
                1: "active",
                2: "failed",
                3: "active",
                4: "active",
            }
            more(load)
            again = cluster.start_server("server_2_again", "--id=2")
            cluster.status_when(
                "the server that was killed has copies again",
                lambda s: s["healthy"] and any(2 in [x["primary"], *x["secondaries"]] for x in s["shards"]),
            )
            more(load)
            assert again.running
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=2) == []


def test_survivors_take_over_when_nobody_else_is_there(tmp_path: Path) -> None:
    with by_hand(tmp_path, replace_after=1) as (cluster, _, servers), Load(cluster.address) as load:
        more(load)
        servers[0].kill()
        cluster.status_when(
            "the survivors hold everything",
            lambda s: s["healthy"] and all(1 not in shard["preferred"] for shard in s["shards"]),
        )
        more(load)
        load.stop()
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=2) == []


def test_reads_and_writes_go_on_without_a_coordinator(tmp_path: Path) -> None:
    with by_hand(tmp_path) as (cluster, coordinator, _), Load(cluster.address) as load:
        more(load)
        coordinator.kill()
        began = time.monotonic()
        while time.monotonic() - began < 3:
            more(load, 200)
        again = cluster.start_coordinator()
        cluster.wait_ready(again)
        cluster.healthy()
        more(load)
        load.stop()
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=2) == []


def test_a_server_that_is_killed_while_the_coordinator_is_away_is_replaced_later(tmp_path: Path) -> None:
    with by_hand(tmp_path) as (cluster, coordinator, servers):
        cluster.start_server("standby", "--standby", "--id=4")
        cluster.status_when("the standby is there", lambda s: len(s["servers"]) == 4)
        with Load(cluster.address, deadline=30.0) as load:
            more(load)
            coordinator.kill()
            servers[2].kill()
            again = cluster.start_coordinator()
            cluster.wait_ready(again)
            cluster.healed(servers[2].pid)
            more(load)
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=2) == []


def test_primaries_are_switched_back_and_forth_without_a_failed_request(tmp_path: Path) -> None:
    with by_hand(tmp_path, shards=6) as (cluster, _, _), Load(cluster.address) as load:
        more(load)
        shards = cluster.status()["shards"]
        for _ in range(2):
            for role in ("secondary", "primary"):
                for shard in shards:
                    target = shard["primary"] if role == "primary" else shard["secondaries"][0]
                    cluster.shared.admin("switch", shard=shard["shard"], server=target)
        assert [s["primary"] for s in cluster.healthy()["shards"]] == [s["primary"] for s in shards]
        cluster.command("switch", 0, f"server_{shards[0]['secondaries'][0]}")
        more(load)
        load.stop()
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=2) == []


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_server_that_is_stopped_in_order_fails_no_request(tmp_path: Path, signal_number: int) -> None:
    with by_hand(tmp_path, replace_after=1) as (cluster, _, servers), Load(cluster.address) as load:
        more(load)
        servers[1].signal(signal_number)
        assert servers[1].wait() == -signal_number
        assert "Traceback" not in servers[1].said()
        cluster.healed(servers[1].pid)
        more(load)
        load.stop()
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=2) == []


def test_spawned_servers_outlive_their_coordinator_and_are_taken_back(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        coordinator = cluster.start_coordinator("--spawn")
        cluster.wait_ready(coordinator)
        before = cluster.pids()
        with Load(cluster.address) as load:
            more(load)
            coordinator.kill()
            more(load)
            cluster.wait_ready(cluster.start_coordinator("--spawn"))
            cluster.healthy()
            assert cluster.pids() == before
            wait_for("it kills by pid", lambda: len(cluster.left()) == 4)
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=2) == []
