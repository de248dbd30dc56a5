"""Processes beside the daemons that do what they are told, and daemons on the nodes of a network."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.images import Image
from tests.faults.network import Network
from tests.live.cluster import Cluster, Daemon

ROOT = Path(__file__).resolve().parents[2]
ANSWER_SECONDS = 60.0
"""For a command to the load or the proxy: far longer than the deadline of any operation."""
PORT = 7400
"""Of every node in a network of its own."""


class Subordinate:
    """A process that answers each line on its standard input by one on its standard output, both JSON objects."""

    def __init__(self, module: str, *arguments: object, before: list[str] | None = None, log: Path) -> None:
        command = [*(before or []), sys.executable, "-m", module, *map(str, arguments)]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT
            )
        self._name, self._log = module, log

    def ask(self, seconds: float = ANSWER_SECONDS, **command: Any) -> dict[str, Any]:
        """Give a command; its answer. Raises AssertionError when there is none, or an error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        except BrokenPipeError:
            ready = [self.process.stdout]
        line = self.process.stdout.readline() if ready else b""
        if not line:
            said = self._log.read_text("utf-8", "replace")[-2000:]
            raise AssertionError(f"{self._name} has not answered {command} within {seconds:.0f} s: {said}")
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer

    def end(self) -> None:
        """At once."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Field(Cluster):
    """A cluster whose daemons may be nodes of a network: "coordinator", and each server by the name that it has.

    `disks`: where some of them, by the same names, have their files. `server_flags`: for every server. `before`: what
    the command of each begins with.
    """

    def __init__(
        self,
        directory: Path,
        network: Network | None = None,
        *,
        server_flags: Sequence[str] = (),
        before: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(directory, **options)
        self.network = network
        self.server_flags = tuple(server_flags)
        self.before = tuple(before)
        self.disks: dict[str, Image] = {}
        if network is not None:
            host = network.addresses["coordinator"]
            self.port, self.address = PORT, f"{host}:{PORT}"
            self._flags += [f"--port={PORT}", f"--host={host}"]

    def node(self, name: str) -> list[str]:
        return [*(self.network.enter(name) if self.network is not None else []), *self.before]

    def start_coordinator(self, *flags: str, fail: str = "", daemonized: bool = False) -> Daemon:
        if "coordinator" in self.disks:
            flags = (*flags, f"--base-dir={self.disks['coordinator'].path}")
        return super().start_coordinator(*flags, fail=fail, daemonized=daemonized)

    def start_server(self, name: str, *flags: str, daemonized: bool = False) -> Daemon:
        flags = (*flags, *self.server_flags)
        if name in self.disks:
            flags = (*flags, f"--data-dir={self.disks[name].path}")
        elif self.server_flags:
            flags = (*flags, f"--data-dir={self.directory / name}")
        if self.network is not None:
            flags = (*flags, f"--host={self.network.addresses[name]}", f"--port={PORT}")
        return super().start_server(name, *flags, daemonized=daemonized)
