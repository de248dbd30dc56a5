"""Coordinator, servers and clients as they are, in one process, on a network and a clock in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.support.transport import MemoryNetwork, MemoryTransport
from twistedkv.client import Client
from twistedkv.clustermap import Configuration
from twistedkv.failpoints import Failpoints
from twistedkv.mapstore.memory import MemoryDisk, MemoryMapStore
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.net.client import ClientSession
from twistedkv.service.config import CoordinatorOptions, ServerOptions
from twistedkv.service.coordinator import CoordinatorService
from twistedkv.service.server import ServerService
from twistedkv.slots import slot_of

ADDRESS = ("127.0.0.1", 7400)
WAIT_SECONDS = 20.0


class Daemons:
    """A cluster. Time passes when `network` is pumped, or in `result` and `until`."""

    def __init__(self, servers: int = 3, copies: int = 2, shards: int = 3, **network: Any) -> None:
        self.network = MemoryNetwork(**network)
        self.network.advance(100)
        self.disk = MemoryDisk()
        self.options = CoordinatorOptions(servers=servers, copies=copies, shards=shards, replace_after_seconds=2.0)
        self.ended: list[ServerService] = []
        self.clients: list[Client] = []
        self.coordinator = self.start_coordinator()
        self.servers: dict[int, ServerService] = {}
        for server_id in range(1, servers + 1):
            self.start_server(server_id)
        self.until(self.healthy)

    def start_coordinator(self) -> CoordinatorService:
        """A coordinator on the store as it is."""
        self.coordinator = CoordinatorService(
            self.network,
            self.options,
            open_store=lambda: MemoryMapStore(self.disk),
            failpoints=Failpoints(),
            wall=lambda: 1.7e9 + self.network.seconds(),
        )
        self.coordinator.startService()
        return self.coordinator

    def start_server(self, server_id: int, **options: Any) -> ServerService:
        """A new process with this id."""
        chosen = ServerOptions(coordinator=ADDRESS, server_id=server_id, **options)
        server = ServerService(self.network, chosen, lambda: self.ended.append(server), wall=self.wall)
        self.servers[server_id] = server
        server.startService()
        return server

    def wall(self) -> int:
        """The servers' wall clocks, in milliseconds since 1970."""
        return int(1000 * (1.7e9 + self.network.seconds()))

    def client(self, **options: Any) -> Client:
        """A client of the cluster."""
        client = Client("{}:{}".format(*ADDRESS), reactor=self.network, **options)
        self.clients.append(client)
        return client

    def until(self, condition: Any, seconds: float = WAIT_SECONDS) -> None:
        """Let time pass until the condition holds."""
        end = self.network.seconds() + seconds
        self.network.settle()
        while not condition():
            assert self.network.seconds() < end, f"not within {seconds} s: {condition}"
            self.network.pump_seconds(0.01)

    def result(self, deferred: Deferred[Any]) -> Any:
        """What a call gives, in its time. Raises what it fails with."""
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        self.until(lambda: outcome)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    def healthy(self) -> bool:
        """Whether every shard has its copies and a primary that serves."""
        planner = self.coordinator.planner
        shards = planner.state.map.shards if planner is not None else ()
        return bool(shards) and all(
            len(shard.members) == self.options.copies and not shard.learners and self.role(shard) is ReplicaRole.PRIMARY
            for shard in shards
        )

    def role(self, shard: Configuration) -> ReplicaRole | None:
        """What the shard's primary says that it is."""
        core = self.servers[shard.primary.server_id].core
        if core is None or core.me != shard.primary or shard.shard not in core.replicas:
            return None
        return core.replicas[shard.shard].role

    def shard_of(self, key: bytes) -> Configuration:
        """The configuration of a key's shard."""
        assert self.coordinator.planner is not None
        slot = slot_of(key)
        return next(shard for shard in self.coordinator.planner.state.map.shards if slot in shard.slots)

    def primary_of(self, key: bytes) -> ServerService:
        """The server that is primary for a key."""
        return self.servers[self.shard_of(key).primary.server_id]

    def transports_of(self, server: ServerService, kind: type) -> list[MemoryTransport]:
        """The server's ends of the connections that have this kind of session."""
        return [
            transport
            for transport in self.network.transports
            if isinstance(session_of(transport), kind) and getattr(session_of(transport), "_server", None) is server
        ]

    def kill(self, server_id: int) -> None:
        """The process is gone from one moment to the next: its timers stop, its connections break."""
        server = self.servers[server_id]
        server._beating.stop()
        listening: Any = server._listening
        listening.stopListening()
        core, server.core = server.core, None
        for attempt in [*server.links._attempts.values()]:
            attempt.cancel()
        server.links._stopped = True
        registration = server._registration
        registration._stopped = True
        mine = [
            transport
            for transport in self.network.transports
            if getattr(transport.protocol, "_acceptor", None) is server._acceptor
            or getattr(session_of(transport), "_server", None) is server
            or getattr(session_of(transport), "_registration", None) is registration
        ]
        for transport in mine:
            transport.abortConnection()
        assert core is not None

    def contents(self, server_id: int, shard: Configuration) -> dict[bytes, bytes]:
        """Keys and records of a shard's copy."""
        core = self.servers[server_id].core
        assert core is not None
        return {key: record for slot in shard.slots for key, record in core.store.items(slot)}

    def stop(self) -> None:
        """End everything, and see that nothing is left."""
        for client in self.clients:
            self.result(client.close())
        for server in self.servers.values():
            server.coordinator_ends_us = True
            if server._beating.running:
                self.result(server.stopService())
        self.result(self.coordinator.stopService())
        self.network.pump_seconds(5)
        left = [call for call in self.network.getDelayedCalls() if call.active()]
        assert left == [], f"calls are left: {left}"


def session_of(transport: MemoryTransport) -> Any:
    """What the connection is used for; endpoints wrap the protocols that they make."""
    protocol = getattr(transport.protocol, "_wrappedProtocol", transport.protocol)
    return getattr(protocol, "session", None)


def sessions_of(server: ServerService) -> list[ClientSession]:
    """The server's clients."""
    return list(server._clients.values())
