"""A cluster of three servers with line ports that are known before."""

from __future__ import annotations

import random
import signal
import socket
from pathlib import Path

from tests.live.cluster import Cluster, send

SERVERS = 3


def free_row(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    while True:
        first = random.SystemRandom().randrange(15_000, 29_000)
        if all(map(_free, range(first, first + count))):
            return first


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class LineCluster(Cluster):
    """`cluster`, and the places where its servers listen for clients of Redis.

    moved  whether clients are sent to the server that has their keys
    """

    def __init__(self, directory: Path, *, moved: bool = False) -> None:
        self.line_ports = [free_row(SERVERS)]
        self.line_ports += [self.line_ports[0] + place for place in range(1, SERVERS)]
        self.moved = moved
        super().__init__(directory, servers=SERVERS, line_port=self.line_ports[0])

    def begin(self) -> None:
        """Start it, and wait until every shard is served."""
        self.start_cluster(*(["--moved"] if self.moved else []))
        assert all(server["state"] == "active" for server in self.healthy()["servers"])

    def kill(self, place: int) -> int:
        """SIGKILL for the server at this place of `line_ports`: its pid."""
        pid = self.pids()[place + 1]
        send(pid, signal.SIGKILL)
        return pid
