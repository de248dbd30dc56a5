"""The coordinator daemon: the planner, its store, its connections and its clock.

Everything that happens becomes one call of the planner, and what the planner answers is done in the order of
`core.steps`, in the same reactor call: stored, published, sent. So a server whose process is reaped has SEAL on the way
to its shards' members before the call returns, and a promotion is published in the call in which the last answer came.
Storing is synchronous: it takes a few milliseconds, nothing else may be decided meanwhile, and reads and writes do not
pass through here.

When a step fails (the store's disk is full, or there is an error in this program), what is in memory may be ahead of
what is stored. Then the planner is thrown away and made anew from the store, and the servers that are connected are
registered with it again: it decides by what is there, so nothing else has to be remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twistedkv.clustermap import ClusterMap, ServerState
from twistedkv.core.commands import serving, status
from twistedkv.core.operations import Event
from twistedkv.core.planner import Planner
from twistedkv.core.steps import Settings, Step
from twistedkv.errors import ConfigurationError, InvalidRequest, Superseded
from twistedkv.failpoints import Failpoints
from twistedkv.mapstore.interface import MapStore
from twistedkv.mapstore.sqlite import SqliteMapStore
from twistedkv.net.coordinator import ServerSession
from twistedkv.net.framed import logged
from twistedkv.service.admin import AdminCommands, coordinator_json
from twistedkv.service.config import CoordinatorOptions
from twistedkv.service.connections import Connections
from twistedkv.service.passing import pass_failpoints, passing_store
from twistedkv.service.processes import Processes
from twistedkv.service.ready import write_ready_file
from twistedkv.service.spawner import LOOPBACK, Spawner

log = Logger()

STORE_NAME = "map.sqlite"
REBUILD_SECONDS = 1.0
SWITCH_ANSWER_SECONDS = 60.0


class CoordinatorService(MultiService):
    """The coordinator. `reactor` is IReactorTCP, IReactorTime and, to spawn servers, IReactorProcess."""

    def __init__(
        self,
        reactor: Any,
        options: CoordinatorOptions,
        *,
        open_store: Callable[[], MapStore] | None = None,
        failpoints: Failpoints | None = None,
        processes: Processes | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.options = options
        self.store: MapStore
        self.planner: Planner | None = None
        """None before the start, after the stop, and for a moment after an error."""
        self.spawner: Spawner | None = None
        self.port = options.port
        self._open_store = open_store or (lambda: SqliteMapStore(options.base_dir / STORE_NAME))
        self._failpoints = Failpoints.from_environment() if failpoints is None else failpoints
        if self._failpoints.durable:
            self._open_store = passing_store(self._open_store, self._failpoints)
        self._processes = processes
        self._wall = wall
        self.commands = AdminCommands(self)
        self.connections = Connections(self)
        self._listening: IListeningPort | None = None
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor
        self._rebuilding: IDelayedCall | None = None
        self._started_at = 0.0
        self._announced = False
        self.stopping = False

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        seconds: float = self.reactor.seconds()
        return seconds

    @property
    def address(self) -> str:
        """Where it listens."""
        host = self.options.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def local_address(self) -> str:
        """Where processes on this host reach it."""
        host = LOOPBACK.get(self.options.host, self.options.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def settings(self) -> Settings:
        """What the planner is told of the options."""
        options = self.options
        return Settings(
            cluster=options.cluster,
            servers=options.servers,
            shards=options.shards,
            copies=options.copies,
            min_copies=options.min_copies,
            heartbeat_seconds=options.heartbeat_seconds,
            replace_after_seconds=options.replace_after_seconds,
            respawns=options.spawn,
            servers_max=options.servers_max,
        )

    # Life.

    def startService(self) -> None:
        """Open the store, listen, start servers. Ends the program with one sentence when it cannot."""
        try:
            self.store = self._open_store()
        except ConfigurationError as error:
            raise _given_up(str(error)) from None
        try:
            self._listening = self.reactor.listenTCP(
                self.options.port, self.connections.acceptor, interface=self.options.host
            )
        except CannotListenError as error:
            self.store.close()
            where = f"{self.options.host}:{self.options.port}"
            raise _given_up(f"cannot listen on {where}: {error}: choose another --port") from None
        self.port = self._listening.getHost().port  # type: ignore[union-attr]
        self._started_at = self.now()
        log.info(
            "coordinator of {cluster} listens on {address}, generation {generation}",
            cluster=self.options.cluster,
            address=self.address,
            generation=self.store.generation,
        )
        super().startService()  # type: ignore[no-untyped-call]
        self._settle_heartbeat()
        self.planner = Planner(self.settings, self.store.load(), self.now())
        shards = len(self.planner.state.shards)
        if shards not in (0, self.options.shards) and not self.options.owns_servers:
            log.warn("the cluster has {shards} shards already; the option is ignored", shards=shards)
        if not self.perform(self.first_step):
            raise _given_up("the map store cannot be written: see the log")
        if self.options.spawn:
            self.spawner = Spawner(self, self._processes)
            self.spawner.start()
        self._ticking.start(self.options.heartbeat_seconds / 4, now=False)

    def _settle_heartbeat(self) -> None:
        """Keep the heartbeat that servers which may still run were told.

        Their leases and promises were made by it: a server told another one could read under a lease that is longer
        than the promise of one that was not told yet.
        """
        wanted = round(self.options.heartbeat_seconds * 1000)
        told = self.store.heartbeat_ms()
        if told and told != wanted and not self.options.owns_servers:
            log.warn(
                "the cluster was formed with a heartbeat of {told} s, which its leases rest on; {wanted} s is ignored",
                told=told / 1000,
                wanted=wanted / 1000,
            )
            self.options = attrs.evolve(self.options, heartbeat_seconds=told / 1000)
        elif told != wanted:
            self.store.set_heartbeat_ms(wanted)

    def first_step(self, planner: Planner, now: float) -> Step:
        """What to begin with: the servers of the stored map are given time to report."""
        self.store.set_stopped_in_order(False)
        text = f"the coordinator was started at {self.address}"
        return planner.started(now, children_gone=False, anew=False, text=text)

    def end_servers(self) -> Deferred[bool]:
        """Part with the spawned servers; these outlive us. Fires with whether that was in order."""
        return succeed(True) if self.spawner is None else self.spawner.stop(kill=False)

    @inlineCallbacks
    def stopService(self) -> Any:
        """In order: end the servers that are ours, take no new connections, close."""
        self.stopping = True
        if self._ticking.running:
            self._ticking.stop()
        if self._rebuilding is not None and self._rebuilding.active():
            self._rebuilding.cancel()
        if self._listening is not None:
            yield self._listening.stopListening()
        in_order = yield self.end_servers()
        if self.planner is not None:
            with logged("noting the end in the map store"):
                self.store.apply(self.planner.note("coordinator.stopped", "the coordinator stops", self.now()).change)
                self.store.set_stopped_in_order(in_order)
            self.planner = None
        yield self.connections.close_all()
        if self._listening is not None:
            self.store.close()
        yield super().stopService()  # type: ignore[no-untyped-call]

    # Steps.

    def perform(
        self,
        plan: Callable[[Planner, float], Step],
        stored: Callable[[], None] | None = None,
        newcomer: ServerSession | None = None,
    ) -> bool:
        """Have something planned, and do it; `stored` is called before the rest. False: nothing of it was done.

        InvalidRequest, which refuses an operator's command before anything was changed, passes through.
        """
        planner = self.planner
        if planner is None or self.stopping:
            return False
        now = self.now()
        planner.state.wall_offset = self._wall() - now
        failpoints = self._failpoints
        try:
            step = plan(planner, now)
            if failpoints.armed:
                pass_failpoints(failpoints, planner.state, step, "before")
            if step.change:
                self.store.apply(step.change)
        except InvalidRequest:
            raise
        except Superseded as error:
            log.critical("{error}", error=str(error))
            self.planner = None
            self.reactor.callLater(0, self.reactor.stop)
            return False
        except Exception:
            log.failure("a step of the coordinator failed; it begins again from what is stored")
            self._throw_away()
            return False
        if failpoints.armed:
            pass_failpoints(failpoints, planner.state, step, "stored")
        if stored is not None:
            stored()
        self._do(step, newcomer)
        if failpoints.armed:
            pass_failpoints(failpoints, planner.state, step, "done")
        return True

    def _do(self, step: Step, newcomer: ServerSession | None) -> None:
        """A step that is stored: publish, send, then everything that may call back."""
        connections = self.connections
        if step.update is not None:
            connections.publish(step.update, newcomer)
        for server_id, message in step.sends:
            connections.send(server_id, message)
        if step.change.events:
            self._tell(step.change.events)
        if step.failed:
            self._replace_failed()
        for server_id in step.spawn:
            if self.spawner is not None:
                self.spawner.add(server_id)
        for server_id, text in step.departures:
            if server_id in connections.servers:
                connections.servers[server_id].answer_leaving(text)
        for operation_id, error in step.outcomes:
            self.commands.operation_ended(operation_id, error)
        if not self._announced and self.planner is not None and serving(self.planner.state):
            self._announced = True
            self.became_ready()

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            log.info(
                "{event}: {text}",
                event=event.event,
                text=event.text,
                shard=event.shard,
                epoch=event.epoch,
                server=event.server,
                operation=event.operation,
            )
        self.connections.tell_followers(events)

    def _throw_away(self) -> None:
        self.planner = None
        if not self.stopping and self._rebuilding is None:
            self._rebuilding = self.reactor.callLater(REBUILD_SECONDS, self._rebuild)

    def _rebuild(self) -> None:
        self._rebuilding = None
        try:
            self.planner = Planner(self.settings, self.store.load(), self.now())
        except Exception:
            log.failure("the map store cannot be read")
            self._throw_away()
            return
        # Who has asked for the map meanwhile was given an empty one, and parts of the next would make it no whole.
        self.connections.publish(self.whole_map(), None)
        self.connections.register_again()

    # What the parts ask for.

    def process_ended(self, server_id: int, pid: int, reason: str) -> None:
        """A process that was spawned here has been reaped."""
        self.perform(lambda planner, now: planner.process_ended(server_id, pid, reason, now))

    def note(self, kind: str, text: str, server_id: int) -> None:
        """A line for the journal."""
        self.perform(lambda planner, now: planner.note(kind, text, now, server=server_id))

    def whole_map(self) -> ClusterMap:
        """The map as it is stored."""
        return self.planner.map if self.planner is not None else ClusterMap.empty(self.options.cluster)

    def status(self) -> dict[str, Any]:
        """What `status` answers."""
        if self.planner is None:
            raise InvalidRequest("the coordinator is recovering from an error of its own: try again in a second")
        uptime = self.now() - self._started_at
        about = coordinator_json(self.address, self.store.generation, uptime)
        return status(self.planner.state, self.now()) | {"coordinator": about}

    # Time.

    def _replace_failed(self) -> None:
        """Have failed servers killed and started again, once nobody can need what they hold.

        A suspicion may be wrong, and must cost a refill and never data. So a process lives on while a configuration
        names it: until another copy was promoted in its place or, when there is no other, until it is heard of again
        or an operator accepts the loss. It is looked at again at each tick.
        """
        if self.spawner is None or self.planner is None:
            return
        state = self.planner.state
        for server in state.servers.values():
            if server.state is ServerState.FAILED and not any(
                server.member in configuration.members for configuration in state.shards.values()
            ):
                self.spawner.replace(server.server_id, server.pid)

    def _tick(self) -> None:
        with logged("the coordinator's tick"):
            self.connections.expire(self.now())
            if self.spawner is not None:
                self.spawner.tick()
            self.perform(lambda planner, now: planner.tick(now))
            self._replace_failed()

    def became_ready(self) -> None:
        """Every shard is served, for the first time."""
        log.info("ready: every shard is served; coordinator at {address}", address=self.address)
        if self.options.ready_file is not None:
            with logged("writing the ready file"):
                write_ready_file(self.options.ready_file, self.address)


def _given_up(sentence: str) -> SystemExit:
    """Why there is no start: on standard error, and in the log, which is all that a daemon has."""
    log.critical("{sentence}", sentence=sentence)
    return SystemExit(f"twistedkv: {sentence}")
