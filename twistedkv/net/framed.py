"""Connections: frames over a transport, opened by HELLO, then handed to a session.

A `Connection` knows bytes, frames and its own life; what the frames mean is its session's business. The accepting side
(`Acceptor`) makes the session by the role that HELLO names, the connecting side (`dial`) is given it.

Hazards guarded against: frames that are still in the buffer after the connection was closed (they are dropped), a peer
that connects and says nothing (HELLO_SECONDS_MAX), `loseConnection` that waits for ever for a peer that does not read
(DRAIN_SECONDS, then abort), and listeners that stop while their connections live on (`Acceptor.close_all`).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IDelayedCall, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.core.handshake import answer_hello
from twistedkv.errors import ProtocolError, Status, TwistedKVError
from twistedkv.limits import HELLO_SECONDS_MAX
from twistedkv.messages.hello import Hello, HelloReply, Role
from twistedkv.net.sending import sender
from twistedkv.wire.frames import Frame, FrameDecoder, encode_frame
from twistedkv.wire.shared import HELLO, HELLO_REPLY, HELLO_REPLY_TYPE, HELLO_TYPE

log = Logger()

DRAIN_SECONDS = 2.0
CONNECT_SECONDS_MAX = 2.0


class Session(Protocol):
    """What a connection is used for, once HELLO is through."""

    def frames_received(self, frames: list[Frame]) -> None:
        """All frames that one read completed. A ProtocolError closes the connection."""

    def connection_lost(self, reason: str) -> None:
        """The connection is gone. Called once, also after `close`."""


class HelloRefused(TwistedKVError):
    """The other side answered HELLO with an error; the text is its sentence."""


class Connection(TwistedProtocol):
    """Frames over a transport. `session` takes them, as soon as HELLO is through."""

    transport: Any
    session: Session | None = None
    closed = False
    """Nothing is delivered or sent any more."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._decoder = FrameDecoder()
        self._timer: IDelayedCall | None = None

    # Twisted's side.

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._send = sender(self.transport)
        self._timer = self._clock.callLater(HELLO_SECONDS_MAX, self._hello_overdue)

    def dataReceived(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            frames = self._decoder.feed(data)
            if frames and self.session is None:
                self.hello_received(frames.pop(0))
            if frames and self.session is not None and not self.closed:
                self.session.frames_received(frames)
        except ProtocolError as error:
            log.warn("{peer}: {error}; connection closed", peer=self.peer, error=str(error))
            self.abort()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.closed = True
        self._stop_timer()
        if self.session is not None:
            self.session.connection_lost(reason.getErrorMessage() if reason is not None else "")

    # The session's side.

    @property
    def peer(self) -> str:
        """The other side's address, for logs."""
        address = self.transport.getPeer() if self.transport is not None else None
        return f"{getattr(address, 'host', '?')}:{getattr(address, 'port', '?')}"

    def send(self, message_type: int, body: bytes, request_id: int = 0, flags: int = 0) -> None:
        """Send one frame."""
        self.send_bytes(encode_frame(message_type, body, request_id, flags))

    def send_bytes(self, data: bytes) -> None:
        """Send whole frames that are encoded already."""
        if not self.closed:
            self._send(data)

    def limit_unacknowledged(self, seconds: float) -> None:
        """Have the kernel end the connection when for so long nothing of what was sent has been acknowledged.

        Without that, what was sent into a cut is sent again at intervals that double, for a quarter of an hour: after a
        cut of t seconds it can take t more until the connection is of use again. Where there is no such option,
        nothing is done. Not for connections whose other side may stop reading.
        """
        handle = getattr(self.transport, "getHandle", None)
        if handle is not None and not self.closed and hasattr(socket, "TCP_USER_TIMEOUT"):
            handle().setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(seconds * 1000)))

    def close(self) -> None:
        """Send what is buffered, then close; abort if that takes longer than DRAIN_SECONDS."""
        if not self.closed:
            self.closed = True
            self._stop_timer()
            self.transport.loseConnection()
            self._timer = self._clock.callLater(DRAIN_SECONDS, self.transport.abortConnection)

    def abort(self) -> None:
        """Close at once; what is buffered is lost."""
        self.closed = True
        self._stop_timer()
        if self.transport is not None:
            self.transport.abortConnection()

    # HELLO.

    def hello_received(self, frame: Frame) -> None:
        """The first frame. To be set the session, or the connection closed."""
        raise ProtocolError("no frame was expected")

    def hello_done(self) -> None:
        """HELLO is through."""
        self._stop_timer()

    def _hello_overdue(self) -> None:
        self._timer = None
        log.info("{peer} said nothing for {seconds} s; connection closed", peer=self.peer, seconds=HELLO_SECONDS_MAX)
        self.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class _AcceptedConnection(Connection):
    def __init__(self, acceptor: Acceptor) -> None:
        super().__init__(acceptor.clock)
        self._acceptor = acceptor

    def connectionMade(self) -> None:
        super().connectionMade()
        self._acceptor.connections[self] = None

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self._acceptor.forget(self)

    def hello_received(self, frame: Frame) -> None:
        message_type, _, request_id, body = frame
        if message_type != HELLO_TYPE:
            raise ProtocolError(f"the first frame must be HELLO, not of type 0x{message_type:02x}")
        hello = HELLO.decode(body)
        reply = self._acceptor.answer(hello)
        self.send(HELLO_REPLY_TYPE, HELLO_REPLY.encode(reply), request_id)
        if reply.status != Status.SUCCESS:
            log.info("{peer} was refused: {text}", peer=self.peer, text=reply.text)
            self.close()
            return
        self.hello_done()
        self.session = self._acceptor.roles[hello.role](self, hello)


class Acceptor(Factory):
    """Accepts connections and gives each a session by its role.

    `describe` returns (cluster name, server id, identity) as HELLO_REPLY carries them.
    """

    noisy = False

    def __init__(
        self,
        clock: Any,
        describe: Callable[[], tuple[str, int, bytes]],
        roles: Mapping[Role, Callable[[Connection, Hello], Session]],
    ) -> None:
        self.clock = clock
        self.roles = roles
        self.connections: dict[Connection, None] = {}
        self._describe = describe
        self._all_gone: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return _AcceptedConnection(self)

    def answer(self, hello: Hello) -> HelloReply:
        """What to answer to a HELLO."""
        cluster, server_id, identity = self._describe()
        return answer_hello(hello, cluster=cluster, server_id=server_id, identity=identity, roles=self.roles)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self.connections.pop(connection, None)
        if not self.connections:
            waiting, self._all_gone = self._all_gone, []
            for done in waiting:
                done.callback(None)

    def close_all(self) -> Deferred[None]:
        """Close every connection in order. Fires when the last one is gone."""
        done: Deferred[None] = Deferred()
        if not self.connections:
            done.callback(None)
            return done
        self._all_gone.append(done)
        for connection in list(self.connections):
            if connection.session is None:
                connection.abort()
            else:
                connection.close()
        return done


class _DialedConnection(Connection):
    def __init__(self, clock: Any, hello: Hello, make_session: Callable[[Connection, HelloReply], Session]) -> None:
        super().__init__(clock)
        self._hello = hello
        self._make_session = make_session
        self.ready: Deferred[Connection] | None = Deferred()

    def connectionMade(self) -> None:
        super().connectionMade()
        self.send(HELLO_TYPE, HELLO.encode(self._hello))

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self._settle(ConnectionError("the connection was closed before HELLO was answered"))

    def hello_received(self, frame: Frame) -> None:
        message_type, _, _, body = frame
        if message_type != HELLO_REPLY_TYPE:
            raise ProtocolError(f"HELLO must be answered by HELLO_REPLY, not by type 0x{message_type:02x}")
        reply = HELLO_REPLY.decode(body)
        if reply.status != Status.SUCCESS:
            self._settle(HelloRefused(reply.text))
            self.close()
            return
        self.hello_done()
        try:
            self.session = self._make_session(self, reply)
        except HelloRefused as refused:
            self._settle(refused)
            self.abort()
        else:
            self._settle(self)

    def _settle(self, outcome: Connection | Exception) -> None:
        ready, self.ready = self.ready, None
        if ready is None:
            return
        if isinstance(outcome, Exception):
            ready.errback(Failure(outcome))
        else:
            ready.callback(outcome)


def dial(
    reactor: Any,
    host: str,
    port: int,
    hello: Hello,
    make_session: Callable[[Connection, HelloReply], Session],
    timeout_seconds: float = CONNECT_SECONDS_MAX,
) -> Deferred[Connection]:
    """Connect and say HELLO. Fires with the connection once its session is set.

    `make_session` may raise HelloRefused when the other side is not the one that was meant.
    Fails with a Twisted connection error, ConnectionError, or HelloRefused. Cancelling aborts the attempt.
    """
    protocols: list[_DialedConnection] = []

    class _Dialer(Factory):
        noisy = False

        def buildProtocol(self, addr: IAddress | None) -> Connection:
            protocol = _DialedConnection(reactor, hello, make_session)
            protocols.append(protocol)
            return protocol

    connecting: Deferred[Any] = _endpoint(reactor, host, port, timeout_seconds).connect(_Dialer())

    def connected(protocol: _DialedConnection) -> Deferred[Connection]:
        ready: Deferred[Connection] = Deferred(lambda _: protocol.abort())
        inner = protocol.ready
        if inner is None:  # HELLO was answered, or the connection lost, while connecting
            if protocol.session is not None and not protocol.closed:
                ready.callback(protocol)
            else:
                ready.errback(Failure(ConnectionError("the connection was closed before HELLO was answered")))
            return ready
        inner.addCallbacks(ready.callback, lambda failure: None if ready.called else ready.errback(failure))
        return ready

    connecting.addCallback(connected)
    return connecting


def _endpoint(reactor: Any, host: str, port: int, timeout_seconds: float) -> IStreamClientEndpoint:
    """A name has to be resolved, in a thread. For an address HostnameEndpoint would install the global reactor, too."""
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port, timeout=timeout_seconds)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port, timeout=timeout_seconds)
    return HostnameEndpoint(reactor, host, port, timeout=timeout_seconds)


def silence(deferred: Deferred[Any]) -> None:
    """End a chain whose failure has been dealt with elsewhere."""
    deferred.addErrback(lambda _: None)


@contextlib.contextmanager
def logged(what: str) -> Any:
    """Log an unexpected error instead of letting it end a LoopingCall."""
    try:
        yield
    except Exception:
        log.failure("{what} failed", what=what)
