"""A pinned client: it asks one server all the time, and writes down what it is told and what it is not told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.pinned import READ_SECONDS, UNANSWERED_MAX, WRITE_SECONDS, Pinned
from tests.support.transport import MemoryNetwork
from twistedkv.errors import Status
from twistedkv.history.record import FOREVER, Record
from twistedkv.messages.client import Get, Put
from twistedkv.messages.hello import Hello, Role
from twistedkv.net.framed import Acceptor, Connection
from twistedkv.recording.history import History
from twistedkv.records import version_of
from twistedkv.wire.client import decode_request, result_frame
from twistedkv.wire.frames import Frame

WHERE = ("127.0.0.1", 7401)
KEYS = ["h1", "h2"]


class Server:
    """Answers with `status` and `value`, or keeps the requests while it is frozen."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.status, self.value = Status.SUCCESS, b"value"
        self.frozen = False
        self.requests: list[Get | Put] = []
        self.waiting: list[Callable[[], None]] = []
        self.connections: list[Connection] = []
        self.identities: list[bytes] = []
        self.acceptor = Acceptor(network, lambda: ("", 1, bytes(16)), {Role.CLIENT: self._connected})
        network.listenTCP(WHERE[1], self.acceptor, interface=WHERE[0])

    def _connected(self, connection: Connection, hello: Hello) -> Any:
        self.connections.append(connection)
        self.identities.append(hello.identity)
        server = self

        class _Session:
            def frames_received(self, frames: list[Frame]) -> None:
                for message_type, _, request_id, body in frames:
                    server.asked(decode_request(message_type, body), request_id, connection)

            def connection_lost(self, reason: str) -> None:
                pass

        return _Session()

    def asked(self, request: Any, request_id: int, connection: Connection) -> None:
        """A request has come."""
        self.requests.append(request)

        def answer() -> None:
            value = self.value if isinstance(request, Get) else b""
            connection.send_bytes(result_frame(request_id, int(self.status), version_of(1, 2), value))

        if self.frozen:
            self.waiting.append(answer)
        else:
            answer()

    def thaw(self) -> None:
        """Answer what has waited."""
        self.frozen = False
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()


@pytest.fixture
def network() -> Iterator[MemoryNetwork]:
    network = MemoryNetwork()
    yield network
    network.settle()
    assert network.getDelayedCalls() == []


def start(network: MemoryNetwork) -> tuple[Server, History, Pinned]:
    server = Server(network)
    history = History(lambda: round(network.seconds() * 1e9))
    pinned = Pinned(network, history, *WHERE, KEYS)
    network.settle()
    return server, history, pinned


def records(history: History, f: str, result: str) -> list[Record]:
    return [record for record in history.records if (record.f, record.result) == (f, result)]


def test_reads_go_out_all_the_time_and_writes_one_at_a_time(network: MemoryNetwork) -> None:
    server, history, pinned = start(network)
    network.pump_seconds(1)
    reads, writes = records(history, "read", "ok"), records(history, "write", "ok")
    assert len(reads) == pytest.approx(1 / READ_SECONDS, abs=2)
    assert len(writes) == pytest.approx(1 / WRITE_SECONDS, abs=2)
    assert {record.key for record in reads} == {record.key for record in writes} == set(KEYS)
    assert {(record.value, record.version) for record in reads} == {("value", (1, 2))}
    assert len({record.args[0] for record in writes}) == len(writes), "values are unique"
    assert len({record.process for record in history.records}) == len(history.records)
    puts = [request for request in server.requests if isinstance(request, Put)]
    assert [(put.number, put.oldest) for put in puts] == [(i, i) for i in range(1, len(puts) + 1)]
    pinned.stop()


def test_it_goes_on_asking_a_server_that_is_frozen_and_takes_what_it_says_later(network: MemoryNetwork) -> None:
    server, history, pinned = start(network)
    network.pump_seconds(0.1)
    server.frozen = True
    network.pump_seconds(3)
    asked = len(server.waiting)
    assert asked == pytest.approx(3 / READ_SECONDS + 1, abs=2), "reads, and the one write"
    server.status = Status.WRONG_SERVER
    server.thaw()
    network.settle()
    refused = records(history, "read", "fail")
    assert len(refused) == asked - 1
    assert all(record.returned - record.call >= 0 for record in refused)
    assert pinned.counts["late"] > 0
    assert pinned.counts["refused"] == len(refused)
    [write] = records(history, "write", "fail")
    assert write.returned < FOREVER
    pinned.stop()


def test_what_may_have_been_done_is_of_unknown_outcome(network: MemoryNetwork) -> None:
    server, history, pinned = start(network)
    server.status = Status.SUPERSEDED
    network.pump_seconds(0.5)
    assert {record.result for record in history.records if record.f == "write"} == {"info"}
    server.frozen = True
    network.pump_seconds(0.5)
    server.connections[0].abort()
    network.pump_seconds(0.1)
    assert len(server.connections) == 2, "it dials the same server again"
    assert len(set(server.identities)) == 1
    assert {record.returned for record in history.records if record.result == "info"} == {FOREVER}
    pinned.stop()


def test_a_key_that_is_not_there_is_an_answer(network: MemoryNetwork) -> None:
    server, history, pinned = start(network)
    server.status = Status.KEY_NOT_FOUND
    network.pump_seconds(0.3)
    reads = records(history, "read", "ok")
    assert reads
    assert {(record.value, record.version) for record in reads} == {(None, None)}
    pinned.stop()


def test_there_is_an_end_to_what_it_asks_without_an_answer(network: MemoryNetwork) -> None:
    server, history, pinned = start(network)
    server.frozen = True
    network.pump_seconds(UNANSWERED_MAX * READ_SECONDS + 2, READ_SECONDS)
    assert len(server.waiting) == UNANSWERED_MAX
    pinned.stop()
    assert not records(history, "read", "ok")


def test_nobody_is_there(network: MemoryNetwork) -> None:
    history = History(lambda: 0)
    pinned = Pinned(network, history, *WHERE, KEYS)
    network.pump_seconds(0.2)
    assert history.records == []
    pinned.stop()
