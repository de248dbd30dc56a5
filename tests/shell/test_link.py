"""The connection, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.shell.lineserver import LineServer, line_server
from twistedkv.errors import ProtocolError
from twistedkv.resp.answers import PushAnswer, StatusText
from twistedkv.shell.link import LinkLost, SocketLink, dial

SECONDS = 10.0


@pytest.fixture
def server() -> Iterator[LineServer]:
    with line_server() as running:
        yield running


@pytest.fixture
def pair() -> Iterator[tuple[SocketLink, socket.socket]]:
    """A link, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    link = SocketLink("server:1", ours)
    with theirs:
        yield link, theirs
    link.close()


def until_it_raises(link: SocketLink) -> LinkLost:
    """What `unasked` raises when it has seen what the other side did."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            link.unasked()
        except LinkLost as lost:
            return lost
    raise AssertionError


def test_commands_and_answers(server: LineServer) -> None:
    link = dial(server.address, SECONDS)
    link.send([b"SET", b"k", b"a\r\nb"])
    link.send([b"GET", b"k"])
    assert link.receive(SECONDS) == StatusText(b"OK")
    assert link.receive(SECONDS) == b"a\r\nb"
    assert link.unasked() == []
    link.close()


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(LinkLost, match="connection refused"):
            dial(f"127.0.0.1:{free.getsockname()[1]}", SECONDS)


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:x", "nonsense"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(LinkLost):
        dial(address, SECONDS)


def test_a_connection_that_ends_while_an_answer_is_awaited(server: LineServer) -> None:
    link = dial(server.address, SECONDS)
    link.send([b"DIE"])
    with pytest.raises(LinkLost, match="the server closed it"):
        link.receive(SECONDS)
    link.close()


def test_silence_is_no_end(pair: tuple[SocketLink, socket.socket]) -> None:
    link, theirs = pair
    with pytest.raises(TimeoutError):
        link.receive(0.001)
    theirs.sendall(b"+O")
    with pytest.raises(TimeoutError):
        link.receive(0.001)
    theirs.sendall(b"K\r\n:1\r\n")
    assert link.receive(SECONDS) == StatusText(b"OK")
    assert link.receive(SECONDS) == 1


def test_what_is_not_resp(pair: tuple[SocketLink, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(LinkLost, match="not RESP") as caught:
        link.receive(SECONDS)
    assert isinstance(caught.value.__cause__, ProtocolError)


def test_an_end_without_a_question_is_seen(pair: tuple[SocketLink, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    assert str(until_it_raises(link)) == "the server closed it"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"-ERR idle for too long\r\n", "the server said: ERR idle for too long"),
        (b"+OK\r\n", "the server said something that was not asked for"),
        (b"what?\r\n", "what came is not RESP"),
    ],
)
def test_last_words(pair: tuple[SocketLink, socket.socket], data: bytes, reason: str) -> None:
    link, theirs = pair
    theirs.sendall(data)
    assert str(until_it_raises(link)).startswith(reason)


def test_last_words_before_the_end(pair: tuple[SocketLink, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(b"-ERR max number of clients reached\r\n")
    theirs.close()
    assert str(until_it_raises(link)) == "the server said: ERR max number of clients reached"


def test_pushes_are_no_last_words(pair: tuple[SocketLink, socket.socket]) -> None:
    link, theirs = pair
    theirs.sendall(b">1\r\n+a\r\n" * 2)
    assert link.unasked() == [PushAnswer([StatusText(b"a")])] * 2
    assert link.unasked() == []


def test_sending_to_nobody(pair: tuple[SocketLink, socket.socket]) -> None:
    link, theirs = pair
    theirs.close()
    with pytest.raises(LinkLost):
        link.send([b"x" * 10_000_000])
