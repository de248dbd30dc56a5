"""The client for Twisted programs: connections, timers and Deferreds around the router, which decides everything.

    client = Client("127.0.0.1:7400")
    version = await client.put(b"key", b"value")

All times are those of the reactor given. A reactor that schedules by the wall clock moves deadlines when the clock is
set; `twistedkv.clock.use_monotonic_clock` prevents that.
"""

from __future__ import annotations

import os
import random as random_module
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.client import gather
from twistedkv.client.arguments import (
    check_deadline,
    check_delta,
    check_key,
    check_value,
    check_version,
    parse_addresses,
)
from twistedkv.client.journal import Following, admin
from twistedkv.client.lanes import Link
from twistedkv.client.links import Connect, Disconnect
from twistedkv.client.operations import Operation, Waiter
from twistedkv.client.results import CopyCheck, Incremented, Value
from twistedkv.client.routing import Router
from twistedkv.clustermap import ClusterMap
from twistedkv.core.handshake import make_hello
from twistedkv.errors import InvalidRequest, Unavailable
from twistedkv.limits import DEADLINE_SECONDS
from twistedkv.messages.client import ScanItem, ScanPage
from twistedkv.messages.hello import HelloReply, Role
from twistedkv.net.framed import Connection, HelloRefused, dial
from twistedkv.slots import slot_of
from twistedkv.wire.client import CAS, DELETE, GET, INCR, PUT
from twistedkv.wire.frames import Frame

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

log = Logger()
T = TypeVar("T")

CLIENT_ID_BYTES = 16


class _LinkSession:
    """One connection of a link."""

    __slots__ = ("_client", "_link")

    def __init__(self, client: Client, link: Link) -> None:
        self._client = client
        self._link = link

    def frames_received(self, frames: list[Frame]) -> None:
        self._client._frames_received(self._link, frames)

    def connection_lost(self, reason: str) -> None:
        self._client._connection_lost(self, self._link, reason)


class Answer(Deferred[T]):
    """The end of one operation. Cancelling it ends the operation here; a write may have been executed."""

    operation: Operation


class Client:
    """A client of one cluster.

    coordinator  `HOST:PORT` of the coordinator, or several of them
    reactor      IReactorTime and IReactorTCP; None: the global one
    deadline     seconds after which a call ends with an error, unless the call says otherwise
    cluster      name of the cluster meant; empty: any

    Methods return Deferreds, which can be awaited. Calls may be made at once: they wait for the connection. They fail
    with NotDone (or one of its kinds) when the operation certainly had no effect, OutcomeUnknown when a write may have
    been executed, InvalidRequest when an argument is outside its bounds. Keys and values are bytes.
    """

    def __init__(
        self,
        coordinator: str | Sequence[str] = "127.0.0.1:7400",
        *,
        reactor: Any = None,
        deadline: float = DEADLINE_SECONDS,
        cluster: str = "",
        client_id: bytes | None = None,
        random: random_module.Random | None = None,
    ) -> None:
        addresses = parse_addresses(coordinator)
        check_deadline(deadline)
        if reactor is None:
            from twisted.internet import reactor
        self.client_id = os.urandom(CLIENT_ID_BYTES) if client_id is None else client_id
        self.deadline = deadline
        self.router = Router(addresses, random or random_module.Random())
        self._reactor: Any = reactor
        self._cluster = cluster
        self._dialing: dict[Link, Deferred[Connection]] = {}
        self._sessions: dict[_LinkSession, None] = {}
        self._flushing: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._armed_at = inf
        self._reacting = False
        self._closing: list[Deferred[None]] = []
        self._pauses: dict[Deferred[None], None] = {}
        self.router.start(self.seconds())
        self._react()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # One key.

    def get(self, key: bytes, *, deadline: float | None = None) -> Deferred[Value | None]:
        """The value and version of `key`, or None."""
        return self._start(GET, key, b"", 0, deadline)

    def put(self, key: bytes, value: bytes, *, deadline: float | None = None) -> Deferred[int]:
        """Store `value`. Its version."""
        return self._start(PUT, key, value, 0, deadline)

    def delete(self, key: bytes, *, deadline: float | None = None) -> Deferred[int | None]:
        """Remove `key`. The version of the deletion, or None if there was nothing to remove."""
        return self._start(DELETE, key, b"", 0, deadline)

    def cas(self, key: bytes, value: bytes, expected: int, *, deadline: float | None = None) -> Deferred[int]:
        """Store `value` if the key's version is `expected` (0: if there is no such key). The new version.

        Fails with VersionMismatch, which carries the version found.
        """
        return self._start(CAS, key, value, expected, deadline)

    def incr(self, key: bytes, delta: int = 1, *, deadline: float | None = None) -> Deferred[Incremented]:
        """Add `delta` to a decimal integer of 64 bits; no key counts as 0. Fails with NotAnInteger."""
        return self._start(INCR, key, b"", delta, deadline)

    # Many.

    def mget(self, keys: Iterable[bytes], *, deadline: float | None = None) -> Deferred[dict[bytes, Value | None]]:
        """`get` of each key. Fails with PartialFailure when some could not be read."""
        return self._run(lambda: gather.mget(self, keys, self.deadline_at(deadline)))

    def mput(self, mapping: Mapping[bytes, bytes], *, deadline: float | None = None) -> Deferred[dict[bytes, int]]:
        """`put` of each key, side by side: atomic for each key and not for all. The versions.

        Fails with PartialFailure when some were not stored.
        """
        return self._run(lambda: gather.mput(self, mapping, self.deadline_at(deadline)))

    def verify(
        self, key: bytes, value: bytes | None, server: int | None = None, *, deadline: float | None = None
    ) -> Deferred[list[CopyCheck]]:
        """What each copy of the key holds (or that of `server`), compared with `value` (None: with nothing).

        Needs no primary, and sees what is not committed.
        """
        return self._run(lambda: ensureDeferred(gather.verify(self, key, value, server, self.deadline_at(deadline))))

    def scan(self, prefix: bytes = b"", *, values: bool = False, page: int = 1000) -> AsyncIterator[ScanItem]:
        """All keys with the prefix, by slot, and by key within a slot. For `async for`.

        What was there during the whole scan is listed once; what was stored or removed meanwhile, perhaps.
        """
        return gather.scan(self, prefix, values, page)

    def scan_page(
        self,
        slot: int = 0,
        after: bytes = b"",
        prefix: bytes = b"",
        values: bool = False,
        page: int = 1000,
        *,
        deadline: float | None = None,
    ) -> Deferred[ScanPage]:
        """At most `page` keys from slot `slot` on, in it after the key `after`. Where to go on is in the answer.

        The end is reached when `next_slot` is limits.SLOTS. A page may be empty before that.
        """
        return self._run(lambda: gather.scan_page(self, slot, after, prefix, values, page, self.deadline_at(deadline)))

    # The cluster.

    @property
    def cluster_map(self) -> ClusterMap:
        """The newest map known. Its version is 0 before there is one."""
        return self.router.map

    def refresh(self, *, deadline: float | None = None) -> Deferred[ClusterMap]:
        """Ask for the cluster map. That is hardly ever needed: new maps come by themselves."""
        return self._run(lambda: gather.refresh(self, self.deadline_at(deadline)))

    def noop(self, server: int | None = None, *, deadline: float | None = None) -> Deferred[None]:
        """Have a server (None: any) answer."""
        return self._run(lambda: ensureDeferred(gather.noop(self, server, self.deadline_at(deadline))))

    def admin(self, command: str, *, deadline: float | None = None, **arguments: Any) -> Deferred[dict[str, Any]]:
        """Give the coordinator a command. Fails with OperationError, whose text is the coordinator's."""
        return self._run(lambda: ensureDeferred(admin(self, command, arguments, self.deadline_at(deadline))))

    def admin_follow(self, callback: Callable[[dict[str, Any]], object], *, after: int = 0) -> Following:
        """Have `callback(event)` called for each event of the journal with a number above `after`, also later ones.

        Goes on when the coordinator was away. `stop()` of what is returned ends it.
        """
        return Following(self, callback, after)

    def close(self) -> Deferred[None]:
        """End everything outstanding, close the connections. Fires when they are closed."""
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        if not self.router.closed:
            self.router.close(self.seconds())
            for call in (self._timer, self._flushing):
                if call is not None and call.active():
                    call.cancel()
            self._timer = self._flushing = None
            pauses, self._pauses = self._pauses, {}
            for pause in pauses:
                pause.errback(Unavailable("the client was closed"))
            self._react()
        self._check_closed()
        return done

    # For the other modules of this package.

    def seconds(self) -> float:
        """Now."""
        now: float = self._reactor.seconds()
        return now

    def deadline_at(self, seconds: float | None) -> float:
        """The moment that is so many seconds away (None: the client's default). Raises InvalidRequest."""
        if seconds is None:
            return self.seconds() + self.deadline
        check_deadline(seconds)
        return self.seconds() + seconds

    def begin(self, operation: Operation) -> None:
        """Start an operation that is routed by slot, and tell its waiter of its end. Arguments are checked already."""
        router = self.router
        router.submit(operation, self._reactor.seconds())
        if router.finished or router.actions:
            self._react()
        elif self._flushing is None and router.dirty:
            self._flushing = self._reactor.callLater(0, self._flush)
        if router.wake_at < self._armed_at:
            self._arm()

    def begin_to(self, operation: Operation, server: int | None) -> None:
        """Start an operation for one certain server (None: the coordinator)."""
        self.router.submit_to(operation, server, self.seconds())
        self._react()

    def begin_refresh(self, operation: Operation) -> None:
        """Start an operation that ends with the map."""
        self.router.refresh(operation, self.seconds())
        self._react()

    def cancel(self, operation: Operation) -> None:
        """End an operation without telling anybody."""
        self.router.cancel(operation, self.seconds())
        self._react()

    def pause(self, seconds: float) -> Deferred[None]:
        """Fires after so many seconds. Fails with Unavailable when the client is closed."""
        pause: Deferred[None] = Deferred(lambda pause: self._pauses.pop(pause, None))
        if self.router.closed:
            pause.errback(Unavailable("the client was closed"))
            return pause
        self._pauses[pause] = None
        self.router.at(self.seconds() + seconds, lambda _: self._pause_over(pause))
        self._react()
        return pause

    def flush(self) -> None:
        """Write what has been collected now instead of in the next turn: for a caller that has nothing to add."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flush()

    def check(self, kind: int, key: bytes, value: bytes, argument: int, deadline: float | None) -> None:
        """Raise InvalidRequest unless these are good arguments for a single-key operation."""
        check_key(key)
        if kind in (PUT, CAS):
            check_value(value)
        if kind == CAS:
            check_version(argument)
        elif kind == INCR:
            check_delta(argument)
        if deadline is not None:
            check_deadline(deadline)

    # Within.

    def _start(self, kind: int, key: bytes, value: bytes, argument: int, deadline: float | None) -> Deferred[Any]:
        try:
            self.check(kind, key, value, argument, deadline)
        except InvalidRequest as wrong:
            return fail(wrong)
        answer: Answer[Any] = Answer(self._cancelled)
        ends = self._reactor.seconds() + (self.deadline if deadline is None else deadline)
        answer.operation = operation = Operation(kind, key, slot_of(key), ends, answer, value, argument)
        self.begin(operation)
        return answer

    def _cancelled(self, answer: Deferred[Any]) -> None:
        self.cancel(answer.operation)  # type: ignore[attr-defined]

    def _run(self, start: Callable[[], Deferred[T]]) -> Deferred[T]:
        try:
            return start()
        except InvalidRequest as wrong:
            return fail(wrong)

    def _pause_over(self, pause: Deferred[None]) -> None:
        if pause in self._pauses:
            del self._pauses[pause]
            self.router.finished.append((pause, True, None))

    def _react(self) -> None:
        """Do what the router wants done. Callers are told last, because they may call back."""
        if self._reacting:
            return
        router = self.router
        self._reacting = True
        try:
            while router.actions or router.finished:
                actions, router.actions = router.actions, []
                for action in actions:
                    if isinstance(action, Connect):
                        self._connect(action.link)
                    else:
                        self._disconnect(action)
                finished, router.finished = router.finished, []
                for waiter, done, outcome in finished:
                    _tell(waiter, done, outcome)
        finally:
            self._reacting = False
        if router.closed:
            return
        if router.dirty and self._flushing is None:
            self._flushing = self._reactor.callLater(0, self._flush)
        if router.wake_at < self._armed_at:
            self._arm()

    def _flush(self) -> None:
        self._flushing = None
        for link, data in self.router.flush():
            link.connection.send_bytes(data)

    def _arm(self) -> None:
        self._armed_at = self.router.wake_at
        delay = max(0.0, self._armed_at - self.seconds())
        if self._timer is None:
            self._timer = self._reactor.callLater(delay, self._wake)
        else:
            self._timer.reset(delay)

    def _wake(self) -> None:
        self._timer = None
        self._armed_at = inf
        self.router.wake(self.seconds())
        self._react()

    def _connect(self, link: Link) -> None:
        def make_session(connection: Connection, reply: HelloReply) -> _LinkSession:
            if not self.router.connected(link, reply.server_id, reply.identity, self.seconds()):
                raise HelloRefused(f"server {reply.server_id} answered there, with other data than expected")
            link.connection = connection
            session = _LinkSession(self, link)
            self._sessions[session] = None
            self._dialing.pop(link, None)
            self._react()
            return session

        def made(_: Connection) -> None:
            self._dialing.pop(link, None)

        def failed(failure: Failure) -> None:
            self._dialing.pop(link, None)
            refused = failure.check(HelloRefused) is not None
            self.router.connect_failed(link, failure.getErrorMessage(), self.seconds(), refused=refused)
            self._react()
            self._check_closed()

        hello = make_hello(Role.CLIENT, self._cluster, 0, self.client_id)
        dialing = dial(self._reactor, link.host, link.port, hello, make_session)
        self._dialing[link] = dialing
        dialing.addCallbacks(made, failed)

    def _disconnect(self, action: Disconnect) -> None:
        link = action.link
        dialing = self._dialing.pop(link, None)
        if dialing is not None:
            dialing.cancel()
        elif link.connection is not None:
            if self.router.closed:
                link.connection.close()
            else:
                link.connection.abort()

    def _frames_received(self, link: Link, frames: list[Frame]) -> None:
        try:
            self.router.frames_received(link, frames, self._reactor.seconds())
        finally:
            self._react()

    def _connection_lost(self, session: _LinkSession, link: Link, reason: str) -> None:
        self._sessions.pop(session, None)
        link.connection = None
        self.router.lost(link, reason, self.seconds())
        self._react()
        self._check_closed()

    def _check_closed(self) -> None:
        if self.router.closed and not self._sessions and not self._dialing:
            closing, self._closing = self._closing, []
            for done in closing:
                done.callback(None)


def _tell(waiter: Waiter, done: bool, outcome: Any) -> None:
    try:
        if done:
            waiter.callback(outcome)
        else:
            waiter.errback(outcome)
    except Exception:
        log.failure("a caller could not be told of the end of its operation")
