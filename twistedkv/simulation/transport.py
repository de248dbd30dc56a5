"""One end of a simulated TCP connection, as a Twisted program sees it, and the kernel's part of it.

What is written is collected by the process and given to the kernel in its next turn, as far as the kernel has room: the
window is what the other process has not read yet. Past TRANSPORT_BUFFER_BYTES of what the kernel has not taken, the
producer is paused, and resumed when all of it is taken. The kernel goes on when the process is frozen; when it is
killed, the kernel says so: FIN, or RST when there is something that was not read.

An end learns that the other one is gone by FIN or RST, or when it sends something and is answered by RST; when neither
gets through, never. Its process is told by the kernel, and only if it reads or has something to write. One who reads
gets all that came before, then FIN if there was one, then RST; to one who only writes, FIN says nothing and RST all.

tests/simulation/test_as_real_sockets.py compares this with Twisted's epoll reactor on Linux, call by call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from twistedkv.simulation.network import Channel, Network
    from twistedkv.simulation.reactor import SimulatedReactor

TRANSPORT_BUFFER_BYTES = 64 * 1024
"""As Twisted's `FileDescriptor.bufferSize`."""
SENT_AGAIN_SECONDS = 0.4
"""What is not acknowledged is sent again after so long, and again: the network's REPEAT_SECONDS_MAX."""
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
        self.inbox = bytearray()
        """What has come and the process has not read."""
        self.end_heard = False
        """FIN has come: it is behind the inbox."""
        self.reset_heard = False
        """RST has come: it is behind both."""
        self._host = host
        self._peer = peer
        self._buffer = bytearray()
        self._unread = 0
        """Of what was sent: not yet read by the other process."""
        self._reading = False
        """The process wants to be told what has come."""
        self._writing = False
        """It wants to be told when the kernel has room."""
        self._posted = False
        self._aborting = False
        self._half_closing = False
        self._half_closed = False
        self._producer: Any = None
        self._streaming = False
        self._paused = False
        self._delay_off = False
        self._kept_alive = False

    # What a protocol calls.

    def write(self, data: bytes) -> None:
        """See ITransport. After the end of the connection it is ignored."""
        self.writeSequence((data,))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See ITransport."""
        parts = tuple(iovec)
        for data in parts:
            if not isinstance(data, bytes):
                raise TypeError(f"a transport takes bytes, not {type(data).__name__}")
        if not self.connected or self._half_closed or not any(parts):
            return
        for data in parts:
            self._buffer += data
        if self._producer is not None and self._streaming and len(self._buffer) > TRANSPORT_BUFFER_BYTES:
            self._paused = True
            self.pauses += 1
            self._producer.pauseProducing()
        self._write_soon()

    def loseConnection(self) -> None:
        """End when everything is sent; nothing is read any more."""
        if self.connected and not self.disconnecting:
            if self._half_closed:
                self.lose(Failure(ConnectionDone()))
                return
            self.disconnecting = True
            self._reading = False
            self._write_soon()

    def loseWriteConnection(self) -> None:
        """Close this direction when everything is sent."""
        if self.connected:
            self._half_closing = True
            self._write_soon()

    def abortConnection(self) -> None:
        """End at once; what was not sent, and perhaps what was, is lost."""
        if self.connected and not self._aborting:
            self._aborting = True
            self._reading = False
            self.reactor.callLater(0, self.lose, Failure(ConnectionAborted()))

    def getHost(self) -> IPv4Address:
        """This end's address. Only the open socket knows it."""
        self._check_socket()
        return self._host

    def getPeer(self) -> IPv4Address:
        """The other end's address."""
        return self._peer

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ITCPTransport."""
        self._check_socket()
        self._delay_off = bool(enabled)

    def getTcpNoDelay(self) -> bool:
        """See ITCPTransport."""
        self._check_socket()
        return self._delay_off

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Its two hours are longer than any simulation."""
        self._check_socket()
        self._kept_alive = bool(enabled)

    def getTcpKeepAlive(self) -> bool:
        """See ITCPTransport."""
        self._check_socket()
        return self._kept_alive

    def _check_socket(self) -> None:
        if not self.connected:
            raise AttributeError("the connection has ended, and Twisted's transport has no socket any more")

    # As a consumer.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See IConsumer."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
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
        if self.connected and not self.disconnecting and not self._reading:
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
        self._read_soon()
        protocol.makeConnection(self)

    def _read_soon(self) -> None:
        if self.inbox or self.end_heard or self.reset_heard:
            self._soon()

    def _write_soon(self) -> None:
        self._writing = True
        self._soon()

    def _soon(self) -> None:
        if not self._posted:
            self._posted = True
            self.reactor.post(self.network.timeline.now, self._ready)

    def _ready(self) -> None:
        """A turn of the process that finds something to do here: what Twisted does with one event of epoll."""
        self._posted = False
        if not self.connected or self._aborting or self.protocol is None:
            return
        writing = self._writing
        why: Exception | None = None
        try:
            if self._reading and (self.inbox or self.end_heard or self.reset_heard):
                why = self._read()
            if why is None and writing and self.connected and not self._aborting:
                why = self._write()
        except Exception as error:
            self.network.timeline.failed(f"{self.reactor.name}: a protocol or producer")
            why = error
        if why is not None:
            self.lose(Failure(why))
        elif self._reading:
            self._read_soon()

    def _read(self) -> Exception | None:
        """Read once. Why the connection is over, if it is."""
        if self.inbox:
            size = self.network.piece(min(len(self.inbox), READ_BYTES_MAX))
            data = bytes(self.inbox[:size])
            del self.inbox[:size]
            self.channel.send(self.other.read_there, size)
            self.network.timeline.note(b"%d %d " % (self.number, self._host.port) + data)
            self.protocol.dataReceived(data)
            return None
        if not self.end_heard:
            return ConnectionLost()
        self._reading = False
        if not IHalfCloseableProtocol.providedBy(self.protocol):
            return ConnectionDone()
        self.protocol.readConnectionLost()
        return None

    def _write(self) -> Exception | None:
        """Give the kernel what it has room for. Why the connection is over, if it is."""
        if self.reset_heard:
            return ConnectionLost()
        room = self.network.window_bytes - self._unread
        if self._buffer and room > 0:
            data = bytes(self._buffer[:room])
            del self._buffer[: len(data)]
            self._unread += len(data)
            self.channel.send(self.other.arrived, data)
        if self._buffer:
            return None
        self._writing = False
        producer = self._producer
        if producer is not None and (self._paused or not self._streaming):
            self._paused = False
            producer.resumeProducing()
        elif self.disconnecting:
            return ConnectionDone()
        elif self._half_closing and not self._half_closed:
            self._half_closed = True
            self.channel.send(self.other.end_arrived)
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()
        return None

    def lose(self, reason: Failure) -> None:
        """The connection is over, as far as this process goes: close the socket and tell the protocol."""
        if not self.connected:
            return
        self.close_socket(shut=True, abort=reason.check(ConnectionAborted) is not None)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)
        if self.connector is not None:
            self.connector.connection_lost(reason)

    # In the kernel.

    def close_socket(self, *, shut: bool = False, abort: bool = False, silent: bool = False) -> None:
        """The process has closed its socket, or has ended. `shut`: it has shut it down before, as Twisted does, so that
        FIN goes even before a RST for what was not read; `abort`: it wants only RST; `silent`: the host has gone."""
        if not self.connected:
            return
        self.connected = False
        unread = bool(self.inbox)
        self._buffer.clear()
        self.inbox.clear()
        self.network.closed(self)
        if silent:
            self.channel.clear()
            return
        if not abort and (shut or not unread):
            self.channel.send(self.other.end_arrived)
        if abort or unread:
            self.channel.send_reset(self.other.reset_arrived)

    def arrived(self, data: bytes) -> None:
        """Bytes from the other end."""
        if not self.connected:
            self._answer_with_reset(data)
            return
        self.inbox += data
        if self._reading:
            self._soon()

    def _answer_with_reset(self, data: bytes) -> None:
        """Nobody is here any more. What RST does not get through to is sent again, since it was not acknowledged."""
        network = self.network
        down = self._host.host in network.down
        if not down:
            self.channel.send_reset(self.other.reset_arrived)
        if (down or self.channel.link in network.cuts) and self.other.connected:
            network.timeline.at(network.timeline.now + SENT_AGAIN_SECONDS, self.arrived, data)

    def read_there(self, size: int) -> None:
        """The other process has read so many bytes: there is room again."""
        self._unread -= size
        if self._buffer and self.connected:
            self._soon()

    def end_arrived(self) -> None:
        """FIN."""
        self.end_heard = True
        if self._reading:
            self._soon()

    def reset_arrived(self) -> None:
        """RST: nothing is sent any more, but what has come before can still be read."""
        if not self.connected:
            return
        self.reset_heard = True
        self.channel.clear()
        if self._reading or self._writing:
            self._soon()
