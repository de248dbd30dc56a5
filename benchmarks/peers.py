"""Redis beside us: started for a measurement, on free ports of this machine, and ended after it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.frames import LoadError

READY_SECONDS_MAX = 20.0


def free_port() -> int:
    """A port of this machine that nobody uses at this moment."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def ask(port: int, *words: str) -> bytes:
    """Send a command to a server that speaks RESP; what it answers, in one read."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return connection.recv(65536)


@contextmanager
def redis(*, replica: bool) -> Iterator[int]:
    """A redis-server without persistence, with one replica in sync if asked for; its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise LoadError("redis-server is not installed: apt-get install redis-server")
    base = Path(tempfile.mkdtemp(prefix="twistedkv-redis-"))
    ports = [free_port() for _ in range(2 if replica else 1)]
    processes = []
    try:
        for index, port in enumerate(ports):
            command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            command += ["--dir", str(base), "--repl-diskless-sync-delay", "0"]
            if index:
                command += ["--replicaof", "127.0.0.1", str(ports[0])]
            with (base / f"{port}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        _wait(ports[0], b"slave0:" if replica else b"role:master")
        if replica:
            _wait(ports[0], b"state=online")
        yield ports[0]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(READY_SECONDS_MAX)
        shutil.rmtree(base, ignore_errors=True)


def _wait(port: int, sign: bytes) -> None:
    ends = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < ends:
        try:
            if sign in ask(port, "INFO", "replication"):
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise LoadError(f"redis-server at port {port} did not get ready")
