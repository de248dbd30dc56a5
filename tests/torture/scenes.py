"""Answers of a coordinator, and a cluster that is none, for the tests of what is done to one."""

from __future__ import annotations

import signal
from typing import Any

from twistedkv.errors import OperationError
from twistedkv.torture.promise import Look

HEARTBEAT_SECONDS = 0.2


class FakeCluster:
    """Three servers (or more), each pair of which holds a shard, and what was done to them.

    A killed server comes back when `replace` is called, a killed coordinator when it is started.
    """

    def __init__(self, servers: int = 3, copies: int = 2) -> None:
        self.copies = copies
        self.pids = {server: 100 * server for server in range(1, servers + 1)}
        self.stores = {server: f"store-{server}" for server in self.pids}
        self.failed: set[int] = set()
        self.silent: dict[int, float] = {}
        self.coordinator_pid = 7
        self.away = False
        """The coordinator does not answer."""
        self.signals: list[tuple[int, signal.Signals]] = []
        self.starts = 0
        self.switched: list[tuple[int, int]] = []
        self.refuses_switches = False
        self.healthy = True

    @property
    def shards(self) -> list[list[int]]:
        """Members of each shard, the primary first: every server with those after it."""
        servers = list(self.pids)
        return [[servers[(i + j) % len(servers)] for j in range(self.copies)] for i in range(len(servers))]

    def make_look(self) -> Look:
        status = {
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            "healthy": self.healthy and not self.failed,
            "servers": [
                {
                    "id": server,
                    "pid": pid,
                    "store": self.stores[server],
                    "state": "failed" if server in self.failed else "active",
                    "last_beat_seconds": None if server in self.failed else self.silent.get(server, 0.1),
                    "primaries": 1,
                    "secondaries": self.copies - 1,
                    "learners": 0,
                    "keys": 10,
                }
                for server, pid in self.pids.items()
            ],
            "shards": [{"shard": n, "secondaries": members[1:]} for n, members in enumerate(self.shards)],
        }
        members = [
            [{"server_id": server, "store_id": self.stores[server]} for server in shard if server not in self.failed]
            for shard in self.shards
        ]
        shards = [
            {"shard": n, "primary": alive[0], "secondaries": alive[1:], "learners": [], "lost": False}
            for n, alive in enumerate(members)
            if alive
        ]
        return Look(status, {"shards": shards})

    async def look(self) -> Look | None:
        return None if self.away else self.make_look()

    async def switch(self, shard: int, server_id: int) -> float:
        if self.refuses_switches:
            raise OperationError("the target has failed")
        self.switched.append((shard, server_id))
        return 0.008

    def start_coordinator(self) -> None:
        self.starts += 1
        self.coordinator_pid = 7 + self.starts
        self.away = False

    def signal(self, pid: int, number: signal.Signals) -> bool:
        known = [self.coordinator_pid, *self.pids.values()]
        if pid not in known:
            return False
        self.signals.append((pid, number))
        if number == signal.SIGKILL:
            if pid == self.coordinator_pid:
                self.coordinator_pid, self.away = 0, True
            else:
                self.failed.add(self.server_of(pid))
        return True

    def server_of(self, pid: int) -> int:
        return next(server for server, own in self.pids.items() if own == pid)

    def replace(self, server: int) -> None:
        """Another process is this server now, and has everything."""
        self.failed.discard(server)
        self.pids[server] += 1
        self.stores[server] += "+"

    def sent(self, name: str) -> list[Any]:
        """The pids that got this signal."""
        return [pid for pid, number in self.signals if number.name == name]
