"""The network between hosts: how long bytes take, which links are cut, and who listens where.

A link goes from one host to another, in one direction. What is under way on a cut link is not lost: TCP sends it again,
and some time after the link has healed it arrives, in order. Only RST is not sent again, and nobody waits for ever to
be connected. A host that is cut off in both directions is a black hole; a port at which nobody listens refuses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionRefusedError, TimeoutError, UserError
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedkv.simulation.reactor import SimulatedReactor
from twistedkv.simulation.timeline import Timeline
from twistedkv.simulation.transport import SimulatedTransport

FIRST_PORT = 40_000
SYN_REPEAT_SECONDS = 1.0
REPEAT_SECONDS_MIN = 0.02
REPEAT_SECONDS_MAX = 0.4


@attrs.define
class Weather:
    """What the network is like in a run."""

    latency_seconds_min: float = 0.0001
    latency_seconds_max: float = 0.002
    """Each link draws its own between the two."""
    jitter: float = 0.5
    """Up to so much more, as a share of the latency."""
    loss: float = 0.0
    """Share of what is sent that has to be sent again."""
    pieces: float = 0.2
    """Share of reads that are cut short at some byte."""
    window_bytes: int = 128 * 1024


class Channel:
    """One direction of one connection: what is under way arrives in order."""

    def __init__(self, network: Network, source: str, target: str) -> None:
        self.link = (source, target)
        self._network = network
        self._under_way: deque[tuple[float, Callable[..., None], tuple[Any, ...]]] = deque()
        self._last = 0.0
        self._held_until = 0.0

    def send(self, call: Callable[..., None], *args: Any) -> None:
        """Have `call(*args)` called at the other end."""
        network = self._network
        arrival = network.timeline.now + network.delay(self.link)
        self._last = arrival = max(arrival, self._last)
        self._under_way.append((arrival, call, args))
        network.timeline.at(arrival, self._deliver)

    def send_reset(self, call: Callable[..., None]) -> None:
        """RST does not queue, and is sent once."""
        network = self._network
        if self.link not in network.cuts:
            network.timeline.at(network.timeline.now + network.delay(self.link), self._reset, call)

    def _reset(self, call: Callable[..., None]) -> None:
        if self.link not in self._network.cuts:
            call()

    def clear(self) -> None:
        """What is under way never arrives."""
        self._under_way.clear()

    def _deliver(self) -> None:
        network, queue = self._network, self._under_way
        now = network.timeline.now
        if now < self._held_until:
            return
        while queue and queue[0][0] <= now:
            if self.link in network.cuts:
                network.held.setdefault(self.link, {})[self] = None
                return
            _, call, args = queue.popleft()
            call(*args)

    def healed(self, delay: float) -> None:
        """The link works again: what is under way is sent again after a while."""
        self._held_until = self._network.timeline.now + delay
        self._network.timeline.at(self._held_until, self._deliver)


@implementer(IListeningPort)
class Port:
    """A port that a process listens on."""

    def __init__(self, network: Network, reactor: SimulatedReactor, address: IPv4Address, factory: Any) -> None:
        self.reactor = reactor
        self.factory = factory
        self._network = network
        self._address = address

    def startListening(self) -> None:
        """See IListeningPort."""
        where = (self._address.host, self._address.port)
        if where in self._network.ports:
            raise CannotListenError(self._address.host, self._address.port, OSError("it is in use"))
        self._network.ports[where] = self
        self.factory.doStart()

    def stopListening(self) -> None:
        """See IListeningPort."""
        if self.close():
            self.factory.doStop()

    def close(self) -> bool:
        """Free the port. False if it was not taken by this one."""
        where = (self._address.host, self._address.port)
        if self._network.ports.get(where) is not self:
            return False
        del self._network.ports[where]
        return True

    def getHost(self) -> IPv4Address:
        """See IListeningPort."""
        return self._address


@implementer(IConnector)
class Connector:
    """An attempt to connect, and the connection that came of it."""

    def __init__(
        self, network: Network, reactor: SimulatedReactor, address: IPv4Address, factory: Any, timeout: float
    ) -> None:
        self.reactor = reactor
        self._network = network
        self._address = address
        self._factory = factory
        self._timeout = timeout
        self._timer: Any = None
        self._transport: SimulatedTransport | None = None
        self._pending = False

    def connect(self) -> None:
        """Begin."""
        self._pending = True
        self._factory.doStart()
        self._factory.startedConnecting(self)
        self._timer = self.reactor.callLater(self._timeout, self._failed, TimeoutError())
        self._syn()

    def _syn(self) -> None:
        network = self._network
        if not self._pending or not self.reactor.alive:
            return
        link = (self.reactor.host, self._address.host)
        if link in network.cuts:
            network.timeline.at(network.timeline.now + SYN_REPEAT_SECONDS, self._syn)
        else:
            network.timeline.at(network.timeline.now + network.delay(link), self._syn_arrived)

    def _syn_arrived(self) -> None:
        network, address = self._network, self._address
        back = (address.host, self.reactor.host)
        if not self._pending or not self.reactor.alive or back in network.cuts or address.host in network.down:
            if self._pending:
                network.timeline.at(network.timeline.now + SYN_REPEAT_SECONDS, self._syn)
            return
        port = network.ports.get((address.host, address.port))
        if port is None:
            network.timeline.at(network.timeline.now + network.delay(back), self._refused)
            return
        here, there = network.join(self.reactor, port.reactor, address)
        here.connector = self
        self._transport = here
        port.reactor.post(network.timeline.now, self._accept, port, there)
        there.channel.send(self._accepted, here)

    def _accept(self, port: Port, transport: SimulatedTransport) -> None:
        if not transport.connected:
            return
        protocol = port.factory.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.abortConnection()
        else:
            transport.established(protocol)

    def _accepted(self, transport: SimulatedTransport) -> None:
        self.reactor.post(self._network.timeline.now, self._established, transport)

    def _established(self, transport: SimulatedTransport) -> None:
        if not self._pending:
            transport.close_socket(reset=True)
            return
        self._pending = False
        self._stop_timer()
        protocol = self._factory.buildProtocol(self._address)
        if protocol is None:
            transport.abortConnection()
        else:
            transport.established(protocol)

    def _refused(self) -> None:
        self.reactor.post(self._network.timeline.now, self._failed, ConnectionRefusedError())

    def _failed(self, error: Exception) -> None:
        if self._pending:
            self._pending = False
            self._stop_timer()
            self._factory.clientConnectionFailed(self, Failure(error))
            self._factory.doStop()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def connection_lost(self, reason: Failure) -> None:
        """The connection has ended."""
        if self._pending:  # before it was told to the process
            self._failed(ConnectionRefusedError())
        else:
            self._factory.clientConnectionLost(self, reason)
            self._factory.doStop()

    def stopConnecting(self) -> None:
        """See IConnector."""
        self._failed(UserError())

    def disconnect(self) -> None:
        """See IConnector."""
        if self._pending:
            self.stopConnecting()
        elif self._transport is not None:
            self._transport.loseConnection()

    def getDestination(self) -> IPv4Address:
        """See IConnector."""
        return self._address


class Network:
    """All hosts."""

    def __init__(self, timeline: Timeline, weather: Weather | None = None) -> None:
        self.timeline = timeline
        self.weather = weather or Weather()
        self.names: dict[str, str] = {}
        """Of hosts, to their addresses."""
        self.ports: dict[tuple[str, int], Port] = {}
        self.cuts: dict[tuple[str, str], None] = {}
        """Links that carry nothing at present, as (from, to)."""
        self.down: dict[str, None] = {}
        """Hosts without power: they do not even refuse."""
        self.held: dict[tuple[str, str], dict[Channel, None]] = {}
        self.transports: dict[SimulatedTransport, None] = {}
        """All ends that are open."""
        self._latencies: dict[tuple[str, str], float] = {}
        self._latency_random = timeline.stream("latency")
        self._jitter_random = timeline.stream("jitter")
        self._piece_random = timeline.stream("pieces")
        self._repeat_random = timeline.stream("repeat")
        self._next_port = FIRST_PORT
        self._connections = 0

    @property
    def window_bytes(self) -> int:
        """What the kernels of both ends hold for one direction of a connection."""
        return self.weather.window_bytes

    def delay(self, link: tuple[str, str]) -> float:
        """Seconds that something sent now on this link takes."""
        weather = self.weather
        base = self._latencies.get(link)
        if base is None:
            base = self._latency_random.uniform(weather.latency_seconds_min, weather.latency_seconds_max)
            self._latencies[link] = base
        delay = base * (1.0 + weather.jitter * self._jitter_random.random())
        if weather.loss and self._repeat_random.random() < weather.loss:
            delay += self._repeat_random.uniform(REPEAT_SECONDS_MIN, REPEAT_SECONDS_MAX)
        return delay

    def piece(self, size: int) -> int:
        """How many of `size` bytes one read brings."""
        if size > 1 and self._piece_random.random() < self.weather.pieces:
            return self._piece_random.randint(1, size)
        return size

    # Ports and connections.

    def listen(self, reactor: SimulatedReactor, port: int, factory: Any, interface: str) -> Port:
        """See IReactorTCP.listenTCP."""
        host = reactor.host if interface in ("", "0.0.0.0") else interface
        listening = Port(self, reactor, IPv4Address("TCP", host, port or self._free_port()), factory)
        listening.startListening()
        return listening

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port

    def connect(self, reactor: SimulatedReactor, host: str, port: int, factory: Any, timeout: float) -> Connector:
        """See IReactorTCP.connectTCP."""
        connector = Connector(self, reactor, IPv4Address("TCP", host, port), factory, timeout)
        connector.connect()
        return connector

    def join(
        self, dialing: SimulatedReactor, accepting: SimulatedReactor, address: IPv4Address
    ) -> tuple[SimulatedTransport, SimulatedTransport]:
        """Make the two ends of a connection."""
        self._connections += 1
        number = self._connections
        near = IPv4Address("TCP", dialing.host, self._free_port())
        here = SimulatedTransport(dialing, self, near, address, number)
        there = SimulatedTransport(accepting, self, address, near, number)
        here.other, there.other = there, here
        here.channel = Channel(self, dialing.host, accepting.host)
        there.channel = Channel(self, accepting.host, dialing.host)
        self.transports[here] = self.transports[there] = None
        return here, there

    def closed(self, transport: SimulatedTransport) -> None:
        """An end is not open any more."""
        self.transports.pop(transport, None)

    # Faults.

    def cut(self, source: str, target: str) -> None:
        """The link carries nothing from now on, in this direction."""
        self.cuts[source, target] = None

    def heal(self, source: str, target: str) -> None:
        """The link works again."""
        self.cuts.pop((source, target), None)
        for channel in self.held.pop((source, target), {}):
            channel.healed(self._repeat_random.uniform(REPEAT_SECONDS_MIN, REPEAT_SECONDS_MAX))

    def heal_all(self) -> None:
        """Every link works again."""
        for source, target in list(self.cuts):
            self.heal(source, target)

    def reset(self, transport: SimulatedTransport) -> None:
        """A connection is reset by something on the way; what was under way in it is lost."""
        transport.channel.clear()
        transport.other.channel.clear()
        transport.reset_arrived()
        transport.other.reset_arrived()

    def process_killed(self, reactor: SimulatedReactor, *, silent: bool) -> None:
        """The kernel closes what a process has left open; `silent`: the host has gone with it."""
        for where in [where for where, port in self.ports.items() if port.reactor is reactor]:
            del self.ports[where]
        for transport in [each for each in self.transports if each.reactor is reactor]:
            transport.close_socket(reset=transport.unread, silent=silent)
