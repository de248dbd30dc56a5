"""A TCP proxy that makes a link bad: delay, jitter, throttling, half-open, a slow reader, resets, a cut after n bytes.

    python -m tests.faults.proxy LISTEN_HOST:PORT TARGET_HOST:PORT

Each line on standard input is a command, a JSON object, answered by a line on standard output:

    {"weather": {...}, "direction": "there"}   what the links are like from now on (fields of `Weather`); the direction
                                               is there (from who dialled to the target), back, or by default both
    {"reset": true}                            every link ends with RST on both sides
    {}                                         nothing; the answer has the totals

It ends with its standard input. Nothing is buffered without a bound: a direction that has BUFFER_BYTES_MAX waiting is
not read, so that a throttled link presses back on who writes into it, as a slow reader would.
"""

from __future__ import annotations

import json
import random
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer

BUFFER_BYTES_MAX = 64 * 1024
PIECE_SECONDS = 0.05
"""A throttled direction delivers what it may in so long as one piece."""


@attrs.frozen
class Weather:
    """What one direction of a link is like."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    """At most so much is added to each delay. What is later sent never arrives earlier."""
    bytes_per_second: float = 0.0
    """0: not limited."""
    silent: bool = False
    """Half-open: bytes are taken, acknowledged by the kernel, and never arrive. Such a link does not recover; when the
    weather changes it is reset, as by a machine that has been started anew."""
    cut_after_bytes: int = -1
    """Deliver so many more bytes, then end the link, in the middle of a frame perhaps; -1: not."""


class Direction:
    """What travels from `source` to `target`, two transports; `reset()` ends the link."""

    def __init__(self, clock: Any, weather: Weather, chance: random.Random, reset: Callable[[], None]) -> None:
        self.weather = weather
        self.delivered = 0
        self._clock = clock
        self._random = chance
        self._reset = reset
        self._source: Any = None
        self._target: Any = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        """(moment from which it may arrive, bytes). Invariant: the moments do not decrease."""
        self._bytes = 0
        self._free_at = 0.0
        """When a throttled link has passed what it was given so far."""
        self._passed = 0
        self._swallowed = False
        self._call: Any = None
        self._ending = False
        self._target_full = False
        self._paused = False

    @property
    def buffered(self) -> int:
        """Bytes that are on their way."""
        return self._bytes

    def join(self, source: Any, target: Any) -> None:
        """Both ends are there."""
        self._source, self._target = source, target
        self._pause_or_not()
        self._deliver()

    def change(self, weather: Weather) -> None:
        """Other weather from now on. What waits keeps the moments that it has."""
        self.weather = weather
        self._passed = 0
        self._free_at = 0.0
        if (self._swallowed or self._ending) and not weather.silent:
            self._reset()
        else:
            self._deliver()

    def received(self, data: bytes) -> None:
        """The source has sent this."""
        weather = self.weather
        if weather.silent:
            self._swallowed = True
            return
        delay = weather.delay_seconds
        if weather.jitter_seconds:
            delay += self._random.uniform(0, weather.jitter_seconds)
        due = self._clock.seconds() + delay
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, data))
        self._bytes += len(data)
        self._pause_or_not()
        self._deliver()

    def source_ended(self) -> None:
        """No more will come: close the target when everything has arrived, or never if the link is silent."""
        self._ending = True
        self._source = None
        self._deliver()

    def target_full(self, full: bool) -> None:
        """The target's transport cannot take more at this moment, or can again."""
        self._target_full = full
        if not full:
            self._deliver()

    def stop(self) -> None:
        """The link has ended."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._target = self._source = None
        self._waiting.clear()

    def _deliver(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        now = self._clock.seconds()
        while self._target is not None and self._waiting and not self._target_full and not self.weather.silent:
            due = max(self._waiting[0][0], self._free_at)
            if due > now:
                self._call = self._clock.callLater(due - now, self._due)
                break
            self._pass(self._waiting.popleft(), now)
        self._pause_or_not()
        if self._ending and not self._waiting and self._target is not None and not self.weather.silent:
            self._target.unregisterProducer()
            self._target.loseConnection()

    def _due(self) -> None:
        self._call = None
        self._deliver()

    def _pass(self, piece: tuple[float, bytes], now: float) -> None:
        """Deliver this, or as much of it as may be delivered at once."""
        due, data = piece
        weather = self.weather
        most = len(data)
        if weather.bytes_per_second:
            most = min(most, max(1, int(weather.bytes_per_second * PIECE_SECONDS)))
            self._free_at = max(self._free_at, now) + most / weather.bytes_per_second
        if weather.cut_after_bytes >= 0:
            most = min(most, weather.cut_after_bytes - self._passed)
        if most < len(data):
            self._waiting.appendleft((due, data[most:]))
        self._passed += most
        self._bytes -= most
        self.delivered += most
        if most:
            self._target.write(data[:most])
        if self._passed == weather.cut_after_bytes:
            self._cut()

    def _cut(self) -> None:
        """What was delivered arrives, and then the end."""
        target, source = self._target, self._source
        self.stop()
        target.unregisterProducer()
        target.loseConnection()
        if source is not None:
            source.abortConnection()

    def _pause_or_not(self) -> None:
        paused = self._bytes >= BUFFER_BYTES_MAX or self._target is None
        if self._source is not None and paused != self._paused:
            self._paused = paused
            if paused:
                self._source.pauseProducing()
            else:
                self._source.resumeProducing()


@implementer(IPushProducer)
class _Backpressure:
    """Tells a direction how its target does."""

    def __init__(self, direction: Direction) -> None:
        self._direction = direction

    def pauseProducing(self) -> None:
        self._direction.target_full(True)

    def resumeProducing(self) -> None:
        self._direction.target_full(False)

    def stopProducing(self) -> None:
        pass


class _End(Protocol):
    """One end of a link. `direction` carries away what is received here; `other` brings what is sent here."""

    transport: Any

    def __init__(self, link: Link, direction: Direction, other: Direction) -> None:
        self._link = link
        self._direction = direction
        self._other = other

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(_Backpressure(self._other), True)
        self._link.joined(self)

    def dataReceived(self, data: bytes) -> None:
        self._direction.received(data)

    def connectionLost(self, reason: Any = None) -> None:
        self._link.lost(self)


class Link:
    """Somebody who has dialled, and the target."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.there = Direction(proxy.reactor, proxy.there, proxy.random, self.reset)
        self.back = Direction(proxy.reactor, proxy.back, proxy.random, self.reset)
        self.accepted = _End(self, self.there, self.back)
        self._living: list[_End] = []
        self._connector: Any = None
        """While the target is being dialled."""

    def target_end(self) -> _End:
        """The protocol for the target's side."""
        return _End(self, self.back, self.there)

    def joined(self, end: _End) -> None:
        """One of the two ends is there, the accepted one first."""
        self._living.append(end)
        if end is self.accepted:
            end.transport.pauseProducing()  # until there is somebody to send it to
            self._connector = self._proxy.dial(self)
        else:
            self._connector = None
            self.accepted.transport.resumeProducing()
            self.there.join(self.accepted.transport, end.transport)
            self.back.join(end.transport, self.accepted.transport)

    def refused(self) -> None:
        """The target can not be reached."""
        self._connector = None
        self.reset()

    def lost(self, end: _End) -> None:
        """One end is gone. The other is told in order, when what is on its way has arrived."""
        self._living.remove(end)
        if not self._living or self._connector is not None:
            self.reset()
        else:
            from_it, to_it = (self.there, self.back) if end is self.accepted else (self.back, self.there)
            to_it.stop()
            from_it.source_ended()

    def reset(self) -> None:
        """End both sides at once, with RST; what is on its way is lost."""
        if self._proxy.links.pop(self, self) is self:
            return
        self.there.stop()
        self.back.stop()
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.stopConnecting()
        for end in self._living:
            end.transport.abortConnection()


class _Dialer(ClientFactory):
    """Makes the target's end of a link."""

    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, addr: Any) -> _End:
        return self._link.target_end()

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self._link.refused()


class Proxy:
    """Listens, dials the target for each who comes, and makes the weather."""

    def __init__(self, reactor: Any, target: tuple[str, int], seed: int = 0) -> None:
        self.reactor = reactor
        self.random = random.Random(seed)
        self.there = Weather()
        self.back = Weather()
        self.links: dict[Link, None] = {}
        self.accepted = 0
        self._target = target

    def listen(self, host: str, port: int) -> Any:
        """The listening port."""
        factory = Factory.forProtocol(lambda: self.new_link().accepted)
        factory.noisy = False
        return self.reactor.listenTCP(port, factory, interface=host)

    def new_link(self) -> Link:
        """Somebody dials."""
        self.accepted += 1
        link = Link(self)
        self.links[link] = None
        return link

    def dial(self, link: Link) -> Any:
        """Dial the target for a link."""
        return self.reactor.connectTCP(*self._target, _Dialer(link), timeout=5)

    def change(self, weather: Weather, direction: str = "both") -> None:
        """Other weather, on all links that there are and that will be."""
        if direction in ("there", "both"):
            self.there = weather
        if direction in ("back", "both"):
            self.back = weather
        for link in list(self.links):
            if direction in ("there", "both"):
                link.there.change(weather)
            if direction in ("back", "both"):
                link.back.change(weather)

    def reset(self) -> None:
        """RST on every link."""
        for link in list(self.links):
            link.reset()

    def command(self, command: dict[str, Any]) -> dict[str, Any]:
        """See the module. The totals."""
        if "weather" in command:
            self.change(Weather(**command["weather"]), command.get("direction", "both"))
        if command.get("reset"):
            self.reset()
        buffered = sum(link.there.buffered + link.back.buffered for link in self.links)
        return {"links": len(self.links), "accepted": self.accepted, "buffered": buffered}


class Commands(LineReceiver):
    """A line in, a line out. `obey(command)` returns the answer, and `ended()` is called with the end of the input."""

    delimiter = b"\n"
    transport: Any

    def __init__(self, obey: Callable[[dict[str, Any]], dict[str, Any]], ended: Callable[[], object]) -> None:
        self._obey = obey
        self._ended = ended

    def lineReceived(self, line: bytes) -> None:
        self.transport.write(json.dumps(self._obey(json.loads(line))).encode() + b"\n")

    def connectionLost(self, reason: Any = None) -> None:
        self._ended()


def main(arguments: list[str]) -> None:
    """The proxy as a process."""
    from twisted.internet import reactor, stdio

    def _stop() -> None:
        reactor.stop()

    (host, _, port), (target, _, target_port) = (argument.rpartition(":") for argument in arguments)
    proxy = Proxy(reactor, (target, int(target_port)))
    proxy.listen(host, int(port))
    stdio.StandardIO(Commands(proxy.command, _stop))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
