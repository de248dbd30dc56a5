"""Processes that a simulated coordinator starts: the kernel of its host, as `service.processes` asks for it."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twistedkv.simulation.process import Process

START_SECONDS_MIN = 0.02
START_SECONDS_MAX = 0.5
"""An interpreter takes so long to start."""


@attrs.frozen
class _Child:
    """What a process protocol sees of its process."""

    pid: int


class SimulatedProcesses:
    """Of one coordinator process. Its children are daemons: they outlive it.

    `start_server(server_id, exited)` starts one and says its process; `fault()` may raise OSError in place of a start.
    """

    boot = "simulated boot"

    def __init__(
        self,
        parent: Process,
        processes: Mapping[str, Process],
        start_server: Callable[[int, Callable[[Process, str], None], float], Process],
        fault: Callable[[], None],
        chance: random.Random,
    ) -> None:
        self.own_pid = parent.pid
        self._parent = parent
        self._processes = processes
        self._start_server = start_server
        self._fault = fault
        self._random = chance

    def start_time(self, pid: int) -> int:
        """See Processes. A pid is never used again, so it serves as a time too."""
        return pid if self._running(pid) is not None else 0

    def _running(self, pid: int) -> Process | None:
        return next((each for each in self._processes.values() if each.pid == pid and each.alive), None)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """See Processes."""
        process = self._running(pid)
        if process is not None and number == signal.SIGKILL:
            process.kill("was killed by the coordinator")

    def spawn(
        self,
        protocol: ProcessProtocol,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        *,
        keeps_input: bool,
    ) -> None:
        """See Processes."""
        self._fault()
        [server_id] = [int(each.removeprefix("--id=")) for each in arguments if each.startswith("--id=")]
        pause = self._random.uniform(START_SECONDS_MIN, START_SECONDS_MAX)
        process = self._start_server(server_id, partial(self._exited, protocol), pause)
        child: Any = _Child(process.pid)
        protocol.makeConnection(child)

    def _exited(self, protocol: ProcessProtocol, process: Process, how: str) -> None:
        reason = ProcessDone(0) if how == "ended" else ProcessTerminated(signal=signal.SIGKILL)
        timeline = self._parent.timeline
        self._parent.reactor.post(timeline.now, protocol.processExited, Failure(reason))
