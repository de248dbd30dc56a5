"""A real redis-server on the loopback interface, and a connection to it that gives replies as they came."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

START_SECONDS_MAX = 10.0
REPLY_SECONDS_MAX = 30.0

INSTALL = "redis-server is not installed (Debian and Ubuntu: apt-get install redis-server)"


class RedisConnection:
    """A blocking connection. Not for commands that push messages."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=REPLY_SECONDS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb", buffering=1 << 20)

    def run(self, commands: list[list[bytes]]) -> list[bytes]:
        """Send the commands at once and return their replies, byte for byte."""
        self.send(b"".join(map(encode_request, commands)))
        return [self.reply() for _ in commands]

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    def ended(self) -> bytes:
        """Wait until the other side has closed the connection: what it still said before."""
        try:
            return self._file.read()
        except ConnectionResetError:
            return b""

    def reply(self) -> bytes:
        """The next reply, byte for byte."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the reply ends after {line!r}")
        kind, size = line[:1], line[1:-2]
        if kind in b"$=!" and size != b"-1":
            return line + self._file.read(int(size) + 2)
        if kind in b"*~%>" and size != b"-1":
            count = int(size) * (2 if kind == b"%" else 1)
            return line + b"".join([self.reply() for _ in range(count)])
        return line


def encode_request(argv: list[bytes]) -> bytes:
    """A command as an array of bulk strings."""
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in argv)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[int]:
    """Start a server that stores nothing, yield its port, and end it."""
    path = shutil.which("redis-server")
    if path is None:
        raise FileNotFoundError(INSTALL)
    with tempfile.TemporaryDirectory(prefix="twistedkv-redis-") as directory:
        port = free_port()
        command = [path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += [
            "--dir",
            directory,
            "--databases",
            "1",
            "--enable-debug-command",
            "yes",
            "--proto-max-bulk-len",
            "8mb",
            *options,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(process, port)
            yield port
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Until the server answers."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"redis-server ended with {process.returncode}")
        try:
            connection = RedisConnection(port)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        with contextlib.closing(connection):
            if connection.run([[b"PING"]]) == [b"+PONG\r\n"]:
                return


def require_redis() -> None:
    """Skip the test where there is no redis-server; but fail it in CI."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail(INSTALL, pytrace=False)
        pytest.skip(INSTALL)
