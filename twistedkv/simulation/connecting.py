"""Ports that listen and attempts to connect, of simulated processes: what IReactorTCP gives out.

The kernel of a listening host accepts by itself; its process is told in its next turn, and what it has not been told of
when the port is closed, or the process killed, is reset. A host that is cut off in either direction, or down, does not
answer, and is asked again until the attempt times out; a port at which nobody listens refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectionRefusedError,
    NotConnectingError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from twistedkv.simulation.network import Network
    from twistedkv.simulation.reactor import SimulatedReactor
    from twistedkv.simulation.transport import SimulatedTransport

SYN_REPEAT_SECONDS = 1.0


@implementer(IListeningPort)
class Port:
    """A port that a process listens on."""

    def __init__(self, network: Network, reactor: SimulatedReactor, address: IPv4Address, factory: Any) -> None:
        self.reactor = reactor
        self.factory = factory
        self.accepting = False
        """The process takes what comes. It stops that a turn before the port is closed."""
        self._network = network
        self._address = address
        self._where = (address.host, address.port)

    def startListening(self) -> None:
        """See IListeningPort."""
        if self._where in self._network.ports:
            raise CannotListenError(self._address.host, self._address.port, OSError("it is in use"))
        self._network.ports[self._where] = self
        self.accepting = True
        self.factory.doStart()

    def stopListening(self) -> Deferred[None] | None:
        """See IListeningPort. Nothing if that was done before."""
        if not self.accepting:
            return None
        self.accepting = False
        return deferLater(self.reactor, 0, self._close)

    def _close(self) -> None:
        del self._network.ports[self._where]
        self.factory.doStop()

    def getHost(self) -> IPv4Address:
        """See IListeningPort. Only the open socket knows it."""
        if self._network.ports.get(self._where) is not self:
            raise AttributeError("the port is closed, and Twisted's port has no socket any more")
        return self._address

    def accept(self, transport: SimulatedTransport) -> None:
        """The process is told of a connection."""
        if not transport.connected:
            return
        if not self.accepting:
            transport.close_socket(abort=True)
            return
        protocol = self.factory.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.close_socket()
        else:
            transport.established(protocol)


@implementer(IConnector)
class Connector:
    """An attempt to connect, and the connection that came of it."""

    def __init__(
        self, network: Network, reactor: SimulatedReactor, address: IPv4Address, factory: Any, timeout: float | None
    ) -> None:
        self.reactor = reactor
        self.factory = factory
        self._network = network
        self._address = address
        self._timeout = timeout
        self._timer: Any = None
        self._transport: SimulatedTransport | None = None
        self._attempt = 0
        """Its number: what comes of earlier ones does not count."""
        self._pending = False
        self._connected = False
        self._factory_started = False

    def connect(self) -> None:
        """Begin, for the first time or again."""
        if self._pending or self._connected:
            raise RuntimeError("it connects already")
        self._pending = True
        self._attempt += 1
        if not self._factory_started:
            self._factory_started = True
            self.factory.doStart()
        if self._timeout is not None:
            self._timer = self.reactor.callLater(self._timeout, self._failed, TimeoutError())
        self.factory.startedConnecting(self)
        self._syn(self._attempt)

    def _counts(self, attempt: int) -> bool:
        return self._pending and attempt == self._attempt and self.reactor.alive

    def _syn(self, attempt: int) -> None:
        network = self._network
        link = (self.reactor.host, self._address.host)
        if not self._counts(attempt):
            return
        if link in network.cuts:
            self._syn_again(attempt)
        else:
            network.timeline.at(network.timeline.now + network.delay(link), self._syn_arrived, attempt)

    def _syn_again(self, attempt: int) -> None:
        self._network.timeline.at(self._network.timeline.now + SYN_REPEAT_SECONDS, self._syn, attempt)

    def _syn_arrived(self, attempt: int) -> None:
        network, address = self._network, self._address
        back = (address.host, self.reactor.host)
        if not self._counts(attempt):
            return
        if back in network.cuts or address.host in network.down:
            self._syn_again(attempt)
            return
        port = network.ports.get((address.host, address.port))
        if port is None:
            network.timeline.at(network.timeline.now + network.delay(back), self._refused, attempt)
            return
        here, there = network.join(self.reactor, port.reactor, address)
        here.connector = self
        port.reactor.post(network.timeline.now, port.accept, there)
        network.timeline.at(there.channel.arrival(), self._accepted, here, attempt)

    def _accepted(self, transport: SimulatedTransport, attempt: int) -> None:
        network = self._network
        if (self._address.host, self.reactor.host) not in network.cuts:
            self.reactor.post(network.timeline.now, self._established, transport, attempt)
        elif transport.connected:  # the other side sends its SYN-ACK again
            network.timeline.at(network.timeline.now + SYN_REPEAT_SECONDS, self._accepted, transport, attempt)

    def _established(self, transport: SimulatedTransport, attempt: int) -> None:
        if not transport.connected:
            return
        if not self._counts(attempt) or transport.reset_heard:
            transport.close_socket(abort=True)
            if self._counts(attempt):
                self._failed(ConnectError())
            return
        self._pending, self._connected = False, True
        self._transport = transport
        self._stop_timer()
        protocol = self.factory.buildProtocol(self._address)
        if protocol is None:
            transport.protocol = Protocol()
            transport.loseConnection()
            return
        try:
            transport.established(protocol)
        except Exception as error:
            self._network.timeline.failed(f"{self.reactor.name}: connectionMade")
            transport.lose(Failure(error))

    def _refused(self, attempt: int) -> None:
        if self._counts(attempt):
            self.reactor.post(self._network.timeline.now, self._failed, ConnectionRefusedError(), attempt)

    def _failed(self, error: Exception, attempt: int | None = None) -> None:
        if self._counts(self._attempt if attempt is None else attempt):
            self._pending = False
            self._stop_timer()
            self.factory.clientConnectionFailed(self, Failure(error))
            self._stop_factory()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _stop_factory(self) -> None:
        if not self._pending:  # the factory has not called `connect` again
            self._factory_started = False
            self.factory.doStop()

    def connection_lost(self, reason: Failure) -> None:
        """The connection has ended."""
        self._connected = False
        self.factory.clientConnectionLost(self, reason)
        self._stop_factory()

    def stopConnecting(self) -> None:
        """See IConnector."""
        if not self._pending:
            raise NotConnectingError("it is not connecting")
        self._failed(UserError())

    def disconnect(self) -> None:
        """See IConnector."""
        if self._pending:
            self.stopConnecting()
        elif self._connected and self._transport is not None:
            self._transport.loseConnection()

    def getDestination(self) -> IPv4Address:
        """See IConnector."""
        return self._address
