"""The network between hosts: how long bytes take, which links are cut, and who listens where.

A link goes from one host to another, in one direction. What is under way on a cut link is not lost: TCP sends it again,
and some time after the link has healed it arrives, in order. Only RST is not sent again, nor anything before it that
had not arrived: the kernel that sent it has forgotten the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address

from twistedkv.simulation.connecting import Connector, Port
from twistedkv.simulation.reactor import SimulatedReactor
from twistedkv.simulation.timeline import Timeline
from twistedkv.simulation.transport import SimulatedTransport

FIRST_PORT = 40_000
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
    reset_loss: float = 0.5
    """Share of resets with which some of what was sent before is lost, because it had not left the kernel."""


class Channel:
    """One direction of one connection: what is under way arrives in order."""

    def __init__(self, network: Network, source: str, target: str) -> None:
        self.link = (source, target)
        self._network = network
        self._under_way: deque[tuple[float, Callable[..., None], tuple[Any, ...]]] = deque()
        self._last = 0.0
        self._held_until = 0.0
        self._resent = True
        """Somebody sends again what is lost: not after RST."""

    def send(self, call: Callable[..., None], *args: Any) -> None:
        """Have `call(*args)` called at the other end."""
        arrival = self.arrival()
        self._under_way.append((arrival, call, args))
        self._network.timeline.at(arrival, self._deliver)

    def arrival(self) -> float:
        """When something that is sent now will arrive: not before what was sent before it."""
        network = self._network
        self._last = max(self._last, network.timeline.now + network.delay(self.link))
        return self._last

    def send_reset(self, call: Callable[..., None]) -> None:
        """RST: `call()` is called at the other end if the link carries it at the first attempt."""
        self._resent = False
        for _ in range(self._network.lost_with_reset(len(self._under_way))):
            self._under_way.pop()
        self.send(call)

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
                if self._resent:
                    network.held.setdefault(self.link, {})[self] = None
                else:
                    queue.clear()
                return
            _, call, args = queue.popleft()
            call(*args)

    def healed(self, delay: float) -> None:
        """The link works again: what is under way is sent again after a while."""
        self._held_until = self._network.timeline.now + delay
        self._network.timeline.at(self._held_until, self._deliver)


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
        self._reset_random = timeline.stream("reset")
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

    def lost_with_reset(self, count: int) -> int:
        """How many of the last `count` things sent on a connection are lost when it is reset."""
        if count and self._reset_random.random() < self.weather.reset_loss:
            return self._reset_random.randint(1, count)
        return 0

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

    def connect(
        self, reactor: SimulatedReactor, host: str, port: int, factory: Any, timeout: float | None
    ) -> Connector:
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
            transport.close_socket(abort=transport.protocol is None, silent=silent)
