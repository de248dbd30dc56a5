"""The recorded client of the line port: what it says of what has happened."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.python.failure import Failure

from twistedkv.errors import NotDone, OutcomeUnknown, Unavailable, VersionMismatch
from twistedkv.recording.lineclient import LineClient


class Stage:
    """A client, and the server it is connected to."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.client = LineClient([("10.0.0.1", 1), ("10.0.0.2", 2)], self.reactor, Random(1))
        self.connect()

    def connect(self) -> None:
        _, _, factory, _, _ = self.reactor.tcpClients[-1]
        self.line = factory.buildProtocol(None)
        self.transport = StringTransportWithDisconnection()
        self.transport.protocol = self.line
        self.transport.abortConnection = lambda: self.line.connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined]
        self.line.makeConnection(self.transport)

    def lose(self) -> None:
        self.line.connectionLost(Failure(ConnectionDone()))

    def start(self, coroutine: Any) -> list[Any]:
        """What comes of it: the result or the failure."""
        results: list[Any] = []
        ensureDeferred(coroutine).addBoth(results.append)
        return results


def test_a_write_learns_its_version() -> None:
    stage = Stage()
    result = stage.start(stage.client.put(b"k", b"v"))
    assert stage.transport.value().startswith(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n")
    stage.line.dataReceived(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n*2\r\n$1\r\nv\r\n:77\r\n")
    assert result == [77]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"-UNKNOWN x", OutcomeUnknown),
        (b"-CLUSTERDOWN x", NotDone),
        (b"*2\r\n-VERSIONMISMATCH the key has version 5, not 4\r\n*-1", VersionMismatch),
    ],
)
def test_errors(answer: bytes, kind: type[Exception]) -> None:
    stage = Stage()
    result = stage.start(stage.client.cas(b"k", b"v", 4))
    stage.line.dataReceived(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n" + answer + b"\r\n")
    assert type(result[0].value) is kind


def test_what_is_under_way_when_the_connection_is_lost() -> None:
    stage = Stage()
    write, read = stage.start(stage.client.incr(b"k")), stage.start(stage.client.get(b"k"))
    stage.lose()
    assert write[0].check(OutcomeUnknown) and read[0].check(Unavailable)
    before = len(stage.reactor.tcpClients)
    stage.reactor.advance(0.06)
    assert len(stage.reactor.tcpClients) == before + 1, "it goes on at the next address"
    assert stage.reactor.tcpClients[-1][1] != stage.reactor.tcpClients[0][1]
    stage.connect()
    read = stage.start(stage.client.get(b"k"))
    stage.line.dataReceived(b"*2\r\n$1\r\nv\r\n:3\r\n")
    assert read == [(b"v", 3)]


def test_a_deadline_ends_the_connection() -> None:
    stage = Stage()
    result = stage.start(stage.client.put(b"k", b"v", deadline=0.5))
    stage.reactor.advance(0.6)
    assert result[0].check(OutcomeUnknown)
    unsent = stage.start(stage.client.put(b"k", b"v", deadline=0.5))
    stage.reactor.advance(0.6)
    assert unsent[0].check(Unavailable)


def test_it_does_not_delete() -> None:
    stage = Stage()
    failures: list[Any] = []
    stage.client.delete(b"k").addErrback(failures.append)
    assert failures[0].check(NotDone)
    closed: list[None] = []
    stage.client.close().addCallback(closed.append)
    assert closed == [None]
