"""Real servers with little memory: what is refused, what goes on, and where there is room."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.live.cluster import Cluster, wait_for
from twistedkv.errors import OutOfSpace
from twistedkv.resp import replies

VALUE = bytes(10_000)
LIMIT = "6MB"


def fill(cluster: Cluster, most: int = 5000) -> list[bytes]:
    """Store values until one is refused. The keys."""
    stored: list[bytes] = []
    for number in range(most):
        key = b"filling:%d" % number
        try:
            cluster.shared.put(key, VALUE)
        except OutOfSpace as error:
            assert "past the high mark of its space" in str(error)
            return stored
        stored.append(key)
    raise AssertionError("nothing was refused")


def on_the_line(port: int, *command: bytes) -> bytes:
    """What a line port answers, as bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(replies.bulks(list(command)))
        return line.recv(65536)


def test_a_full_cluster_refuses_what_grows_and_nothing_else(tmp_path: Path) -> None:
    with Cluster(tmp_path, servers=2, memory_limit=LIMIT) as cluster:
        cluster.start_cluster()
        stored = fill(cluster)
        assert 400 < len(stored) < 600

        def seen(status: dict[str, Any]) -> bool:
            return bool(status["shortages"]) and any(each["space"] == "high" for each in status["servers"])

        status = cluster.status_when("that is seen", seen)
        assert status["healthy"]
        assert all(server["memory_used"] <= server["memory_limit"] == 6_000_000 for server in status["servers"])
        port = status["servers"][0]["line_port"]
        assert on_the_line(port, b"SET", b"{filling:1}new", bytes(100_000)).startswith(b"-OOM not executed: ")
        client = cluster.shared
        assert client.get(stored[0]).value == VALUE  # type: ignore[union-attr]
        client.put(stored[0], bytes(9_000))
        for key in stored[1:200]:
            assert client.delete(key) is not None

        def goes_on() -> bool:
            try:
                client.put(b"new", VALUE)
            except OutOfSpace:
                return False
            return True

        wait_for("writes go on", goes_on)
        text = cluster.command("status")
        assert "5.7 MiB" in text
        journal = cluster.command("journal")
        assert "is past its high mark" in journal, "and perhaps past its low one, if a heartbeat came in between"


@pytest.mark.parametrize("eviction", ["lru", "ttl"])
def test_a_cache_never_refuses(tmp_path: Path, eviction: str) -> None:
    with Cluster(tmp_path, servers=2, memory_limit=LIMIT, eviction=eviction) as cluster:
        cluster.start_cluster()
        port = cluster.status()["servers"][0]["line_port"]
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            reader = line.makefile("rb")
            for number in range(1500):
                line.sendall(replies.bulks([b"SET", b"key:%d" % number, VALUE, b"EX", b"1000"]))
                assert reader.readline() == b"+OK\r\n", number
            line.sendall(replies.bulks([b"STRLEN", b"key:1499"]))
            assert reader.readline() == b":10000\r\n"
            reader.close()
        infos = [on_the_line(server["line_port"], b"INFO", b"stats") for server in cluster.status()["servers"]]
        evicted = [int(info.split(b"evicted_keys:")[1].split(b"\r")[0]) for info in infos]
        assert sum(evicted) > 500
        assert all(server["memory_used"] < 6_000_000 for server in cluster.status()["servers"])


def test_copies_move_to_a_server_with_room_that_is_started_for_it(tmp_path: Path) -> None:
    with Cluster(tmp_path, servers=2, memory_limit=LIMIT, servers_max=3) as cluster:
        cluster.start_cluster()
        for number in range(500):
            try:
                cluster.shared.put(b"filling:%d" % number, VALUE)
            except OutOfSpace:
                break
        status = cluster.status_when(
            "a third server has its share, and nobody is short of space",
            lambda status: (
                status["healthy"]
                and len(status["servers"]) == 3
                and all(server["space"] == "ok" for server in status["servers"])
            ),
        )
        assert status["servers"][2]["primaries"] + status["servers"][2]["secondaries"] >= 8
        cluster.shared.put(b"more", bytes(200_000))
        assert "server 3 is started: server" in cluster.command("journal")
