"""What is sent at once, what is left to the transport, and that transports are still as `sending` takes them."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Server

from twistedkv.net import sending


class Reactor:
    """Counts who wants to write."""

    def __init__(self) -> None:
        self.writers: list[Any] = []

    def addWriter(self, writer: Any) -> None:
        self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers = [each for each in self.writers if each is not writer]

    def addReader(self, reader: Any) -> None:
        pass

    removeReader = addReader


@pytest.fixture
def pair() -> Any:
    """A transport over one end of a pair of sockets, the other end, and the reactor."""
    near, far = socket.socketpair()
    for each in (near, far):
        each.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    reactor = Reactor()
    transport = Server(near, Protocol(), ("127.0.0.1", 1), None, 1, reactor)  # type: ignore[arg-type]
    yield transport, far, reactor
    near.close()
    far.close()


def read_all(far: socket.socket, transport: Any) -> bytes:
    data = b""
    while True:
        try:
            data += far.recv(1 << 20)
        except BlockingIOError:
            if not transport.dataBuffer[transport.offset :] and not transport._tempDataBuffer:
                return data
            transport.doWrite()


def test_what_the_socket_takes_is_sent_at_once(pair: Any) -> None:
    transport, far, reactor = pair
    sending.sender(transport)(b"one")
    assert far.recv(100) == b"one"
    assert not reactor.writers, "nobody has to be told when the socket takes more"


def test_what_it_does_not_take_follows_in_order(pair: Any) -> None:
    transport, far, reactor = pair
    pieces = [bytes([number]) * 3000 for number in range(40)]
    for piece in pieces:
        sending.sender(transport)(piece)
    assert transport in reactor.writers
    assert read_all(far, transport) == b"".join(pieces)
    sending.sender(transport)(b"and on")
    assert read_all(far, transport) == b"and on"


def test_nothing_is_sent_ahead_of_what_waits(pair: Any) -> None:
    transport, far, _ = pair
    transport.write(b"first,")
    sending.sender(transport)(b"second")
    assert read_all(far, transport) == b"first,second"


def test_after_the_end_it_is_as_with_the_transport(pair: Any) -> None:
    transport, _, _ = pair
    transport.loseConnection()
    sending.sender(transport)(b"late")
    assert b"late" in transport._tempDataBuffer or transport.dataBuffer == b"late"
    transport.connected = False
    before = list(transport._tempDataBuffer)
    sending.sender(transport)(b"lost")
    assert transport._tempDataBuffer == before


def test_a_connection_that_is_lost_is_found_out_by_the_transport(pair: Any) -> None:
    transport, far, reactor = pair
    far.close()
    for _ in range(3):
        sending.sender(transport)(b"x")
    assert transport in reactor.writers


def test_what_is_no_socket_is_written_to_as_ever() -> None:
    class Memory:
        data = b""

        def write(self, data: bytes) -> None:
            self.data += data

    memory = Memory()
    sending.sender(memory)(b"x")
    assert memory.data == b"x"
