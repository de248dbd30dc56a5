"""Redis and etcd beside us: started for a measurement, on free ports of this machine, and ended after it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from benchmarks.frames import LoadError

READY_SECONDS_MAX = 20.0
ETCD_MEMBERS = 3


def free_port() -> int:
    """A port of this machine that nobody uses at this moment."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def free_ports(count: int) -> list[int]:
    """Different ports of this machine that nobody uses at this moment."""
    ports: dict[int, None] = {}
    while len(ports) < count:
        ports[free_port()] = None
    return list(ports)


def ask(port: int, *words: str) -> bytes:
    """Send a command to a server that speaks RESP; what it answers, in one read."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return connection.recv(65536)


@contextmanager
def redis(*, replica: bool) -> Iterator[int]:
    """A redis-server without persistence, with one replica in sync if asked for; its port."""
    base = Path(tempfile.mkdtemp(prefix="twistedkv-redis-"))
    ports = free_ports(2 if replica else 1)
    commands = [_redis_command(ports[0], base)]
    if replica:
        commands.append([*_redis_command(ports[1], base), "--replicaof", "127.0.0.1", str(ports[0])])
    with _processes(commands, base):
        wait_replication(ports[0], b"slave0:" if replica else b"role:master")
        if replica:
            wait_replication(ports[0], b"state=online")
        yield ports[0]


def _redis_command(port: int, base: Path) -> list[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise LoadError("redis-server is not installed: apt-get install redis-server")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return [*command, "--dir", str(base), "--repl-diskless-sync-delay", "0"]


def wait_replication(port: int, sign: bytes, seconds_max: float = READY_SECONDS_MAX) -> None:
    """Until a redis-server says that in INFO replication. Raises LoadError when it takes longer than `seconds_max`."""
    ends = time.monotonic() + seconds_max
    while time.monotonic() < ends:
        try:
            if sign in ask(port, "INFO", "replication"):
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise LoadError(f"redis-server at port {port} did not say {sign.decode()} in {seconds_max:g} s")


@contextmanager
def etcd() -> Iterator[list[int]]:
    """A cluster of three etcd members with their defaults, which write each change to the disk; their client ports."""
    program = shutil.which("etcd")
    if program is None:
        raise LoadError("etcd is not installed: apt-get install etcd-server")
    version = etcd_version(subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout)
    if version < (3, 4):
        raise LoadError(f"etcd 3.4 or newer is needed, this is {'.'.join(map(str, version)) or 'of no known version'}")
    base = Path(tempfile.mkdtemp(prefix="twistedkv-etcd-"))
    ports = free_ports(2 * ETCD_MEMBERS)
    clients, peers = ports[:ETCD_MEMBERS], [f"http://127.0.0.1:{port}" for port in ports[ETCD_MEMBERS:]]
    cluster = ",".join(f"member{index}={peer}" for index, peer in enumerate(peers))
    commands = []
    for index, (port, peer) in enumerate(zip(clients, peers, strict=True)):
        command = [program, "--name", f"member{index}", "--data-dir", str(base / f"member{index}")]
        for side, url in (("client", f"http://127.0.0.1:{port}"), ("peer", peer)):
            advertise = "--initial-advertise-peer-urls" if side == "peer" else "--advertise-client-urls"
            command += [f"--listen-{side}-urls", url, advertise, url]
        commands.append([*command, "--initial-cluster", cluster, "--initial-cluster-state", "new"])
    with _processes(commands, base):
        for port in clients:
            _wait_etcd(port)
        yield clients


def etcd_version(text: str) -> tuple[int, ...]:
    """Of what `etcd --version` says, as numbers; empty if it says none."""
    found = re.search(r"etcd Version: (\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def _wait_etcd(port: int) -> None:
    ends = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < ends:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                if json.load(answer).get("health") == "true":
                    return
        except (OSError, ValueError):  # not yet there, or without a leader
            pass
        time.sleep(0.05)
    raise LoadError(f"the etcd member at port {port} did not get ready")


@contextmanager
def _processes(commands: Sequence[Sequence[str]], base: Path) -> Iterator[None]:
    """Run these, each with a log in `base`, and kill them at the end: nothing that they hold is kept, nor is `base`."""
    processes = []
    try:
        for number, command in enumerate(commands):
            with (base / f"{number}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        shutil.rmtree(base, ignore_errors=True)
