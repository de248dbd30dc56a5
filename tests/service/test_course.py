"""The course port: messages by hand and in pieces, a port with a store in memory behind it, and the original's way of
using it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface.verify import verifyObject

from tests.conftest import LoggedErrors
from tests.support.course_client import CourseClient, Report
from tests.support.transport import MemoryNetwork, random_pieces
from twistedkv.client.results import CopyCheck, Value
from twistedkv.clustermap import ClusterMap, Server, ServerState
from twistedkv.errors import (
    ConfigurationError,
    InvalidRequest,
    NotDone,
    OutcomeUnknown,
    OutOfSpace,
    ProtocolError,
    ShardLost,
    Status,
    Unavailable,
)
from twistedkv.net.framed import DRAIN_SECONDS
from twistedkv.service.course import (
    IDLE_SECONDS_MAX,
    MESSAGE_BYTES_MAX,
    SERVERS_MAX,
    CourseConnection,
    CourseFactory,
    Op,
    Request,
    copy_held,
    encode_config,
    encode_locate,
    encode_status,
    encode_value,
    servers_listed,
    take_request,
)
from twistedkv.workload import format_operation, generate

KEY = hashlib.md5(b"key 2").digest()
OTHER = hashlib.md5(b"key 1").digest()

CONFIG_REQ = bytes.fromhex("7b010004")
CONFIG_RESP = bytes.fromhex("7b0200240002 0003") + b"vm 36463;vm 43589;vm 38303;\0"
NOOP_REQ = bytes.fromhex("7b030015 0e7fc991683127dbeee927ede9c351c9 00")
PUT_REQ = bytes.fromhex("7b030020 08ef1e5d1e21615126c97e5c7e431890 02") + b"Make haste\0"
GET_REQ = bytes.fromhex("7b030015 08ef1e5d1e21615126c97e5c7e431890 01")
VERIFY_REQ = bytes.fromhex("7b030015 08ef1e5d1e21615126c97e5c7e431890 03")
LOCATE_REQ = bytes.fromhex("7b010014 08ef1e5d1e21615126c97e5c7e431890")
OK = bytes.fromhex("7b04000500")
OK_VALUE = bytes.fromhex("7b04001000") + b"Make haste\0"
FAILURE, INVALID, NOT_FOUND, NO_SPACE = (bytes.fromhex("7b040005") + bytes([number]) for number in (1, 2, 3, 4))


def server(server_id: int, course_port: int, state: ServerState = ServerState.ACTIVE, host: str = "vm") -> Server:
    return Server(server_id, bytes([server_id]) * 16, host, 7000 + server_id, state, course_port=course_port)


def map_of(*servers: Server) -> ClusterMap:
    return attrs.evolve(ClusterMap.empty(), servers=MappingProxyType({one.server_id: one for one in servers}))


THREE = map_of(server(1, 36463), server(2, 43589), server(3, 38303))


# Messages.


def test_the_vectors_of_the_requests() -> None:
    assert take_request(bytearray(CONFIG_REQ)) == Request(None)
    assert take_request(bytearray(LOCATE_REQ)) == Request(None, KEY)
    assert take_request(bytearray(NOOP_REQ)) == Request(Op.NOOP, hashlib.md5(b"key 0").digest())
    assert take_request(bytearray(PUT_REQ)) == Request(Op.PUT, KEY, b"Make haste\0")
    assert take_request(bytearray(GET_REQ)) == Request(Op.GET, KEY)
    assert take_request(bytearray(VERIFY_REQ)) == Request(Op.VERIFY, KEY)


def test_the_vectors_of_the_answers() -> None:
    assert encode_config(servers_listed(THREE), 2024, 2) == CONFIG_RESP
    assert encode_status(Status.SUCCESS, 2024) == OK
    assert encode_value(b"Make haste\0", 2024) == OK_VALUE


def test_a_list_of_2020_has_no_seconds() -> None:
    expected = bytes.fromhex("7b020022 0003") + b"vm 36463;vm 43589;vm 38303;\0"
    assert encode_config(servers_listed(THREE), 2020, 2) == expected
    assert encode_config(servers_listed(THREE), 2016, 2) == expected


def test_a_place_is_a_port_and_a_host() -> None:
    assert encode_locate(server(1, 0x97F9)) == bytes.fromhex("7b020009 97f9") + b"vm\0"


def test_the_numbers_of_the_statuses() -> None:
    statuses = list(Status)[:5]
    assert [encode_status(status, 2024)[4] for status in statuses] == [0, 1, 2, 3, 4]
    assert [encode_status(status, 2020)[4] for status in statuses] == [0, 1, 2, 3, 4]
    assert [encode_status(status, 2016)[4] for status in statuses] == [0, 1, 1, 2, 3]


def test_a_value_that_does_not_fit_is_a_failure() -> None:
    longest = bytes(MESSAGE_BYTES_MAX - 5)
    assert len(encode_value(longest, 2024)) == MESSAGE_BYTES_MAX
    assert encode_value(longest + b"\0", 2024) == FAILURE
    assert encode_value(None, 2024) == NOT_FOUND
    assert encode_value(b"", 2024) == OK


def request_bytes(op: int, key: bytes, value: bytes = b"") -> bytes:
    return b"\x7b\x03" + (21 + len(value)).to_bytes(2) + key + bytes([op]) + value


def test_the_longest_request() -> None:
    value = bytes(MESSAGE_BYTES_MAX - 21)
    assert take_request(bytearray(request_bytes(2, KEY, value))) == Request(Op.PUT, KEY, value)
    with pytest.raises(ProtocolError, match="2049 bytes"):
        take_request(bytearray(request_bytes(2, KEY, value + b"\0")[:4]))


@pytest.mark.parametrize(
    "data",
    [
        b"\x7a\x03\0\x15",
        b"GET ",
        b"\x7b\0\0\x04",
        b"\x7b\x02\0\x04",
        b"\x7b\x05\0\x07",
        b"\x7b\x01\0\x03",
        b"\x7b\x01\0\x05",
        b"\x7b\x01\0\x15",
        b"\x7b\x03\0\x14",
        b"\x7b\x03\0\0",
        request_bytes(4, KEY),
        request_bytes(255, KEY, b"v"),
        request_bytes(2, KEY),
        request_bytes(0, KEY, b"v"),
        request_bytes(1, KEY, b"v"),
        request_bytes(3, KEY, b"v"),
    ],
    ids=bytes.hex,
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        take_request(bytearray(data))
    assert take_request(bytearray(data[:3])) is None, "a header that is not whole is waited for"


requests = st.one_of(
    st.just((CONFIG_REQ, Request(None))),
    st.binary(min_size=16, max_size=16).map(lambda key: (b"\x7b\x01\0\x14" + key, Request(None, key))),
    st.builds(
        lambda op, key: (request_bytes(op, key), Request(Op(op), key)),
        st.sampled_from([0, 1, 3]),
        st.binary(min_size=16, max_size=16),
    ),
    st.builds(
        lambda key, value: (request_bytes(2, key, value), Request(Op.PUT, key, value)),
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=1, max_size=60),
    ),
)


@given(st.lists(requests), st.randoms(use_true_random=False))
def test_requests_arrive_whole_from_any_pieces(expected: list[tuple[bytes, Request]], chance: Any) -> None:
    data = b"".join(encoded for encoded, _ in expected)
    buffer, taken, at = bytearray(), [], 0
    while at < len(data):
        size = chance.randint(1, 40)
        buffer += data[at : at + size]
        at += size
        while (request := take_request(buffer)) is not None:
            taken.append(request)
    assert taken == [request for _, request in expected]
    assert not buffer


# Places.


def test_only_servers_that_are_there_and_have_a_port_are_listed_by_id() -> None:
    cluster_map = map_of(
        server(9, 9),
        server(3, 3, ServerState.LEAVING),
        server(4, 0),
        server(5, 5, ServerState.FAILED),
        server(6, 6, ServerState.STANDBY),
        server(1, 1),
    )
    assert [one.server_id for one in servers_listed(cluster_map)] == [1, 3, 9]


def test_the_longest_list_fits_into_a_message() -> None:
    many = map_of(*(server(number, 65_535, host="h" * 255) for number in range(1, 20)))
    listed = servers_listed(many)
    assert [one.server_id for one in listed] == list(range(1, SERVERS_MAX + 1))
    assert len(encode_config(listed, 2024, 1)) <= MESSAGE_BYTES_MAX


def copy(role: str, value: bytes | None) -> CopyCheck:
    return CopyCheck(0, role, False, value, 0)


def test_whose_copy_is_shown() -> None:
    copies = [copy("secondary", b"s"), copy("primary", b"p"), copy("secondary", b"t")]
    assert copy_held(copies, primary=True) == b"p"
    assert copy_held(copies, primary=False) == b"s"
    assert copy_held([copy("primary", b"p")], primary=False) == b"p"
    assert copy_held([copy("primary", b"p"), copy("secondary", None)], primary=False) is None


# A port.


class Store:
    """A client of a cluster that is a dictionary. `held` collects calls instead of answering them."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.stale: dict[bytes, bytes | None] = {}
        """What the secondary copies hold instead."""
        self.error: Exception | None = None
        self.held: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None
        self.calls: list[str] = []

    def get(self, key: bytes) -> Deferred[Any]:
        return self._answer("get", lambda: Value(self.values[key], 1) if key in self.values else None)

    def put(self, key: bytes, value: bytes) -> Deferred[Any]:
        return self._answer("put", lambda: self.values.update({key: value}) or 1)

    def verify(self, key: bytes, value: bytes | None) -> Deferred[Any]:
        assert value is None
        return self._answer("verify", lambda: self._copies(key))

    def _copies(self, key: bytes) -> list[CopyCheck]:
        primary = self.values.get(key)
        return [copy("primary", primary), copy("secondary", self.stale.get(key, primary))]

    def _answer(self, call: str, make: Callable[[], Any]) -> Deferred[Any]:
        self.calls.append(call)
        if self.error is not None:
            return fail(self.error)
        if self.held is None:
            return succeed(make())
        answer: Deferred[Any] = Deferred()
        self.held.append((answer, make))
        return answer

    def release(self) -> None:
        """Answer the oldest call that is held."""
        assert self.held is not None
        answer, make = self.held.pop(0)
        answer.callback(make())


class Peer(Protocol):
    """The other end of a connection."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.ended = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended = True

    def take(self) -> bytes:
        taken, self.received = self.received, b""
        return taken


class Port:
    """A course port in memory. Ids and hosts of the servers as in THREE; `server_id` is the one here."""

    def __init__(self, store: Store | None, server_id: int = 1, pieces: Any = lambda: None, **options: Any) -> None:
        self.network = MemoryNetwork(pieces)
        self.map = THREE
        self.course = CourseFactory(self.network, lambda: self.map, store, lambda: server_id, **options)

    def connect(self, buffer_bytes: int | None = None) -> Peer:
        peer, connection = Peer(), self.course.buildProtocol(None)
        assert connection is not None
        self.network.connection(connection, peer, buffer_bytes)
        return peer

    def ask(self, peer: Peer, data: bytes) -> bytes:
        """What comes in return when all has come to rest."""
        peer.transport.write(data)
        self.network.settle()
        return peer.take()

    def stop(self) -> None:
        gone = self.course.close_all()
        self.network.settle()
        if not gone.called:
            self.network.pump_seconds(DRAIN_SECONDS, 1.0)
            self.network.settle()
        assert gone.called
        assert self.network.getDelayedCalls() == []


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def port(store: Store) -> Iterator[Port]:
    port = Port(store, retry_seconds=2)
    yield port
    port.stop()


def connection_of(port: Port) -> CourseConnection:
    [connection] = port.course.connections
    return connection


def test_one_request_for_each_connection_and_many_on_one(port: Port, store: Store) -> None:
    for request, answer in [
        (CONFIG_REQ, CONFIG_RESP),
        (NOOP_REQ, OK),
        (GET_REQ, NOT_FOUND),
        (VERIFY_REQ, NOT_FOUND),
        (PUT_REQ, OK),
        (GET_REQ, OK_VALUE),
        (VERIFY_REQ, OK_VALUE),
    ]:
        peer = port.connect()
        assert port.ask(peer, request) == answer
        peer.transport.loseConnection()
        port.network.settle()
    assert store.values == {KEY: b"Make haste\0"}
    assert not port.course.connections
    peer = port.connect()
    assert port.ask(peer, GET_REQ + CONFIG_REQ + PUT_REQ + VERIFY_REQ) == OK_VALUE + CONFIG_RESP + OK + OK_VALUE
    verifyObject(IPushProducer, connection_of(port))
    verifyObject(IHalfCloseableProtocol, connection_of(port))


def test_a_request_sees_what_those_before_it_did_and_waits_for_them(port: Port, store: Store) -> None:
    store.held = []
    peer = port.connect()
    assert port.ask(peer, PUT_REQ + GET_REQ + NOOP_REQ) == b""
    assert store.calls == ["put"]
    store.release()
    port.network.settle()
    assert (peer.take(), store.calls) == (OK, ["put", "get"])
    store.release()
    port.network.settle()
    assert peer.take() == OK_VALUE + OK


@pytest.mark.parametrize("server_id", [1, 2, 3])
def test_verify_shows_copies_that_differ(store: Store, server_id: int) -> None:
    port = Port(store, server_id)
    store.values = {KEY: b"new\0", OTHER: b"new\0"}
    store.stale = {KEY: b"old\0", OTHER: None}
    first = {KEY: server_id == 1, OTHER: server_id == 3}  # by the last byte, modulo 3: 0 and 2
    peer = port.connect()
    expected = bytes.fromhex("7b04000900") + (b"new\0" if first[KEY] else b"old\0")
    assert port.ask(peer, VERIFY_REQ) == expected
    expected = bytes.fromhex("7b04000900") + b"new\0" if first[OTHER] else NOT_FOUND
    assert port.ask(peer, request_bytes(3, OTHER)) == expected
    port.stop()


def test_a_server_that_is_not_listed_shows_the_secondary_copy(port: Port, store: Store) -> None:
    store.values, store.stale = {KEY: b"new\0"}, {KEY: b"old\0"}
    port.map = map_of()
    assert port.ask(port.connect(), VERIFY_REQ)[5:] == b"old\0"


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (NotDone("no"), FAILURE),
        (Unavailable("no"), FAILURE),
        (ShardLost("no"), FAILURE),
        (OutcomeUnknown("who knows"), FAILURE),
        (OutOfSpace("full"), NO_SPACE),
        (InvalidRequest("no"), INVALID),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_errors_are_answered(port: Port, store: Store, error: Exception, answer: bytes) -> None:
    store.error = error
    peer = port.connect()
    assert port.ask(peer, PUT_REQ + GET_REQ + VERIFY_REQ) == answer * 3
    assert not peer.ended


def test_an_error_that_nobody_expects_is_a_failure_and_logged(
    port: Port, store: Store, logged_errors: LoggedErrors
) -> None:
    store.error = ZeroDivisionError()
    assert port.ask(port.connect(), GET_REQ) == FAILURE
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


def test_without_a_client_there_are_lists_and_no_keys() -> None:
    port = Port(None, 0, retry_seconds=2)
    peer = port.connect()
    assert port.ask(peer, CONFIG_REQ + PUT_REQ + NOOP_REQ + CONFIG_REQ) == CONFIG_RESP + INVALID * 2 + CONFIG_RESP
    port.stop()


def test_while_no_server_has_a_port_the_list_is_a_closed_connection(port: Port) -> None:
    port.map = map_of(server(1, 0), server(2, 5, ServerState.STANDBY))
    for request in (CONFIG_REQ, LOCATE_REQ):
        peer = port.connect()
        assert port.ask(peer, request) == b""
        assert peer.ended


def test_after_a_locate_the_statuses_are_those_of_2016(port: Port) -> None:
    peer = port.connect()
    located = bytes.fromhex("7b0200098e6f") + b"vm\0"  # 36463: 0x90 modulo 3 is 0
    assert port.ask(peer, GET_REQ + LOCATE_REQ + GET_REQ) == NOT_FOUND + located + bytes.fromhex("7b04000502")
    assert port.ask(peer, b"\x7b\x01\0\x14" + OTHER) == bytes.fromhex("7b020009959f") + b"vm\0"  # 38303
    assert port.ask(port.connect(), GET_REQ) == NOT_FOUND, "another connection is what the port is"


def test_a_port_of_2016(store: Store) -> None:
    port = Port(store, generation=2016)
    peer = port.connect()
    assert port.ask(peer, GET_REQ) == bytes.fromhex("7b04000502")
    store.error = OutOfSpace("full")
    assert port.ask(peer, PUT_REQ) == bytes.fromhex("7b04000503")
    assert port.ask(peer, b"nonsense") == bytes.fromhex("7b04000501")
    assert peer.ended
    port.stop()


def test_no_other_generation_is_known(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="2018"):
        Port(store, generation=2018)


# Peers that are slow, silent or hostile.


def test_what_is_no_request_is_answered_after_those_before_it_and_the_connection_closed(
    port: Port, store: Store
) -> None:
    peer = port.connect()
    assert port.ask(peer, PUT_REQ + b"\x7b\x06\0\x05" + GET_REQ) == OK + INVALID
    assert peer.ended
    assert store.calls == ["put"], "nothing after it is executed"


@given(st.binary(max_size=200), st.integers(0, 1000))
def test_garbage_ends_as_one_answer_or_none(data: bytes, seed: int) -> None:
    port = Port(Store(), pieces=random_pieces(seed))
    peer = port.connect()
    answer = port.ask(peer, data)
    whole = bytearray(data)
    try:
        while take_request(whole) is not None:
            pass
    except ProtocolError:
        assert answer.endswith(INVALID)
        assert peer.ended
    else:
        assert not peer.ended
    port.stop()


@given(st.lists(requests, max_size=12), st.integers(0, 1000))
def test_every_request_is_answered_once_whatever_the_pieces(sent: list[tuple[bytes, Request]], seed: int) -> None:
    data = b"".join(encoded for encoded, _ in sent)
    pieced, whole = Port(Store(), pieces=random_pieces(seed)), Port(Store())
    answers = pieced.ask(pieced.connect(), data)
    assert answers == whole.ask(whole.connect(), data)
    count = 0
    while answers:
        answers = answers[int.from_bytes(answers[2:4]) :]
        count += 1
    assert count == len(sent)
    pieced.stop()
    whole.stop()


def test_a_silent_connection_is_ended_and_one_with_requests_is_not(port: Port) -> None:
    silent, busy, slow = port.connect(), port.connect(), port.connect()
    for byte in GET_REQ[: int(IDLE_SECONDS_MAX / 5)]:
        port.ask(slow, bytes([byte]))  # an endless request
        assert port.ask(busy, NOOP_REQ) == OK
        port.network.pump_seconds(5.0, 1.0)
    assert silent.ended
    assert slow.ended
    assert not busy.ended
    port.network.pump_seconds(IDLE_SECONDS_MAX, 5.0)
    assert busy.ended


def test_a_connection_that_waits_for_the_store_is_not_idle(port: Port, store: Store) -> None:
    store.held = []
    peer = port.connect()
    port.ask(peer, GET_REQ)
    port.network.pump_seconds(2.5 * IDLE_SECONDS_MAX, 5.0)
    assert not peer.ended
    store.release()
    port.network.settle()
    assert peer.take() == NOT_FOUND
    port.network.pump_seconds(IDLE_SECONDS_MAX, 5.0)
    assert peer.ended


def test_a_flood_is_not_read_while_the_store_is_slow(port: Port, store: Store) -> None:
    store.held = []
    peer = port.connect()
    flood = GET_REQ * 20_000
    peer.transport.write(flood)
    for _ in range(10):
        port.network.step()
    transport = connection_of(port).transport
    assert not transport.reading
    assert len(store.held) == 1


def test_a_flood_in_pieces_fills_no_memory_and_is_answered_in_the_end(store: Store) -> None:
    port = Port(store, pieces=lambda: 1000)
    store.held = []
    peer = port.connect()
    peer.transport.write(GET_REQ * 500)
    port.network.settle()
    assert len(peer.transport.written) == 21 * 500 - 3000, "the rest was not read"
    answered = 0
    while store.held:
        store.release()
        port.network.settle()
        answered += 1
    assert answered == 500
    assert peer.take() == NOT_FOUND * 500
    assert not peer.transport.written
    port.stop()


def test_a_full_read_of_short_requests_is_no_recursion(port: Port) -> None:
    assert port.ask(port.connect(), NOOP_REQ * 3000) == OK * 3000


def test_a_peer_that_does_not_read_gets_no_more_than_a_buffer_and_is_ended(store: Store) -> None:
    port = Port(store, pieces=lambda: 4000)
    peer = port.connect(buffer_bytes=1000)
    peer.transport.pauseProducing()
    peer.transport.write(CONFIG_REQ * 50_000)
    port.network.settle()
    transport = connection_of(port).transport
    assert transport.pauses == 1
    assert len(transport.written) <= 1000 + len(CONFIG_RESP)
    assert len(peer.transport.written) == 4 * 50_000 - 4000
    port.network.pump_seconds(IDLE_SECONDS_MAX, 5.0)
    assert peer.ended
    port.stop()


def test_a_peer_that_reads_at_last_gets_everything(store: Store) -> None:
    port = Port(store, pieces=lambda: 4000)
    peer = port.connect(buffer_bytes=1000)
    peer.transport.pauseProducing()
    peer.transport.write(NOOP_REQ * 2000)
    port.network.settle()
    assert peer.take() == b""
    peer.transport.resumeProducing()
    port.network.settle()
    assert peer.take() == OK * 2000
    port.stop()


def test_a_lost_connection_gives_up_what_is_executed(port: Port, store: Store) -> None:
    store.held = []
    peer = port.connect()
    port.ask(peer, PUT_REQ)
    ended: list[Any] = []
    peer.transport.abortConnection()
    store.held[0][0].addErrback(ended.append)
    port.network.settle()
    assert not port.course.connections
    assert store.held[0][0].called


def test_who_has_sent_everything_is_answered_and_closed(port: Port, store: Store) -> None:
    store.held = []
    peer = port.connect()
    port.ask(peer, PUT_REQ + GET_REQ)
    transport = connection_of(port).transport
    transport.reading = False  # as a socket after its end
    connection_of(port).readConnectionLost()
    for expected in (OK, OK_VALUE):
        assert not peer.ended
        assert not transport.reading, "it would be told of the end again and again"
        store.release()
        port.network.settle()
        assert peer.take() == expected
    assert peer.ended
    idle = port.connect()
    connection_of(port).readConnectionLost()
    port.network.settle()
    assert idle.ended


def test_connections_beyond_the_limit_are_refused(store: Store) -> None:
    port = Port(store, connections_max=2)
    first, _ = port.connect(), port.connect()
    assert port.course.buildProtocol(None) is None
    first.transport.loseConnection()
    port.network.settle()
    assert port.ask(port.connect(), NOOP_REQ) == OK
    port.stop()


def test_stopping_closes_every_connection_also_one_that_is_waiting_or_does_not_read(store: Store) -> None:
    port = Port(store)
    idle, waiting, deaf = port.connect(), port.connect(), port.connect(100)
    deaf.transport.pauseProducing()
    port.ask(deaf, NOOP_REQ * 100)
    store.held = []
    port.ask(waiting, GET_REQ)
    port.stop()
    assert idle.ended
    assert waiting.ended
    assert deaf.ended
    assert waiting.take() == b""
    assert port.course.close_all().called


def test_answers_that_are_sent_already_arrive_before_the_end(store: Store) -> None:
    port = Port(store)
    peer = port.connect(100)
    peer.transport.pauseProducing()
    peer.transport.write(NOOP_REQ * 100)
    port.network.settle()
    transport = connection_of(port).transport
    sent = bytes(transport.written)
    gone = port.course.close_all()
    peer.transport.resumeProducing()
    port.network.settle()
    assert gone.called
    assert peer.take() == sent
    assert transport.resumes == 0, "a socket would not end while it has somebody to resume"


# The original's way of using it.


class World:
    """Three servers and a coordinator with one store, and a client of the original kind."""

    def __init__(self, generation: int) -> None:
        self.network = MemoryNetwork(random_pieces(generation))
        self.store = Store()
        self.servers = {number: server(number, 5000 + number, host="127.0.0.1") for number in (1, 2, 3)}
        self.ports: dict[int, Any] = {}
        self.factories: list[CourseFactory] = []
        self.pauses: list[float] = []
        self.on_pause: Callable[[], object] = lambda: None
        for number in (0, 1, 2, 3):
            store = self.store if number else None
            factory = CourseFactory(
                self.network, lambda: map_of(*self.servers.values()), store, lambda number=number: number, generation
            )
            self.ports[number] = self.network.listenTCP(5000 + number, factory, interface="127.0.0.1")
            self.factories.append(factory)
        self.client = CourseClient("127.0.0.1", 5000, generation, self.exchange, self.paused)

    def exchange(self, host: str, port: int, request: bytes) -> bytes:
        listening = self.network.ports.get((host, port))
        if listening is None:
            raise ConnectionRefusedError(f"{host}:{port}")
        peer = Peer()
        self.network.connection(listening.factory.buildProtocol(None), peer)
        peer.transport.write(request)
        self.network.settle()
        peer.transport.loseConnection()
        self.network.settle()
        if not peer.received:
            raise ConnectionError("no answer")
        return peer.received

    def paused(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.on_pause()

    def kill(self, number: int) -> None:
        """The server's port is gone, and the map does not say so yet."""
        self.ports.pop(number).stopListening()

    def notice(self, number: int) -> None:
        """The map says so."""
        self.servers[number] = server(number, 0, ServerState.FAILED)

    def end(self) -> Report:
        assert not [factory for factory in self.factories if factory.connections]
        assert self.network.getDelayedCalls() == []
        return self.client.report


@pytest.mark.parametrize("generation", [2016, 2020, 2024])
def test_a_workload_of_the_original(generation: int) -> None:
    world = World(generation)
    world.client.replay([format_operation(operation) for operation in generate(200, 20.0)])
    world.client.replay([b'C "new" " "', b'V "new" " "', b'0 "new"', b'G "new"', b'P "new" "1" 3', b'C "new" "1"'])
    report = world.end()
    assert report.good
    assert report.operations == 208
    assert report.checks_passed == 163
    assert world.pauses == []


@pytest.mark.parametrize("generation", [2016, 2020, 2024])
def test_a_workload_goes_on_when_a_server_is_killed(generation: int) -> None:
    world = World(generation)
    lines = [format_operation(operation) for operation in generate(200, 20.0)]
    world.client.replay(lines[:100])
    world.kill(2)
    world.on_pause = lambda: world.notice(2) if len(world.pauses) == 3 else None
    report = world.client.replay(lines[100:])
    assert report.good
    assert (report.operations, len(world.pauses)) == (200, 3)
    world.end()


def test_the_original_client_sees_copies_that_differ_and_gives_up_after_two_failures() -> None:
    world = World(2024)
    world.client.replay([b'P "key 0" "v"', b'P "key 1" "v"'])
    world.store.stale[hashlib.md5(b"key 1").digest()] = b"w\0"
    report = world.client.replay([b'V "key 0" "v"', b'V "key 1" "v"', b'V "key 0" "w"', b'V "key 3" "v"'])
    assert report.checks_passed == 1
    assert report.checks_failed == [
        "line 2: expected b'v', found [b'v', b'w']",
        "line 3: expected b'w', found [b'v', b'v']",
        "line 4: expected b'v', found [None, None]",
    ]
    world.store.error = NotDone("no")
    world.client.replay([b'P "key 0" "v" 5'])
    assert report.failed == ["line 1: status 1, after 10 attempts"] * 2
    assert world.pauses == [1] * 18
    world.end()
