"""Simulated processes: a program on a reactor of its own; it can be killed, frozen, slowed down and started again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred

from twistedkv.simulation.network import Network
from twistedkv.simulation.reactor import HostClock, SimulatedReactor
from twistedkv.simulation.timeline import Killed, Timeline


class Process:
    """One process, from its start to its end. `program` is a Twisted service, started on the process's reactor, which
    takes `start_seconds`."""

    def __init__(
        self,
        timeline: Timeline,
        network: Network,
        name: str,
        host: str,
        pid: int,
        clock: HostClock,
        make_program: Callable[[Process], Any],
        exited: Callable[[Process, str], None] = lambda process, how: None,
        start_seconds: float = 0.0,
    ) -> None:
        self.timeline = timeline
        self.name = name
        self.pid = pid
        self.reactor = SimulatedReactor(name, host, timeline, network, clock, self.end)
        self.ending = False
        """It has begun to end in order."""
        self.thawed_at = 0.0
        """When it was last thawed, and how long it had been frozen then."""
        self.frozen_seconds = 0.0
        self._frozen_at = 0.0
        self._network = network
        self._exited = exited
        timeline.tell(f"{name} starts, pid {pid}")
        self.program = make_program(self)
        self.reactor.post(timeline.now + start_seconds, self._start)

    def _start(self) -> None:
        try:
            self.program.startService()
        except SystemExit as ends:
            self._exit(f"could not start: {ends}")

    @property
    def alive(self) -> bool:
        """Whether there is such a process, running or frozen."""
        return self.reactor.alive

    @property
    def running(self) -> bool:
        """Whether it does anything."""
        return self.reactor.alive and not self.reactor.frozen

    def end(self) -> None:
        """As SIGTERM does: stop the program in order, then exit."""
        if self.ending or not self.alive:
            return
        self.ending = True
        stopping = maybeDeferred(self.program.stopService)
        stopping.addCallbacks(lambda _: self._exit("ended"), self._failed)

    def _failed(self, failure: Any) -> None:
        self.timeline.problems.append(f"{self.timeline.now:.6f} {self.name} could not end: {failure.getTraceback()}")
        self._exit("ended with an error")

    def kill(self, how: str = "was killed", *, silent: bool = False) -> None:
        """As SIGKILL does; `silent`: the host loses its power, so nobody is told by its kernel."""
        if self.alive:
            self._exit(how, silent=silent)

    def die_here(self) -> None:
        """End at this very place of the program. Does not return."""
        self.kill("was killed in the middle of a step")
        raise Killed

    def _exit(self, how: str, *, silent: bool = False) -> None:
        self.timeline.tell(f"{self.name}, pid {self.pid}, {how}")
        self.reactor.kill()
        self._network.process_killed(self.reactor, silent=silent)
        self._exited(self, how)

    def freeze(self) -> None:
        """As SIGSTOP does."""
        if self.running:
            self.timeline.tell(f"{self.name} is frozen")
            self._frozen_at = self.timeline.now
            self.reactor.freeze()

    def thaw(self) -> None:
        """As SIGCONT does."""
        if self.alive and self.reactor.frozen:
            self.timeline.tell(f"{self.name} goes on")
            self.thawed_at, self.frozen_seconds = self.timeline.now, self.timeline.now - self._frozen_at
            self.reactor.thaw()

    def slow_down(self, turn_seconds: float) -> None:
        """From now on each of its turns takes so long; 0: as fast as ever."""
        if self.alive:
            self.timeline.tell(f"{self.name}: a turn takes {turn_seconds * 1000:.1f} ms")
            self.reactor.turn_seconds = turn_seconds
