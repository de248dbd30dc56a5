"""A client of the line port that is recorded: as a `client.Client` for `Lane`, over RESP.

Whatever it does, it learns the version: a write is a transaction of the write and a read of what it has made. It is
connected to one server at a time, to the next one of its list when that is lost, and never sends anything twice: what
was under way on a connection that is lost has an unknown outcome.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from twistedkv.client.results import Incremented, Value
from twistedkv.errors import NotAnInteger, NotDone, OutcomeUnknown, ProtocolError, Unavailable, VersionMismatch
from twistedkv.resp import replies
from twistedkv.resp.answers import AnswerDecoder, ErrorAnswer

CONNECT_SECONDS = 1.0
PAUSE_SECONDS = 0.05


class _Line(Protocol):
    """One connection."""

    def __init__(self, client: LineClient) -> None:
        self._client = client
        self._decoder = AnswerDecoder()
        self.waiting: deque[Deferred[Any]] = deque()

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._client.connected(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            answers = self._decoder.feed(data)
        except ProtocolError:
            self.abort()
            return
        for answer in answers:
            if self.waiting:
                self.waiting.popleft().callback(answer)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._client.lost(self)
        waiting, self.waiting = self.waiting, deque()
        for each in waiting:
            each.errback(ConnectionError("the connection was lost"))

    def send(self, commands: list[list[bytes]]) -> list[Deferred[Any]]:
        """Send commands. Each Deferred fires with its answer, or fails with ConnectionError."""
        answers: list[Deferred[Any]] = [Deferred() for _ in commands]
        self.waiting += answers
        assert self.transport is not None
        self.transport.write(b"".join(replies.bulks(command) for command in commands))
        return answers

    def abort(self) -> None:
        """Close it, at once."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]


class _Connecting(ClientFactory):
    noisy = False

    def __init__(self, client: LineClient) -> None:
        self._client = client

    def buildProtocol(self, addr: Any) -> _Line:
        return _Line(self._client)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._client.lost(None)


class LineClient:
    """See the module.

    addresses  (host, port) of line ports, tried in turn
    reactor    IReactorTime and IReactorTCP
    """

    def __init__(self, addresses: Sequence[tuple[str, int]], reactor: Any, chance: random.Random) -> None:
        self._addresses = list(addresses)
        self._reactor = reactor
        self._next = chance.randrange(len(self._addresses))
        self._line: _Line | None = None
        self._timer: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []
        self._closing: Deferred[None] | None = None
        self._connector: Any = None
        self._connect()

    # Connections.

    def _connect(self) -> None:
        self._timer = None
        host, port = self._addresses[self._next % len(self._addresses)]
        self._next += 1
        self._connector = self._reactor.connectTCP(host, port, _Connecting(self), timeout=CONNECT_SECONDS)

    def connected(self, line: _Line) -> None:
        """There is a connection."""
        self._connector = None
        if self._closing is not None:
            line.abort()
            return
        self._line = line
        while self._waiting:
            self._waiting.pop(0).callback(None)

    def lost(self, line: _Line | None) -> None:
        """A connection was lost, or none could be made."""
        self._connector = None
        if line is self._line:
            self._line = None
        if self._closing is not None:
            closing, self._closing = self._closing, Deferred()
            if not closing.called:
                closing.callback(None)
        elif self._line is None and self._timer is None:
            self._timer = self._reactor.callLater(PAUSE_SECONDS, self._connect)

    def close(self) -> Deferred[None]:
        """Close. Fires when that is done."""
        self._closing = done = Deferred[None]()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._line is not None:
            self._line.abort()
        elif self._connector is not None:
            connector, self._connector = self._connector, None
            connector.stopConnecting()
        else:
            done.callback(None)
        return done

    async def _ask(self, commands: list[list[bytes]], deadline: float | None, *, writes: bool) -> list[Any]:
        """The answers to commands that are sent together.

        Raises Unavailable when they were certainly not executed, OutcomeUnknown when that is not known.
        """
        ends = self._reactor.seconds() + (10.0 if deadline is None else deadline)
        while self._line is None:
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            overdue = self._reactor.callLater(max(0.0, ends - self._reactor.seconds()), waiting.cancel)
            try:
                await waiting
            except Exception as error:
                raise Unavailable("no line port could be reached") from error
            finally:
                if overdue.active():
                    overdue.cancel()
        line = self._line
        overdue = self._reactor.callLater(max(0.0, ends - self._reactor.seconds()), line.abort)
        asked = line.send(commands)
        answers = []
        for place, each in enumerate(asked):
            try:
                answers.append(await each)
            except ConnectionError:
                for other in asked[place + 1 :]:
                    other.addErrback(lambda _: None)
                if overdue.active():
                    overdue.cancel()
                if writes:
                    raise OutcomeUnknown("the connection was lost, or no answer came in time") from None
                raise Unavailable("the connection was lost, or no answer came in time") from None
        if overdue.active():
            overdue.cancel()
        return answers

    async def _transaction(self, commands: list[list[bytes]], deadline: float | None) -> list[Any]:
        """The results of commands that are executed together."""
        answers = await self._ask([[b"MULTI"], *commands, [b"EXEC"]], deadline, writes=True)
        for answer in answers:
            _check(answer)
        results: list[Any] = answers[-1]
        for result in results:
            _check(result)
        return results

    # What a lane does.

    async def get(self, key: bytes, *, deadline: float | None = None) -> Value | None:
        """See Client.get."""
        (answer,) = await self._ask([[b"GETV", key]], deadline, writes=False)
        _check(answer)
        return None if answer is None else Value(answer[0], answer[1])

    async def put(self, key: bytes, value: bytes, *, deadline: float | None = None) -> int:
        """See Client.put."""
        _, (_, version) = await self._transaction([[b"SET", key, value], [b"GETV", key]], deadline)
        return int(version)

    async def cas(self, key: bytes, value: bytes, expected: int, *, deadline: float | None = None) -> int:
        """See Client.cas."""
        command = [b"CAS", key, b"%d" % expected, value]
        _, (_, version) = await self._transaction([command, [b"GETV", key]], deadline)
        return int(version)

    async def incr(self, key: bytes, *, deadline: float | None = None) -> Incremented:
        """See Client.incr."""
        total, (_, version) = await self._transaction([[b"INCR", key], [b"GETV", key]], deadline)
        return Incremented(int(total), int(version))

    def delete(self, key: bytes, *, deadline: float | None = None) -> Deferred[int | None]:
        """Not done: the version of a deletion cannot be read."""
        return fail(NotDone("a line client does not delete"))


def _check(answer: Any) -> None:
    if not isinstance(answer, ErrorAnswer):
        return
    text = answer.text.decode()
    if text.startswith("UNKNOWN"):
        raise OutcomeUnknown(text)
    if text.startswith("VERSIONMISMATCH"):
        raise VersionMismatch(text, int(text.split("version ")[1].split(",")[0]))
    if text.startswith("ERR value is not an integer"):
        raise NotAnInteger(text)
    raise NotDone(text)
