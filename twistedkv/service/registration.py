"""A server's connection to the coordinator: registration, heartbeats, orders.

Heartbeats are fire and forget, on this connection alone, where no bulk data goes. While the coordinator is away the
server goes on serving, and dials until it is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.core.handshake import make_hello
from twistedkv.core.space import Space
from twistedkv.errors import ConfigurationError, DiskFull, Status, StorageFailed
from twistedkv.limits import BACKOFF_SECONDS_MAX, MISSED_BEATS
from twistedkv.messages.client import MapUpdate, Result
from twistedkv.messages.coordinator import (
    DumpPrimary,
    DumpSecondary,
    Leaving,
    ReplicaRole,
    Seal,
    Shutdown,
    Started,
    StartedReply,
    SwitchPrimary,
    UpdatePrimary,
    UpdateSecondary,
)
from twistedkv.messages.hello import HelloReply, Role
from twistedkv.net.calls import Calls
from twistedkv.net.failstop import fail_stop
from twistedkv.net.framed import Connection, Session, dial
from twistedkv.service.dump import dump
from twistedkv.wire.coordinator import FAMILY
from twistedkv.wire.frames import Frame, encode_frame

if TYPE_CHECKING:
    from twistedkv.service.server import ServerService

log = Logger()

_ANSWER_SECONDS = 10.0


class _CoordinatorSession:
    """One connection to the coordinator."""

    def __init__(self, connection: Connection, registration: Registration) -> None:
        self.connection = connection
        self.calls = Calls()
        self._registration = registration
        self._server = registration.server

    @fail_stop
    def frames_received(self, frames: list[Frame]) -> None:
        """Answers to requests of ours, and orders."""
        for frame in frames:
            message_type, _, request_id, body = frame
            message = FAMILY.decode(message_type, body)
            if isinstance(message, StartedReply | Result):
                self.calls.answered(frame)
            else:
                self._registration.order_received(message, request_id)
        self._server.end_turn_soon()

    def connection_lost(self, reason: str) -> None:
        """Dial again."""
        self.calls.lose(ConnectionError("the connection to the coordinator was lost"))
        self._registration.lost(self)


class Registration:
    """Keeps this server known to the coordinator."""

    def __init__(self, server: ServerService) -> None:
        self.server = server
        self._session: _CoordinatorSession | None = None
        self._dialing: Deferred[Connection] | None = None
        self._retry: IDelayedCall | None = None
        self._coordinator = ("", b"")
        """Name of the cluster, and identity of its coordinator's store."""
        self._failures = 0
        self._stopped = False

    @property
    def connected(self) -> bool:
        """Whether orders can come."""
        return self._session is not None

    def start(self) -> None:
        """Connect and register."""
        self._retry = None
        if self._stopped or self._dialing is not None or self._session is not None:
            return
        options = self.server.options
        host, port = options.coordinator
        hello = make_hello(Role.SERVER, options.cluster, self.server.server_id, self.server.store_id)

        def connected(connection: Connection, reply: HelloReply) -> Session:
            self._coordinator = (reply.cluster, reply.identity)
            self._session = _CoordinatorSession(connection, self)
            return self._session

        self._dialing = dial(self.server.reactor, host, port, hello, connected)
        self._dialing.addCallbacks(self._register, self._dial_failed)

    def stop(self) -> None:
        """Close the connection."""
        self._stopped = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._dialing is not None:
            self._dialing.cancel()
        if self._session is not None:
            self._session.connection.close()

    def send(self, message: Any, request_id: int = 0) -> None:
        """Send, if there is a connection. What is lost with it is said again by the core or asked for again."""
        if self._session is None:
            return
        if isinstance(message, str):
            message = Result(int(Status.SERVER_FAILURE), 0, message.encode())
        message_type, body = FAMILY.encode(message)
        self._session.connection.send_bytes(encode_frame(message_type, body, request_id))

    def leave(self, seconds: float) -> Deferred[Any]:
        """Ask the coordinator to give our roles to others. Fires with its Result; fails after `seconds`."""
        return self._call(Leaving(self.server.server_id), seconds)

    def tick(self) -> None:
        """Fail what the coordinator has not answered."""
        if self._session is not None:
            self._session.calls.expire(self.server.now())

    def lost(self, session: _CoordinatorSession) -> None:
        """The connection is gone."""
        if self._session is session:
            self._session = None
            if not self._stopped:
                log.warn("lost the coordinator at {address}; serving goes on", address=self._address)
                self._retry_after(0.02)

    @property
    def _address(self) -> str:
        return "{}:{}".format(*self.server.options.coordinator)

    def _call(self, message: Any, seconds: float) -> Deferred[Any]:
        if self._session is None:
            failed: Deferred[Any] = Deferred()
            failed.errback(Failure(ConnectionError("there is no connection to the coordinator")))
            return failed
        request_id, answer = self._session.calls.new(self.server.now() + seconds)
        self.send(message, request_id)
        return answer.addCallback(lambda frame: FAMILY.decode(frame[0], frame[3]))

    def _register(self, connection: Connection) -> None:
        self._dialing = None
        self._failures = 0
        server = self.server
        core = server.core or server.restored
        if core is not None and not self._claim():
            return
        started = Started(
            server.server_id,
            server.store_id,
            server.options.host,
            server.port,
            server.line_port,
            server.course_port,
            server.pid,
            server.options.standby,
            server.options.storage,
            core.reports() if core is not None else [],
            core.space.usage() if core is not None else Space(limits=server.options.limits).usage(),
        )
        self._call(started, _ANSWER_SECONDS).addCallbacks(self._registered, self._not_registered, (connection,))

    def _registered(self, reply: StartedReply | Result, connection: Connection) -> None:
        if not isinstance(reply, StartedReply) or (reply.status == Status.SUCCESS and not reply.heartbeat_ms):
            log.warn("the coordinator's answer makes no sense: {reply}; connection closed", reply=reply)
            connection.abort()
            return
        if reply.status != Status.SUCCESS:
            log.error("the coordinator refuses this server: {text}", text=reply.text)
            self.server.end(refused=True)
            return
        heartbeat = reply.heartbeat_ms / 1000
        connection.limit_unacknowledged(MISSED_BEATS * heartbeat)  # by then we count as failed: dial again
        self.server.registered(reply.server_id, heartbeat)
        self._claim()

    def _claim(self) -> bool:
        """Whether the store is that of this server in this cluster. If it is another's, this server ends."""
        try:
            self.server.claim(*self._coordinator)
        except (ConfigurationError, DiskFull, StorageFailed) as error:
            log.error("{error}", error=str(error))
            self._stopped = True
            self.server.end(refused=True)
            return False
        return True

    def _not_registered(self, failure: Failure) -> None:
        log.warn("could not register: {error}", error=failure.getErrorMessage())
        if self._session is not None:
            self._session.connection.abort()

    def _dial_failed(self, failure: Failure) -> None:
        self._dialing = None
        if self._stopped:
            return
        if self._failures % 20 == 0:
            log.warn(
                "cannot reach the coordinator at {address}: {error}; trying on",
                address=self._address,
                error=failure.getErrorMessage(),
            )
        self._failures += 1
        self._retry_after(min(BACKOFF_SECONDS_MAX, 0.02 * 2 ** min(self._failures, 8)))

    def _retry_after(self, seconds: float) -> None:
        if self._retry is None or not self._retry.active():
            self._retry = self.server.reactor.callLater(seconds * self.server.random.uniform(0.5, 1.0), self.start)

    # Orders.

    def order_received(self, message: Any, request_id: int) -> None:
        """What the coordinator wants."""
        server, core = self.server, self.server.core
        if isinstance(message, Shutdown):
            log.info("the coordinator asks this server to end")
            server.coordinator_ends_us = True
            server.end()
            return
        if core is None:
            return  # before StartedReply nothing else can be meant for us
        now = server.now()
        if isinstance(message, MapUpdate):
            core.map_received(message.map, now)
            server.links.adjust()
        elif isinstance(message, Seal):
            sealed = core.seal(message, now)
            server.when_stored(lambda: self.send(sealed, request_id))
            log.info("sealed shard {shard} at epoch {epoch}", shard=message.shard, epoch=message.epoch)
        elif isinstance(message, UpdatePrimary | UpdateSecondary):
            core.update(message, now)
            server.links.adjust()
            self.send(Result(int(Status.SUCCESS), 0, b""), request_id)
        elif isinstance(message, SwitchPrimary):
            core.switch(message, request_id, now)
        elif isinstance(message, DumpPrimary | DumpSecondary):
            primary = isinstance(message, DumpPrimary)
            roles = (ReplicaRole.PRIMARY, ReplicaRole.SWITCHING) if primary else (ReplicaRole.SECONDARY,)
            name = f"server_{server.server_id}.{'primary' if primary else 'secondary'}"
            dumping = dump(core, roles, server.options.data_dir / name, server.reactor)
            dumping.addCallbacks(
                lambda path: self.send(Result(int(Status.SUCCESS), 0, str(path).encode()), request_id),
                lambda failure: self.send(f"the dump failed: {failure.getErrorMessage()}", request_id),
            )
