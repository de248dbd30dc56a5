"""The server daemon: the core, its connections, and the rhythm of turns and heartbeats."""

from __future__ import annotations

import os
import random as random_module
import secrets
import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twistedkv.clustermap import STORE_ID_BYTES, Member
from twistedkv.core.lease import Timing
from twistedkv.core.server import ServerCore
from twistedkv.limits import HEARTBEAT_SECONDS
from twistedkv.messages.hello import Hello, Role
from twistedkv.net.client import ClientSession
from twistedkv.net.failstop import STORAGE_ERRORS
from twistedkv.net.framed import Acceptor, Connection, Session, logged
from twistedkv.net.peer import PeerReceiver
from twistedkv.net.streaming import FillReceiver
from twistedkv.service.config import ServerOptions
from twistedkv.service.links import Links
from twistedkv.service.listening import listen
from twistedkv.service.registration import Registration
from twistedkv.storage.interface import Store
from twistedkv.storage.memory import MemoryStore

log = Logger()

_TICKS_PER_BEAT = 4
_LEAVE_SECONDS = 5.0
_FLUSH_SECONDS = 2.0


def _abort() -> None:
    os._exit(os.EX_IOERR)


def _wall() -> int:
    return time.time_ns() // 1_000_000


class ServerService(MultiService):
    """One server. Starts listening, registers with the coordinator, and then is what the cluster map says.

    A turn: everything that is received in one pass of the reactor changes the core; `end_turn_soon` has the frames and
    answers that follow from it written once, at the end.
    """

    def __init__(
        self,
        reactor: Any,
        options: ServerOptions,
        end_process: Callable[[], None] | None = None,
        *,
        open_store: Callable[[], Store] = MemoryStore,
        abort: Callable[[], None] = _abort,
        store_id: bytes | None = None,
        random: random_module.Random | None = None,
        pid: int | None = None,
        wall: Callable[[], int] = _wall,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.now: Callable[[], float] = reactor.seconds
        """Seconds of the monotonic clock."""
        self.options = options
        self._end_process = reactor.stop if end_process is None else end_process
        self._open_store = open_store
        self._abort = abort
        """End the process without another word."""
        self.server_id = options.server_id
        self.store_id = secrets.token_bytes(STORE_ID_BYTES) if store_id is None else store_id
        """New with each process, because the memory of the one before is gone (I9)."""
        self.random = random_module.Random() if random is None else random
        """For the pauses between attempts to connect."""
        self._wall = wall
        """Milliseconds since 1970: when keys expire."""
        self.pid = os.getpid() if pid is None else pid
        self.core: ServerCore | None = None
        """None until the coordinator has said who we are."""
        self.port = options.port
        self.line_port = 0
        """Where line clients are served; 0: nowhere. Set by a child service when it has begun to listen."""
        self.course_port = 0
        """The same for clients of the original system."""
        self.served = 0
        """Turns in which clients were answered."""
        self.coordinator_ends_us = False
        """The coordinator has ordered our end, so there is nobody to give our roles to."""
        self.links = Links(self)
        self._registration = Registration(self)
        self._clients: dict[bytes, ClientSession] = {}
        self._listening: IListeningPort | None = None
        self._acceptor = Acceptor(
            reactor,
            lambda: (self.core.map.cluster if self.core is not None else "", self.server_id, self.store_id),
            {Role.CLIENT: self._client, Role.PEER: self._peer, Role.TRANSFER: self._transfer},
        )
        self._turn_scheduled = False
        self._pressed = False
        self.before_flush: list[Callable[[], None]] = []
        """Called at the end of each turn, before the core is flushed: whoever has collected something gives it now."""
        self._flush_waiters: list[Deferred[None]] = []
        self._beating = LoopingCall(self._tick)
        self._beating.clock = reactor

    # Life.

    def startService(self) -> None:
        options = self.options
        self._listening = listen(self.reactor, options.host, options.port, "port", self._acceptor)
        self.port = self._listening.getHost().port  # type: ignore[union-attr]
        log.info(
            "server {server} listens on {host}:{port}", server=self.server_id, host=self.options.host, port=self.port
        )
        super().startService()  # type: ignore[no-untyped-call]
        self._beating.start(HEARTBEAT_SECONDS / _TICKS_PER_BEAT)
        self._registration.start()

    @inlineCallbacks
    def stopService(self) -> Any:
        """In order: give the roles away, take no new requests, flush, close."""
        if self._registration.connected and not self.coordinator_ends_us and self.core is not None:
            log.info("giving roles away")
            try:
                answer = yield self._registration.leave(_LEAVE_SECONDS)
                if answer.value:
                    log.warn("{text}", text=answer.value.decode("utf-8", "replace"))
            except Exception as error:
                log.warn("ending without having given the roles away: {error}", error=str(error))
        if self._listening is not None:
            yield self._listening.stopListening()
        core = self.core
        if core is not None:
            core.stop_serving()
            overdue = self.reactor.callLater(_FLUSH_SECONDS, self._give_up_flushing)
            yield self.when_flushed()
            if overdue.active():
                overdue.cancel()
        self._registration.stop()
        self.links.stop()
        yield self._acceptor.close_all()
        if self._beating.running:
            self._beating.stop()
        yield super().stopService()  # type: ignore[no-untyped-call]
        log.info("server {server} has ended", server=self.server_id)

    def end(self) -> None:
        """End the process, in order."""
        self.reactor.callLater(0, self._end_process)

    def storage_failed(self, error: BaseException) -> None:
        """The store did not do what it was told: end before anything more is acknowledged or answered (I15)."""
        log.critical(
            "server {server} ends at once: its store has failed: {error!r}", server=self.server_id, error=error
        )
        self._abort()

    def registered(self, server_id: int, heartbeat_seconds: float) -> None:
        """The coordinator knows us (again)."""
        timing = Timing.of(heartbeat_seconds)
        if self.core is None:
            self.server_id = server_id
            member = Member(server_id, self.store_id)
            store, limits = self._open_store(), self.options.limits
            self.core = ServerCore(member, store, timing, self.reactor.seconds, self._wall, limits)
            log.info("registered as server {server}, store {store}", server=server_id, store=self.store_id.hex())
        else:
            self.core.set_timing(timing)
            log.info("registered again as server {server}", server=server_id)
        self._beating.stop()
        self._beating.start(heartbeat_seconds / _TICKS_PER_BEAT)

    # Connections.

    def _client(self, connection: Connection, hello: Hello) -> Session:
        return ClientSession(connection, hello, self)

    def _peer(self, connection: Connection, hello: Hello) -> Session:
        return PeerReceiver(connection, hello, self)

    def _transfer(self, connection: Connection, hello: Hello) -> Session:
        return FillReceiver(connection, hello, self)

    def client_connected(self, session: ClientSession) -> None:
        """One connection for each client id: what an older one has not yet delivered must not be executed."""
        older = self._clients.get(session.mailbox.client)
        if older is not None:
            older.close(at_once=True)
        self._clients[session.mailbox.client] = session
        if self._pressed:
            session.press(True)

    def client_lost(self, session: ClientSession) -> None:
        """A client's connection is gone."""
        if self._clients.get(session.mailbox.client) is session:
            del self._clients[session.mailbox.client]

    # Turns.

    def when_flushed(self) -> Deferred[None]:
        """Fires when every update made here so far and until then is on every copy, and its client was answered."""
        flushed: Deferred[None] = Deferred()
        self._flush_waiters.append(flushed)
        self.end_turn_soon()
        return flushed

    def _give_up_flushing(self) -> None:
        log.warn("ending although not every update is on every copy: some peer does not answer")
        self._tell_flush_waiters()

    def _tell_flush_waiters(self) -> None:
        waiters, self._flush_waiters = self._flush_waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def end_turn_soon(self) -> None:
        """Something has changed: end the turn after everything that is readable now has been read."""
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self.reactor.callLater(0, self._end_turn)

    def _end_turn(self) -> None:
        self._turn_scheduled = False
        core = self.core
        if core is None:
            return
        try:
            for give in self.before_flush:
                give()
            turn = core.flush(self.now())
        except STORAGE_ERRORS as error:
            self.storage_failed(error)
            return
        for link, messages in turn.frames:
            sender = self.links.sender(link.member)
            if sender is not None:
                sender.send(messages)
        if turn.mailboxes:
            self.served += 1
        for mailbox in turn.mailboxes:
            if mailbox.open:
                mailbox.flush()
            else:
                mailbox.take()
        for message, request_id in turn.to_coordinator:
            self._registration.send(message, request_id)
        if self._flush_waiters and core.flushed:
            self._tell_flush_waiters()
        if core.pressed != self._pressed:
            self._pressed = not self._pressed
            for session in list(self._clients.values()):
                session.press(self._pressed)

    def _tick(self) -> None:
        with logged("the server's tick"):
            self._registration.tick()
            core = self.core
            if core is None:
                return
            try:
                beat = core.tick(self.now())
            except STORAGE_ERRORS as error:
                self.storage_failed(error)
                return
            if beat:
                self._registration.send(core.heartbeat())
            self.links.adjust()
            self._end_turn()
