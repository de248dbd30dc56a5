"""Places where a test can have a process killed or frozen: TWISTEDKV_FAIL="name:ACTION:target[:count]".

The names are the numbered steps of a recovery (docs/design.md); whoever passes one asks the `Failpoints`
object by name, with the processes that play the roles of that recovery. Without the environment variable
nothing is asked.

    TWISTEDKV_FAIL="recovery.promoted:kill:S_b"          the first time
    TWISTEDKV_FAIL="recovery.filled:freeze:S_aa:3"       the third time
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


@attrs.frozen
class Failpoint:
    """What is to happen, where, to whom, and at which time of passing."""

    name: str
    action: str
    target: str
    count: int = 1


def parse(text: str) -> Failpoint:
    """The value of TWISTEDKV_FAIL. Raises ConfigurationError."""
    name, _, rest = text.strip().partition(":")
    action, _, rest = rest.partition(":")
    target, _, count = rest.partition(":")
    if name not in NAMES or action not in ACTIONS or target not in TARGETS or not (count or "1").isdigit():
        raise ConfigurationError(
            f"{VARIABLE}: expected name:action:target[:count] with a name of {', '.join(NAMES)}; "
            f"an action of {', '.join(ACTIONS)}; a target of {', '.join(TARGETS)}; got {text!r}"
        )
    return Failpoint(name, action, target, max(1, int(count or 1)))


class Failpoints:
    """One armed failpoint, or none. Fires once."""

    def __init__(self, point: Failpoint | None = None, kill: Callable[[int, int], None] = os.kill) -> None:
        self._point = point
        self._passed = 0
        self._kill = kill

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Failpoints:
        """As the environment says. Raises ConfigurationError."""
        text = environment.get(VARIABLE, "")
        return cls(parse(text) if text else None)

    @property
    def armed(self) -> bool:
        """Whether there is anything to ask: the one `if` that production pays."""
        return self._point is not None

    def wants(self, name: str) -> bool:
        """Whether the armed point has this name."""
        return self._point is not None and self._point.name == name

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
