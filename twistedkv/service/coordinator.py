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

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.clustermap import ClusterMap
from twistedkv.core import commands
from twistedkv.core.membership import Admission
from twistedkv.core.operations import Operation
from twistedkv.core.planner import Planner
from twistedkv.core.steps import Settings, Step
from twistedkv.errors import ConfigurationError, InvalidRequest, Status, Superseded
from twistedkv.failpoints import Failpoints
from twistedkv.mapstore.interface import MapStore
from twistedkv.mapstore.sqlite import SqliteMapStore
from twistedkv.messages.client import Result
from twistedkv.messages.coordinator import Heartbeat, Shutdown, Started, StartedReply, SwitchPrimary
from twistedkv.messages.hello import Hello, Role
from twistedkv.net.coordinator import ClientSession, ServerSession, map_frame
from twistedkv.net.framed import Acceptor, Connection, Session, logged
from twistedkv.service.admin import AdminCommands, coordinator_json
from twistedkv.service.config import CoordinatorOptions
from twistedkv.service.passing import pass_failpoints
from twistedkv.service.ready import announce, write_ready_file
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
        self.ended: set[str] = set()
        """Operations that ended in the present call."""
        self._open_store = open_store or (lambda: SqliteMapStore(options.base_dir / STORE_NAME))
        self._failpoints = Failpoints.from_environment() if failpoints is None else failpoints
        self._wall = wall
        self._admin = AdminCommands(self)
        self._servers: dict[int, ServerSession] = {}
        self._unadmitted: dict[ServerSession, None] = {}
        self._clients: dict[ClientSession, None] = {}
        self._listening: IListeningPort | None = None
        self._acceptor = Acceptor(
            reactor,
            lambda: (options.cluster, 0, self.store.identity),
            {Role.SERVER: self._server, Role.CLIENT: self._client},
        )
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
        )

    # Life.

    def startService(self) -> None:
        """Open the store, listen, start servers. Ends the program with one sentence when it cannot."""
        try:
            self.store = self._open_store()
        except ConfigurationError as error:
            raise SystemExit(f"twistedkv: {error}") from None
        try:
            self._listening = self.reactor.listenTCP(self.options.port, self._acceptor, interface=self.options.host)
        except CannotListenError as error:
            self.store.close()
            where = f"{self.options.host}:{self.options.port}"
            raise SystemExit(f"twistedkv: cannot listen on {where}: {error}: choose another --port") from None
        self.port = self._listening.getHost().port  # type: ignore[union-attr]
        self._started_at = self.now()
        log.info(
            "coordinator of {cluster} listens on {address}, generation {generation}",
            cluster=self.options.cluster,
            address=self.address,
            generation=self.store.generation,
        )
        super().startService()  # type: ignore[no-untyped-call]
        self.planner = Planner(self.settings, self.store.load(), self.now())
        self._perform(self._first_step)
        if self.options.spawn:
            self.spawner = Spawner(self)
            self.spawner.start()
        self._ticking.start(self.options.heartbeat_seconds / 4, now=False)

    def _first_step(self) -> Step:
        """What to begin with. `cluster` has lost its servers with the previous run."""
        planner = self._planner
        options = self.options
        in_order = self.store.stopped_in_order()
        self.store.set_stopped_in_order(False)
        if not options.owns_servers:
            text = f"the coordinator was started at {self.address}"
            step = planner.started(self.now(), children_gone=False, anew=False, text=text)
            return step
        had_shards = bool(planner.state.shards)
        how = "was stopped in order" if in_order else "was killed" if had_shards else "never was"
        text = f"the cluster was started at {self.address}; the previous run {how}"
        anew = in_order or options.accept_loss or not had_shards
        step = planner.started(self.now(), children_gone=True, anew=anew, text=text)
        if not anew:
            log.error(
                "the previous run of this cluster was killed, and its data with it: {count} shards are LOST. "
                "To go on with empty shards: `twistedkv{where} admin accept-loss all`, or start with --accept-loss",
                count=len(planner.state.shards),
                where="" if self.address == "127.0.0.1:7400" else f" --coordinator {self.address}",
            )
        return step

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
        in_order = True
        if self.spawner is not None:
            if self.options.owns_servers:
                for session in list(self._servers.values()):
                    session.send(Shutdown())
            in_order = yield self.spawner.stop()
        if self.planner is not None:
            with logged("noting the end in the map store"):
                self.store.apply(self.planner.note("coordinator.stopped", "the coordinator stops", self.now()).change)
                self.store.set_stopped_in_order(in_order)
            self.planner = None
        yield self._acceptor.close_all()
        if self._listening is not None:
            self.store.close()
        yield super().stopService()  # type: ignore[no-untyped-call]

    # Steps.

    @property
    def _planner(self) -> Planner:
        if self.planner is None:
            raise RuntimeError("there is no planner at this moment")
        return self.planner

    def _perform(self, plan: Callable[[], Step], newcomer: ServerSession | None = None) -> bool:
        """Have something planned, and do it. False: nothing of it was done. InvalidRequest passes through."""
        if self.planner is None or (self.stopping and newcomer is None):
            return False
        planner = self.planner
        planner.state.wall_offset = self._wall() - self.now()
        try:
            step = plan()
            if self._failpoints.armed:
                pass_failpoints(self._failpoints, planner.state, step, "before")
            if step.change:
                self.store.apply(step.change)
        except InvalidRequest:
            raise
        except Superseded as error:
            self._superseded(error)
            return False
        except Exception:
            log.failure("a step of the coordinator failed; it begins again from what is stored")
            self._throw_away()
            return False
        if self._failpoints.armed:
            pass_failpoints(self._failpoints, planner.state, step, "stored")
        self._do(step, newcomer)
        if self._failpoints.armed:
            pass_failpoints(self._failpoints, planner.state, step, "done")
        return True

    def _do(self, step: Step, newcomer: ServerSession | None) -> None:
        """A step that is stored: publish, send, then everything that may call back."""
        if newcomer is not None:
            self._welcome(newcomer)
        if step.update is not None:
            frame = map_frame(step.update)
            for server in self._servers.values():
                if server is not newcomer:
                    server.connection.send_bytes(frame)
            for client in self._clients:
                if client.subscribed:
                    client.connection.send_bytes(frame)
        for server_id, message in step.sends:
            self._send(server_id, message)
        for event in step.change.events:
            log.info(
                "{event}: {text}",
                event=event.event,
                text=event.text,
                shard=event.shard,
                epoch=event.epoch,
                server=event.server,
                operation=event.operation,
            )
        if self.spawner is not None:
            for server_id in step.failed:
                self.spawner.replace(server_id)
        for server_id, text in step.departures:
            if server_id in self._servers:
                self._servers[server_id].answer_leaving(text)
        if step.change.events:
            self._tell_followers(step)
        self.ended = {operation_id for operation_id, _ in step.outcomes}
        for operation_id, error in step.outcomes:
            self._admin.operation_ended(operation_id, error)
        if not self._announced and self.planner is not None and commands.serving(self.planner.state):
            self._announced = True
            self.became_ready()

    def _send(self, server_id: int, message: Any) -> None:
        session = self._servers.get(server_id)
        if session is None:
            return
        if not isinstance(message, SwitchPrimary):
            session.send(message)
            return
        answer = session.ask(message, self.now() + SWITCH_ANSWER_SECONDS)

        def answered(reply: Any) -> None:
            if isinstance(reply, Result) and reply.status != Status.SUCCESS:
                text = reply.value.decode("utf-8", "replace") or "the primary refused"
                self._perform(
                    lambda: self._planner.switch_failed(
                        server_id, message.shard, epoch=message.epoch, reason=text, now=self.now()
                    )
                )

        # A connection that is lost, or no answer, is for the planner's clock to notice.
        answer.addCallbacks(answered, lambda _: None)
        answer.addErrback(self.unexpected)

    def unexpected(self, failure: Failure) -> None:
        """The end of a chain that should not have failed."""
        log.failure("an answer could not be dealt with", failure=failure)

    def _superseded(self, error: Superseded) -> None:
        log.critical("{error}", error=str(error))
        self.planner = None
        self.reactor.callLater(0, self.reactor.stop)

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
        for session in [*self._servers.values(), *self._unadmitted]:
            if session.started is not None:
                self._register(session, session.started)

    # Servers.

    def _server(self, connection: Connection, hello: Hello) -> Session:
        session = ServerSession(connection, hello, self)
        self._unadmitted[session] = None
        return session

    def server_started(self, session: ServerSession, started: Started) -> None:
        """See `net.coordinator.Coordinator`."""
        if self.stopping:
            session.answer_started(StartedReply(int(Status.SERVER_FAILURE), 0, 0, "the coordinator is stopping"))
        elif self.planner is not None:  # else `_rebuild` comes back to it
            self._register(session, started)

    def _register(self, session: ServerSession, started: Started) -> None:
        admissions: list[Admission] = []

        def plan() -> Step:
            admission, step = self._planner.register(started, self.now())
            admissions.append(admission)
            self._admit(session, admission)
            return step

        self._perform(plan, newcomer=session)
        if admissions and admissions[0].hold:
            log.error("{peer} was not admitted: {text}", peer=session.connection.peer, text=admissions[0].text)
            session.connection.close()
        elif admissions and admissions[0].text:
            log.warn("{peer} was refused: {text}", peer=session.connection.peer, text=admissions[0].text)
            refusal = StartedReply(int(Status.INVALID_REQUEST), admissions[0].server_id, 0, admissions[0].text)
            session.answer_started(refusal)
            session.connection.close()

    def _admit(self, session: ServerSession, admission: Admission) -> None:
        """Give the session its server id, in place of an older connection's."""
        if admission.text:
            return
        older = self._servers.get(admission.server_id)
        if older is not None and older is not session:
            del self._servers[admission.server_id]
            older.server_id = 0
            if admission.replaced:
                older.send(Shutdown())
                older.connection.close()
            else:
                older.connection.abort()
        self._unadmitted.pop(session, None)
        session.server_id = admission.server_id
        self._servers[admission.server_id] = session

    def _welcome(self, session: ServerSession) -> None:
        if not session.server_id or session.started is None:
            return
        if session.started.server_id != session.server_id:
            # From here on the process has this id; it is registered with it after an error of ours.
            session.started.server_id = session.server_id
        milliseconds = max(1, round(self.options.heartbeat_seconds * 1000))
        session.answer_started(StartedReply(int(Status.SUCCESS), session.server_id, milliseconds, ""))
        session.connection.send_bytes(map_frame(self.whole_map()))

    def server_message(self, session: ServerSession, message: Any) -> None:
        """See `net.coordinator.Coordinator`."""
        server_id = session.server_id
        if not server_id:
            return
        if self.stopping:
            session.answer_leaving("")
            return
        if isinstance(message, Heartbeat):
            self._perform(lambda: self._planner.heartbeat(server_id, message, self.now()))
        else:
            self._perform(lambda: self._planner.message(server_id, message, self.now()))

    def server_lost(self, session: ServerSession) -> None:
        """See `net.coordinator.Coordinator`."""
        self._unadmitted.pop(session, None)
        if session.server_id and self._servers.get(session.server_id) is session:
            del self._servers[session.server_id]
            self._perform(lambda: self._planner.connection_lost(session.server_id, self.now()))

    def process_ended(self, server_id: int, pid: int, reason: str) -> None:
        """A process that was spawned here has been reaped."""
        self._perform(lambda: self._planner.process_ended(server_id, pid, reason, self.now()))

    def note(self, kind: str, text: str, server_id: int) -> None:
        """A line for the journal."""
        self._perform(lambda: self._planner.note(kind, text, self.now(), server=server_id))

    def session_of(self, server_id: int) -> ServerSession | None:
        """The connection of a server, if it has one."""
        return self._servers.get(server_id)

    # Clients and operators.

    def _client(self, connection: Connection, hello: Hello) -> Session:
        return ClientSession(connection, hello, self)

    def client_connected(self, session: ClientSession) -> None:
        """See `net.coordinator.Coordinator`."""
        self._clients[session] = None

    def client_lost(self, session: ClientSession) -> None:
        """See `net.coordinator.Coordinator`."""
        self._clients.pop(session, None)
        self._admin.forget(session)

    def whole_map(self) -> ClusterMap:
        """See `net.coordinator.Coordinator`."""
        return self.planner.map if self.planner is not None else ClusterMap.empty(self.options.cluster)

    def admin(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        """See `net.coordinator.Coordinator`."""
        self._admin.execute(session, request_id, command)

    def status(self) -> dict[str, Any]:
        """What `status` answers."""
        answer = commands.status(self._planner.state, self.now())
        uptime = self.now() - self._started_at
        return answer | {"coordinator": coordinator_json(self.address, self.store.generation, uptime)}

    def switch(self, shard: int, server_id: int) -> Operation | None:
        """Begin to switch. None: nothing had to be done. Raises InvalidRequest."""
        begun: list[Operation | None] = []

        def plan() -> Step:
            operation, step = self._planner.switch(shard, server_id, self.now())
            begun.append(operation)
            return step

        if not self._perform(plan):
            raise InvalidRequest("the coordinator could not store the switch: try again in a second")
        return begun[0]

    def accept_loss(self, shard: int | None) -> list[int]:
        """Accept that a shard, or all that are lost, begin empty. Raises InvalidRequest."""
        accepted: list[int] = []

        def plan() -> Step:
            shards, step = self._planner.accept_loss(shard, self.now())
            accepted.extend(shards)
            return step

        if not self._perform(plan):
            raise InvalidRequest("the coordinator could not store the change: try again in a second")
        return accepted

    def _tell_followers(self, step: Step) -> None:
        for session in list(self._clients):
            if session.following is not None:
                events = [event for event in step.change.events if event.number > session.told]
                session.told = step.change.events[-1].number
                if events:
                    session.reply(session.following, {"events": [event.as_json() for event in events]})

    # Time.

    def _tick(self) -> None:
        with logged("the coordinator's tick"):
            for session in list(self._servers.values()):
                session.calls.expire(self.now())
            if self.spawner is not None:
                self.spawner.tick()
            self._perform(lambda: self._planner.tick(self.now()))

    def became_ready(self) -> None:
        """Every shard is served, for the first time."""
        log.info("ready: every shard is served; coordinator at {address}", address=self.address)
        if self.options.ready_file is not None:
            with logged("writing the ready file"):
                write_ready_file(self.options.ready_file, self.address)
        if self.options.owns_servers:
            announce(self.address)


__all__ = ["CoordinatorService", "Deferred"]
