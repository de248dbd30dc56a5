"""A throw-away cluster: a coordinator that starts its servers, all of it held by a warden that ends with us.

The coordinator is of the kind whose servers outlive it (`coordinator --spawn`), because it is to be killed and started
again while reads and writes go on.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twistedkv.client.twisted import Client
from twistedkv.errors import TwistedKVError, Unavailable
from twistedkv.service.processes import start_time
from twistedkv.torture.plan import Settings
from twistedkv.torture.promise import Look
from twistedkv.torture.warden import START, adopt_orphans, end_children

READY_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.2
"""Between two looks at the cluster while something is waited for."""
LOOK_DEADLINE_SECONDS = 1.0
SWITCH_DEADLINE_SECONDS = 10.0
JOURNAL_DEADLINE_SECONDS = 10.0
LOG_LINES = 20

COORDINATOR_LOG = "coordinator.log"
WARDEN_LOG = "warden.log"

_PROGRAM = """
from twistedkv.service.parent import bind_to_parent
bind_to_parent()
from twisted.scripts.twistd import run
run()
"""


def free_port() -> int:
    """A port that nobody listens on, outside the range that the kernel gives to connections.

    The coordinator's port has to stay free while there is no coordinator.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def pause(reactor: Any, seconds: float) -> Deferred[None]:
    """Fires after so many seconds."""
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


class _Warden(ProcessProtocol):
    """Our end of the warden."""

    def __init__(self, said: Callable[[str, int], None], gone: Callable[[], None]) -> None:
        self._said = said
        self.gone = gone
        self._rest = b""

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, _, pid = line.decode().partition(" ")
            self._said(word, int(pid))

    def processEnded(self, reason: Failure) -> None:
        self.gone()


class LocalCluster:
    """The processes, and who asks the coordinator. `reactor` is IReactorTCP, IReactorTime and IReactorProcess."""

    def __init__(self, reactor: Any, settings: Settings, directory: Path) -> None:
        self.reactor = reactor
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.coordinator_pid = 0
        """0: it does not run."""
        self.failed: Callable[[str], None] = lambda text: None
        """Is told why the cluster cannot go on."""
        self._settings = settings
        self._warden: Any = None
        self._ending: Deferred[None] | None = None
        self.gone = True
        """There are no processes: not yet, or not any more."""
        self._observer: Client | None = None
        self._started: dict[int, int] = {}
        """By pid: the start time of each process, as far as seen."""

    # Life.

    async def start(self) -> Look:
        """Start everything, and wait until every shard has all its copies. Raises OSError or Unavailable."""
        adopt_orphans()
        settings = self._settings
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-c", _PROGRAM, "-n", "--pidfile=", f"--logfile={self.directory / COORDINATOR_LOG}"),
            *("twistedkv", "coordinator", "--spawn", f"--servers={settings.servers}", f"--copies={settings.copies}"),
            *(f"--shards={settings.shards}", f"--port={self.port}", "--line-port=0", f"--base-dir={self.directory}"),
        ]
        arguments = [sys.executable, "-m", "twistedkv.torture.warden", *command]
        protocol = _Warden(self._heard, self._warden_gone)
        with open(self.directory / WARDEN_LOG, "wb") as log:
            files: dict[int, Any] = {0: "w", 1: "r", 2: log.fileno()}
            self._warden = self.reactor.spawnProcess(
                protocol, sys.executable, args=arguments, env=dict(os.environ), childFDs=files
            )
        self.gone = False
        self.start_coordinator()
        self._observer = Client(self.address, reactor=self.reactor, deadline=LOOK_DEADLINE_SECONDS)
        until = self.reactor.seconds() + READY_SECONDS_MAX
        while self.reactor.seconds() < until and not self.gone:
            look = await self.look()
            if look is not None and look.healthy:
                return look
            await pause(self.reactor, LOOK_SECONDS)
        raise Unavailable(f"the cluster did not get ready; its log ends with:\n{self._last_words()}")

    def start_coordinator(self) -> None:
        """For the first time, or again."""
        if not self.gone:
            self._warden.write(START)

    def end(self) -> Deferred[None]:
        """Kill everything. Fires when nothing is left."""
        if self._ending is None:
            self._ending = succeed(None) if self.gone else Deferred()
            if self._observer is not None:
                self._observer.close().addErrback(lambda _: None)
            if not self.gone:
                self._warden.closeStdin()
        done: Deferred[None] = Deferred()
        self._ending.addCallback(done.callback)
        return done

    def _heard(self, word: str, pid: int) -> None:
        if word == "started":
            self.coordinator_pid = pid
            self._started[pid] = start_time(pid)
        elif pid == self.coordinator_pid:
            self.coordinator_pid = 0

    def _warden_gone(self) -> None:
        self.gone = True
        self.coordinator_pid = 0
        if self._ending is not None:
            self._ending.callback(None)
        else:
            end_children()  # what it held is ours now
            self.failed("the process that holds the cluster's processes has ended")

    def _last_words(self) -> str:
        for name in (COORDINATOR_LOG, WARDEN_LOG):
            with contextlib.suppress(OSError):
                lines = (self.directory / name).read_text("utf-8", "replace").splitlines()
                if lines:
                    return "\n".join(lines[-LOG_LINES:])
        return "(nothing)"

    # Asking.

    @property
    def observer(self) -> Client:
        """The client that asks. There is one after the start."""
        assert self._observer is not None
        return self._observer

    async def look(self) -> Look | None:
        """How the cluster is now; None if the coordinator does not answer."""
        try:
            status = await self.observer.admin("status")
            look = Look(status, await self.observer.admin("map"))
        except TwistedKVError:
            return None
        for server in look.servers.values():
            pid = server["pid"]
            if pid not in self._started:
                self._started[pid] = start_time(pid)
        return look

    async def switch(self, shard: int, server_id: int) -> float:
        """Make a server the primary of a shard: how long that took, in seconds. Raises OperationError."""
        answer = await self.observer.admin("switch", shard=shard, server=server_id, deadline=SWITCH_DEADLINE_SECONDS)
        return float(answer["milliseconds"]) / 1000

    async def journal(self) -> list[dict[str, Any]]:
        """All events. Raises NotDone."""
        events: list[dict[str, Any]] = []
        while True:
            after = events[-1]["number"] if events else 0
            page = await self.observer.admin("journal", after=after, deadline=JOURNAL_DEADLINE_SECONDS)
            if not page["events"]:
                return events
            events += page["events"]

    # Signals.

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """Send a signal to the coordinator, or to a server whose process was seen in a look. False if it has gone."""
        if not self._started.get(pid) or start_time(pid) != self._started[pid]:
            return False  # a stranger may have the pid by now
        os.kill(pid, number)
        return True
