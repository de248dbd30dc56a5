"""The loader in C: what it sends, what it counts, and that it can be asked in between."""

from __future__ import annotations

import json
import socket
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.frames import LoadError
from benchmarks.loading import load_of, run, running
from tests.support.compiler import require_compiler
from twistedkv.slots import slot_of

Taken = tuple[bytes, bytes]
"""The answers to what was received, and what is left of it."""
JOIN_SECONDS_MAX = 10.0


@contextmanager
def server(take: Callable[[bytes], Taken]) -> Iterator[str]:
    """A server for one connection; its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            data = b""
            try:
                while chunk := connection.recv(65536):
                    answers, data = take(data + chunk)
                    connection.sendall(answers)
            except ConnectionError:  # the loader was stopped
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield str(listening.getsockname()[1])
    finally:
        thread.join(JOIN_SECONDS_MAX)
        listening.close()
    assert not thread.is_alive()


def sets(seen: list[bytes]) -> Callable[[bytes], Taken]:
    """Answers every SET with OK, but each hundredth with an error."""

    def take(data: bytes) -> Taken:
        answers = []
        while data.count(b"\r\n") >= 7:
            *lines, data = data.split(b"\r\n", 7)
            seen.append(lines[4])
            answers.append(b"-ERR no\r\n" if len(seen) % 100 == 0 else b"+OK\r\n")
        return b"".join(answers), data

    return take


def test_it_counts_what_is_answered() -> None:
    """1,000 keys, each once."""
    require_compiler()
    seen: list[bytes] = []
    with server(sets(seen)) as port:
        load = run("fill", [port], in_flight=7, connections=1, keys=1000, value_bytes=3)
    assert sorted(seen) == [b"key:%012d" % number for number in range(1000)]
    assert (load.errors, load.misses) == (10, 0)
    assert load.per_second > 0


def test_keys_of_a_port_with_slots_are_of_these() -> None:
    require_compiler()
    seen: list[bytes] = []
    with server(sets(seen)) as port:
        run("fill", [f"{port}:0-99,8000-16383"], in_flight=7, connections=1, keys=1000, value_bytes=3)
    wanted = [b"key:%012d" % number for number in range(1000)]
    assert sorted(seen) == [key for key in wanted if slot_of(key) < 100 or slot_of(key) >= 8000]


def test_it_can_be_asked_meanwhile_and_tells_when_it_has_ended() -> None:
    require_compiler()
    with server(sets([])) as port, running("set", [port], connections=1, in_flight=1, seconds_max=60, keys=10) as load:
        assert any(load.figures().per_second > 0 for _ in range(1000))
        load.stop()
        with pytest.raises(LoadError, match="the load generator"):
            load.figures()


def test_it_puts_into_etcd() -> None:
    """A key and a value in base64, over a connection that stays open; what is not 200 is an error."""
    require_compiler()
    seen: list[bytes] = []

    def take(data: bytes) -> Taken:
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        size = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"Content-Length:")), None)
        if size is None or len(body) < size:
            return b"", data
        assert lines[0] == b"POST /v3/kv/put HTTP/1.1"
        seen.append(body[:size])
        status = b"503 Service Unavailable" if len(seen) % 2 else b"200 OK"
        return b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}", body[size:]

    with server(take) as port:
        load = run("etcd", [port], in_flight=1, connections=1, seconds=0.1, keys=5, value_bytes=4)
    assert load.errors
    for body in seen:
        said = json.loads(body)
        assert b64decode(said["key"]) in [b"key:%012d" % number for number in range(5)]
        assert b64decode(said["value"]) == b"abcd"


def test_its_figures_are_for_a_second() -> None:
    text = (
        '{"requests": 10, "seconds": 2.0, "errors": 1, "misses": 2, "p50_us": 3, "p99_us": 4, "loader_cpu_seconds": 1}'
    )
    load = load_of(text)
    assert (load.per_second, load.p50_us, load.p99_us, load.errors, load.misses) == (5.0, 3, 4, 1, 2)
    assert load.loader_share == 0.5
    assert load_of(text.replace("2.0", "0.0")).per_second > 0
