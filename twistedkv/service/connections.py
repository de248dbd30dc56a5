"""Who is connected to the coordinator: servers by their id, clients, and operators who follow the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.clustermap import ClusterMap
from twistedkv.core.membership import Admission
from twistedkv.core.operations import Event
from twistedkv.core.steps import Step
from twistedkv.errors import Status
from twistedkv.messages.client import Result
from twistedkv.messages.coordinator import Shutdown, Started, StartedReply, SwitchPrimary
from twistedkv.messages.hello import Hello, Role
from twistedkv.net.coordinator import ClientSession, ServerSession, map_frame
from twistedkv.net.framed import Acceptor, Connection, Session

if TYPE_CHECKING:
    from twistedkv.service.coordinator import CoordinatorService

log = Logger()

SWITCH_ANSWER_SECONDS = 60.0


class Connections:
    """See `net.coordinator.Coordinator` for what the sessions ask of it."""

    def __init__(self, coordinator: CoordinatorService) -> None:
        self._coordinator = coordinator
        self._servers: dict[int, ServerSession] = {}
        self._unadmitted: dict[ServerSession, None] = {}
        self._clients: dict[ClientSession, None] = {}
        self.acceptor = Acceptor(
            coordinator.reactor,
            lambda: (coordinator.options.cluster, 0, coordinator.store.identity),
            {Role.SERVER: self._accept_server, Role.CLIENT: self._accept_client},
        )

    @property
    def servers(self) -> Mapping[int, ServerSession]:
        """Connections of the admitted servers, by server id."""
        return self._servers

    def _accept_server(self, connection: Connection, hello: Hello) -> Session:
        session = ServerSession(connection, hello, self)
        self._unadmitted[session] = None
        return session

    def _accept_client(self, connection: Connection, hello: Hello) -> Session:
        return ClientSession(connection, hello, self)

    # Outwards.

    def publish(self, update: ClusterMap, newcomer: ServerSession | None) -> None:
        """A map, or the changed part of one, to everybody, encoded once. The newcomer has the whole one already."""
        frame = map_frame(update)
        for server in self._servers.values():
            if server is not newcomer:
                server.connection.send_bytes(frame)
        for client in self._clients:
            if client.subscribed:
                client.connection.send_bytes(frame)

    def send(self, server_id: int, message: Any) -> None:
        """An order to a server, if it is connected."""
        session = self._servers.get(server_id)
        if session is None:
            return
        if not isinstance(message, SwitchPrimary):
            session.send(message)
            return
        answer = session.ask(message, self._coordinator.now() + SWITCH_ANSWER_SECONDS)
        # A connection that is lost, or no answer, is for the planner's clock to notice.
        answer.addCallbacks(self._switch_answered, lambda _: None, (server_id, message))
        answer.addErrback(self.unexpected)

    def _switch_answered(self, reply: Any, server_id: int, order: SwitchPrimary) -> None:
        if isinstance(reply, Result) and reply.status != Status.SUCCESS:
            reason = reply.value.decode("utf-8", "replace") or "the primary refused"
            self._coordinator.perform(
                lambda planner, now: planner.switch_failed(
                    server_id, order.shard, epoch=order.epoch, reason=reason, now=now
                )
            )

    def shut_down_servers(self) -> None:
        """Tell all of them to end."""
        for session in list(self._servers.values()):
            session.send(Shutdown())

    def tell_followers(self, events: list[Event]) -> None:
        """New events, to those who follow the journal."""
        for session in list(self._clients):
            if session.following is not None:
                news = [event for event in events if event.number > session.told]
                session.told = max(session.told, events[-1].number)
                if news:
                    session.reply(session.following, {"events": [event.as_json() for event in news]})

    def expire(self, now: float) -> None:
        """Fail what servers have not answered in time."""
        for session in [session for session in self._servers.values() if session.calls]:
            session.calls.expire(now)

    def close_all(self) -> Deferred[None]:
        """Close every connection. Fires when the last is gone."""
        return self.acceptor.close_all()

    def unexpected(self, failure: Failure) -> None:
        """The end of a chain that should not have failed."""
        log.failure("an answer could not be dealt with", failure=failure)

    # Servers.

    def server_started(self, session: ServerSession, started: Started) -> None:
        """A server has introduced itself."""
        if self._coordinator.stopping:
            session.answer_started(StartedReply(int(Status.SERVER_FAILURE), 0, 0, "the coordinator is stopping"))
        else:
            self._register(session, started)

    def register_again(self) -> None:
        """There is a new planner: introduce to it everybody who is there."""
        for session in [*self._servers.values(), *self._unadmitted]:
            if session.started is not None:
                self._register(session, session.started)

    def _register(self, session: ServerSession, started: Started) -> None:
        admissions: list[Admission] = []

        def plan(planner: Any, now: float) -> Step:
            admission, step = planner.register(started, now)
            admissions.append(admission)
            return step  # type: ignore[no-any-return]

        newcomer = None if session.server_id else session
        if not self._coordinator.perform(plan, lambda: self._welcome(session, admissions[0]), newcomer):
            return
        admission = admissions[0]
        if not admission.text:
            return
        log.error("{peer} was not admitted: {text}", peer=session.connection.peer, text=admission.text)
        if not admission.hold:
            reply = StartedReply(int(Status.INVALID_REQUEST), admission.server_id, 0, admission.text)
            session.answer_started(reply)
        session.connection.close()

    def _welcome(self, session: ServerSession, admission: Admission) -> None:
        """It is stored that the server is there: give the session its id, in place of an older connection's."""
        if admission.text or session.started is None:
            return
        older = self._servers.get(admission.server_id)
        if older is not None and older is not session:
            older.server_id = 0
            if admission.replaced:
                older.send(Shutdown())
                older.connection.close()
            else:
                older.connection.abort()
        self._unadmitted.pop(session, None)
        self._servers[admission.server_id] = session
        first = not session.server_id
        session.server_id = session.started.server_id = admission.server_id
        if first:
            milliseconds = max(1, round(self._coordinator.options.heartbeat_seconds * 1000))
            session.answer_started(StartedReply(int(Status.SUCCESS), session.server_id, milliseconds, ""))
            session.connection.send_bytes(map_frame(self.whole_map()))

    def server_messages(self, session: ServerSession, messages: list[Any]) -> None:
        """An admitted server has sent something: one read's worth of it, which becomes one step."""
        server_id = session.server_id
        if not server_id:
            return
        if self._coordinator.stopping:
            session.answer_leaving("")
        else:
            self._coordinator.perform(lambda planner, now: planner.messages(server_id, messages, now))

    def server_lost(self, session: ServerSession) -> None:
        """A server's connection is gone."""
        self._unadmitted.pop(session, None)
        server_id = session.server_id
        if server_id and self._servers.get(server_id) is session:
            del self._servers[server_id]
            self._coordinator.perform(lambda planner, now: planner.connection_lost(server_id, now))

    # Clients and operators.

    def client_connected(self, session: ClientSession) -> None:
        """A client is there."""
        self._clients[session] = None

    def client_lost(self, session: ClientSession) -> None:
        """It is gone."""
        self._clients.pop(session, None)
        self._coordinator.commands.forget(session)

    def whole_map(self) -> ClusterMap:
        """The map as it is stored."""
        return self._coordinator.whole_map()

    def admin(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        """An operator's command."""
        self._coordinator.commands.execute(session, request_id, command)
