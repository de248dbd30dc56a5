"""`twistd twistedkv cluster`: real processes, used, killed, frozen and ended."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.live.cluster import Cluster, send, wait_for
from tests.live.load import Load, shard_of
from twistedkv.errors import ShardLost, VersionMismatch

OPERATIONS = 400
"""So many acknowledged ones are waited for where there is to be load."""


def more(load: Load, operations: int = OPERATIONS) -> None:
    """Wait until so many more operations have been acknowledged."""
    before = load.done()
    wait_for(f"{operations} more acknowledged operations", lambda: load.done() >= before + operations)


def test_every_operation_of_the_client_and_of_the_command_line(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_cluster()
        with cluster.client() as client:
            first = client.put(b"key", b"value")
            assert client.get(b"key") == (b"value", first)
            second = client.cas(b"key", b"other", first)
            with pytest.raises(VersionMismatch) as mismatch:
                client.cas(b"key", b"third", first)
            assert mismatch.value.found == second
            assert [client.incr(b"n").value, client.incr(b"n", 41).value] == [1, 42]
            assert client.delete(b"key") is not None
            assert (client.get(b"key"), client.delete(b"key")) == (None, None)
            pairs = {b"many-%d" % i: os.urandom(i) for i in range(300)}
            assert set(client.mput(pairs)) == set(pairs)
            found = client.mget([*pairs, b"none"])
            assert {key: value and value.value for key, value in found.items()} == pairs | {b"none": None}
            assert {item.key: item.value for item in client.scan(b"many-", values=True, page=50)} == pairs
            checks = client.verify(b"many-7", pairs[b"many-7"])
            assert {(check.role, check.matches) for check in checks} == {("primary", True), ("secondary", True)}
            assert {check.server for check in checks} <= {1, 2, 3}

        run = cluster.command
        run("put", "greeting", "hello")
        assert run("get", "greeting").strip() == "hello"
        version = json.loads(run("get", "--json", "greeting"))["version"]
        run("cas", "greeting", "hi", "--expect", version)
        run("verify", "greeting", "hi")
        assert run("incr", "n").strip() == "43"
        run("mput", "a", "1", "b", "2")
        assert "1" in run("mget", "a", "b")
        assert len(run("scan", "--prefix", "many-").split()) >= 300
        run("delete", "greeting")
        assert cluster.cli(cluster.address, "get", "greeting").returncode == 1
        assert json.loads(run("status", "--json"))["healthy"] is True


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_server_fails_under_load_and_nothing_acknowledged_is_lost(tmp_path: Path, signal_number: int) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_cluster()
        with Load(cluster.address) as load:
            more(load)
            victim = cluster.pids()[random.randrange(1, 4)]
            send(victim, signal_number)
            cluster.healed(victim)
            more(load)
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=2) == []


def test_servers_that_are_only_frozen_are_taken_back_with_the_last_copies(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_cluster()
        pairs = {b"key-%d" % i: b"value" for i in range(200)}
        cluster.shared.mput(pairs)
        pids = cluster.pids()
        for server in (1, 2):
            send(pids[server], signal.SIGSTOP)
        cluster.status_when("the shards on both are lost", lambda status: len(status["lost"]) == 4)
        for server in (1, 2):
            send(pids[server], signal.SIGCONT)
        assert cluster.healthy()["lost"] == []
        assert {key: value and value.value for key, value in cluster.shared.mget(pairs).items()} == pairs


def test_three_copies_on_five_servers_survive_two_at_once(tmp_path: Path) -> None:
    with Cluster(tmp_path, servers=5, copies=3, shards=10) as cluster:
        cluster.start_cluster()
        with Load(cluster.address) as load:
            more(load)
            victims = [cluster.pids()[server] for server in random.sample(range(1, 6), 2)]
            for victim in victims:
                send(victim, signal.SIGKILL)
            assert cluster.healed(*victims)["lost"] == []
            more(load)
        assert load.failures == {}, load.last_errors
        assert load.check(cluster.shared, copies=3) == []


def test_primaries_and_secondaries_dump_the_same(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_cluster()
        with Load(cluster.address) as load:
            more(load)
        held: dict[str, dict[int, list[str]]] = {"primary": {}, "secondary": {}}
        ranges = {c.shard: c.slots for c in cluster.shared.refresh().shards}
        for server in (1, 2, 3):
            names = json.loads(cluster.command("dump", "--json", f"server_{server}"))["files"]
            assert [Path(name).name for name in names] == [f"server_{server}.primary", f"server_{server}.secondary"]
            for name in names:
                for line in Path(name).read_text("ascii").splitlines():
                    slot = int(line.split("\t")[0])
                    shard = next(shard for shard, slots in ranges.items() if slot in slots)
                    held[name.rpartition(".")[2]].setdefault(shard, []).append(line)
        assert held["primary"] == held["secondary"]
        count = sum(map(len, held["primary"].values()))
        assert count == sum(1 for _ in cluster.shared.scan()) > 50


def test_a_shard_without_a_copy_is_lost_until_that_is_accepted(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start_cluster()
        client = cluster.shared
        keys = [b"key-%d" % i for i in range(200)]
        client.mput(dict.fromkeys(keys, b"value"))
        shards = cluster.status()["shards"]
        both = {1, 2}
        gone = {s["shard"] for s in shards if {s["primary"], *s["secondaries"]} == both}
        assert gone
        pids = cluster.pids()
        for server in both:
            send(pids[server], signal.SIGKILL)

        def settled(status: dict[str, Any]) -> bool:
            return bool(status["lost"]) and all(shard["state"] in ("ok", "lost") for shard in status["shards"])

        status = cluster.status_when("all but the lost shards are whole", settled)
        assert set(status["lost"]) == gone
        assert status["healthy"] is False
        assert "LOST" in cluster.cli(cluster.address, "status").stdout.upper()
        for key in keys:
            if shard_of(client, key) in gone:
                before = time.monotonic()
                with pytest.raises(ShardLost):
                    client.get(key, deadline=30.0)
                with pytest.raises(ShardLost):
                    client.put(key, b"new", deadline=30.0)
                assert time.monotonic() - before < 15, "the answers came at the deadline, and not at once"
            else:
                assert client.get(key).value == b"value"
        refused = cluster.cli(cluster.address, "admin", "accept-loss", "--yes", min(set(range(12)) - gone))
        assert refused.returncode != 0
        assert "not lost" in refused.stderr
        for shard in gone:
            cluster.command("admin", "accept-loss", "--yes", shard)
        assert cluster.healthy()["lost"] == []
        for key in keys:
            found = client.get(key)
            assert (found is None) == (shard_of(client, key) in gone)
            client.put(key, b"again")
            assert all(check.matches for check in client.verify(key, b"again"))


@pytest.mark.parametrize("frozen", [False, True], ids=["", "with_a_frozen_child"])
def test_no_process_outlives_a_killed_cluster(tmp_path: Path, frozen: bool) -> None:
    with Cluster(tmp_path) as cluster:
        daemon = cluster.start_cluster()
        assert len(cluster.left()) == 4
        if frozen:
            send(cluster.pids()[2], signal.SIGSTOP)
        daemon.kill()
        cluster.assert_none_left()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_cluster_is_stopped_in_order_and_begins_anew(tmp_path: Path, signal_number: int) -> None:
    with Cluster(tmp_path) as cluster:
        daemon = cluster.start_cluster()
        cluster.command("put", "key", "value")
        daemon.signal(signal_number)
        assert daemon.wait() == -signal_number, "twistd ends by the signal that it was sent, when all is in order"
        cluster.assert_none_left()
        assert "Traceback" not in daemon.said()
        cluster.start_cluster()
        assert cluster.cli(cluster.address, "get", "key").returncode == 1
        cluster.command("put", "key", "value")


def test_a_killed_cluster_says_what_it_has_lost(tmp_path: Path) -> None:
    with Cluster(tmp_path, shards=3) as cluster:
        cluster.start_cluster().kill()
        cluster.assert_none_left()
        again = cluster.start("cluster", "cluster", *cluster._flags)
        status = cluster.status_when("three servers are back", lambda s: len(s["servers"]) == 3)
        assert status["lost"] == [0, 1, 2]
        assert "admin accept-loss all" in again.said()
        refused = cluster.cli(cluster.address, "put", "key", "value")
        assert (refused.returncode, "accept-loss" in refused.stderr) == (3, True), refused.stderr
        cluster.command("admin", "accept-loss", "--yes", "all")
        cluster.healthy()
        cluster.command("put", "key", "value")
