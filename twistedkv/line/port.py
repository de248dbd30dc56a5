"""The line port: its listener, its connections, and their deadlines.

Hazards guarded against: a client that does not read (its requests are not executed, and after a while it is cut off),
one that connects and says nothing, one that begins a request and does not end it, and too many of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IAddress, IListeningPort, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedkv.client.twisted import Client
from twistedkv.limits import LINE_CONNECTIONS_MAX, LINE_FIRST_SECONDS_MAX, LINE_STALLED_SECONDS_MAX
from twistedkv.line.conversation import Conversation
from twistedkv.line.desk import Desk
from twistedkv.line.functions import table
from twistedkv.net.failstop import STORAGE_ERRORS
from twistedkv.net.framed import logged
from twistedkv.net.sending import sender
from twistedkv.resp import replies
from twistedkv.service.listening import listen
from twistedkv.service.server import ServerService

log = Logger()

_SWEEP_SECONDS = 1.0
_ENDING_SECONDS = 2.0
_TOO_MANY = replies.error("ERR max number of clients reached")


@implementer(IPushProducer)
class LineConnection(Protocol):
    """One client: bytes between its transport and its conversation."""

    conversation: Conversation | None = None
    """None once the connection is gone, or when there were too many."""

    def __init__(self, port: LinePort) -> None:
        self._port = port
        self._full_since: float | None = None
        """Since when the client has not read what it was sent."""
        self._begun_at: float | None = None
        """When the request that is not complete began to come."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        desk = self._port.desk
        desk.connections += 1
        if len(desk.conversations) >= desk.connections_max:
            desk.rejected += 1
            self.transport.write(_TOO_MANY)
            self.transport.loseConnection()
            return
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        peer, host = self.transport.getPeer(), self.transport.getHost()
        conversation = Conversation(
            desk,
            desk.connections,
            _shown(peer),
            _shown(host),
            sender(self.transport),
            self._close,
            self._overflowed,
        )
        self.conversation = conversation
        desk.conversations[conversation.number] = conversation
        self._port.open[self] = None
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        conversation = self.conversation
        if conversation is None:
            return
        try:
            usual = conversation.received(data)
        except STORAGE_ERRORS as error:
            self._port.desk.server.storage_failed(error)
            return
        if usual and self._begun_at is None:
            return
        self._begun_at = (self._begun_at or conversation.heard_at) if conversation.partial else None
        self._read_or_not()

    def connectionLost(self, reason: Failure | None = None) -> None:
        conversation, self.conversation = self.conversation, None
        if conversation is not None:
            conversation.lost()
        self._port.forget(self)

    def _close(self) -> None:
        if self.conversation is not None and self.transport is not None:
            self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self.transport.loseConnection()
            self._full_since = self._full_since or self._port.desk.now()

    def _overflowed(self) -> None:
        self._cut_off("it does not read, and too much waits for it")

    def _cut_off(self, why: str) -> None:
        if self.conversation is not None and self.transport is not None:
            log.info("line client {address} is cut off: {why}", address=self.conversation.address, why=why)
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def check(self, now: float, idle_seconds: float) -> None:
        """Cut the client off if it has kept us waiting for too long. And go on reading, if that has become possible."""
        conversation = self.conversation
        if conversation is None or self.transport is None:
            return
        silent = now - conversation.heard_at
        why = ""
        if self._full_since is not None and now - self._full_since > LINE_STALLED_SECONDS_MAX:
            why = "it does not read what it is sent"
        elif self._begun_at is not None and now - self._begun_at > LINE_FIRST_SECONDS_MAX:
            why = "a request that it began does not end"
        elif not conversation.commands and silent > LINE_FIRST_SECONDS_MAX:
            why = "it says nothing"
        elif idle_seconds and silent > idle_seconds and conversation.idle:
            why = f"it has said nothing for {idle_seconds:g} s"
        if why:
            self._cut_off(why)

    # Back-pressure.

    def _read_or_not(self) -> None:
        conversation = self.conversation
        if conversation is None or conversation.ending:
            return  # what still comes is ignored
        if conversation.listening:
            self.transport.resumeProducing()  # type: ignore[union-attr]
        else:
            self._port.paused[self] = None
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def look_again(self) -> None:
        """Read on, if the backlog is gone."""
        if self.conversation is not None and self.conversation.listening:
            self._port.paused.pop(self, None)
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def pauseProducing(self) -> None:
        self._full_since = self._port.desk.now()
        if self.conversation is not None:
            self.conversation.block(True)
            self._read_or_not()

    def resumeProducing(self) -> None:
        self._full_since = None
        if self.conversation is not None:
            self.conversation.block(False)
            self._read_or_not()

    def stopProducing(self) -> None:
        pass


class LinePort(Service, Factory):
    """The listener. A child of its server's service, so it begins before the server registers.

    server        the server that this is a part of
    moved         send clients to the server that has their keys, instead of serving them from here
    idle_seconds  cut off who says nothing for so long; 0: never
    client_id     under which commands are executed; None: a new one
    """

    noisy = False

    def __init__(
        self,
        server: ServerService,
        *,
        moved: bool = False,
        idle_seconds: float = 0.0,
        connections_max: int = LINE_CONNECTIONS_MAX,
        client_id: bytes | None = None,
        wall: Callable[[], int] | None = None,
        random: Random | None = None,
    ) -> None:
        self._server = server
        self._moved = moved
        self._idle_seconds = idle_seconds
        self._connections_max = connections_max
        self.client: Client | None = None
        """Of the cluster, for what is not executed here. There while the service runs."""
        self._client_id = client_id
        self._wall = wall or (lambda: time.time_ns() // 1_000_000)
        self._random = random or Random()
        self.desk: Desk
        self.open: dict[LineConnection, None] = {}
        self.paused: dict[LineConnection, None] = {}
        """Those that are not read, because they have asked more than may be begun."""
        self._listening: IListeningPort | None = None
        self._all_gone: Deferred[None] | None = None
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = server.reactor

    def buildProtocol(self, addr: IAddress | None) -> LineConnection:
        return LineConnection(self)

    def startService(self) -> None:
        server, options = self._server, self._server.options
        host, port = options.coordinator
        self.client = client = Client(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            reactor=server.reactor,
            cluster=options.cluster,
            client_id=self._client_id,
            random=self._random,
        )
        self.desk = Desk(server, client, self._wall, table(self._random), moved=self._moved)
        self.desk.idle_seconds = self._idle_seconds
        self.desk.connections_max = self._connections_max
        self.desk.resume = self._resume
        self._listening = listen(server.reactor, options.host, options.line_port, "line-port", self)
        server.line_port = self._listening.getHost().port  # type: ignore[union-attr]
        log.info(
            "line port of server {server} at {host}:{port}",
            server=server.server_id,
            host=options.host,
            port=server.line_port,
        )
        super().startService()  # type: ignore[no-untyped-call]
        self._sweeping.start(_SWEEP_SECONDS)

    @inlineCallbacks
    def stopService(self) -> Any:
        """Take no more requests, give the answers that are due, close."""
        if self._listening is not None:
            yield self._listening.stopListening()
        if self._sweeping.running:
            self._sweeping.stop()
        gone: Deferred[None] = Deferred()
        if self.open:
            self._all_gone = gone
            for connection in list(self.open):
                if connection.conversation is not None:
                    connection.conversation.end()
            overdue = self._server.reactor.callLater(_ENDING_SECONDS, self._abort_all)
            yield gone
            if overdue.active():
                overdue.cancel()
        if self.client is not None:
            yield self.client.close()
        yield super().stopService()  # type: ignore[no-untyped-call]

    def _abort_all(self) -> None:
        for connection in list(self.open):
            if connection.transport is not None:
                connection.transport.abortConnection()  # type: ignore[attr-defined]

    def forget(self, connection: LineConnection) -> None:
        """The connection is gone."""
        self.open.pop(connection, None)
        self.paused.pop(connection, None)
        if not self.open and self._all_gone is not None:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)

    def _resume(self) -> None:
        for connection in list(self.paused):
            connection.look_again()

    def _sweep(self) -> None:
        with logged("the sweep of the line port"):
            now = self.desk.now()
            self.desk.shards.expire(now)
            self.desk.count()
            for connection in list(self.open):
                connection.check(now, self._idle_seconds)


def _shown(address: Any) -> str:
    host, port = getattr(address, "host", "?"), getattr(address, "port", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
