"""Local servers as processes: started, watched, killed when they are frozen, and started again.

Two kinds. `cluster` *owns* its servers: they are children that die with it, whatever happens to it. `coordinator
--spawn` starts daemons: they have a session of their own and outlive it; their pids are recorded in the map store with
their start times, so that the next coordinator neither starts them twice nor kills a stranger who has got the pid.

The end of a child is told to the coordinator first (which seals and promotes), and only then is its successor started.
A server that ends at once again and again is started at growing intervals, and the journal says what it said last.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.mapstore.interface import SpawnedProcess
from twistedkv.service.parent import PARENT_VARIABLE
from twistedkv.service.processes import LocalProcesses, Processes
from twistedkv.service.space import space_arguments

if TYPE_CHECKING:
    from twistedkv.service.coordinator import CoordinatorService

log = Logger()

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""A server tells others where it listens, so it cannot be told to listen everywhere."""
STOP_SECONDS = 5.0
"""So long a server may take to end in order."""
START_SECONDS = 15.0
"""A process that has not registered after so long is killed."""
AT_ONCE_SECONDS = 3.0
"""A server that lives shorter than this has failed to start."""
FAILURES_TOLD = 5
PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 10.0
OUTPUT_LINES = 10
OUTPUT_BYTES = 4096

_PROGRAM = """
import os
try:
    os.setsid()
except OSError:
    pass
from twisted.scripts.twistd import run
run()
"""


@attrs.define
class _Local:
    """A server that is to run here."""

    server_id: int
    pid: int = 0
    """0: no process."""
    started: int = 0
    child: _Child | None = None
    """None for one that an earlier coordinator has started."""
    since: float = 0.0
    registered: bool = False
    failures: int = 0
    timer: IDelayedCall | None = None


class _Child(ProcessProtocol):
    """A child; its output goes to files, so that neither side ever waits for the other."""

    def __init__(self, spawner: Spawner, server_id: int) -> None:
        self._spawner = spawner
        self._server_id = server_id
        self.pid = 0

    def connectionMade(self) -> None:
        self.pid = self.transport.pid  # type: ignore[union-attr]

    def processExited(self, reason: Failure) -> None:
        self._spawner.exited(self._server_id, self.pid, _how(reason))


def _how(reason: Failure) -> str:
    if reason.check(ProcessDone):
        return "its process ended"
    status = getattr(reason.value, "signal", None)
    if status is not None:
        return f"its process was killed by {signal.Signals(status).name}"
    return f"its process ended with exit code {getattr(reason.value, 'exitCode', None)}"


class Spawner:
    """Keeps servers 1 to `options.servers` running on this host, and those that were added."""

    def __init__(self, coordinator: CoordinatorService, processes: Processes | None = None) -> None:
        self._coordinator = coordinator
        self._options = coordinator.options
        self._reactor = coordinator.reactor
        self._processes = processes or LocalProcesses(coordinator.reactor)
        self._boot = self._processes.boot
        self._locals = {i: _Local(i) for i in range(1, self._options.servers + 1)}
        self._stopping: Deferred[bool] | None = None
        self._waits = False
        self._in_order = True
        self._stop_timer: IDelayedCall | None = None

    def start(self) -> None:
        """Take back what runs already, start the rest."""
        for recorded in self._coordinator.store.processes():
            if not self._options.owns_servers:  # there may be more than at first: servers were short of space
                self._locals.setdefault(recorded.server_id, _Local(recorded.server_id))
            local = self._locals.get(recorded.server_id)
            if self._options.owns_servers or recorded.boot != self._boot or not recorded.start_time:
                continue
            if self._processes.start_time(recorded.pid) != recorded.start_time:
                self._coordinator.process_ended(recorded.server_id, recorded.pid, "its process is gone")
            elif local is not None:
                local.pid, local.started, local.since = recorded.pid, recorded.start_time, self._coordinator.now()
                log.info("server {server}, pid {pid}, runs already", server=local.server_id, pid=local.pid)
        for local in self._locals.values():
            if not local.pid:
                self._spawn(local)

    def add(self, server_id: int) -> None:
        """Keep this one running as well."""
        if server_id not in self._locals and self._stopping is None:
            local = self._locals[server_id] = _Local(server_id)
            self._spawn_later(local)

    def replace(self, server_id: int, pid: int) -> None:
        """The server with this process was declared failed: kill what is left of it, and start another."""
        local = self._locals.get(server_id)
        if local is None or self._stopping is not None:
            return
        if local.pid and local.pid != pid:
            return  # its successor runs already
        if local.pid:
            self._kill(local)  # a child is started again when it has been reaped
        if not local.pid:
            self._spawn_later(local)

    def tick(self) -> None:
        """Look after those that do not register, and those of another parent that have gone."""
        now = self._coordinator.now()
        for local in self._locals.values():
            if not local.pid:
                continue
            if local.child is None and self._processes.start_time(local.pid) != local.started:
                log.info("server {server}, pid {pid}, is gone", server=local.server_id, pid=local.pid)
                pid, local.pid = local.pid, 0
                self._coordinator.process_ended(local.server_id, pid, "its process is gone")
                self._spawn_later(local)
                continue
            session = self._coordinator.connections.servers.get(local.server_id)
            if session is not None and session.started is not None and session.started.pid == local.pid:
                local.registered = True
            if not local.registered and now - local.since > START_SECONDS:
                self._note(local, f"server {local.server_id}, pid {local.pid}, has not registered: it is killed")
                self._kill(local)
                if not local.pid:
                    self._spawn_later(local)

    def stop(self, *, kill: bool) -> Deferred[bool]:
        """No more starts. With `kill`, wait for the children, which have been told to end; kill those that do not.

        Fires with whether none had to be killed. Without `kill` they are left alone, to outlive us.
        """
        done: Deferred[bool] = Deferred()
        self._stopping = done
        for local in self._locals.values():
            if local.timer is not None and local.timer.active():
                local.timer.cancel()
        self._waits = kill
        if kill:
            for local in self._locals.values():
                if local.child is not None and not local.registered:
                    self._signal(local, signal.SIGKILL)
            self._stop_timer = self._reactor.callLater(STOP_SECONDS, self._overdue)
        self._stopped_perhaps()
        return done

    def _overdue(self) -> None:
        self._in_order = False
        for local in self._locals.values():
            if local.pid:
                log.warn("server {server}, pid {pid}, does not end: killed", server=local.server_id, pid=local.pid)
                self._signal(local, signal.SIGKILL)

    def _stopped_perhaps(self) -> None:
        waiting = self._stopping
        if waiting is None or (self._waits and any(local.pid for local in self._locals.values())):
            return
        if self._stop_timer is not None and self._stop_timer.active():
            self._stop_timer.cancel()
        if not waiting.called:
            waiting.callback(self._in_order)

    # Processes.

    def _spawn_later(self, local: _Local) -> None:
        """Start it, at growing intervals when it fails to.

        The first pause is not only for the loop of failures: a failover is under way, what was sent for it leaves this
        process only after the present call, and a starting interpreter would take a processor from it.
        """
        if self._stopping is not None or (local.timer is not None and local.timer.active()):
            return
        pause = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 3**local.failures)
        local.timer = self._reactor.callLater(pause, self._spawn, local)

    def _spawn(self, local: _Local) -> None:
        local.timer = None
        if self._stopping is not None or local.pid:
            return
        options = self._options
        base = options.base_dir.resolve()
        name = f"server_{local.server_id}"
        arguments = [
            sys.executable,
            "-c",
            _PROGRAM,
            "-n",
            "--pidfile=",
            f"--logfile={base / name}.log",
            "twistedkv",
            "server",
            f"--coordinator={self._coordinator.local_address}",
            f"--cluster={options.cluster}",
            f"--id={local.server_id}",
            f"--host={LOOPBACK.get(options.host, options.host)}",
            f"--data-dir={base}",
            f"--store-dir={base / name}.store",
            f"--engine={options.engine}",
            f"--durability={options.durability}",
            f"--sync-interval={options.sync_interval:g}",
            f"--line-port={options.line_port and options.line_port + local.server_id - 1}",
            f"--line-idle={options.line_idle_seconds:g}",
            f"--course-port={options.course_port and options.course_port + local.server_id}",
            *space_arguments(options.limits),
        ]
        environment = {key: value for key, value in os.environ.items() if key != "TWISTEDKV_FAIL"}
        if options.moved:
            arguments.append("--moved")
        if options.owns_servers:
            arguments.append("--die-with-parent")
            environment[PARENT_VARIABLE] = str(self._processes.own_pid)
        else:
            environment.pop(PARENT_VARIABLE, None)
        child = _Child(self, local.server_id)
        local.since = self._coordinator.now()
        local.registered = False
        try:
            output = base / f"{name}.out"
            self._processes.spawn(child, arguments, environment, output, keeps_input=options.owns_servers)
        except OSError as error:
            self._failed_to_start(local, f"it could not be started: {error}")
            return
        local.child, local.pid, local.started = child, child.pid, self._processes.start_time(child.pid)
        log.info("server {server} was started, pid {pid}", server=local.server_id, pid=local.pid)
        self._record()

    def exited(self, server_id: int, pid: int, how: str) -> None:
        """A child has been reaped."""
        local = self._locals[server_id]
        if pid != local.pid:
            return
        log.info("server {server}, pid {pid}: {how}", server=server_id, pid=pid, how=how)
        local.pid, local.child = 0, None
        if self._stopping is not None:
            self._stopped_perhaps()
            return
        self._coordinator.process_ended(server_id, pid, how)
        if self._coordinator.now() - local.since < AT_ONCE_SECONDS and not local.registered:
            self._failed_to_start(local, how)
        else:
            local.failures = 0
            self._spawn_later(local)

    def _failed_to_start(self, local: _Local, how: str) -> None:
        local.failures += 1
        if local.failures % FAILURES_TOLD == 0:
            output = self._last_output(local)
            said = f"; it said last: {output}" if output else ""
            self._note(local, f"server {local.server_id} has failed to start {local.failures} times: {how}{said}")
        self._spawn_later(local)

    def _note(self, local: _Local, text: str) -> None:
        log.error("{text}", text=text)
        self._coordinator.note("server.unstartable", text[:2000], local.server_id)

    def _last_output(self, local: _Local) -> str:
        base = self._options.base_dir / f"server_{local.server_id}"
        for suffix in (".out", ".log"):
            try:
                with open(f"{base}{suffix}", "rb") as file:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
                    lines = file.read().decode("utf-8", "replace").strip().splitlines()
            except OSError:
                continue
            if lines:
                return " | ".join(lines[-OUTPUT_LINES:])
        return ""

    def _kill(self, local: _Local) -> None:
        """SIGKILL. For a child its reaping follows; another's process is gone, as far as we are concerned."""
        self._signal(local, signal.SIGKILL)
        if local.child is None:
            local.pid = 0

    def _signal(self, local: _Local, number: signal.Signals) -> None:
        if local.child is None and self._processes.start_time(local.pid) != local.started:
            return  # a stranger has the pid by now
        self._processes.signal(local.pid, number)

    def _record(self) -> None:
        try:
            self._coordinator.store.record_processes(
                SpawnedProcess(local.server_id, local.pid, local.started, self._boot)
                for local in self._locals.values()
                if local.pid
            )
        except Exception:
            log.failure("the started processes could not be recorded")
