"""Places where a test can have a process killed or frozen: one is armed by the environment variable TWISTEDKV_FAIL.

There are two kinds. The numbered steps of a recovery (docs/design.md): whoever passes one asks the `Failpoints` object
by name, with the processes that play the roles of that recovery, and one of them is killed or frozen. And the moments
before and after each durable step: there the process that passes ends itself, as if killed. Without the variable
nothing is asked.

    TWISTEDKV_FAIL="recovery.promoted:kill:S_b"          the first time
    TWISTEDKV_FAIL="recovery.filled:freeze:S_aa:3"       the third time
    TWISTEDKV_FAIL="mapstore.after_apply:7"              the seventh time
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

import attrs
from twisted.logger import Logger

from twistedkv.errors import ConfigurationError

log = Logger()

VARIABLE = "TWISTEDKV_FAIL"

NAMES = (
    "recovery.detected",
    "recovery.epoch_stored",
    "recovery.sealed",
    "recovery.promoted_stored",
    "recovery.promoted",
    "recovery.replacing",
    "recovery.replaced",
    "recovery.filling",
    "recovery.filled",
    "recovery.member",
    "recovery.switching",
    "recovery.relinquished",
    "recovery.switched",
)
ACTIONS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}
TARGETS = ("S_a", "S_b", "S_c", "S_aa", "other", "coordinator")
DURABLE_NAMES = (
    "mapstore.before_open",
    "mapstore.after_open",
    "mapstore.before_apply",
    "mapstore.after_apply",
    "mapstore.before_note",
    "mapstore.after_note",
)
"""Around what is to be stable when it returns: opening the map store, storing a change (each commit of the
coordinator), and noting something small in it (heartbeat, end in order, spawned processes)."""
EXIT_CODE = 128 + signal.SIGKILL
"""Of a process that has ended itself at a failpoint: what a shell shows of one that was killed."""


@attrs.frozen
class Failpoint:
    """What is to happen, where, to whom, and at which time of passing."""

    name: str
    action: str
    """Empty at a durable step, which has no target either."""
    target: str
    count: int = 1


def parse(text: str) -> Failpoint:
    """The value of TWISTEDKV_FAIL. Raises ConfigurationError."""
    name, _, rest = text.strip().partition(":")
    if name in DURABLE_NAMES:
        if not (rest or "1").isdecimal():
            raise ConfigurationError(f"{VARIABLE}: expected {name}[:count], got {text!r}")
        return Failpoint(name, "", "", max(1, int(rest or 1)))
    action, _, rest = rest.partition(":")
    target, _, count = rest.partition(":")
    if name not in NAMES or action not in ACTIONS or target not in TARGETS or not (count or "1").isdecimal():
        raise ConfigurationError(
            f"{VARIABLE}: expected name:action:target[:count] with a name of {', '.join(NAMES)}; "
            f"an action of {', '.join(ACTIONS)}; a target of {', '.join(TARGETS)}; "
            f"or name[:count] with a name of {', '.join(DURABLE_NAMES)}; got {text!r}"
        )
    return Failpoint(name, action, target, max(1, int(count or 1)))


class Failpoints:
    """One armed failpoint, or none. Fires once."""

    def __init__(
        self,
        point: Failpoint | None = None,
        kill: Callable[[int, int], None] = os.kill,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._point = point
        self._passed = 0
        self._kill = kill
        self._end = end

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Failpoints:
        """As the environment says. Raises ConfigurationError."""
        text = environment.get(VARIABLE, "")
        return cls(parse(text) if text else None)

    @property
    def armed(self) -> bool:
        """Whether there is anything to ask: the one `if` that production pays."""
        return self._point is not None

    @property
    def durable(self) -> bool:
        """Whether the armed point is one of a durable step."""
        return self._point is not None and self._point.name in DURABLE_NAMES

    def wants(self, name: str) -> bool:
        """Whether the armed point has this name."""
        return self._point is not None and self._point.name == name

    def passed_durable(self, name: str) -> None:
        """A durable step is about to begin, or has been done: end this process at once if that was asked for."""
        point = self._point
        if point is None or point.name != name:
            return
        self._passed += 1
        if self._passed == point.count:
            log.warn("failpoint {name}:{count}: this process ends", name=name, count=point.count)
            self._end(EXIT_CODE)

    def passed(self, name: str, processes: Mapping[str, int]) -> int | None:
        """This step has been reached; `processes` has a pid for each role that somebody plays in it.

        Returns the pid that was signalled, None if nothing was. A step at which nobody plays the target's
        role does not count.
        """
        point = self._point
        if point is None or point.name != name:
            return None
        pid = os.getpid() if point.target == "coordinator" else processes.get(point.target, 0)
        if not pid:
            return None
        self._passed += 1
        if self._passed < point.count:
            return None
        if pid == os.getpid():
            self._tell(point, pid)  # there will be no other opportunity
        try:
            self._kill(pid, ACTIONS[point.action])
        except ProcessLookupError:
            self._passed -= 1
            return None
        self._point = None
        if pid != os.getpid():
            self._tell(point, pid)
        return pid

    def _tell(self, point: Failpoint, pid: int) -> None:
        log.warn(
            "failpoint {name}: {action} {target}, pid {pid}",
            name=point.name,
            action=point.action,
            target=point.target,
            pid=pid,
        )
