"""A simulated cluster: the real coordinator, the real servers and the real clients, each in a simulated process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from twistedkv.client.twisted import Client
from twistedkv.clustermap import STORE_ID_BYTES, Configuration, Member
from twistedkv.core.commands import serving, status
from twistedkv.core.server import ServerCore
from twistedkv.core.steps import Change
from twistedkv.errors import DiskFull, StorageFailed
from twistedkv.failpoints import Failpoints
from twistedkv.line.port import LinePort
from twistedkv.mapstore.memory import MemoryDisk
from twistedkv.recording.lineclient import LineClient
from twistedkv.service.config import CoordinatorOptions, ServerOptions
from twistedkv.service.coordinator import CoordinatorService
from twistedkv.service.server import ServerService
from twistedkv.simulation.disk import SimulatedMapStore, SimulatedStore
from twistedkv.simulation.network import Network, Weather
from twistedkv.simulation.platter import Platter, SimulatedDisk, SimulatedDurableStore
from twistedkv.simulation.process import Process
from twistedkv.simulation.reactor import HostClock
from twistedkv.simulation.spawning import SimulatedProcesses
from twistedkv.simulation.timeline import Timeline
from twistedkv.storage.interface import Store
from twistedkv.watermarks import NO_LIMITS, Limits

COORDINATOR_HOST = "10.0.0.100"
COORDINATOR_PORT = 7400
LINE_PORT = 7379
CLUSTER = "simulated"
BOOT_WALL_SECONDS = 1_700_000_000.0


@attrs.frozen
class Shape:
    """What the cluster is like."""

    servers: int = 3
    copies: int = 2
    min_copies: int = 1
    shards: int = 6
    heartbeat_seconds: float = 0.2
    clients: int = 3
    line_clients: int = 0
    """Clients that speak RESP, besides those."""
    clock_error: float = 0.0
    """Rates of the clocks differ from 1 by up to so much."""
    spawns: bool = False
    """The coordinator starts the servers, which outlive it."""
    durable: bool = False
    """What servers hold is on their disks."""
    moved: bool = False
    """Line clients are sent to the server that has their keys."""
    limits: Limits = NO_LIMITS
    """Of each server."""
    standbys: int = 0
    """Servers more than those, started as standbys."""

    @property
    def server_ids(self) -> range:
        """All servers, standbys last."""
        return range(1, self.servers + self.standbys + 1)

    def spawned(self, server_id: int) -> bool:
        """Whether the coordinator starts this server."""
        return self.spawns and server_id <= self.servers


class ClientProgram:
    """A process that has one client in it."""

    def __init__(self, process: Process, client_id: bytes, random: Any, deadline: float) -> None:
        self.client: Client
        self._make: Callable[[], Client] = lambda: Client(
            f"coordinator:{COORDINATOR_PORT}",
            reactor=process.reactor,
            client_id=client_id,
            random=random,
            cluster=CLUSTER,
            deadline=deadline,
        )

    def startService(self) -> None:
        """Make the client."""
        self.client = self._make()

    def stopService(self) -> Any:
        """Close it."""
        return self.client.close()


class LineClientProgram:
    """A process that has one client of the line ports in it."""

    def __init__(self, process: Process, addresses: Sequence[tuple[str, int]], random: Any) -> None:
        self.client: LineClient
        self._make: Callable[[], LineClient] = lambda: LineClient(addresses, process.reactor, random)

    def startService(self) -> None:
        """Make the client."""
        self.client = self._make()

    def stopService(self) -> Any:
        """Close it."""
        return self.client.close()


class Cluster:
    """All processes, and what can be done to them."""

    def __init__(self, timeline: Timeline, shape: Shape, weather: Weather | None = None) -> None:
        self.timeline = timeline
        self.shape = shape
        self.network = Network(timeline, weather)
        self.network.names["coordinator"] = COORDINATOR_HOST
        self.disk = MemoryDisk(identity=b"simulated cluster"[:16])
        self.processes: dict[str, Process] = {}
        """By name; of each the newest."""
        self.server_exited: Callable[[int, Process], None] = lambda server_id, process: None
        self.coordinator_exited: Callable[[], None] = lambda: None
        self.store_faults: Callable[[str], None] = lambda moment: None
        """Called before and after each change of the coordinator's store; may raise, or kill the coordinator."""
        self.storage_faults: Callable[[int], bool] = lambda server_id: False
        """Asked whether what this server is about to store fails."""
        self.platters: dict[int, Platter] = {}
        """The disks of servers, if they are durable."""
        self.disk_seconds: Callable[[int], float] = lambda server_id: 0.001
        """How long the disk of a server takes for a batch."""
        self.disk_full: Callable[[int], bool] = lambda server_id: False
        """Asked whether the disk of a server has no room for a batch."""
        self.spawn_faults: Callable[[], None] = lambda: None
        """Called before the coordinator starts a server; may raise OSError."""
        self.stored: Callable[[Change, dict[int, Configuration]], None] = lambda change, before: None
        """Told of each change of the coordinator's store, and of the configurations before it."""
        self._identities = timeline.stream("identities")
        self._clocks: dict[str, HostClock] = {}
        self._clock_random = timeline.stream("clocks")
        self._pid = 1000

    def _store_fault(self, moment: str) -> None:
        self.store_faults(moment)

    def _spawn_fault(self) -> None:
        self.spawn_faults()

    def _has_stored(self, change: Change, before: dict[int, Configuration]) -> None:
        self.stored(change, before)

    # Processes.

    def _process(
        self,
        name: str,
        host: str,
        make: Callable[[Process], Any],
        exited: Callable[[Process, str], None] = lambda process, how: None,
        start_seconds: float = 0.0,
    ) -> Process:
        clock = self._clocks.get(host)
        if clock is None:
            error = self.shape.clock_error
            rate = 1.0 + self._clock_random.uniform(-error, error)
            clock = self._clocks[host] = HostClock(rate, self._clock_random.uniform(10.0, 1e6))
        self._pid += 1
        process = Process(self.timeline, self.network, name, host, self._pid, clock, make, exited, start_seconds)
        self.processes[name] = process
        return process

    @staticmethod
    def host_of(server_id: int) -> str:
        """Address of a server's host."""
        return f"10.0.0.{server_id}"

    def start_coordinator(self) -> Process:
        """Start the coordinator, with what is on its disk."""
        shape = self.shape
        options = CoordinatorOptions(
            cluster=CLUSTER,
            host=COORDINATOR_HOST,
            port=COORDINATOR_PORT,
            servers=shape.servers,
            copies=shape.copies,
            min_copies=shape.min_copies,
            shards=shape.shards,
            heartbeat_seconds=shape.heartbeat_seconds,
            spawn=shape.spawns,
        )

        def make(process: Process) -> CoordinatorService:
            chance = self.timeline.stream(f"spawning, pid {process.pid}")
            return CoordinatorService(
                process.reactor,
                options,
                open_store=lambda: SimulatedMapStore(self.disk, process, self._store_fault, self._has_stored),
                failpoints=Failpoints(),
                processes=SimulatedProcesses(process, self.processes, self.start_server, self._spawn_fault, chance),
                wall=lambda: BOOT_WALL_SECONDS + self.timeline.now,
            )

        return self._process("coordinator", COORDINATOR_HOST, make, lambda process, how: self.coordinator_exited())

    def start_server(
        self,
        server_id: int,
        exited: Callable[[Process, str], None] = lambda process, how: None,
        start_seconds: float = 0.0,
    ) -> Process:
        """Start a server, with nothing in memory. Its parent, if it has one, is told of its end by `exited`."""
        host = self.host_of(server_id)
        options = ServerOptions(
            coordinator=(COORDINATOR_HOST, COORDINATOR_PORT),
            cluster=CLUSTER,
            server_id=server_id,
            host=host,
            standby=server_id > self.shape.servers,
            line_port=LINE_PORT,
            limits=self.shape.limits,
        )

        wall = self.wall_of(host)
        disk: SimulatedDisk | None = None

        def make(process: Process) -> ServerService:
            nonlocal disk
            if self.shape.durable:
                disk = self._disk_of(server_id, process)
                store: Store = SimulatedDurableStore(disk, process)
            else:
                store = SimulatedStore(process, lambda: self.storage_faults(server_id))
            server = ServerService(
                process.reactor,
                options,
                process.end,
                open_store=lambda: store,
                write=None if disk is None else disk.perform,
                abort=process.die_here,
                store_id=self.identity_of(server_id),
                random=self.timeline.stream(f"server {server_id}, pid {process.pid}"),
                pid=process.pid,
                wall=wall,
            )
            client_id = self._identities.randbytes(16)
            chance = self.timeline.stream(f"line port {server_id}, pid {process.pid}")
            line = LinePort(server, moved=self.shape.moved, client_id=client_id, wall=wall, random=chance)
            line.setServiceParent(server)  # type: ignore[no-untyped-call]
            return server

        def has_exited(process: Process, how: str) -> None:
            if disk is not None:
                disk.process_ended()
            self.server_exited(server_id, process)
            exited(process, how)

        return self._process(f"server {server_id}", host, make, has_exited, start_seconds)

    def _disk_of(self, server_id: int, process: Process) -> SimulatedDisk:
        platter = self.platters.get(server_id)
        if platter is None:
            platter = self.platters[server_id] = Platter(self.identity_of(server_id))

        def fault() -> None:
            if self.storage_faults(server_id):
                self.timeline.tell(f"{process.name}: its disk fails")
                raise StorageFailed("input/output error")
            if self.disk_full(server_id):
                self.timeline.tell(f"{process.name}: its disk is full")
                raise DiskFull("no space left")

        chance = self.timeline.stream(f"disk of server {server_id}, pid {process.pid}")
        return SimulatedDisk(platter, process, lambda: self.disk_seconds(server_id), fault, chance)

    def wall_of(self, host: str) -> Callable[[], int]:
        """The wall clock of a host, in milliseconds since 1970: off by up to a second, and as fast as its other one."""
        offset = BOOT_WALL_SECONDS + self.timeline.stream(f"wall clock of {host}").uniform(-1.0, 1.0)

        def wall() -> int:
            clock = self._clocks.get(host)
            return int(1000 * (offset + self.timeline.now * (1.0 if clock is None else clock.rate)))

        return wall

    def identity_of(self, server_id: int) -> bytes:
        """The store id of a server's next process: another each time, because its memory is empty (I9)."""
        return self._identities.randbytes(STORE_ID_BYTES)

    def start_client(self, number: int, deadline: float = 10.0) -> Process:
        """Start a client."""

        def make(process: Process) -> ClientProgram:
            random = self.timeline.stream(f"client {number}, pid {process.pid}")
            return ClientProgram(process, self._identities.randbytes(16), random, deadline)

        return self._process(f"client {number}", f"10.0.1.{number}", make)

    def start_line_client(self, number: int) -> Process:
        """Start a client that speaks RESP."""
        addresses = [(self.host_of(server_id), LINE_PORT) for server_id in self.shape.server_ids]

        def make(process: Process) -> LineClientProgram:
            return LineClientProgram(process, addresses, self.timeline.stream(f"line client, pid {process.pid}"))

        return self._process(f"line client {number}", f"10.0.2.{number}", make)

    # Looking.

    @property
    def coordinator(self) -> CoordinatorService | None:
        """The coordinator, if it runs."""
        process = self.processes.get("coordinator")
        return process.program if process is not None and process.alive else None

    def server_process(self, server_id: int) -> Process:
        """The newest process of a server."""
        return self.processes[f"server {server_id}"]

    def server(self, server_id: int) -> ServerService | None:
        """A server, if its process lives."""
        process = self.processes.get(f"server {server_id}")
        return process.program if process is not None and process.alive else None

    def core_of(self, member: Member) -> ServerCore | None:
        """The core that has the data of this member, if its process lives."""
        server = self.server(member.server_id)
        return server.core if server is not None and server.store_id == member.store_id else None

    @property
    def configurations(self) -> list[Configuration]:
        """What is stored: the truth about who is a member."""
        return [self.disk.shards[shard] for shard in sorted(self.disk.shards)]

    @property
    def serving(self) -> bool:
        """Whether every shard is served, as far as the coordinator knows."""
        coordinator = self.coordinator
        return coordinator is not None and coordinator.planner is not None and serving(coordinator.planner.state)

    def status(self) -> dict[str, Any]:
        """What the coordinator says; empty when it does not run."""
        coordinator = self.coordinator
        if coordinator is None or coordinator.planner is None:
            return {}
        return status(coordinator.planner.state, coordinator.now())
