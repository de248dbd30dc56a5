"""Connections: HELLO, sessions, orderly and other ends, over the network in memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from tests.support.transport import MemoryNetwork, random_pieces
from twistedkv.core.handshake import make_hello
from twistedkv.errors import ProtocolError
from twistedkv.limits import HELLO_SECONDS_MAX
from twistedkv.messages.hello import Hello, HelloReply, Role
from twistedkv.net.framed import DRAIN_SECONDS, Acceptor, Connection, HelloRefused, dial, logged, silence
from twistedkv.wire.frames import Frame, FrameDecoder, encode_frame
from twistedkv.wire.shared import HELLO, HELLO_REPLY, HELLO_REPLY_TYPE, HELLO_TYPE

HOST, PORT = "127.0.0.1", 7400
CLIENT_ID, STORE = bytes(range(16)), bytes(16)


class RecordingSession:
    """Keeps what it is given; answers each frame with the same one when told to echo."""

    def __init__(self, connection: Connection, echo: bool = False) -> None:
        self.connection = connection
        self.echo = echo
        self.batches: list[list[Frame]] = []
        self.ends: list[str] = []

    def frames_received(self, frames: list[Frame]) -> None:
        self.batches.append(frames)
        for message_type, flags, request_id, body in frames:
            if message_type == 0xEE:
                raise ProtocolError("0xEE is no message")
            if message_type == 0xCC:
                self.connection.close()
            if self.echo:
                self.connection.send(message_type, body, request_id, flags)

    def connection_lost(self, reason: str) -> None:
        self.ends.append(reason)

    @property
    def frames(self) -> list[Frame]:
        return [frame for batch in self.batches for frame in batch]


class Raw(Protocol):
    """The other side, without this project's connection."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = True

    @property
    def frames(self) -> list[Frame]:
        return FrameDecoder().feed(self.received)


class World:
    """An acceptor for clients and peers on a port."""

    def __init__(self, network: MemoryNetwork | None = None) -> None:
        self.network = network or MemoryNetwork()
        self.accepted: list[tuple[RecordingSession, Hello]] = []
        self.cluster = "demo"
        roles = {Role.CLIENT: self._accept, Role.PEER: self._accept}
        self.acceptor = Acceptor(self.network, lambda: (self.cluster, 3, STORE), roles)
        self.port = self.network.listenTCP(PORT, self.acceptor, interface=HOST)

    def _accept(self, connection: Connection, hello: Hello) -> RecordingSession:
        session = RecordingSession(connection, echo=True)
        self.accepted.append((session, hello))
        return session

    def dial(self, hello: Hello | None = None, port: int = PORT) -> tuple[Deferred[Connection], list[Any]]:
        hello = hello or make_hello(Role.CLIENT, "demo", 0, CLIENT_ID)
        ready = dial(self.network, HOST, port, hello, self._make_session)
        outcomes: list[Any] = []
        ready.addBoth(lambda result: outcomes.append(result.value if isinstance(result, Failure) else result))
        return ready, outcomes

    def _make_session(self, connection: Connection, reply: HelloReply) -> RecordingSession:
        self.reply = reply
        return RecordingSession(connection)

    def dialed(self) -> tuple[Connection, RecordingSession]:
        _, outcomes = self.dial()
        self.network.settle()
        [connection] = outcomes
        return connection, connection.session

    def raw(self) -> Raw:
        raw = Raw()
        self.network.connection(self.acceptor.buildProtocol(None), raw)
        return raw


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.network.settle()
    for transport in world.network.transports:
        transport.abortConnection()
    world.network.settle()
    assert world.network.getDelayedCalls() == []
    assert world.acceptor.connections == {}


def hello_frame(**changed: Any) -> bytes:
    hello = attrs.evolve(make_hello(Role.CLIENT, "demo", 0, CLIENT_ID), **changed)
    return encode_frame(HELLO_TYPE, HELLO.encode(hello), 9)


def test_both_sides_get_a_session_when_hello_is_through(world: World) -> None:
    connection, session = world.dialed()
    [(accepted, hello)] = world.accepted
    assert (hello.role, hello.identity) == (Role.CLIENT, CLIENT_ID)
    assert (world.reply.cluster, world.reply.server_id, world.reply.identity) == ("demo", 3, STORE)
    connection.send(0x11, b"one", 1)
    connection.send(0x12, b"two", 2, flags=1)
    world.network.settle()
    assert accepted.frames == [(0x11, 0, 1, b"one"), (0x12, 1, 2, b"two")]
    assert session.frames == accepted.frames
    assert world.network.getDelayedCalls() == []


def test_frames_that_come_in_one_read_are_delivered_together(world: World) -> None:
    connection, _ = world.dialed()
    connection.send_bytes(encode_frame(0x11, b"1") + encode_frame(0x11, b"2"))
    world.network.settle()
    assert [len(batch) for batch in world.accepted[0][0].batches] == [2]


def test_frames_behind_hello_in_the_same_read_are_not_lost(world: World) -> None:
    raw = world.raw()
    raw.transport.write(hello_frame() + encode_frame(0x11, b"early", 5))
    world.network.settle()
    assert [frame[0] for frame in raw.frames] == [HELLO_REPLY_TYPE, 0x11]
    assert raw.frames[0][2] == 9  # the request id of HELLO


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.lists(st.binary(max_size=60), min_size=1, max_size=10))
def test_however_the_bytes_are_cut_the_conversation_is_the_same(seed: int, bodies: list[bytes]) -> None:
    world = World(MemoryNetwork(pieces=random_pieces(seed, 40)))
    connection, session = world.dialed()
    for number, body in enumerate(bodies):
        connection.send(0x11, body, number)
    world.network.settle()
    assert session.frames == [(0x11, 0, number, body) for number, body in enumerate(bodies)]
    connection.close()
    world.network.settle()
    assert world.network.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"cluster": "other"}, "this is cluster 'demo'"),
        ({"role": Role.SERVER}, "role SERVER are not served"),
        ({"version_min": 9, "version_max": 9}, "versions 9 to 9"),
    ],
)
def test_a_refused_hello_is_answered_with_a_reason_and_closed(world: World, changed: Any, text: str) -> None:
    raw = world.raw()
    raw.transport.write(hello_frame(**changed) + encode_frame(0x11, b"not delivered"))
    world.network.settle()
    [(message_type, _, _, body)] = raw.frames
    assert message_type == HELLO_REPLY_TYPE
    assert text in HELLO_REPLY.decode(body).text
    assert raw.lost
    assert world.accepted == []


def test_who_was_refused_learns_why(world: World) -> None:
    _, outcomes = world.dial(make_hello(Role.CLIENT, "other", 0, CLIENT_ID))
    world.network.settle()
    assert [type(outcome) for outcome in outcomes] == [HelloRefused]
    assert "not 'other'" in str(outcomes[0])


def test_a_caller_may_refuse_who_answered(world: World) -> None:
    def refuse(connection: Connection, reply: HelloReply) -> RecordingSession:
        raise HelloRefused(f"server {reply.server_id} is not the one meant")

    outcomes: list[Any] = []
    hello = make_hello(Role.CLIENT, "demo", 0, CLIENT_ID)
    dial(world.network, HOST, PORT, hello, refuse).addErrback(lambda failure: outcomes.append(failure.value))
    world.network.settle()
    assert [str(outcome) for outcome in outcomes] == ["server 3 is not the one meant"]
    assert len(world.accepted[0][0].ends) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        encode_frame(0x11, b"key"),
        encode_frame(HELLO_TYPE, b"\x01"),
        encode_frame(HELLO_TYPE, bytes(26)),
    ],
)
def test_what_does_not_begin_with_hello_is_cut_off(world: World, data: bytes) -> None:
    raw = world.raw()
    raw.transport.write(data)
    world.network.settle()
    assert raw.lost
    assert raw.received == b""


def test_one_who_says_nothing_is_cut_off_in_time(world: World) -> None:
    raw = world.raw()
    world.network.pump_seconds(HELLO_SECONDS_MAX - 0.1)
    assert not raw.lost
    world.network.pump_seconds(0.2)
    assert raw.lost


def test_a_server_that_does_not_answer_hello_is_given_up_in_time(world: World) -> None:
    world.acceptor.buildProtocol = lambda addr: Raw()  # type: ignore[assignment,method-assign,return-value]
    _, outcomes = world.dial()
    world.network.pump_seconds(HELLO_SECONDS_MAX + 0.1)
    assert [type(outcome) for outcome in outcomes] == [ConnectionError]


def test_nobody_there(world: World) -> None:
    _, outcomes = world.dial(port=9)
    world.network.settle()
    assert [type(outcome) for outcome in outcomes] == [ConnectionRefusedError]


def test_an_answer_that_is_none_fails_the_dialing(world: World) -> None:
    class Wrong(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(encode_frame(0x20, bytes(9)))

    world.acceptor.buildProtocol = lambda addr: Wrong()  # type: ignore[assignment,method-assign,return-value]
    _, outcomes = world.dial()
    world.network.settle()
    assert [type(outcome) for outcome in outcomes] == [ConnectionError]


def test_cancelling_cuts_the_attempt_off(world: World) -> None:
    silent = Raw()
    world.acceptor.buildProtocol = lambda addr: silent  # type: ignore[assignment,method-assign,return-value]
    ready, outcomes = world.dial()
    world.network.settle()
    assert [frame[0] for frame in silent.frames] == [HELLO_TYPE]
    ready.cancel()
    world.network.settle()
    assert [type(outcome) for outcome in outcomes] == [CancelledError]
    assert silent.lost


def test_a_protocol_error_of_a_session_closes_its_connection_only(world: World) -> None:
    first, first_session = world.dialed()
    _, second_session = world.dialed()
    first.send(0xEE, b"")
    world.network.settle()
    assert len(first_session.ends) == 1
    assert second_session.ends == []


def test_nothing_is_delivered_or_sent_after_close(world: World) -> None:
    connection, session = world.dialed()
    accepted = world.accepted[0][0]
    connection.send_bytes(encode_frame(0xCC, b"") + encode_frame(0x11, b"same read"))
    connection.send(0x11, b"later")
    world.network.settle()
    assert len(accepted.batches) == 1
    assert accepted.connection.closed
    accepted.connection.send(0x11, b"into the void")
    world.network.settle()
    assert session.frames == []
    assert len(session.ends) == len(accepted.ends) == 1


def test_close_sends_what_is_buffered(world: World) -> None:
    connection, _ = world.dialed()
    connection.send(0x11, b"last")
    connection.close()
    world.network.settle()
    assert world.accepted[0][0].frames == [(0x11, 0, 0, b"last")]


def test_close_does_not_wait_for_ever_for_one_who_does_not_read(world: World) -> None:
    connection, session = world.dialed()
    accepted = world.accepted[0][0]
    accepted.connection.transport.pauseProducing()
    connection.send(0x11, b"never read")
    connection.close()
    world.network.pump_seconds(DRAIN_SECONDS - 0.1)
    assert session.ends == []
    world.network.pump_seconds(0.2)
    assert len(session.ends) == 1
    assert accepted.frames == []


def test_close_all_ends_every_connection_and_says_when(world: World) -> None:
    _, session = world.dialed()
    silent = world.raw()
    fired: list[Any] = []
    world.acceptor.close_all().addCallback(fired.append)
    assert fired == []
    world.network.settle()
    assert fired == [None]
    assert silent.lost
    assert len(session.ends) == 1


def test_close_all_without_connections_is_done_at_once(world: World) -> None:
    fired: list[Any] = []
    world.acceptor.close_all().addCallback(fired.append)
    assert fired == [None]


def test_close_all_may_be_asked_for_twice(world: World) -> None:
    world.dialed()
    fired: list[Any] = []
    world.acceptor.close_all().addCallback(fired.append)
    world.acceptor.close_all().addCallback(fired.append)
    world.network.settle()
    assert fired == [None, None]


def test_small_frames_are_not_held_back(world: World) -> None:
    connection, _ = world.dialed()
    assert connection.transport.getTcpNoDelay()
    assert connection.peer == f"{HOST}:1"


def test_an_error_in_a_loop_is_logged_and_does_not_end_it(logged_errors: Any) -> None:
    with logged("the beat"):
        raise ZeroDivisionError
    assert [type(error) for error in logged_errors.flush(ZeroDivisionError)] == [ZeroDivisionError]


def test_silence_ends_a_chain() -> None:
    failed: Deferred[Any] = Deferred()
    silence(failed)
    failed.errback(Failure(ValueError()))


def test_the_kernel_is_told_when_to_give_a_silent_connection_up() -> None:
    class _Handle:
        options: list[tuple[int, int, int]] = []  # noqa: RUF012

        def setsockopt(self, *option: int) -> None:
            self.options.append(option)  # type: ignore[arg-type]

    network = MemoryNetwork()
    connection = Connection(network)
    network.connection(connection, Raw())
    connection.limit_unacknowledged(1.0)  # a transport without a socket
    connection.transport.getHandle = _Handle
    connection.limit_unacknowledged(1.0)
    assert _Handle.options == [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)]
    connection.abort()
    connection.limit_unacknowledged(2.0)
    assert len(_Handle.options) == 1
    network.settle()
