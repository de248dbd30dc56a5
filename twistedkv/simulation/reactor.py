"""A process's reactor: timers by the clock of its host, and TCP over the simulated network.

All reactors share one timeline. A process runs one event at a time; while it is frozen, or busy with its last event
because it is slow, what happens to it is kept and then done in one turn, in order, as a real reactor would find its
timers due and its sockets readable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import (
    IDelayedCall,
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
)
from zope.interface import implementer

from twistedkv.simulation.timeline import Killed, Timeline

if TYPE_CHECKING:
    from twistedkv.simulation.connecting import Connector, Port
    from twistedkv.simulation.network import Network

_LATE = 1e-9
"""A timer fires so much after its time, so that no rounding makes it early by its own clock."""


@attrs.define
class HostClock:
    """A host's monotonic clock: it runs on while processes come and go."""

    rate: float = 1.0
    """Its seconds in one true second."""
    offset: float = 1000.0

    def local(self, true: float) -> float:
        """What it shows at a true time."""
        return self.offset + self.rate * true

    def true(self, local: float) -> float:
        """The true time at which it shows this."""
        return (local - self.offset) / self.rate


@implementer(IDelayedCall)
class SimulatedCall:
    """A timer of a simulated reactor."""

    __slots__ = ("_args", "_call", "_kwargs", "_reactor", "_state", "_turn", "time")

    def __init__(self, reactor: SimulatedReactor, time: float, call: Callable[..., Any], args: Any, kwargs: Any):
        self.time = time
        self._reactor = reactor
        self._call = call
        self._args = args
        self._kwargs = kwargs
        self._state = ""
        self._turn = 0
        """Which of the events put on the timeline for it counts: it may have been reset since."""

    def getTime(self) -> float:
        """When it is due, by the host's clock."""
        return self.time

    def active(self) -> bool:
        """Whether it is still to be called."""
        return not self._state

    def cancel(self) -> None:
        """Do not call it."""
        self._check()
        self._state = "cancelled"
        self._reactor.forget(self)

    def reset(self, secondsFromNow: float) -> None:
        """Call it so many seconds from now."""
        self._check()
        self._put(self._reactor.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """Call it so much later."""
        self._check()
        self._put(self.time + secondsLater)

    def _put(self, time: float) -> None:
        self.time = time
        self._turn += 1
        self._reactor.put(self, self._turn)

    def _check(self) -> None:
        if self._state:
            raise AlreadyCancelled if self._state == "cancelled" else AlreadyCalled

    def fire(self, turn: int) -> None:
        """Its time has come, unless it was put off since."""
        if not self._state and turn == self._turn:
            self._state = "called"
            self._reactor.forget(self)
            self._call(*self._args, **self._kwargs)


@implementer(IHostnameResolver)
class _Resolver:
    """Names of the simulated network; an address stands for itself."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """At once. A name that is not known has no address."""
        resolutionReceiver.resolutionBegan(self)
        host = hostName if hostName[:1].isdigit() else self._names.get(hostName)
        if host is not None:
            resolutionReceiver.addressResolved(IPv4Address("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolutionReceiver


@implementer(IReactorTime, IReactorTCP, IReactorPluggableNameResolver)
class SimulatedReactor:
    """Of one process. `ended` is called when its program stops the reactor."""

    def __init__(
        self,
        name: str,
        host: str,
        timeline: Timeline,
        network: Network,
        clock: HostClock | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.host = host
        self.timeline = timeline
        self.network = network
        self.clock = clock or HostClock()
        self.alive = True
        self.frozen = False
        self.turn_seconds = 0.0
        """How long each turn takes: of a slow process."""
        self.nameResolver: Any = _Resolver(network.names)
        self._ended = ended
        self._calls: dict[SimulatedCall, None] = {}
        self._kept: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._busy = False

    # Time.

    def seconds(self) -> float:
        """The host's clock."""
        return self.clock.local(self.timeline.now)

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> SimulatedCall:
        """See IReactorTime."""
        if delay < 0:
            raise ValueError(f"{delay} seconds from now is in the past")
        call = SimulatedCall(self, self.seconds() + delay, callable, args, kwargs)
        self._calls[call] = None
        self.put(call, 0)
        return call

    def getDelayedCalls(self) -> list[SimulatedCall]:
        """Those that are still to be called."""
        return list(self._calls)

    def put(self, call: SimulatedCall, turn: int) -> None:
        """Have a timer fire at its time."""
        self.post(self.clock.true(call.time) + _LATE, call.fire, turn)

    def forget(self, call: SimulatedCall) -> None:
        """It was called, or cancelled."""
        self._calls.pop(call, None)

    # Events.

    def post(self, when: float, call: Callable[..., Any], *args: Any) -> None:
        """Have something happen in this process at a true time."""
        self.timeline.at(when, self._arrived, call, args)

    def _arrived(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if not self.alive:
            return
        if self.frozen or self._busy:
            self._kept.append((call, args))
            return
        self._do(call, args)
        self._after_turn()

    def _do(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            call(*args)
        except Killed:
            pass
        except Exception:
            self.timeline.failed(self.name)

    def _after_turn(self) -> None:
        if self.turn_seconds and self.alive:
            self._busy = True
            self.timeline.at(self.timeline.now + self.turn_seconds, self._free)

    def _free(self) -> None:
        self._busy = False
        if self.frozen or not self.alive or not self._kept:
            return
        # Only what is there now: what follows from it belongs to the next turn.
        for _ in range(len(self._kept)):
            if not self.alive or self.frozen:
                return
            call, args = self._kept.popleft()
            self._do(call, args)
        self._after_turn()

    def freeze(self) -> None:
        """As SIGSTOP does: the kernel goes on taking what arrives."""
        self.frozen = True

    def thaw(self) -> None:
        """As SIGCONT does."""
        if self.frozen:
            self.frozen = False
            if not self._busy:
                self._busy = True
                self.timeline.at(self.timeline.now, self._free)

    def kill(self) -> None:
        """Nothing happens in this process any more."""
        self.alive = False
        self._calls.clear()
        self._kept.clear()

    # What a program asks of its reactor.

    def installNameResolver(self, resolver: Any) -> Any:
        """See IReactorPluggableNameResolver."""
        before, self.nameResolver = self.nameResolver, resolver
        return before

    def stop(self) -> None:
        """The program wants to end."""
        self._ended()

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """There are no threads here: in the next turn."""
        self.callLater(0, callable, *args, **kwargs)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """See IReactorTCP."""
        return self.network.listen(self, port, factory, interface)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float | None = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> Connector:
        """See IReactorTCP."""
        return self.network.connect(self, host, port, factory, timeout)
