"""The server daemon: the core, its connections, and the rhythm of turns and heartbeats."""

from __future__ import annotations

import os
import random as random_module
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twistedkv.clustermap import STORE_ID_BYTES, Member
from twistedkv.core.lease import Timing
from twistedkv.core.server import ServerCore
from twistedkv.errors import ConfigurationError, ProtocolError
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
from twistedkv.service.processes import fail_at_end
from twistedkv.service.registration import Registration
from twistedkv.service.writing import Writer, WritingThreads
from twistedkv.storage.disk import Batch, Tail
from twistedkv.storage.durable import DurableStore
from twistedkv.storage.interface import Store
from twistedkv.storage.memory import MemoryStore

log = Logger()

_TICKS_PER_BEAT = 4
_LEAVE_SECONDS = 5.0
_FLUSH_SECONDS = 2.0
SWITCH_SECONDS = 0.0005
"""So long the thread that writes may keep the reactor's from running."""


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
        write: Callable[[Tail | Batch], Deferred[None]] | None = None,
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
        self._refuse = partial(fail_at_end, reactor.stop) if end_process is None else end_process
        """The same of a process that is to say that it has failed."""
        self._open_store = open_store
        self._write = write
        """Of a durable store: has a tail or a batch written elsewhere. None: in a thread."""
        self._abort = abort
        """End the process without another word."""
        self.server_id = options.server_id
        self.store_id = secrets.token_bytes(STORE_ID_BYTES) if store_id is None else store_id
        """New with each process, because the memory of the one before is gone (I9); or that of a durable store."""
        self.random = random_module.Random() if random is None else random
        """For the pauses between attempts to connect."""
        self._wall = wall
        """Milliseconds since 1970: when keys expire."""
        self.pid = os.getpid() if pid is None else pid
        self.core: ServerCore | None = None
        """None until the coordinator has said who we are."""
        self.restored: ServerCore | None = None
        """What a durable store knows of the process before: `core`, once the coordinator has said which times count."""
        self.store: Store | None = None
        self.writer: Writer | None = None
        """Of a durable store."""
        self._threads: WritingThreads | None = None
        self._unstable: deque[tuple[int, Callable[[], None]]] = deque()
        """(batch, what is to be said when it may be relied on)."""
        self._unstored: deque[tuple[int, Callable[[], None]]] = deque()
        """(batch, what is to be said when it is stored)."""
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
        self._open()
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
        if self.writer is not None:
            yield self.writer.stop()
            if self._threads is None:
                self._close_store()
        log.info("server {server} has ended", server=self.server_id)

    def _open(self) -> None:
        """Open the store; of a durable one, go on with what is in it. Ends the program with one sentence when it cannot
        be used."""
        try:
            store = self.store = self._open_store()
            if not isinstance(store, DurableStore):
                return
            self.store_id = store.store_id
            if store.server_id:
                if self.server_id not in (0, store.server_id):
                    raise ConfigurationError(
                        f"id: this is to be server {self.server_id}, but its data-dir has the data of server "
                        f"{store.server_id}: name the directory of server {self.server_id}, or an empty one"
                    )
                self.server_id = store.server_id
                self.restored = self._make_core(Timing.of(HEARTBEAT_SECONDS))
        except ConfigurationError as error:
            raise SystemExit(f"twistedkv: {error}") from None
        except ProtocolError as error:  # intact by its checksum, and of another form
            raise SystemExit(
                f"twistedkv: what this server has kept cannot be read: {error}. Move its directory away: it is then "
                "filled from the other copies"
            ) from None
        write = self._write
        if write is None:
            self._threads = WritingThreads(self.reactor, store.disk)
            self.reactor.addSystemEventTrigger("after", "shutdown", self._close_store)
            sys.setswitchinterval(SWITCH_SECONDS)
            write = self._threads.perform
        interval = self.options.sync_interval if self.options.durability == "interval" else 0.0
        self.writer = Writer(self.reactor, store, write, self.end_turn_soon, self.storage_failed, interval)

    def _close_store(self) -> None:
        """The last thing of all: the thread may still be writing."""
        assert isinstance(self.store, DurableStore)
        if self._threads is not None:
            self._threads.stop()
        self.store.disk.close()

    def _make_core(self, timing: Timing) -> ServerCore:
        assert self.store is not None
        member = Member(self.server_id, self.store_id)
        limits = self.options.limits
        core = ServerCore(member, self.store, timing, self.reactor.seconds, self._wall, limits)
        core.stability.restore()
        return core

    def claim(self, cluster: str, coordinator: bytes) -> None:
        """The store is this server's, of this cluster. Raises ConfigurationError when it is another's."""
        if isinstance(self.store, DurableStore):
            self.store.disk.claim(cluster, coordinator, self.server_id)

    def end(self, *, refused: bool = False) -> None:
        """End the process, in order; if it is `refused`, as one that has failed."""
        self.reactor.callLater(0, self._refuse if refused else self._end_process)

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
            core = self.restored
            if core is None:
                core = self._make_core(timing)
            else:
                core.set_timing(timing)
                core.stability.promise(self.now())
            self.core = core
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

    @property
    def stable(self) -> bool:
        """Whether all that was put into the store so far may be relied on."""
        stable = None if self.core is None else self.core.store.stable
        return stable is None or stable.pending() <= stable.settled()

    def when_stable(self, act: Callable[[], None]) -> None:
        """Do it when all that was put into the store so far may be relied on: at once, if the store is not durable."""
        if self.stable:
            act()
        else:
            assert self.core is not None and self.core.store.stable is not None
            self._unstable.append((self.core.store.stable.pending(), act))
            self.end_turn_soon()

    def when_stored(self, act: Callable[[], None]) -> None:
        """The same, of what must outlive this process however durable everything else is to be."""
        stable = None if self.core is None else self.core.store.stable
        if stable is None or stable.pending() <= stable.stored():
            act()
        else:
            self._unstored.append((stable.pending(), act))
            self.end_turn_soon()

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
        if self.writer is not None:
            self._speak_of_stored()
            self.writer.kick()
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

    def _speak_of_stored(self) -> None:
        """Say what had to wait for the store."""
        assert self.core is not None and self.core.store.stable is not None
        stable = self.core.store.stable
        for waiting, reached in ((self._unstable, stable.settled()), (self._unstored, stable.stored())):
            while waiting and waiting[0][0] <= reached:
                waiting.popleft()[1]()

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
            self.links.say_heard()
            self._end_turn()
