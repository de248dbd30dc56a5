"""Real daemons for tests: started with `twistd`, on free ports of the loopback, in a directory of their own.

Every process gets a mark in its environment, which its children inherit. So `Daemons` finds whatever is left of a
test, however it was started and whoever its parent is; what it finds at the end it kills, and names in an error.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from twistedkv.blocking import Client
from twistedkv.errors import TwistedKVError

T = TypeVar("T")

BIN = Path(sys.executable).parent
MARK = "TWISTEDKV_TEST_RUN"
PATIENCE_SECONDS = 60.0
"""How long anything is waited for before a test fails: far longer than it takes on a busy machine."""
_POLL_SECONDS = 0.02


def wait_for(what: str, condition: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of `condition`. Raises AssertionError, which names `what`, after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds:.0f} s for this in vain: {what}")
        time.sleep(_POLL_SECONDS)


def free_port() -> int:
    """A port that nobody listens on, outside the range that the kernel gives to connections."""
    while True:
        port = random.SystemRandom().randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def alive(pid: int) -> bool:
    """Whether the process runs or is stopped: a zombie does neither."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return False


class Daemon:
    """A process that was started, perhaps one that has made itself a daemon."""

    def __init__(self, name: str, pid: int, output: Path, process: subprocess.Popen[bytes] | None) -> None:
        self.name = name
        self.pid = pid
        self.output = output
        self._process = process

    @property
    def running(self) -> bool:
        """Whether it has not ended. Reaps it if it has."""
        return self._process.poll() is None if self._process is not None else alive(self.pid)

    @property
    def exit_code(self) -> int | None:
        """As subprocess has it; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def signal(self, number: int) -> None:
        """Send a signal; nothing if it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int | None:
        """Wait for the end; the exit code."""
        wait_for(f"the end of {self.name}", lambda: not self.running, seconds)
        return self.exit_code

    def said(self) -> str:
        """All that it has written."""
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""


class Daemons:
    """All processes of one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.token = secrets.token_hex(8)
        self.started: list[Daemon] = []
        self.outlived = False
        """Whether daemons may outlive the one that started them: `coordinator --spawn`."""

    def __enter__(self) -> Daemons:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for daemon in self.started:
            daemon.signal(signal.SIGKILL)
        for daemon in self.started:
            daemon.wait()
        until = time.monotonic() + (0 if self.outlived else 10)
        while (left := self.left()) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)  # children of a killed `cluster` end with it, but that is for the kernel to do
        for pid in left:
            send(pid, signal.SIGKILL)
        wait_for("the end of what was left", lambda: not self.left())
        assert not left or self.outlived or error is not None, f"processes were left: {left}"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """That of every process of this test."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("TWISTEDKV_")}
        return own | {MARK: self.token} | dict(more or {})

    def left(self) -> dict[int, str]:
        """Processes with our mark that are alive: pid and command line."""
        mark = f"{MARK}={self.token}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0") and alive(int(entry.name)):
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                        found[int(entry.name)] = command
        return found

    def assert_none_left(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until no process of this test is alive."""
        wait_for("no process is left", lambda: not self.left(), seconds)

    def node(self, name: str) -> list[str]:
        """What the command of this daemon begins with, to be run elsewhere than here."""
        return []

    def start(self, name: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Daemon:
        """`twistd -n twistedkv ARGUMENTS`, with its output in `NAME.log`."""
        output = self.directory / f"{name}.log"
        command = [*self.node(name), str(BIN / "twistd"), "-n", "--pidfile=", "twistedkv", *map(str, arguments)]
        with output.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self.environment(environment),
            )
        daemon = Daemon(name, process.pid, output, process)
        self.started.append(daemon)
        return daemon

    def start_daemonized(self, name: str, *arguments: object) -> Daemon:
        """`twistd --pidfile --logfile twistedkv ARGUMENTS`: it leaves us, and is nobody's child."""
        output, pid_file = self.directory / f"{name}.log", self.directory / f"{name}.pid"
        command = [str(BIN / "twistd"), f"--pidfile={pid_file}", f"--logfile={output}", "twistedkv"]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.directory,
            env=self.environment(),
            check=False,
        )
        assert done.returncode == 0, f"{name} did not start: {done.stderr.decode()}"
        pid = wait_for(f"the pid file of {name}", lambda: _number_in(pid_file))
        daemon = Daemon(name, pid, output, None)
        self.started.append(daemon)
        return daemon

    def twistd(self, *arguments: object, seconds: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
        """`twistd -n twistedkv ARGUMENTS`, run to its end."""
        return self._run([str(BIN / "twistd"), "-n", "--pidfile=", "twistedkv", *map(str, arguments)], seconds, None)

    def cli(
        self, address: str, *arguments: object, text: str | None = None, seconds: float = PATIENCE_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """`twistedkv ARGUMENTS`, run to its end."""
        return self._run([str(BIN / "twistedkv"), *map(str, arguments)], seconds, text, TWISTEDKV_COORDINATOR=address)

    def _run(
        self, command: list[str], seconds: float, text: str | None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            input=text or "",
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=self.environment(environment),
            timeout=seconds,
            check=False,
        )


def _number_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


class Cluster(Daemons):
    """One cluster: `cluster` for one that starts its servers, or `coordinator` and `server` one by one.

    `options` are those of the coordinator, such as `min_copies=2`. Line ports are free ones, unless they say otherwise.
    """

    def __init__(self, directory: Path, *, servers: int = 3, copies: int = 2, shards: int = 12, **options: Any) -> None:
        super().__init__(directory)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.ready_file = directory / "ready"
        self.copies = copies
        self._flags = [
            f"--servers={servers}",
            f"--copies={copies}",
            f"--shards={shards}",
            f"--port={self.port}",
            f"--base-dir={directory / 'base'}",
            f"--ready-file={self.ready_file}",
            *(f"--{name.replace('_', '-')}={value}" for name, value in {"line_port": 0, **options}.items()),
        ]
        self._clients: list[Client] = []
        self._client: Client | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            for client in self._clients:
                client.close()
        finally:
            super().__exit__(kind, error, where)

    def start_cluster(self, *flags: str, name: str = "cluster") -> Daemon:
        """`cluster`: wait until every shard is served."""
        self.ready_file.unlink(missing_ok=True)
        daemon = self.start(name, "cluster", *self._flags, *flags)
        self.wait_ready(daemon)
        return daemon

    def start_coordinator(self, *flags: str, fail: str = "", daemonized: bool = False) -> Daemon:
        """`coordinator`: does not wait for anything. `fail` is a failpoint."""
        self.ready_file.unlink(missing_ok=True)
        self.outlived = self.outlived or "--spawn" in flags
        if daemonized:
            return self.start_daemonized("coordinator", "coordinator", *self._flags, *flags)
        environment = {"TWISTEDKV_FAIL": fail} if fail else {}
        return self.start("coordinator", "coordinator", *self._flags, *flags, environment=environment)

    def start_server(self, name: str, *flags: str, daemonized: bool = False) -> Daemon:
        """`server`: does not wait for anything."""
        start = self.start_daemonized if daemonized else self.start
        return start(name, "server", f"--coordinator={self.address}", f"--data-dir={self.directory}", *flags)

    def wait_ready(self, daemon: Daemon) -> None:
        """Wait for the ready file."""

        def ready() -> bool:
            assert daemon.running, f"{daemon.name} ended with {daemon.exit_code}: {daemon.said()[-2000:]}"
            return self.ready_file.exists()

        wait_for("the ready file", ready)

    # Asking.

    def client(self, **options: Any) -> Client:
        """A client of its own, closed with the cluster."""
        client = Client(self.address, **options)
        self._clients.append(client)
        return client

    @property
    def shared(self) -> Client:
        """A client for questions."""
        self._client = self._client or self.client(deadline=5.0)
        return self._client

    def status(self) -> dict[str, Any]:
        """What `status` says. Raises TwistedKVError."""
        return self.shared.admin("status")

    def status_when(
        self, what: str, condition: Callable[[dict[str, Any]], Any], seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """The first status with that property; a coordinator that is away is waited for."""
        last: list[Any] = [None]

        def holds() -> dict[str, Any] | None:
            try:
                last[0] = self.status()
            except TwistedKVError as error:
                last[0] = error
                return None
            return last[0] if condition(last[0]) else None

        try:
            return wait_for(what, holds, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the status last: {_brief(last[0])}") from None

    def healthy(self, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until every shard has all its copies and its preferred primary."""
        return self.status_when("the cluster is healthy", lambda status: status["healthy"], seconds)

    def healed(self, *old_pids: int, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until the cluster is healthy without these processes."""

        def whole(status: dict[str, Any]) -> bool:
            used = [server["pid"] for server in status["servers"] if server["state"] == "active"]
            return status["healthy"] and not set(old_pids) & set(used)

        return self.status_when(f"the cluster has healed without {old_pids}", whole, seconds)

    def pids(self) -> dict[int, int]:
        """By server id."""
        return {server["id"]: server["pid"] for server in self.status()["servers"]}

    def command(self, *arguments: object, text: str | None = None) -> str:
        """`twistedkv ARGUMENTS`, which has to succeed: its standard output."""
        done = self.cli(self.address, *arguments, text=text)
        assert done.returncode == 0, f"twistedkv {arguments}: exit code {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout


def _brief(status: Any) -> Any:
    if not isinstance(status, dict):
        return status
    return {
        "servers": [(s["id"], s["state"], s["pid"], s["last_beat_seconds"]) for s in status["servers"]],
        "not ok": [shard for shard in status["shards"] if shard["state"] != "ok"],
        "operations": [o for o in status["operations"] if o["state"] == "running"],
    }


def send(pid: int, number: int) -> None:
    """A signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
