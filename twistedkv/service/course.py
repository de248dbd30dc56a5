"""The course port: the original system's own messages, so that its clients and workload files work unmodified.

A key is the 16 bytes of an MD5, and is the store's key as it is; a value is kept and given back exactly as it was sent,
a NUL at its end included. Any server answers for any key, through a client of the cluster that it is given; without one
(at the coordinator) operations are answered INVALID_REQUEST. A connection cannot tell of which generation it is, so the
port is told:

    2016  The client asks LOCATE for every operation. There is no status INVALID_REQUEST; SERVER_FAILURE stands for it.
    2020  The client asks CONFIG for the list of servers, and again after a failure.
    2024  The same, and the list begins with the seconds between the client's attempts. The default.

LOCATE and CONFIG have one type number and differ in length: both are answered always (to 2016, CONFIG as to 2020), and
after a LOCATE its connection goes on with the status numbers of 2016. While no server has a course port, both are
answered by closing the connection, at which clients try again: they divide by the number of servers.

VERIFY is sent to the server at place `last byte of the key mod n` of the n in the list and to the next one, for the
copies that they would hold in the original system. Here the first answers what the primary copy holds and any other
what the first secondary does, wherever those are: copies that differ are seen as such.

What the old protocol cannot say: that an outcome is unknown. After SERVER_FAILURE or a lost connection the client sends
its PUT again, although the first may have been executed. If another client has written the key in between, its value is
overwritten by the repeated, older one.

A connection executes one request at a time, so answers are in order and a request sees what those before it did; what
was read beyond it is not decoded yet. Reading stops when that is enough for another request, and when the peer does not
read its answers: a connection holds at most a transport's buffer and a read's worth of bytes in each direction.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedkv.clustermap import ClusterMap, Server, ServerState
from twistedkv.errors import ConfigurationError, InvalidRequest, OperationError, OutOfSpace, ProtocolError, Status
from twistedkv.net.framed import DRAIN_SECONDS

log = Logger()

MAGIC = 0x7B
KEY_BYTES = 16
MESSAGE_BYTES_MAX = 2048
"""With the header."""
SERVERS_MAX = 7
"""No list of the original system names more servers. Those named answer for the keys of all."""
CONNECTIONS_MAX = 1000
IDLE_SECONDS_MAX = 60.0
"""Without a whole request, or with answers that the peer does not read, a connection is ended after so long."""
GENERATIONS = (2016, 2020, 2024)

_HEADER = struct.Struct("!BBH")
_LOOKUP, _LOOKUP_ANSWER, _OPERATION, _OPERATION_ANSWER = 1, 2, 3, 4
_BARE_BYTES = _HEADER.size + KEY_BYTES + 1
"""Length of an operation without a value."""
_ANSWER_VALUE_BYTES_MAX = MESSAGE_BYTES_MAX - _HEADER.size - 1
_STATUS_2016 = {Status.INVALID_REQUEST: 1, Status.KEY_NOT_FOUND: 2, Status.OUT_OF_SPACE: 3}
"""Where the numbers of 2016 differ from those of `Status`, which are the later ones."""


class Op(IntEnum):
    """The operations, by their numbers on the wire."""

    NOOP = 0
    GET = 1
    PUT = 2
    VERIFY = 3


@attrs.frozen
class Request:
    """What a client sends. Invariant: there is a value if, and only if, it is a PUT."""

    op: Op | None
    """None: CONFIG_REQ or, with a key, LOCATE_REQ."""
    key: bytes = b""
    value: bytes = b""


class CourseClient(Protocol):
    """The part of `twistedkv.client.twisted.Client` that the port needs."""

    def get(self, key: bytes) -> Deferred[Any]:
        """What the key holds, as something with a `value`; None if it holds nothing."""

    def put(self, key: bytes, value: bytes) -> Deferred[Any]:
        """Store."""

    def verify(self, key: bytes, value: bytes | None) -> Deferred[Any]:
        """What each copy holds, as things with a `role` (`primary` or `secondary`) and a `value` or None."""


def take_request(buffer: bytearray) -> Request | None:
    """Take the first request out of `buffer`; None if it is not whole yet.

    Raises ProtocolError, as soon as the header tells, for what is no request that a client sends.
    """
    if len(buffer) < _HEADER.size:
        return None
    magic, kind, length = _HEADER.unpack_from(buffer)
    if magic != MAGIC:
        raise ProtocolError(f"a message begins with 0x{MAGIC:02x}, not 0x{magic:02x}")
    if kind == _LOOKUP:
        allowed = length in (_HEADER.size, _HEADER.size + KEY_BYTES)
    elif kind == _OPERATION:
        allowed = _BARE_BYTES <= length <= MESSAGE_BYTES_MAX
    else:
        raise ProtocolError(f"type {kind} is not one that a client sends")
    if not allowed:
        raise ProtocolError(f"a message of type {kind} cannot have {length} bytes")
    if len(buffer) < length:
        return None
    body = bytes(buffer[_HEADER.size : length])
    key, op, value = body[:KEY_BYTES], body[KEY_BYTES : KEY_BYTES + 1], body[KEY_BYTES + 1 :]
    if op and (op[0] > Op.VERIFY or (op[0] == Op.PUT) != bool(value)):
        raise ProtocolError(f"operation {op[0]} is not known, or not with {length} bytes")
    del buffer[:length]
    return Request(Op(op[0]) if op else None, key, value)


def encode_status(status: Status, generation: int, value: bytes = b"") -> bytes:
    """OPERATION_RESP."""
    number = _STATUS_2016.get(status, status) if generation == 2016 else status
    return _HEADER.pack(MAGIC, _OPERATION_ANSWER, _HEADER.size + 1 + len(value)) + bytes([number]) + value


def encode_value(value: bytes | None, generation: int) -> bytes:
    """OPERATION_RESP to a read: the value, that there is none, or (SERVER_FAILURE) that it is too long to be sent."""
    if value is None:
        return encode_status(Status.KEY_NOT_FOUND, generation)
    if len(value) > _ANSWER_VALUE_BYTES_MAX:
        return encode_status(Status.SERVER_FAILURE, generation)
    return encode_status(Status.SUCCESS, generation, value)


def encode_config(servers: Sequence[Server], generation: int, retry_seconds: int) -> bytes:
    """CONFIG_RESP: the servers in this order, of which there are SERVERS_MAX at most."""
    body = struct.pack("!H", retry_seconds) if generation == 2024 else b""
    text = "".join(f"{server.host} {server.course_port};" for server in servers).encode()
    body += struct.pack("!H", len(servers)) + text + b"\0"
    return _HEADER.pack(MAGIC, _LOOKUP_ANSWER, _HEADER.size + len(body)) + body


def encode_locate(server: Server) -> bytes:
    """LOCATE_RESP."""
    body = struct.pack("!H", server.course_port) + server.host.encode() + b"\0"
    return _HEADER.pack(MAGIC, _LOOKUP_ANSWER, _HEADER.size + len(body)) + body


def servers_listed(cluster_map: ClusterMap) -> list[Server]:
    """The servers that clients are told of, by id."""
    servers = [server for _, server in sorted(cluster_map.servers.items()) if server.course_port]
    return [server for server in servers if server.state in (ServerState.ACTIVE, ServerState.LEAVING)][:SERVERS_MAX]


def copy_held(checks: Sequence[Any], *, primary: bool) -> bytes | None:
    """What one of one copy or more holds: the primary one, or the first other if there is one. None: nothing."""
    copies = sorted(checks, key=lambda check: check.role != "primary")
    value: bytes | None = copies[0 if primary else min(1, len(copies) - 1)].value
    return value


@implementer(IPushProducer, IHalfCloseableProtocol)
class CourseConnection(TwistedProtocol):
    """A client's connection, for one request or many."""

    transport: Any
    closed = False
    """Nothing is executed or sent any more."""

    def __init__(self, course: CourseFactory) -> None:
        self._course = course
        self._generation = course.generation
        self._buffer = bytearray()
        self._executing: Deferred[Any] | None = None
        self._advancing = False
        self._full = False  # the peer does not read
        self._ended = False  # the peer has sent everything
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._course.connections[self] = None
        self._limit(IDLE_SECONDS_MAX)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if not self.closed:
            self._buffer += data
            self._advance()

    def readConnectionLost(self) -> None:
        self._ended = True
        self._advance()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._end()
        if self._timer is not None:
            self._timer.cancel()
        self._course.forget(self)

    def close(self) -> None:
        """Send what is buffered, then close; abort if that takes longer than DRAIN_SECONDS.

        What is being executed is given up: to the client that is a lost connection, after which it asks again.
        """
        if not self.closed:
            self._end()
            self._limit(DRAIN_SECONDS)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    writeConnectionLost = close

    def _end(self) -> None:
        self.closed = True
        self._buffer.clear()
        if self._executing is not None:
            self._executing.cancel()

    def _limit(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._course.reactor.callLater(seconds, self._overdue)
        else:
            self._timer.reset(seconds)

    def _overdue(self) -> None:
        self._timer = None
        if self._executing is not None and not self.closed:
            self._limit(IDLE_SECONDS_MAX)  # the client of the cluster has a deadline of its own
        else:
            self.transport.abortConnection()

    def _advance(self) -> None:
        """Execute what is there, until a request has to wait for the store, or its answer for the peer."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not (self.closed or self._full or self._executing):
                request = take_request(self._buffer)
                if request is None:
                    if self._ended:
                        self.close()
                    break
                self._limit(IDLE_SECONDS_MAX)
                if request.op is None:
                    self._look_up(request.key)
                else:
                    self._execute(request)
        except ProtocolError as error:
            log.info("{peer}: {error}; connection closed", peer=self.transport.getPeer(), error=str(error))
            self.transport.write(encode_status(Status.INVALID_REQUEST, self._generation))
            self.close()
        finally:
            self._advancing = False
        self._read_or_not()

    def _look_up(self, key: bytes) -> None:
        servers = servers_listed(self._course.cluster_map())
        if not servers:
            self.close()
        elif key:
            self._generation = 2016
            self.transport.write(encode_locate(servers[key[-1] % len(servers)]))
        else:
            self.transport.write(encode_config(servers, self._generation, self._course.retry_seconds))

    def _execute(self, request: Request) -> None:
        self._executing = answer = self._course.execute(request)
        answer.addCallbacks(
            lambda value: encode_value(value, self._generation),
            lambda failure: encode_status(self._status_of(failure), self._generation),
        )
        answer.addCallback(self._executed)

    def _status_of(self, failure: Failure) -> Status:
        if failure.check(OutOfSpace):
            return Status.OUT_OF_SPACE
        if failure.check(InvalidRequest):
            return Status.INVALID_REQUEST
        if not (self.closed or failure.check(OperationError)):
            log.failure("a request on the course port failed", failure)
        return Status.SERVER_FAILURE

    def _executed(self, answer: bytes) -> None:
        self._executing = None
        if not self.closed:
            self.transport.write(answer)
            self._advance()

    def pauseProducing(self) -> None:
        self._full = True
        self._read_or_not()

    def resumeProducing(self) -> None:
        self._full = False
        self._advance()

    def stopProducing(self) -> None:
        pass

    def _read_or_not(self) -> None:
        if self.closed or self._ended:
            return
        if self._full or (self._executing is not None and len(self._buffer) >= MESSAGE_BYTES_MAX):
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()


class CourseFactory(Factory):
    """Accepts connections of the original clients.

    cluster_map      returns the newest map known
    client           executes operations; None: there are no keys here
    server_id        returns the number of the server here; 0: none
    generation       year of the clients' generation, one of GENERATIONS
    retry_seconds    what clients of 2024 are told to wait between attempts
    connections_max  further connections are closed at once
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        cluster_map: Callable[[], ClusterMap],
        client: CourseClient | None,
        server_id: Callable[[], int],
        generation: int = 2024,
        retry_seconds: int = 1,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        if generation not in GENERATIONS:
            raise ConfigurationError(f"the generation of the course port is one of {GENERATIONS}, not {generation}")
        self.reactor = reactor
        self.cluster_map = cluster_map
        self.generation = generation
        self.retry_seconds = retry_seconds
        self.connections: dict[CourseConnection, None] = {}
        self._connections_max = connections_max
        self._client = client
        self._server_id = server_id
        self._all_gone: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> CourseConnection | None:
        return CourseConnection(self) if len(self.connections) < self._connections_max else None

    def execute(self, request: Request) -> Deferred[Any]:
        """Execute an operation. Fires with the value of a read (None: there is none), for others with b""."""
        client, key = self._client, request.key
        if client is None:
            return fail(InvalidRequest("there are no keys here: ask the servers that CONFIG names"))
        if request.op is Op.PUT:
            return client.put(key, request.value).addCallback(lambda _: b"")
        if request.op is Op.GET:
            return client.get(key).addCallback(lambda found: None if found is None else found.value)
        if request.op is Op.VERIFY:
            return client.verify(key, None).addCallback(lambda checks: copy_held(checks, primary=self._is_first(key)))
        return succeed(b"")

    def _is_first(self, key: bytes) -> bool:
        """Whether clients look here for the primary copy."""
        servers = servers_listed(self.cluster_map())
        return bool(servers) and servers[key[-1] % len(servers)].server_id == self._server_id()

    def forget(self, connection: CourseConnection) -> None:
        """The connection is gone."""
        self.connections.pop(connection, None)
        while self._all_gone and not self.connections:
            self._all_gone.pop().callback(None)

    def close_all(self) -> Deferred[None]:
        """Close every connection in order. Fires when the last one is gone."""
        done: Deferred[None] = Deferred()
        if not self.connections:
            done.callback(None)
            return done
        self._all_gone.append(done)
        for connection in list(self.connections):
            connection.close()
        return done
