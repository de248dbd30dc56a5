"""A client in the style of the original system's: blocking, a connection for each message, the map asked for again
after a failure.

    client = CourseClient("127.0.0.1", 7500)            # a course port of the coordinator, or of any server
    report = client.replay(path.read_bytes().splitlines())
    assert report.good, report

It shares no code with the course port, so that a mistake there is not made here again. Connections and pauses are
arguments: tests without sockets give their own.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import time
from collections.abc import Callable, Iterable

import attrs

from twistedkv.workload import Operation, Verb, parse_lines

ATTEMPTS_MAX = 10
FAILED_MAX = 2
"""A replay stops after so many failed operations."""
ANSWER_SECONDS_MAX = 30.0

NOOP, GET, PUT, VERIFY = range(4)
LOOKUP_TYPE, LOOKUP_ANSWER_TYPE, OPERATION_TYPE, OPERATION_ANSWER_TYPE = range(1, 5)
NOT_FOUND = {2016: 2, 2020: 3, 2024: 3}

Exchange = Callable[[str, int, bytes], bytes]
"""Sends a request to a host and port, and returns the one message that answers it. OSError if there is none."""


class Failed(Exception):
    """One attempt has failed, or all of them; the text says how."""


@attrs.define
class Report:
    """What came of a replay."""

    operations: int = 0
    attempts: int = 0
    """More than the operations (VERIFY makes two) by those that had to be repeated."""
    checks_passed: int = 0
    checks_failed: list[str] = attrs.Factory(list)
    failed: list[str] = attrs.Factory(list)
    """Operations that were given up."""

    @property
    def good(self) -> bool:
        """Nothing failed."""
        return not self.checks_failed and not self.failed


def exchange(host: str, port: int, request: bytes) -> bytes:
    """Over a socket of its own."""
    with socket.create_connection((host, port), ANSWER_SECONDS_MAX) as connection:
        connection.sendall(request)
        header = _receive(connection, 4)
        return header + _receive(connection, int.from_bytes(header[2:]) - 4)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            raise ConnectionError(f"the connection ended {size - len(received)} bytes too early")
        received += piece
    return received


class CourseClient:
    """A client of one generation (2016, 2020 or 2024)."""

    def __init__(
        self,
        host: str,
        port: int,
        generation: int = 2024,
        exchange: Exchange = exchange,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.directory = (host, port)
        self.generation = generation
        self.servers: list[tuple[str, int]] = []
        self.retry_seconds = 1
        self.report = Report()
        self._exchange = exchange
        self._pause = pause

    # Single messages.

    def configure(self) -> None:
        """CONFIG."""
        body = self._ask(*self.directory, LOOKUP_TYPE, b"", LOOKUP_ANSWER_TYPE)
        if self.generation == 2024:
            self.retry_seconds, body = int.from_bytes(body[:2]), body[2:]
        count, text = int.from_bytes(body[:2]), body[2:]
        if not text.endswith(b";\0"):
            raise Failed(f"CONFIG is no list of servers: {text!r}")
        places = [entry.split(" ") for entry in text[:-2].decode().split(";")]
        if count != len(places):
            raise Failed(f"CONFIG says {count} servers and names {places}")
        self.servers = [(host, int(port)) for host, port in places]

    def locate(self, key: bytes) -> tuple[str, int]:
        """LOCATE, with the hash of a key."""
        body = self._ask(*self.directory, LOOKUP_TYPE, key, LOOKUP_ANSWER_TYPE)
        return body[2:-1].decode(), int.from_bytes(body[:2])

    def operate(self, op: int, name: bytes, value: bytes = b"", *, secondary: bool = False) -> bytes | None:
        """One operation on a key by its name, with all its attempts: the value without its NUL, None if there is none.

        Raises Failed after the last attempt.
        """
        key = hashlib.md5(name).digest()
        heard = ""
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                self._pause(self.retry_seconds)
            self.report.attempts += 1
            try:
                body = self._ask(*self._place(key, secondary), OPERATION_TYPE, key + bytes([op]) + value)
            except (OSError, Failed) as failed:
                heard = str(failed) or repr(failed)
                self.servers = []
                continue
            if body[0] == 0:
                return body[1:].removesuffix(b"\0")
            if body[0] == NOT_FOUND[self.generation]:
                return None
            heard = f"status {body[0]}"
            self.servers = []
        raise Failed(f"{heard}, after {ATTEMPTS_MAX} attempts")

    def _place(self, key: bytes, secondary: bool) -> tuple[str, int]:
        if self.generation == 2016:
            return self.locate(key)
        if not self.servers:
            self.configure()
        return self.servers[(key[-1] + secondary) % len(self.servers)]

    def _ask(self, host: str, port: int, kind: int, body: bytes, expected: int = OPERATION_ANSWER_TYPE) -> bytes:
        answer = self._exchange(host, port, struct.pack("!BBH", 0x7B, kind, 4 + len(body)) + body)
        if len(answer) < 5 or struct.unpack("!BBH", answer[:4]) != (0x7B, expected, len(answer)):
            raise Failed(f"no answer of type {expected}: {answer[:40]!r}")
        return answer[4:]

    # Workloads.

    def replay(self, lines: Iterable[bytes]) -> Report:
        """Do what the lines say, up to the second operation that fails. The same report goes on with each replay."""
        for number, operation in parse_lines(lines):
            for _ in range(operation.count):
                if len(self.report.failed) >= FAILED_MAX:
                    return self.report
                self.report.operations += 1
                try:
                    self._do(number, operation)
                except Failed as failed:
                    self.report.failed.append(f"line {number}: {failed}")
        return self.report

    def _do(self, number: int, operation: Operation) -> None:
        name, wanted = operation.key, operation.expected
        if operation.verb is Verb.PUT:
            self.operate(PUT, name, (operation.value or b"") + b"\0")
        elif operation.verb is Verb.NOOP:
            self.operate(NOOP, name)
        elif operation.verb is Verb.GET:
            self.operate(GET, name)
        elif operation.verb is Verb.CHECK or self.generation == 2016:
            self._check(number, wanted, [self.operate(GET, name)])
        else:
            self._check(number, wanted, [self.operate(VERIFY, name), self.operate(VERIFY, name, secondary=True)])

    def _check(self, number: int, wanted: bytes | None, found: list[bytes | None]) -> None:
        if all(value == wanted for value in found):
            self.report.checks_passed += 1
        else:
            self.report.checks_failed.append(f"line {number}: expected {wanted!r}, found {found}")
