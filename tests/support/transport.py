"""A network in memory: connections with bounded buffers, delivered by hand, the same every time.

Twisted's own fakes never pause a producer and deliver at once or never. Here a transport holds what was
written until the test delivers it; past `buffer_bytes` it pauses its producer, as a socket does whose peer
does not read; a receiver that pauses gets nothing. Bytes can be cut into pieces of any size, by a seeded
generator.

    network = MemoryNetwork() network.listenTCP(7400, acceptor, interface="127.0.0.1") dialing = dial(network,
    "127.0.0.1", 7400, hello, make_session) network.settle()            # until nothing is under way any more;
    `network.pump_seconds(1)` moves the clock, too
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import (
    IConsumer,
    IHostnameResolver,
    IListeningPort,
    IPushProducer,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

BUFFER_BYTES = 64 * 1024
ROUNDS_MAX = 100_000


@implementer(ITCPTransport, IConsumer, IPushProducer)
class MemoryTransport:
    """One end of a connection.

    `written` is what waits to be delivered to the other end. `pauses` and `resumes` count what was done to
    the producer registered here.
    """

    disconnecting = False

    def __init__(self, host: IPv4Address, peer: IPv4Address, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.written = bytearray()
        self.pauses = 0
        self.resumes = 0
        self.reading = True
        self.connected = True
        self.no_delay = False
        self.protocol: Any = None
        self.other: MemoryTransport | None = None
        self._host = host
        self._peer = peer
        self._buffer_bytes = buffer_bytes
        self._producer: Any = None
        self._streaming = False
        self._paused = False
        self._end: Failure | None = None

    # What a protocol calls.

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"a transport takes bytes, not {type(data).__name__}")
        if self.connected and self._end is None:
            self.written += data
            if self._producer is not None and len(self.written) > self._buffer_bytes and not self._paused:
                self._paused = True
                self.pauses += 1
                self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.written.clear()
        self.disconnecting = True
        self._end = self._end or Failure(ConnectionAborted())
        if self.other is not None and self.other._end is None:
            self.other._end = Failure(ConnectionLost())

    loseWriteConnection = loseConnection

    def getHost(self) -> IPv4Address:
        return self._host

    def getPeer(self) -> IPv4Address:
        return self._peer

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getTcpNoDelay(self) -> bool:
        return self.no_delay

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return True

    # As a consumer: somebody streams into this connection.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        self._producer, self._streaming = producer, streaming
        if not self.connected:
            producer.stopProducing()
        elif not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer, self._paused = None, False

    # As a producer: whoever receives may stop reading.

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    # What the network calls.

    def deliver(self, size: int | None = None) -> bool:
        """Hand up to `size` bytes to the other end, or end the connection. False when there was nothing to
        do.
        """
        if not self.connected:
            return False
        if self._end is not None:
            self._lose(self._end)
            return True
        other = self.other
        if self.written:
            if other is None or not other.connected:
                self.written.clear()
                return True
            if not other.reading or other._end is not None:
                return False
            piece = bytes(self.written[:size])
            del self.written[: len(piece)]
            if not other.disconnecting:  # as a socket of Twisted's that is closing: it has stopped reading
                other.protocol.dataReceived(piece)
            self._drained()
            return True
        if self.disconnecting and (self._producer is None or self._streaming):
            self._lose(Failure(ConnectionDone()))
            return True
        return False

    def _drained(self) -> None:
        if self._producer is None or self.written:
            return
        if self._paused or not self._streaming:
            self._paused = False
            self.resumes += 1
            self._producer.resumeProducing()

    def _lose(self, reason: Failure) -> None:
        self.connected = False
        self.written.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        other = self.other
        if other is not None and other._end is None:
            # What was sent before an orderly end still arrives: the end comes after it.
            other._end = Failure(ConnectionDone() if reason.check(ConnectionDone) else ConnectionLost())
        self.protocol.connectionLost(reason)


@implementer(IListeningPort)
class MemoryPort:
    """A port that a factory listens on."""

    def __init__(self, network: MemoryNetwork, address: IPv4Address, factory: Any) -> None:
        self.network, self.address, self.factory = network, address, factory

    def startListening(self) -> None:
        self.factory.doStart()

    def stopListening(self) -> None:
        if self.network.ports.pop((self.address.host, self.address.port), None) is not None:
            self.factory.doStop()

    def getHost(self) -> IPv4Address:
        return self.address


class MemoryConnector:
    """An attempt to connect, under way until the network is pumped."""

    def __init__(self, address: IPv4Address, factory: Any) -> None:
        self.address, self.factory = address, factory
        self.stopped = False

    def stopConnecting(self) -> None:
        self.stopped = True
        self.factory.clientConnectionFailed(self, Failure(ConnectionAborted()))

    def getDestination(self) -> IPv4Address:
        return self.address


@implementer(IHostnameResolver)
class _Resolver:
    """Every name is 127.0.0.1."""

    def resolveHostName(self, receiver: Any, host: str, portNumber: int = 0, *_: Any, **__: Any) -> Any:
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", host if host[:1].isdigit() else "127.0.0.1", portNumber))
        receiver.resolutionComplete()
        return receiver


@implementer(IReactorTCP, IReactorTime, IReactorPluggableNameResolver)
class MemoryNetwork(Clock):
    """A reactor as far as TCP and time go.

    `pieces` gives the size of the next piece to deliver (None: all that waits); by default all.
    """

    def __init__(self, pieces: Callable[[], int | None] = lambda: None, buffer_bytes: int = BUFFER_BYTES) -> None:
        super().__init__()
        self.nameResolver = _Resolver()
        self.ports: dict[tuple[str, int], MemoryPort] = {}
        self.transports: list[MemoryTransport] = []
        self._pieces = pieces
        self._buffer_bytes = buffer_bytes
        self._connecting: list[MemoryConnector] = []
        self._next_port = 40_000

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> MemoryPort:
        if port == 0:
            self._next_port += 1
            port = self._next_port
        host = interface or "127.0.0.1"
        listening = MemoryPort(self, IPv4Address("TCP", host, port), factory)
        if (host, port) in self.ports:
            raise RuntimeError(f"{host}:{port} is in use")
        self.ports[host, port] = listening
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> MemoryConnector:
        connector = MemoryConnector(IPv4Address("TCP", host, port), factory)
        factory.doStart()
        factory.startedConnecting(connector)
        self._connecting.append(connector)
        return connector

    def connection(self, accepting: Any, connecting: Any, buffer_bytes: int | None = None) -> None:
        """Join two protocols, without a port."""
        self._next_port += 1
        here = IPv4Address("TCP", "127.0.0.1", self._next_port)
        there = IPv4Address("TCP", "127.0.0.1", 1)
        ends = [MemoryTransport(a, b, buffer_bytes or self._buffer_bytes) for a, b in ((here, there), (there, here))]
        ends[0].other, ends[1].other = ends[1], ends[0]
        self.transports.extend(ends)
        ends[0].protocol, ends[1].protocol = connecting, accepting
        accepting.makeConnection(ends[1])
        connecting.makeConnection(ends[0])

    def step(self) -> bool:
        """Do what is ready once for each connection. False when nothing was."""
        busy = self._connect()
        for transport in list(self.transports):
            busy = transport.deliver(self._pieces()) or busy
        self.transports = [transport for transport in self.transports if transport.connected]
        return busy

    def settle(self) -> None:
        """Go on until nothing is under way and no call is due, without moving the clock."""
        for _ in range(ROUNDS_MAX):
            due = any(call.getTime() <= self.seconds() for call in self.getDelayedCalls())
            if due:
                self.advance(0)
            if not self.step() and not due:
                return
        raise RuntimeError("the connections do not come to rest")

    def pump_seconds(self, seconds: float, step_seconds: float = 0.01) -> None:
        """Settle, and move the clock in small steps, settling after each."""
        self.settle()
        for _ in range(round(seconds / step_seconds)):
            self.advance(step_seconds)
            self.settle()

    def _connect(self) -> bool:
        connecting, self._connecting = self._connecting, []
        for connector in connecting:
            if connector.stopped:
                continue
            address = connector.address
            port = self.ports.get((address.host, address.port))
            if port is None:
                connector.factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
                continue
            accepting = port.factory.buildProtocol(address)
            dialing = connector.factory.buildProtocol(address)
            self.connection(accepting, dialing)
        return bool(connecting)


def random_pieces(seed: int, most: int = 32) -> Callable[[], int]:
    """Sizes of pieces, 1 to `most` bytes, the same for the same seed."""
    generator = random.Random(seed)
    return lambda: generator.randint(1, most)
