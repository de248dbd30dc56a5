"""The rim of the client: connections, timers and callers around the router, which decides everything.

The router's contract is in `routing`. Callers are told of ends by way of their waiters, when everything else has been
done: a waiter is a Deferred, or anything with the same two methods.
"""

from __future__ import annotations

import os
import random as random_module
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.client.arguments import (
    check_deadline,
    parse_addresses,
)
from twistedkv.client.dialing import connect
from twistedkv.client.lanes import Link
from twistedkv.client.links import Connect, Disconnect
from twistedkv.client.operations import Operation, Waiter
from twistedkv.client.routing import Router
from twistedkv.core.handshake import make_hello
from twistedkv.errors import Unavailable
from twistedkv.limits import DEADLINE_SECONDS
from twistedkv.messages.hello import HelloReply, Role
from twistedkv.net.framed import Connection, HelloRefused
from twistedkv.wire.frames import Frame

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

log = Logger()
T = TypeVar("T")

CLIENT_ID_BYTES = 16


class _LinkSession:
    """One connection of a link."""

    __slots__ = ("_link", "_rim")

    def __init__(self, rim: Rim, link: Link) -> None:
        self._rim = rim
        self._link = link

    def frames_received(self, frames: list[Frame]) -> None:
        self._rim.link_received(self._link, frames)

    def connection_lost(self, reason: str) -> None:
        self._rim.link_ended(self, self._link, reason)


class Rim:
    """Everything of a client but the methods for its users."""

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
        self._paused_by = 0
        """Version of the newest map when the last of them began."""
        self.router.start(self.seconds())
        self._react()

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

    # Operations.

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
        """Fires after so many seconds, or with the next map: whatever was waited for may be so by then.

        Fails with Unavailable when the client is closed.
        """
        pause: Deferred[None] = Deferred(lambda pause: self._pauses.pop(pause, None))
        if self.router.closed:
            pause.errback(Unavailable("the client was closed"))
            return pause
        self._pauses[pause] = None
        self._paused_by = self.router.map.version
        self.router.at(self.seconds() + seconds, lambda _: self._pause_over(pause))
        self._react()
        return pause

    def flush(self) -> None:
        """Write what has been collected now instead of in the next turn: for a caller that has nothing to add."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flush()

    # Within.

    def _pause_over(self, pause: Deferred[None]) -> None:
        if pause in self._pauses:
            del self._pauses[pause]
            self.router.finished.append((pause, True, None))

    def _react(self) -> None:
        """Do what the router wants done. Callers are told last, because they may call back."""
        if self._reacting:
            return
        router = self.router
        if self._pauses and router.map.version != self._paused_by:
            for pause in list(self._pauses):
                self._pause_over(pause)
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
        dialing = connect(self._reactor, link.host, link.port, hello, make_session)
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

    def link_received(self, link: Link, frames: list[Frame]) -> None:
        """Frames have come over a link."""
        try:
            self.router.frames_received(link, frames, self._reactor.seconds())
        finally:
            self._react()

    def link_ended(self, session: _LinkSession, link: Link, reason: str) -> None:
        """A link's connection has ended."""
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
