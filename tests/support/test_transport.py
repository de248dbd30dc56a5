"""The network in memory does what sockets do, where our code depends on it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IReactorTCP, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from zope.interface.verify import verifyObject

from tests.support.transport import MemoryNetwork, random_pieces


class Recorder(Protocol):
    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.ends: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.ends.append(reason.type.__name__)


class Producer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


def joined(**options: Any) -> tuple[MemoryNetwork, Recorder, Recorder]:
    network = MemoryNetwork(**options)
    accepting, dialing = Recorder(), Recorder()
    network.connection(accepting, dialing)
    return network, accepting, dialing


def test_the_transport_and_the_network_are_what_they_say() -> None:
    network, _, dialing = joined()
    verifyObject(ITCPTransport, dialing.transport)
    assert IReactorTCP.providedBy(network)


def test_bytes_arrive_in_order_and_only_when_the_network_is_moved() -> None:
    network, accepting, dialing = joined(pieces=lambda: 4)
    dialing.transport.write(b"hello ")
    dialing.transport.writeSequence([b"wor", b"ld"])
    assert accepting.received == []
    network.settle()
    assert accepting.received == [b"hell", b"o wo", b"rld"]


def test_the_same_seed_cuts_the_same_pieces() -> None:
    first, second = random_pieces(7), random_pieces(7)
    assert [first() for _ in range(20)] == [second() for _ in range(20)]


def test_a_producer_is_paused_when_the_buffer_is_full_and_resumed_when_it_is_empty() -> None:
    network, accepting, dialing = joined(buffer_bytes=10)
    producer = Producer()
    dialing.transport.registerProducer(producer, True)
    accepting.transport.pauseProducing()
    dialing.transport.write(bytes(10))
    assert producer.calls == []
    dialing.transport.write(b"x")
    network.settle()
    assert producer.calls == ["pause"]
    accepting.transport.resumeProducing()
    network.settle()
    assert producer.calls == ["pause", "resume"]
    assert b"".join(accepting.received) == bytes(10) + b"x"


def test_a_pull_producer_is_asked_again_after_each_delivery() -> None:
    network, _, dialing = joined()
    producer = Producer()
    dialing.transport.registerProducer(producer, False)
    dialing.transport.write(b"1")
    network.settle()
    assert producer.calls == ["resume", "resume"]


def test_lose_connection_delivers_what_is_written_first() -> None:
    network, accepting, dialing = joined()
    dialing.transport.write(b"last words")
    dialing.transport.loseConnection()
    assert dialing.ends == []
    network.settle()
    assert accepting.received == [b"last words"]
    assert (accepting.ends, dialing.ends) == (["ConnectionDone"], ["ConnectionDone"])


def test_lose_connection_waits_for_a_receiver_that_does_not_read_and_abort_does_not() -> None:
    network, accepting, dialing = joined()
    accepting.transport.pauseProducing()
    dialing.transport.write(b"never read")
    dialing.transport.loseConnection()
    network.settle()
    assert dialing.ends == []
    dialing.transport.abortConnection()
    network.settle()
    assert (accepting.ends, dialing.ends) == (["ConnectionLost"], ["ConnectionAborted"])
    assert accepting.received == []


def test_the_end_stops_the_producer() -> None:
    network, _, dialing = joined()
    producer = Producer()
    dialing.transport.registerProducer(producer, True)
    dialing.transport.abortConnection()
    network.settle()
    assert producer.calls == ["stop"]


def test_endpoints_connect_over_it() -> None:
    network = MemoryNetwork()
    port = network.listenTCP(0, Factory.forProtocol(Recorder), interface="127.0.0.1")
    connected: list[Any] = []
    endpoint = HostnameEndpoint(network, "127.0.0.1", port.getHost().port)
    endpoint.connect(Factory.forProtocol(Recorder)).addCallback(connected.append)
    network.settle()
    assert len(connected) == 1
    connected[0].transport.write(b"x")
    connected[0].transport.loseConnection()
    network.pump_seconds(1)
    assert connected[0].ends == ["ConnectionDone"]
    assert network.transports == []


def test_nobody_listening_is_a_refusal() -> None:
    network = MemoryNetwork()
    failures: list[Any] = []
    HostnameEndpoint(network, "127.0.0.1", 9).connect(Factory.forProtocol(Recorder)).addErrback(failures.append)
    network.pump_seconds(1)
    with pytest.raises(ConnectionRefusedError):
        failures[0].raiseException()
