"""Processes of this host: what the spawner asks of the kernel. The simulation has its own."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.protocol import ProcessProtocol


class Processes(Protocol):
    """Processes, by their pids. A pid and the time at which its process was started name one process for ever."""

    boot: str
    """Names this boot of the machine; empty where that is not known."""
    own_pid: int

    def start_time(self, pid: int) -> int:
        """When the process was started, in ticks of some clock; 0 if there is none, or that is not known."""

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal; nothing if the process is gone."""

    def spawn(
        self,
        protocol: ProcessProtocol,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        *,
        keeps_input: bool,
    ) -> None:
        """Start a process, whose output goes to a file, so that neither side ever waits for the other.

        Its standard input is a pipe that ends with this process (`keeps_input`), or empty. Raises OSError.
        """


def fail_at_end(stop: Callable[[], None]) -> None:
    """Stop, and have the process end with exit code 1: twistd itself has 0 for whatever stops the reactor."""
    atexit.register(os._exit, 1)
    stop()


def boot_id() -> str:
    """Names this boot of the machine; empty where that is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> int:
    """When the process was started, in the kernel's ticks; 0 if there is none, or that is not known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat[stat.rindex(")") + 2 :].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


class LocalProcesses:
    """The real ones. `reactor` is IReactorProcess."""

    def __init__(self, reactor: Any) -> None:
        self.boot = boot_id()
        self.own_pid = os.getpid()
        self._reactor = reactor

    def start_time(self, pid: int) -> int:
        """See Processes."""
        return start_time(pid)

    def signal(self, pid: int, number: signal.Signals) -> None:
        """See Processes."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

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
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(output, "wb") as file, open(os.devnull, "rb") as nothing:
            files: dict[int, Any] = {1: file.fileno(), 2: file.fileno()}
            files[0] = "w" if keeps_input else nothing.fileno()
            self._reactor.spawnProcess(
                protocol, arguments[0], args=arguments, env=dict(environment), path=None, childFDs=files
            )
