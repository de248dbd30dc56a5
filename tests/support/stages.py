"""Two ends of a TCP connection that do what a script says and write down what happens to them: on the simulated
network, or on loopback sockets with a reactor of its own. The records of both can be compared: they have the order of
events at each end and no times, and do not depend on how the bytes were cut.
"""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from typing import Any
from zlib import crc32

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer

from twistedkv.simulation.network import Network, Weather
from twistedkv.simulation.reactor import SimulatedReactor
from twistedkv.simulation.timeline import Timeline

LIMIT_SECONDS = 60.0
"""A script that waits longer for something has failed."""
KERNEL_BYTES = 128 * 1024
"""What is asked of real kernels as the size of a socket's buffers; they take up to twice as much."""
LOT_BYTES = 4 * 1024 * 1024
"""More than the kernels of both ends hold."""
_TCP_CLOSED, _TCP_CLOSE_WAIT, _TCP_LAST_ACK = 7, 8, 9


def pattern(size: int) -> bytes:
    """Bytes that show when some are missing or in the wrong place."""
    return b"".join(b"%08x" % number for number in range(-(-size // 8)))[:size]


def _nothing(*_: Any) -> None:
    pass


class End(Protocol):
    """One end. `made`, `received` and `lost` are what the script does at these moments, called with the end."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        *,
        made: Callable[[End], None] = _nothing,
        received: Callable[[End], None] = _nothing,
        lost: Callable[[End], None] = _nothing,
        half_closes: bool = False,
        rough: bool = False,
    ) -> None:
        self.stage = stage
        self.name = name
        self.is_made = False
        self.is_lost = False
        self.data = bytearray()
        self._made, self._received, self._lost = made, received, lost
        self._rough = rough
        """How much arrives is up to the kernels."""
        self._noted_bytes = 0
        if half_closes:
            directlyProvides(self, IHalfCloseableProtocol)

    def do(self, method: str, *args: Any) -> Any:
        """Call a method of the transport. What happens in the meantime is written down as happening in it."""
        outer, self.stage.inside = self.stage.inside, method
        try:
            return getattr(self.transport, method)(*args)
        except Exception as error:
            self.note(f"{method} raises {type(error).__name__}")
        finally:
            self.stage.inside = outer

    def note(self, event: str) -> None:
        """Write something down."""
        self._note_data()
        self.stage.note(self.name, event)

    def _note_data(self) -> None:
        data = bytes(self.data[self._noted_bytes :])
        self._noted_bytes = len(self.data)
        if data:
            event = "some data" if self._rough else f"{len(data)} bytes, {crc32(data):08x}"
            self.stage.note(self.name, event, inside=False)

    def finish(self) -> None:
        """Nothing more comes."""
        self._note_data()

    def connectionMade(self) -> None:
        self.is_made = True
        self.stage.bound(self)
        self.note("made")
        self._made(self)

    def dataReceived(self, data: bytes) -> None:
        if self.stage.inside or not data:
            self.note("data at a wrong moment")
        self.data += data
        self._received(self)

    def connectionLost(self, reason: Failure | None = None) -> None:
        assert reason is not None
        still = " but still connected" if self.transport.connected else ""
        self.note(f"lost: {reason.type.__name__}{still}")
        self.is_lost = True
        self._lost(self)

    def readConnectionLost(self) -> None:
        self.note("nothing more to read")

    def writeConnectionLost(self) -> None:
        self.note("nothing more is written")


@implementer(IPushProducer)
class Source:
    """A producer at an end, streaming or not. `more` is what it does when it is asked to go on."""

    def __init__(self, end: End, name: str = "source", more: Callable[[Source], None] = _nothing) -> None:
        self.end = end
        self.name = name
        self.paused = False
        self.sent = 0
        self._more = more

    def pauseProducing(self) -> None:
        self.end.note(f"{self.name} paused")
        self.paused = True

    def resumeProducing(self) -> None:
        self.end.note(f"{self.name} resumed")
        self.paused = False
        self._more(self)

    def stopProducing(self) -> None:
        self.end.note(f"{self.name} stopped")
        self.paused = True


class _Dialing(ClientFactory):
    """What a dialling factory is told."""

    noisy = False

    def __init__(self, stage: Stage, end: End | None) -> None:
        self.stage, self.end = stage, end
        self.started: Callable[[Any], None] = _nothing
        self.ended: Callable[[Any], None] = _nothing
        self.over = False

    def startFactory(self) -> None:
        self.stage.note("dialling", "factory starts")

    def startedConnecting(self, connector: Any) -> None:
        self.stage.note("dialling", "begins")
        self.started(connector)

    def buildProtocol(self, addr: Any) -> End | None:  # type: ignore[override]
        return self.end

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.stage.note("dialling", f"failed: {reason.type.__name__}")
        self.over = True
        self.ended(connector)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        self.stage.note("dialling", f"lost: {reason.type.__name__}")
        self.over = True
        self.ended(connector)

    def stopFactory(self) -> None:
        self.stage.note("dialling", "factory stops")


class _Listening(ServerFactory):
    """What a listening factory is told. It gives out its ends in turn, and then None."""

    noisy = False

    def __init__(self, stage: Stage, ends: list[End]) -> None:
        self.stage, self.ends = stage, ends
        self.asked = 0

    def startFactory(self) -> None:
        self.stage.note("listening", "factory starts")

    def buildProtocol(self, addr: Any) -> End | None:  # type: ignore[override]
        self.asked += 1
        return self.ends.pop(0) if self.ends else None

    def stopFactory(self) -> None:
        self.stage.note("listening", "factory stops")


class Stage(ABC):
    """Where a script is played."""

    near: Any
    """The reactor that dials."""
    far: Any
    """The reactor that listens."""
    near_host: str
    far_host: str

    def __init__(self) -> None:
        self.inside = ""
        """The method of a transport that is being called just now."""
        self.record: dict[str, list[str]] = {}
        self.ends: list[End] = []
        self.ports: list[Any] = []

    def note(self, who: str, event: str, *, inside: bool = True) -> None:
        """Write something down."""
        self.record.setdefault(who, []).append(f"{event}, in {self.inside}" if inside and self.inside else event)

    def end(self, name: str, **does: Any) -> End:
        """An end that is still to be connected."""
        self.ends.append(End(self, name, **does))
        return self.ends[-1]

    def listen(self, *ends: End, port: int = 0) -> Any:
        """Listen on the far side: accept connections for these ends, in turn."""
        factory = _Listening(self, list(ends))
        self.ports.append(self.far.listenTCP(port, factory, interface=self.far_host))
        return self.ports[-1]

    def dial(self, end: End | None, port: int, *, prepare: Callable[[_Dialing], None] = _nothing) -> Any:
        """Dial from the near side. The connector, whose factory is an attribute of it."""
        factory = _Dialing(self, end)
        prepare(factory)
        return self.near.connectTCP(self.far_host, port, factory)

    def join(self, here: End, there: End) -> None:
        """Connect two ends."""
        self.dial(here, self.listen(there).getHost().port)
        self.until(lambda: here.is_made and there.is_made)

    def pair(self, **does: Any) -> tuple[End, End]:
        """Two ends that are connected, and do nothing by themselves; the arguments hold for both."""
        here, there = self.end("here", **does), self.end("there", **does)
        self.join(here, there)
        return here, there

    def until_lost(self, *ends: End) -> None:
        """Go on until these ends are told of their end."""
        self.until(lambda: all(end.is_lost for end in ends))

    def until_waiting(self, end: End, size: int) -> None:
        """Go on until so many bytes wait for an end in its kernel."""
        self.until(lambda: self.waiting_bytes(end) >= size)

    def until_closed(self, end: End) -> None:
        """Go on until this end's kernel knows that the other end is closed."""
        self.until(lambda: self.knows_close(end))

    def until_reset(self, end: End) -> None:
        """Go on until this end's kernel knows that the connection was reset."""
        self.until(lambda: self.knows_reset(end))

    def play(self, script: Callable[[Stage], None]) -> dict[str, list[str]]:
        """Play a script and clean up. What was written down, by whom it concerns."""
        try:
            script(self)
            for end in self.ends:
                end.finish()
            record, self.record = self.record, {}
            for end in self.ends:
                if end.is_made and not end.is_lost:
                    end.transport.abortConnection()
            for port in self.ports:
                port.stopListening()
            self.until(lambda: all(end.is_lost or not end.is_made for end in self.ends))
            self.turns()
            left = self.left()
            if left:
                raise RuntimeError(f"this was left over: {left}")
            return record
        finally:
            self.close()

    @abstractmethod
    def until(self, condition: Callable[[], object]) -> None:
        """Go on until something is so."""

    @abstractmethod
    def turns(self) -> None:
        """Go on until whatever follows from what the kernels know, or have under way, has happened."""

    @abstractmethod
    def bound(self, end: End) -> None:
        """Bound what the kernel holds for a new connection."""

    @abstractmethod
    def waiting_bytes(self, end: End) -> int:
        """What waits for an end in its kernel."""

    @abstractmethod
    def knows_close(self, end: End) -> bool:
        """Whether an end's kernel has heard FIN or RST."""

    @abstractmethod
    def knows_reset(self, end: End) -> bool:
        """Whether an end's kernel has heard RST."""

    @abstractmethod
    def errors(self) -> list[str]:
        """The errors of the script's own that were caught and logged so far; they are taken out."""

    @abstractmethod
    def left(self) -> list[Any]:
        """Of what was opened or begun: what should be closed and over, and is not."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back."""


class SimulatedStage(Stage):
    """On the simulated network, two hosts."""

    def __init__(self, seed: int = 1, **weather: Any) -> None:
        super().__init__()
        self.timeline = Timeline(seed)
        self.network = Network(self.timeline, Weather(**weather))
        self.near_host, self.far_host = "10.0.0.1", "10.0.0.2"
        self.near = SimulatedReactor("near", self.near_host, self.timeline, self.network)
        self.far = SimulatedReactor("far", self.far_host, self.timeline, self.network)

    def until(self, condition: Callable[[], object]) -> None:
        if not self.timeline.run_while(lambda: not condition(), LIMIT_SECONDS, 0.0005):
            raise RuntimeError(f"this takes too long: {self.record}")

    def turns(self) -> None:
        self.timeline.run_until(self.timeline.now + 1.0)

    def bound(self, end: End) -> None:
        pass

    def waiting_bytes(self, end: End) -> int:
        return len(end.transport.inbox)

    def knows_close(self, end: End) -> bool:
        return bool(end.transport.end_heard or end.transport.reset_heard)

    def knows_reset(self, end: End) -> bool:
        return bool(end.transport.reset_heard)

    def errors(self) -> list[str]:
        caught = [problem.rstrip().rpartition("\n")[2].partition(":")[0] for problem in self.timeline.problems]
        self.timeline.problems.clear()
        return caught

    def left(self) -> list[Any]:
        delayed = self.near.getDelayedCalls() + self.far.getDelayedCalls()
        return [*self.timeline.problems, *self.network.transports, *self.network.ports, *delayed]

    def close(self) -> None:
        pass


class RealStage(Stage):
    """On loopback sockets, with a reactor that is not installed. `logged` is where errors in the log are put."""

    def __init__(self, logged: list[dict[str, Any]]) -> None:
        super().__init__()
        from twisted.internet.epollreactor import EPollReactor

        self.near_host = self.far_host = "127.0.0.1"
        self.near = self.far = self._reactor = EPollReactor()
        self._logged = logged

    def until(self, condition: Callable[[], object]) -> None:
        limit = time.monotonic() + LIMIT_SECONDS
        while not condition():
            if time.monotonic() > limit:
                raise RuntimeError(f"this takes too long: {self.record}")
            due = self._reactor.timeout()
            self._reactor.iterate(0.01 if due is None else min(due, 0.01))

    def turns(self) -> None:
        for _ in range(8):
            self._reactor.iterate(0)

    def bound(self, end: End) -> None:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self._socket(end).setsockopt(socket.SOL_SOCKET, option, KERNEL_BYTES)

    def _socket(self, end: End) -> socket.socket:
        handle: socket.socket = end.transport.getHandle()
        return handle

    def _state(self, end: End) -> int:
        return self._socket(end).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

    def waiting_bytes(self, end: End) -> int:
        import fcntl
        import termios

        waiting = array("i", [0])
        fcntl.ioctl(self._socket(end), termios.FIONREAD, waiting)
        return waiting[0]

    def knows_close(self, end: End) -> bool:
        return self._state(end) in (_TCP_CLOSED, _TCP_CLOSE_WAIT, _TCP_LAST_ACK)

    def knows_reset(self, end: End) -> bool:
        return self._state(end) == _TCP_CLOSED

    def errors(self) -> list[str]:
        caught = [event["log_failure" if "log_failure" in event else "failure"] for event in self._logged]
        self._logged.clear()
        return [failure.type.__name__ for failure in caught]

    def left(self) -> list[Any]:
        internal = self._reactor._internalReaders
        selectables = [*self._reactor.getReaders(), *self._reactor.getWriters()]
        return [each for each in selectables if each not in internal] + self._reactor.getDelayedCalls()

    def close(self) -> None:
        for each in self._reactor.removeAll():
            each.connectionLost(Failure(ConnectionAborted()))
        self._reactor.waker.connectionLost(None)
        self._reactor._poller.close()
