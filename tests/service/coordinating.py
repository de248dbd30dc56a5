"""A coordinator on a network in memory, with servers that are played by the test and operators that ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from tests.support.transport import MemoryNetwork
from twistedkv.clustermap import ClusterMap
from twistedkv.core.handshake import make_hello
from twistedkv.errors import Status
from twistedkv.failpoints import Failpoints
from twistedkv.mapstore.memory import MemoryDisk, MemoryMapStore
from twistedkv.messages.client import MapRequest, MapUpdate, Result
from twistedkv.messages.coordinator import (
    AdminReply,
    AdminRequest,
    DumpPrimary,
    DumpSecondary,
    Heartbeat,
    Relinquished,
    ReplicaRole,
    Seal,
    Sealed,
    ShardReport,
    Shutdown,
    Started,
    StartedReply,
    SwitchPrimary,
    UpdatedPrimary,
    UpdatePrimary,
    UpdateSecondary,
)
from twistedkv.messages.hello import HelloReply, Role
from twistedkv.net.framed import Connection, Session, dial
from twistedkv.service.config import CoordinatorOptions
from twistedkv.service.coordinator import CoordinatorService
from twistedkv.wire.client import FAMILY as CLIENT
from twistedkv.wire.coordinator import FAMILY
from twistedkv.wire.frames import Frame

OPTIONS = CoordinatorOptions(cluster="test", port=7400, shards=6, base_dir=Path("/nonexistent"))
WALL = 1_700_000_000.0


class Process:
    """What spawnProcess was asked for."""

    def __init__(self, protocol: Any, pid: int, args: list[str], env: dict[str, str], files: dict[int, Any]) -> None:
        self.protocol, self.pid, self.args, self.env, self.files = protocol, pid, args, env, files
        self.running = True
        protocol.makeConnection(self)

    def end(self, *, code: int = 0, signal: int | None = None) -> None:
        """The process ends, and is reaped."""
        self.running = False
        error = ProcessDone(0) if code == 0 and signal is None else ProcessTerminated(code or None, signal)
        self.protocol.processExited(Failure(error))

    @property
    def server_id(self) -> int:
        """Which server it was to be."""
        return int(next(arg for arg in self.args if arg.startswith("--id=")).removeprefix("--id="))


class Machine(MemoryNetwork):
    """A reactor with processes."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.stopped = False
        self.advance(5000)

    def spawnProcess(
        self, protocol: Any, executable: str, args: Any = (), env: Any = None, path: Any = None, childFDs: Any = None
    ) -> Process:
        process = Process(protocol, 20_000 + len(self.processes), list(args), dict(env or {}), dict(childFDs or {}))
        self.processes.append(process)
        return process

    def stop(self) -> None:
        self.stopped = True


class _FakeSession:
    """One connection of a server."""

    def __init__(self, server: FakeServer, connection: Connection) -> None:
        self._server, self._connection = server, connection

    def frames_received(self, frames: list[Frame]) -> None:
        """What the coordinator wants."""
        self._server.frames_received(frames)

    def connection_lost(self, reason: str) -> None:
        """Gone."""
        if self._server.connection is self._connection:
            self._server.closed, self._server.connection = reason, None


class FakeServer:
    """A server that does what it is told, unless the test says otherwise."""

    def __init__(self, coordination: Coordination, server_id: int, *, pid: int = 0, standby: bool = False) -> None:
        self.coordination = coordination
        self.server_id = server_id
        number = coordination.next_number()
        self.store_id = number.to_bytes(16, "big")
        self.pid = pid or 30_000 + number
        self.standby = standby
        self.reports: list[ShardReport] = []
        self.map = ClusterMap.empty()
        self.received: list[Any] = []
        self.refuses_to_switch = False
        self.obeys = True
        self.connection: Connection | None = None
        self.closed: str | None = None
        self.beats = 0
        self.connect()

    def connect(self) -> None:
        """Dial, and say Started."""

        def connected(connection: Connection, reply: HelloReply) -> Session:
            self.connection, self.closed = connection, None
            return _FakeSession(self, connection)

        hello = make_hello(Role.SERVER, "test", self.server_id, self.store_id)
        dialing = dial(self.coordination.machine, "127.0.0.1", 7400, hello, connected)
        dialing.addCallbacks(lambda _: self.introduce(), lambda _: None)
        self.coordination.machine.settle()

    def introduce(self) -> None:
        """Started."""
        self.send(
            Started(
                self.server_id,
                self.store_id,
                "127.0.0.1",
                self.pid,
                0,
                0,
                self.pid,
                self.standby,
                "memory",
                self.reports,
            ),
            1,
        )

    def send(self, message: Any, request_id: int = 0) -> None:
        """To the coordinator."""
        assert self.connection is not None
        message_type, body = FAMILY.encode(message)
        self.connection.send(message_type, body, request_id)

    def frames_received(self, frames: list[Frame]) -> None:
        """What the coordinator wants."""
        for message_type, _, request_id, body in frames:
            message = FAMILY.decode(message_type, body)
            self.received.append(message)
            if isinstance(message, StartedReply):
                self.server_id = message.server_id
            elif isinstance(message, MapUpdate):
                self.map = self.map.merged(message.map)
            elif not self.obeys:
                continue
            elif isinstance(message, Seal):
                self.send(Sealed(message.shard, message.epoch, 0, True), request_id)
            elif isinstance(message, UpdatePrimary | UpdateSecondary):
                c = message.configuration
                self.send(UpdatedPrimary(c.shard, c.epoch, c.learners[0]))
            elif isinstance(message, SwitchPrimary):
                if self.refuses_to_switch:
                    self.send(Result(int(Status.SERVER_FAILURE), 0, b"not now"), request_id)
                else:
                    self.send(Relinquished(message.shard, message.epoch, 0), request_id)
            elif isinstance(message, DumpPrimary | DumpSecondary):
                name = b"primary" if isinstance(message, DumpPrimary) else b"secondary"
                self.send(Result(0, 0, b"/dumps/server_%d.%s" % (self.server_id, name)), request_id)

    def beat(self) -> None:
        """A heartbeat: primary of all that the map says."""
        if self.connection is None or not self.server_id:
            return
        self.beats += 1
        mine = [c for c in self.map.shards if c.primary.store_id == self.store_id]
        reports = [ShardReport(c.shard, c.epoch, ReplicaRole.PRIMARY, 7, 7) for c in mine]
        self.send(Heartbeat(self.server_id, self.store_id, self.beats, self.map.version, 10, 1000, reports, []))

    def got(self, kind: type) -> list[Any]:
        """The messages of a kind that were received."""
        return [message for message in self.received if isinstance(message, kind)]

    @property
    def told_to_end(self) -> bool:
        """Whether Shutdown has come."""
        return bool(self.got(Shutdown))


class Operator:
    """A client of the coordinator."""

    def __init__(self, coordination: Coordination) -> None:
        self.coordination = coordination
        self.connection: Connection | None = None
        self.replies: list[tuple[int, AdminReply]] = []
        self.results: list[Result] = []
        self.maps: list[tuple[int, ClusterMap]] = []
        self._requests = 0

        def connected(connection: Connection, reply: HelloReply) -> Session:
            self.connection = connection
            return self

        dial(coordination.machine, "127.0.0.1", 7400, make_hello(Role.CLIENT, "", 0, b"c" * 16), connected).addErrback(
            lambda _: None
        )
        coordination.machine.settle()

    def frames_received(self, frames: list[Frame]) -> None:
        """Answers."""
        for message_type, _, request_id, body in frames:
            if message_type in CLIENT.layouts:
                message = CLIENT.decode(message_type, body)
                if isinstance(message, MapUpdate):
                    self.maps.append((request_id, message.map))
                else:
                    self.results.append(message)
            else:
                self.replies.append((request_id, FAMILY.decode(message_type, body)))

    def connection_lost(self, reason: str) -> None:
        """Gone."""
        self.connection = None

    def request(self, message: Any) -> int:
        """A request of the client family."""
        self._requests += 1
        assert self.connection is not None
        message_type, body = CLIENT.encode(message)
        self.connection.send(message_type, body, self._requests)
        self.coordination.machine.settle()
        return self._requests

    def subscribe(self) -> None:
        """Have the map, now and later."""
        self.request(MapRequest(True))

    def ask_bytes(self, text: bytes) -> int:
        """A command, as it stands."""
        self._requests += 1
        assert self.connection is not None
        message_type, body = FAMILY.encode(AdminRequest(text))
        self.connection.send(message_type, body, self._requests)
        self.coordination.machine.settle()
        return self._requests

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """A command; its answer, which has to come at once. An error has status in "status"."""
        request_id = self.ask_bytes(json.dumps({"command": command, **arguments}).encode())
        return self.answer(request_id)

    def answer(self, request_id: int) -> dict[str, Any]:
        """The last answer to a request."""
        reply = [reply for number, reply in self.replies if number == request_id][-1]
        answer: dict[str, Any] = json.loads(reply.json)
        if reply.status != Status.SUCCESS:
            answer["status"] = Status(reply.status)
        return answer


class Coordination:
    """A coordinator service, and everybody who talks to it."""

    def __init__(self, options: CoordinatorOptions = OPTIONS, failpoints: Failpoints | None = None) -> None:
        self.machine = Machine()
        self.disk = MemoryDisk()
        self.options = options
        self.failpoints = failpoints or Failpoints()
        self.servers: list[FakeServer] = []
        self._number = 0
        self.service = self.make()

    def make(self, kind: type[CoordinatorService] = CoordinatorService) -> CoordinatorService:
        """A service over the same disk."""
        return kind(
            self.machine,
            self.options,
            open_store=lambda: MemoryMapStore(self.disk),
            failpoints=self.failpoints,
            wall=lambda: WALL,
        )

    def next_number(self) -> int:
        """For store ids and pids."""
        self._number += 1
        return self._number

    def start(self, servers: int = 3) -> Coordination:
        """Start, and form the cluster."""
        self.service.startService()
        for i in range(servers):
            self.server(i + 1)
        self.pump(0.5)
        return self

    def server(self, server_id: int = 0, **options: Any) -> FakeServer:
        """Another server."""
        server = FakeServer(self, server_id, **options)
        self.servers.append(server)
        return server

    def pump(self, seconds: float) -> None:
        """Let time pass, with heartbeats."""
        for i in range(round(seconds / 0.05)):
            if i % 4 == 0:
                for server in self.servers:
                    if server.obeys:
                        server.beat()
            self.machine.pump_seconds(0.05, 0.05)

    def stop(self) -> None:
        """Stop the service, and let everything end."""
        done: list[Any] = []
        self.service.stopService().addBoth(done.append)
        self.machine.pump_seconds(8, 0.1)
        assert done == [None], done

    def restart(self, **changes: Any) -> None:
        """Another coordinator, over the same disk."""
        self.options = attrs.evolve(self.options, **changes)
        self.service = self.make(type(self.service))
        self.service.startService()
