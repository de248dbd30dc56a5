"""Whole connections of the line port and the course port: whatever comes, what goes out can be read."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.fuzz.line import pieces_of, requests_seeds
from twistedkv.client.results import CopyCheck, Value
from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.core.lease import Timing
from twistedkv.core.server import ServerCore
from twistedkv.limits import SLOTS
from twistedkv.line.port import LineConnection, LinePort
from twistedkv.recording.lineclient import _Line
from twistedkv.resp.answers import AnswerDecoder
from twistedkv.resp.replies import bulks
from twistedkv.service.config import ServerOptions
from twistedkv.service.course import CourseFactory
from twistedkv.service.server import ServerService
from twistedkv.storage.memory import MemoryStore

ME = Member(1, b"1" * 16)
WALL = 1_700_000_000_000
TURNS_MAX = 100
MAP = ClusterMap(
    "fuzz",
    1,
    1,
    1,
    200,
    MappingProxyType({1: Server(1, ME.store_id, "127.0.0.1", 7401, ServerState.ACTIVE, 1, 7379, 7400)}),
    (Configuration(0, 0, SLOTS - 1, 1, 1, ME, (), (), True, False, (1,)),),
)


class _Reactor(Clock):
    """Nobody can be reached, and everybody may listen."""

    def connectTCP(self, *_: Any, **__: Any) -> Any:
        return None

    def listenTCP(self, *_: Any, **__: Any) -> Any:
        return self

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 7379)

    def turns(self) -> None:
        """Until nothing is due."""
        for _ in range(TURNS_MAX):
            if not any(call.getTime() <= self.seconds() for call in self.getDelayedCalls()):
                return
            self.advance(0)
        raise AssertionError("there is always something left to be done")


class _Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


def check_port(data: bytes) -> None:
    """The only server of a cluster, and one client who sends this in pieces, or at once: then runs come of it."""
    for pieces in (pieces_of(data), [data]):
        _check_port(pieces)


def _check_port(pieces: list[bytes]) -> None:
    reactor = _Reactor()
    server = ServerService(reactor, ServerOptions(server_id=1), lambda: None, store_id=ME.store_id)
    core = server.core = ServerCore(ME, MemoryStore(), Timing.of(0.2), reactor.seconds, lambda: WALL)
    core.map_received(MAP, 0.0)
    core.flush(0.0)
    port = LinePort(server, client_id=b"c" * 16, wall=lambda: WALL)
    port.startService()
    assert port.client is not None
    port.client.router.map = MAP
    port.client.router.map_changed()
    connection = LineConnection(port)
    transport = _Transport()
    connection.makeConnection(transport)
    for piece in pieces:
        connection.dataReceived(piece)
        reactor.turns()
    AnswerDecoder().feed(transport.value())
    assert core.replicas[0].commit == core.replicas[0].sequence
    connection.connectionLost()
    reactor.turns()


def port_seeds() -> list[bytes]:
    """Requests of every kind, also those of more than one connection's business."""
    lines = [
        b"hello 3 setname me",
        b"multi",
        b"set a 1",
        b"get a",
        b"exec",
        b"watch a",
        b"discard",
        b"mget a b",
        b"mset a 1 b 2",
        b"scan 0",
        b"flushall",
        b"wait 0 0",
        b"client list",
        b"info",
        b"cluster slots",
        b"slowlog get",
        b"set k v px 5",
        b"debug sleep 0",
        b"quit",
    ]
    runs = b"".join(bulks([b"SET", key, b"v"]) for key in (b"a", b"b", b"a", b"c", b""))
    runs += b"".join(bulks([b"GET", key]) for key in (b"a", b"b", b"d", b"c"))
    return [
        *requests_seeds(),
        runs,
        runs[:-3],
        bulks([b"MULTI"]) + runs,
        *(line + b"\r\n" for line in lines),
        b"\n".join(lines) + b"\n",
    ]


class _Store:
    """Keeps nothing, and has everything."""

    def get(self, key: bytes) -> Deferred[Any]:
        return succeed(Value(key, 1))

    def put(self, key: bytes, value: bytes) -> Deferred[Any]:
        return succeed(1)

    def verify(self, key: bytes, value: bytes | None) -> Deferred[Any]:
        return succeed([CopyCheck(1, "primary", False, key, 1)])


def check_course_port(data: bytes) -> None:
    """One client of the original system; what it is answered are whole messages."""
    reactor = _Reactor()
    connection = CourseFactory(reactor, lambda: MAP, _Store(), lambda: 1).buildProtocol(None)
    assert connection is not None
    transport = _Transport()
    connection.makeConnection(transport)
    for piece in pieces_of(data):
        connection.dataReceived(piece)
        reactor.turns()
    answer = transport.value()
    while answer:
        size = int.from_bytes(answer[2:4], "big")
        assert answer[0] == 0x7B and 4 < size <= len(answer)
        answer = answer[size:]
    connection.connectionLost()


def check_recorded(data: bytes) -> None:
    """What a recorded client hears: each that waits is told once, or the connection is ended."""

    class _Client:
        def connected(self, line: _Line) -> None:
            pass

        lost = connected

    line = _Line(_Client())  # type: ignore[arg-type]
    transport = _Transport()
    line.makeConnection(transport)
    told: list[Any] = []
    for answer in line.send([[b"PING"]] * 3):
        answer.addBoth(told.append)
    for piece in pieces_of(data):
        if not transport.aborted:
            line.dataReceived(piece)
    line.connectionLost()
    assert len(told) == 3
