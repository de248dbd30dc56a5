"""The coordinator's connections: one session for each server, one for each client or operator."""

from __future__ import annotations

import json
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twistedkv.clustermap import ClusterMap
from twistedkv.errors import ProtocolError, Status
from twistedkv.limits import EPOCH_MAX, JSON_BYTES_MAX
from twistedkv.messages.client import MapRequest, MapUpdate, Noop, Result
from twistedkv.messages.coordinator import (
    AdminReply,
    AdminRequest,
    Heartbeat,
    Leaving,
    Relinquished,
    Sealed,
    ShardReport,
    Started,
)
from twistedkv.messages.hello import Hello
from twistedkv.net.calls import Calls
from twistedkv.net.framed import Connection
from twistedkv.wire import client as client_wire
from twistedkv.wire.client import CONFIG_RESP, decode_request, result_frame
from twistedkv.wire.coordinator import ADMIN, ADMIN_REPLY, FAMILY, HEARTBEAT, HeartbeatDecoder
from twistedkv.wire.frames import Frame, encode_frame

log = Logger()


class Coordinator(Protocol):
    """What the sessions need of the service."""

    def server_started(self, session: ServerSession, started: Started) -> None:
        """A server has introduced itself."""

    def server_messages(self, session: ServerSession, messages: list[Any]) -> None:
        """A server that was admitted has sent something: one read's worth of it."""

    def server_lost(self, session: ServerSession) -> None:
        """Its connection is gone."""

    def client_connected(self, session: ClientSession) -> None:
        """A client is there."""

    def client_lost(self, session: ClientSession) -> None:
        """It is gone."""

    def whole_map(self) -> ClusterMap:
        """The map as it is stored."""

    def admin(self, session: ClientSession, request_id: int, command: dict[str, Any]) -> None:
        """An operator's command; it is answered with `session.reply`."""


def map_frame(cluster_map: ClusterMap, request_id: int = 0) -> bytes:
    """A map, whole or a part, as one frame: the same bytes for servers and clients."""
    return encode_frame(CONFIG_RESP, client_wire.FAMILY.layouts[CONFIG_RESP].encode(MapUpdate(cluster_map)), request_id)


def _check_epochs(message: Any) -> None:
    """Raise ProtocolError for an epoch that does not fit in a version: nobody can have got it from here."""
    reports = message.reports if isinstance(message, Started | Heartbeat) else (message,)
    if any(getattr(report, "epoch", 0) > EPOCH_MAX for report in reports):
        raise ProtocolError(f"an epoch is at most {EPOCH_MAX}")


class ServerSession:
    """A server's connection: it says Started first, then beats and answers; orders go the other way."""

    def __init__(self, connection: Connection, hello: Hello, coordinator: Coordinator) -> None:
        self.connection = connection
        self.store_id = hello.identity
        self.server_id = 0
        """0 until it was admitted."""
        self.started: Started | None = None
        self.calls = Calls()
        self._coordinator = coordinator
        self._started_request = 0
        self._leaving_request = 0
        self._heartbeats = HeartbeatDecoder()
        self._checked: list[ShardReport] | None = None
        """Reports whose epochs have been looked at."""

    def frames_received(self, frames: list[Frame]) -> None:
        """What the server sends, as one batch. Raises ProtocolError for anything that is not of this family."""
        batch: list[Any] = []
        for frame in frames:
            message_type, _, request_id, body = frame
            if message_type == HEARTBEAT:
                message = self._heartbeats.decode(body)
                if message.reports is not self._checked:
                    _check_epochs(message)
                    self._checked = message.reports
            else:
                message = FAMILY.decode(message_type, body)
                _check_epochs(message)
            if isinstance(message, Started):
                self._introduced(message, request_id)
            elif self.started is None:
                raise ProtocolError(f"a server says Started first, not {type(message).__name__}")
            elif isinstance(message, Result):
                self.calls.answered(frame)
            else:
                if isinstance(message, Leaving):
                    self._leaving_request = request_id
                if isinstance(message, Sealed | Relinquished):
                    self.calls.answered(frame)
                batch.append(message)
            if self.connection.closed:
                return
        if batch:
            self._coordinator.server_messages(self, batch)

    def _introduced(self, started: Started, request_id: int) -> None:
        if self.started is not None:
            raise ProtocolError("Started was said before on this connection")
        if started.store_id != self.store_id:
            raise ProtocolError("Started names another store id than HELLO did")
        self.started = started
        self._started_request = request_id
        self._coordinator.server_started(self, started)

    def connection_lost(self, reason: str) -> None:
        """The connection is gone."""
        self.calls.lose(ConnectionError("the connection to the server was lost"))
        self._coordinator.server_lost(self)

    def send(self, message: Any, request_id: int = 0) -> None:
        """An order."""
        message_type, body = FAMILY.encode(message)
        self.connection.send(message_type, body, request_id)

    def answer_started(self, reply: Any) -> None:
        """Answer Started."""
        self.send(reply, self._started_request)

    def answer_leaving(self, text: str) -> None:
        """Answer Leaving; `text` says what could not be done."""
        status = Status.SERVER_FAILURE if text else Status.SUCCESS
        self.send(Result(int(status), 0, text.encode()), self._leaving_request)

    def ask(self, message: Any, deadline: float) -> Deferred[Any]:
        """An order with an answer. Fires with the message; fails with TimeoutError or ConnectionError."""
        request_id, answer = self.calls.new(deadline)
        if request_id:
            self.send(message, request_id)
        return answer.addCallback(lambda frame: FAMILY.decode(frame[0], frame[3]))


class ClientSession:
    """A client's or operator's connection: the map, and commands."""

    def __init__(self, connection: Connection, hello: Hello, coordinator: Coordinator) -> None:
        self.connection = connection
        self.subscribed = False
        """Whether later maps are sent too."""
        self.following: int | None = None
        """Request id of the `journal` command that follows, if there is one."""
        self.told = 0
        """Number of the last event sent to it."""
        self._coordinator = coordinator
        coordinator.client_connected(self)

    def frames_received(self, frames: list[Frame]) -> None:
        """Requests, answered in order."""
        for message_type, _, request_id, body in frames:
            if self.connection.closed:
                return
            if message_type == ADMIN:
                self._admin(FAMILY.decode(message_type, body), request_id)
                continue
            request = decode_request(message_type, body)
            if isinstance(request, MapRequest):
                self.subscribed = self.subscribed or request.subscribe
                self.connection.send_bytes(map_frame(self._coordinator.whole_map(), request_id))
            elif isinstance(request, Noop):
                self.connection.send_bytes(result_frame(request_id, int(Status.SUCCESS)))
            else:
                text = b"the coordinator holds no keys: ask the servers that its map names"
                self.connection.send_bytes(result_frame(request_id, int(Status.UNSUPPORTED), 0, text))

    def _admin(self, request: AdminRequest, request_id: int) -> None:
        try:
            command = json.loads(request.json)
        except (ValueError, RecursionError):
            command = None
        if not isinstance(command, dict) or not isinstance(command.get("command"), str):
            self.fail(request_id, 'a command is JSON such as {"command": "status"}')
            return
        self._coordinator.admin(self, request_id, command)

    def connection_lost(self, reason: str) -> None:
        """The connection is gone."""
        self._coordinator.client_lost(self)

    def reply(self, request_id: int, answer: dict[str, Any], status: Status = Status.SUCCESS) -> None:
        """Answer a command."""
        text = json.dumps(answer).encode()
        if len(text) > JSON_BYTES_MAX:
            status, text = Status.SERVER_FAILURE, b'{"error": "the answer is too large"}'
        self.connection.send(ADMIN_REPLY, FAMILY.layouts[ADMIN_REPLY].encode(AdminReply(int(status), text)), request_id)

    def fail(self, request_id: int, sentence: str, status: Status = Status.INVALID_REQUEST) -> None:
        """Answer a command with an error."""
        self.reply(request_id, {"error": sentence}, status)
