"""One end of a simulated TCP connection, as a Twisted program sees it, and the kernel's part of it.

What is written is collected by the process and given to the kernel in its next turn, as far as the kernel has room: the
window is what the other process has not read yet. Past TRANSPORT_BUFFER_BYTES of what the kernel has not taken, the
producer is paused, and resumed when all of it is taken. The kernel goes on when the process is frozen; when it is
killed, the kernel says so: FIN, or RST when there is something that was not read.

An end learns that the other one is gone by FIN or RST, or when it sends something and is answered by RST; when neither
gets through, never.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from twistedkv.simulation.network import Channel, Network
    from twistedkv.simulation.reactor import SimulatedReactor

TRANSPORT_BUFFER_BYTES = 64 * 1024
"""As Twisted's `FileDescriptor.bufferSize`."""
READ_BYTES_MAX = 64 * 1024
"""As Twisted reads at once."""


@implementer(ITCPTransport, IConsumer, IPushProducer)
class SimulatedTransport:
    """One end. `other` is the other one, `channel` what carries bytes to it."""

    disconnecting = False

    def __init__(
        self, reactor: SimulatedReactor, network: Network, host: IPv4Address, peer: IPv4Address, number: int
    ) -> None:
        self.reactor = reactor
        self.network = network
        self.number = number
        self.connected = True
        self.protocol: Any = None
        self.connector: Any = None
        self.other: SimulatedTransport
        self.channel: Channel
        self.pauses = 0
        """How often a producer was paused here."""
        self._host = host
        self._peer = peer
        self._buffer = bytearray()
        self._unread = 0
        """Of what was sent: not yet read by the other process."""
        self._inbox = bytearray()
        self._ended = False
        """FIN has come."""
        self._reading = False
        self._read_posted = False
        self._write_posted = False
        self._aborting = False
        self._producer: Any = None
        self._streaming = False
        self._paused = False
        self._delay_off = False

    # What a protocol calls.

    def write(self, data: bytes) -> None:
        """See ITransport. After the end of the connection it is ignored."""
        if not isinstance(data, bytes):
            raise TypeError(f"a transport takes bytes, not {type(data).__name__}")
        if not self.connected or self._aborting or not data:
            return
        self._buffer += data
        if self._producer is not None and self._streaming and len(self._buffer) > TRANSPORT_BUFFER_BYTES:
            self._paused = True
            self.pauses += 1
            self._producer.pauseProducing()
        self._write_soon()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See ITransport."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """End when everything is sent; nothing is read any more."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._reading = False
            self._write_soon()

    def loseWriteConnection(self) -> None:
        """See ITransport. This program closes whole connections only."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """End at once; what was not sent, and perhaps what was, is lost."""
        if self.connected and not self._aborting:
            self._aborting = True
            self._reading = False
            self.reactor.callLater(0, self._lose, Failure(ConnectionAborted()))

    def getHost(self) -> IPv4Address:
        """This end's address."""
        return self._host

    def getPeer(self) -> IPv4Address:
        """The other end's address."""
        return self._peer

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ITCPTransport."""
        self._delay_off = bool(enabled)

    def getTcpNoDelay(self) -> bool:
        """See ITCPTransport."""
        return self._delay_off

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Its two hours are longer than any simulation."""

    def getTcpKeepAlive(self) -> bool:
        """See ITCPTransport."""
        return True

    # As a consumer.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """See IConsumer."""
        self._producer = None
        if self.connected and self.disconnecting:
            self._write_soon()

    # As a producer.

    def pauseProducing(self) -> None:
        """Read nothing for now."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Read on."""
        if self.connected and not self.disconnecting and not self._aborting and not self._reading:
            self._reading = True
            self._read_soon()

    def stopProducing(self) -> None:
        """See IProducer."""
        self.loseConnection()

    # In the process.

    def established(self, protocol: Any) -> None:
        """The process has got the connection."""
        self.protocol = protocol
        self._reading = True
        protocol.makeConnection(self)
        self._read_soon()

    def _write_soon(self) -> None:
        if not self._write_posted:
            self._write_posted = True
            self.reactor.post(self.network.timeline.now, self._writable)

    def _writable(self) -> None:
        self._write_posted = False
        if not self.connected or self._aborting:
            return
        room = self.network.window_bytes - self._unread
        if self._buffer and room > 0:
            data = bytes(self._buffer[:room])
            del self._buffer[: len(data)]
            self._unread += len(data)
            self.channel.send(self.other.arrived, data)
        if self._buffer:
            return
        producer = self._producer
        if producer is not None and (self._paused or not self._streaming):
            self._paused = False
            producer.resumeProducing()
        elif self.disconnecting:
            self._lose(Failure(ConnectionDone()))

    def _read_soon(self) -> None:
        if not self._read_posted and (self._inbox or self._ended):
            self._read_posted = True
            self.reactor.post(self.network.timeline.now, self._readable)

    def _readable(self) -> None:
        self._read_posted = False
        if not self.connected or not self._reading or self.protocol is None:
            return
        if self._inbox:
            size = self.network.piece(min(len(self._inbox), READ_BYTES_MAX))
            data = bytes(self._inbox[:size])
            del self._inbox[:size]
            self.channel.send(self.other.read_there, size)
            self.network.timeline.note(b"%d %d " % (self.number, self._host.port) + data)
            try:
                self.protocol.dataReceived(data)
            except Exception:
                self.network.timeline.failed(f"{self.reactor.name}: dataReceived")
                self._lose(Failure(ConnectionLost()))
                return
            if self._reading:
                self._read_soon()
        elif self._ended:
            self._lose(Failure(ConnectionDone()))

    def _lose(self, reason: Failure) -> None:
        """The connection is over, as far as this process goes: close the socket and tell the protocol."""
        if not self.connected:
            return
        reset = reason.check(ConnectionAborted) is not None or bool(self._inbox)
        self.close_socket(reset=reset)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)
        if self.connector is not None:
            self.connector.connection_lost(reason)

    # In the kernel.

    def close_socket(self, *, reset: bool, silent: bool = False) -> None:
        """The process has closed its socket, or has ended. `silent`: so has the host."""
        if not self.connected:
            return
        self.connected = False
        self._buffer.clear()
        self._inbox.clear()
        self.network.closed(self)
        if silent:
            self.channel.clear()
        elif reset:
            self.channel.clear()
            self.channel.send_reset(self.other.reset_arrived)
        else:
            self.channel.send(self.other.end_arrived)

    @property
    def unread(self) -> bool:
        """Whether something has come that the process has not read."""
        return bool(self._inbox)

    def arrived(self, data: bytes) -> None:
        """Bytes from the other end."""
        if not self.connected:
            self.channel.send_reset(self.other.reset_arrived)
            return
        self._inbox += data
        if self._reading:
            self._read_soon()

    def read_there(self, size: int) -> None:
        """The other process has read so many bytes: there is room again."""
        self._unread -= size
        if self._buffer and self.connected:
            self._write_soon()

    def end_arrived(self) -> None:
        """FIN."""
        self._ended = True
        if self._reading:
            self._read_soon()

    def reset_arrived(self) -> None:
        """RST: the process learns of it when it runs."""
        if self.connected:
            self.channel.clear()
            self._inbox.clear()
            self.reactor.post(self.network.timeline.now, self._lose, Failure(ConnectionLost()))
