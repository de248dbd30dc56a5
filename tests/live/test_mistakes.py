"""What a user can get wrong when starting daemons ends in one sentence that says what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.live.cluster import Cluster, free_port, wait_for


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["server", "--port=x"], "--port: expected a whole number from 0 to 65535, got 'x'"),
        (["server", "--coordinator=:1"], "--coordinator: expected host:port"),
        (["cluster", "--copies=4", "--servers=3"], "4 copies need as many servers"),
        (["cluster", "--heartbeat=never"], "--heartbeat: expected a number of seconds"),
        (["coordinator", "--config=nowhere.toml"], "nowhere.toml: cannot be read"),
        ([], "coordinator, server or cluster"),
    ],
)
def test_a_wrong_option(tmp_path: Path, arguments: list[str], said: str) -> None:
    with Cluster(tmp_path) as cluster:
        done = cluster.twistd(*arguments)
        assert done.returncode != 0
        assert said in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("daemon", ["cluster", "coordinator", "server"])
def test_a_port_that_is_in_use(tmp_path: Path, daemon: str) -> None:
    with Cluster(tmp_path) as cluster, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        base = [] if daemon == "server" else [f"--base-dir={tmp_path / 'base'}"]
        done = cluster.twistd(daemon, f"--port={port}", *base)
        assert done.returncode != 0
        assert f"cannot listen on 127.0.0.1:{port}" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        cluster.assert_none_left()


def test_a_server_without_a_coordinator_says_so_and_goes_on(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        server = cluster.start("server", "server", f"--coordinator=127.0.0.1:{free_port()}")
        wait_for("it says so", lambda: "cannot reach the coordinator" in server.said())
        assert server.running
        assert "Traceback" not in server.said()


def test_a_command_without_a_coordinator(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        done = cluster.cli(cluster.address, "get", "key", "--deadline", 1)
        assert done.returncode == 3
        assert len(done.stderr.strip().splitlines()) == 1
        assert cluster.address in done.stderr


def test_a_server_of_another_cluster(tmp_path: Path) -> None:
    with Cluster(tmp_path, servers=1, copies=1, shards=1) as cluster:
        cluster.start_cluster()
        server = cluster.start("stranger", "server", f"--coordinator={cluster.address}", "--cluster=other")
        wait_for("it says so", lambda: "this is cluster 'twistedkv', not 'other'" in server.said())
        assert "Traceback" not in server.said()
