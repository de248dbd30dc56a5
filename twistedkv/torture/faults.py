"""Does the planned faults, each when its time has come, as far as the promise of the cluster allows it then.

Afterwards it is followed what becomes of them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from twistedkv.errors import OperationError
from twistedkv.torture.incidents import COORDINATOR, Incident, Mark, milliseconds_text
from twistedkv.torture.meter import Meter
from twistedkv.torture.plan import Fault
from twistedkv.torture.promise import Look, objection

CONVALESCENCE_SECONDS = 1.0
"""So long after it was thawed a server is not yet well: what its silence has caused may still be on its way."""
SETTLING_SECONDS = 0.3
"""The same for what is told of a fault: it is not over before."""
NO_COORDINATOR = "the coordinator is away"


class Tortured(Protocol):
    """The cluster, as far as faults need it: see `cluster.LocalCluster`."""

    coordinator_pid: int

    async def look(self) -> Look | None:
        """How the cluster is now."""

    async def switch(self, shard: int, server_id: int) -> float:
        """Make a server the primary of a shard."""

    def start_coordinator(self) -> None:
        """Again."""

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Send a signal."""


class Faults:
    """All faults of a run. `reactor` has callLater; `now()` is seconds since the clients began."""

    def __init__(self, reactor: Any, cluster: Tortured, meter: Meter, now: Callable[[], float]) -> None:
        self._reactor = reactor
        self._cluster = cluster
        self._meter = meter
        self._now = now
        self._timers: list[IDelayedCall] = []
        self._ended = False
        self.incidents: list[Incident] = []
        """In order of time."""
        self.told: Callable[[Incident], object] = lambda incident: None
        """Is called with each when it was skipped, and when it is known what came of it."""
        self.problems: list[str] = []
        """Errors of this program."""

    def schedule(self, faults: Sequence[Fault]) -> None:
        """Have them happen."""
        for fault in faults:
            self._later(fault.at - self._now(), partial(self._begin, fault))

    def end(self) -> None:
        """No more faults. Whoever is frozen goes on, and the coordinator is started if it is away."""
        self._ended = True
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        for incident in self.incidents:
            incident.working = False
            for mark in incident.marks:
                if mark.ended is None and mark.kind == "frozen":
                    self._thaw(mark)
        if not self._cluster.coordinator_pid:
            self._cluster.start_coordinator()

    @property
    def settled(self) -> bool:
        """Whether it is known of every fault what came of it."""
        return not any(incident.open for incident in self.incidents)

    @property
    def done(self) -> list[Incident]:
        """Those that were not skipped."""
        return [incident for incident in self.incidents if not incident.skipped]

    def state_of(self, target: int) -> str:
        """`killed` or `frozen`, if that is what was done to this server (or the coordinator), and not yet over."""
        for incident in reversed(self.incidents):
            for mark in incident.marks:
                if mark.target == target and mark.ended is None:
                    return mark.kind
        return ""

    # Doing.

    def _later(self, seconds: float, call: Callable[[], object]) -> None:
        self._timers.append(self._reactor.callLater(max(0.0, seconds), call))

    def _begin(self, fault: Fault) -> None:
        perform = {
            "kill": self._kill,
            "kill-two": self._kill_two,
            "freeze": self._freeze,
            "switch": self._switch,
            "kill-coordinator": self._coordinator,
            "freeze-coordinator": self._coordinator,
        }[fault.kind]
        incident = Incident(fault, self._now(), str(fault), working=True)
        ensureDeferred(self._perform(perform, incident)).addErrback(self._failed)

    async def _perform(self, perform: Callable[[Incident], Any], incident: Incident) -> None:
        incident.skipped = await perform(incident)
        if self._ended and incident.skipped:
            return  # the time of faults ended while it was being looked at
        if incident not in self.incidents:
            self.incidents.append(incident)
        if incident.skipped:
            incident.working = False
            self.told(incident)

    def _failed(self, failure: Failure) -> None:
        self.problems.append(f"a fault could not be done: {failure.getTraceback()}")

    async def _victims(self, *servers: int) -> tuple[list[int], str]:
        """Pids of servers that may be taken out of service now; or why not."""
        look = await self._cluster.look() if not self.state_of(COORDINATOR) else None
        if self._ended:
            return [], "the time of faults is over"
        if look is None:
            return [], NO_COORDINATOR
        why = objection(look, servers, self._unwell(look))
        return ([], why) if why else ([look.pid(server) for server in servers], "")

    def _unwell(self, look: Look) -> set[int]:
        """Servers that something was done to, of which the coordinator may not know everything yet."""
        unwell = set()
        for incident in self.incidents:
            for mark in incident.marks:
                still_there = look.pid(mark.target) == mark.pid
                if mark.kind == "killed":
                    recent = still_there or mark.ended is None
                else:
                    recent = mark.ended is None or self._now() < mark.ended + CONVALESCENCE_SECONDS
                if mark.target != COORDINATOR and recent:
                    unwell.add(mark.target)
        return unwell

    def _hit(self, incident: Incident, target: int, pid: int, kind: str) -> bool:
        """Kill or freeze a process."""
        if not self._cluster.signal(pid, signal.SIGKILL if kind == "killed" else signal.SIGSTOP):
            return False
        mark = Mark(target, kind, pid, self._now())
        if not incident.marks:
            incident.began = mark.began
            incident.text = f"{mark.name} {kind}"
            self.incidents.append(incident)
        else:
            incident.text = f"servers {incident.marks[0].target} and {target} {kind}"
        incident.marks.append(mark)
        return True

    async def _kill(self, incident: Incident) -> str:
        pids, why = await self._victims(incident.fault.server)
        if why or not self._hit(incident, incident.fault.server, pids[0], "killed"):
            return why or "its process is gone"
        incident.working = False
        return ""

    async def _kill_two(self, incident: Incident) -> str:
        fault = incident.fault
        pids, why = await self._victims(fault.server, fault.second)
        if why or not self._hit(incident, fault.server, pids[0], "killed"):
            return why or "its process is gone"
        self._later(fault.seconds, lambda: ensureDeferred(self._kill_second(incident)).addErrback(self._failed))
        return ""

    async def _kill_second(self, incident: Incident) -> None:
        pids, why = await self._victims(incident.fault.second)
        if not why:
            self._hit(incident, incident.fault.second, pids[0], "killed")
        else:
            incident.text += ", the other one spared"
        incident.working = False

    async def _freeze(self, incident: Incident) -> str:
        fault = incident.fault
        pids, why = await self._victims(fault.server)
        if why or not self._hit(incident, fault.server, pids[0], "frozen"):
            return why or "its process is gone"
        incident.text += f" for {fault.seconds:.1f} s"
        self._later(fault.seconds, partial(self._thaw, incident.marks[0]))
        incident.working = False
        return ""

    def _thaw(self, mark: Mark) -> None:
        self._cluster.signal(mark.pid, signal.SIGCONT)
        if mark.ended is None:
            mark.ended = self._now()

    async def _switch(self, incident: Incident) -> str:
        look = await self._cluster.look() if not self.state_of(COORDINATOR) else None
        if look is None or self._ended:
            return NO_COORDINATOR
        shard = look.status["shards"][incident.fault.shard]
        if not shard["secondaries"]:
            return f"shard {shard['shard']} has no other copy"
        target = shard["secondaries"][0]
        incident.began = self._now()
        incident.text = f"shard {shard['shard']} switched to server {target}"
        self.incidents.append(incident)
        try:
            took = await self._cluster.switch(shard["shard"], target)
        except OperationError as error:
            self._close(incident, f"not done: {error}")
        else:
            self._close(incident, f"done in {milliseconds_text(took)}, ")
        return ""

    async def _coordinator(self, incident: Incident) -> str:
        fault, pid = incident.fault, self._cluster.coordinator_pid
        kind = "killed" if fault.kind == "kill-coordinator" else "frozen"
        if self.state_of(COORDINATOR) or not pid or not self._hit(incident, COORDINATOR, pid, kind):
            return NO_COORDINATOR
        if kind == "killed":
            self._later(fault.seconds, self._cluster.start_coordinator)
        else:
            incident.text += f" for {fault.seconds:.1f} s"
            self._later(fault.seconds, partial(self._thaw, incident.marks[0]))
        incident.working = False
        return ""

    # Following.

    def seen(self, look: Look, asked: float) -> None:
        """The cluster was looked at; `asked` is when."""
        for incident in self.incidents:
            if not incident.open or not incident.marks:
                continue
            for mark in incident.marks:
                self._follow(mark, look)
            settled = all(
                mark.ended is not None and (mark.kind == "killed" or asked > mark.ended + SETTLING_SECONDS)
                for mark in incident.marks
            )
            if look.healthy and settled and not incident.working:
                self._close(incident, "")

    def _follow(self, mark: Mark, look: Look) -> None:
        if mark.target == COORDINATOR:
            replaced = mark.kind == "killed" and self._cluster.coordinator_pid not in (0, mark.pid)
        else:
            replaced = look.pid(mark.target) not in (0, mark.pid)
        if replaced:
            mark.replaced = True
            if mark.ended is None:
                mark.ended = self._now()

    def _close(self, incident: Incident, result: str) -> None:
        """It is known what came of it; the result that is given is completed."""
        now = incident.over = self._now()
        until = max([now, *(mark.ended or 0 for mark in incident.marks)])
        incident.longest_wait = self._meter.longest_between(incident.began, until)
        ended = max((mark.ended or now for mark in incident.marks), default=now)
        incident.answered = self._meter.answered_between(incident.began, ended)
        if incident.marks:
            incident.result = incident.describe()
        elif result.endswith(", "):
            incident.result = f"{result}longest wait {milliseconds_text(incident.longest_wait)}"
        else:
            incident.result = result
        incident.working = False
        self.told(incident)
