"""A cluster of real processes with line ports, and a real Redis, side by side."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import attrs

from tests.line.comparing import Difference, Round
from tests.live.cluster import Cluster, free_port
from tests.support.redis_server import redis_server

SERVERS = 3


def free_line_port() -> int:
    """A port that nobody listens on, like those that follow it: one for each server."""
    while True:
        first = free_port()
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + SERVERS):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


@attrs.define
class Systems:
    """Both of them, and what was compared so far."""

    cluster: Cluster
    line_port: int
    redis_port: int
    compared: int = 0
    errors: int = 0
    tolerated: int = 0
    killed: int = 0

    @property
    def ports(self) -> list[int]:
        """The line ports of all servers, by id."""
        return list(range(self.line_port, self.line_port + SERVERS))

    def play(self, random: Random, segments: int, requests_max: int, kill: bool = False) -> Difference | None:
        """Compare what some clients are told; with `kill`, a server that they do not talk to is killed meanwhile."""
        ports = self.ports
        victim = random.randrange(SERVERS) if kill else -1
        chosen = [port for index, port in enumerate(ports) if index != victim]
        clients = Round(random, chosen, self.redis_port)
        if kill:
            self.cluster.healed()  # two failures at a time are more than two copies survive
            pid = self.cluster.pids()[victim + 1]
            clients.within_segment[random.randrange(1, segments)] = lambda: os.kill(pid, signal.SIGKILL)
            self.killed += 1
        difference = clients.run(segments, requests_max)
        self.compared += clients.compared
        self.errors += clients.errors
        self.tolerated += clients.tolerated
        if kill and difference is None:
            self.cluster.healed(pid)
        return difference


@contextlib.contextmanager
def systems() -> Iterator[Systems]:
    """Start both, and end them."""
    with contextlib.ExitStack() as stack:
        redis_port = stack.enter_context(redis_server())
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="twistedkv-line-"))
        line_port = free_line_port()
        cluster = stack.enter_context(Cluster(Path(directory), servers=SERVERS, shards=6, line_port=line_port))
        cluster.start_cluster()
        cluster.healthy()
        yield Systems(cluster, line_port, redis_port)
