"""A server's outgoing connections: to each peer it replicates to, and one for each fill that it sends."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.clustermap import Member
from twistedkv.core.handshake import make_hello
from twistedkv.core.transfer import FillSource
from twistedkv.limits import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN
from twistedkv.messages.hello import HelloReply, Role
from twistedkv.net.framed import Connection, HelloRefused, Session, dial
from twistedkv.net.peer import PeerReceiver, PeerSender
from twistedkv.net.streaming import FillSender, Pace

if TYPE_CHECKING:
    from twistedkv.service.server import ServerService

log = Logger()


class _Attempt:
    """Dialing one address until it works or is not wanted any more."""

    def __init__(self) -> None:
        self.dialing: Deferred[Connection] | None = None
        self.retry: IDelayedCall | None = None
        self.failures = 0

    def cancel(self) -> None:
        if self.retry is not None and self.retry.active():
            self.retry.cancel()
        if self.dialing is not None:
            self.dialing.cancel()


class Links:
    """Keeps the connections that the core wants."""

    def __init__(self, server: ServerService) -> None:
        self._server = server
        self._peers: dict[Member, PeerSender] = {}
        self._fills: dict[FillSource, FillSender] = {}
        self.pace = Pace()
        """Of all of them."""
        self._attempts: dict[Hashable, _Attempt] = {}
        self._receivers: dict[Member, PeerReceiver] = {}
        self._stopped = False

    def sender(self, member: Member) -> PeerSender | None:
        """The connection to a peer, if there is one."""
        return self._peers.get(member)

    def adjust(self) -> None:
        """Open what is missing, close what is not needed any more."""
        core = self._server.core
        if core is None or self._stopped:
            return
        peers = core.wanted_peers()
        for member in peers:
            if member not in self._peers:
                self._dial_peer(member)
        for member in [member for member in self._peers if member not in peers]:
            self._peers.pop(member).connection.close()
            core.peer_lost(member)
        wanted = dict.fromkeys(core.wanted_fills())
        for source in [source for source in self._fills if source not in wanted]:
            self._fills.pop(source).close()  # its other end may be gone without a word
        for source in wanted:
            if source not in self._fills:
                self._dial_fill(source)
        keys: set[Hashable] = {("peer", member) for member in peers} | {("fill", source) for source in wanted}
        for key in [key for key in self._attempts if key not in keys]:
            self._attempts.pop(key).cancel()

    def stop(self) -> None:
        """Close everything."""
        self._stopped = True
        for attempt in self._attempts.values():
            attempt.cancel()
        self._attempts.clear()
        connections = [sender.connection for sender in self._peers.values()]
        connections += [sender.connection for sender in self._fills.values()]
        for connection in connections:
            connection.close()

    # Peers.

    def _dial_peer(self, member: Member) -> None:
        def connected(connection: Connection, reply: HelloReply) -> Session:
            self._check_identity(reply, member)
            sender = self._peers[member] = PeerSender(connection, member, self._server)
            return sender

        def ready() -> None:
            core = self._server.core
            if core is not None:
                core.peer_connected(member)
                self._server.end_turn_soon()

        self._dial(("peer", member), member, Role.PEER, connected, ready)

    def peer_lost(self, sender: PeerSender) -> None:
        """A connection to a peer is gone."""
        if self._peers.get(sender.member) is sender:
            del self._peers[sender.member]
            if self._server.core is not None:
                self._server.core.peer_lost(sender.member)
            self.adjust()

    def receiver_connected(self, receiver: PeerReceiver) -> None:
        """A primary's server has connected: its older connection, if there is one, is dead."""
        older = self._receivers.get(receiver.member)
        if older is not None:
            older.connection.abort()
        self._receivers[receiver.member] = receiver

    def say_heard(self) -> None:
        """Tell primaries what has come of what waits for the disk."""
        for receiver in self._receivers.values():
            receiver.say_heard()

    def receiver_lost(self, receiver: PeerReceiver) -> None:
        """A primary's connection is gone."""
        if self._receivers.get(receiver.member) is receiver:
            del self._receivers[receiver.member]

    # Fills.

    def _dial_fill(self, source: FillSource) -> None:
        member = source.follower.member

        def connected(connection: Connection, reply: HelloReply) -> Session:
            self._check_identity(reply, member)
            sender = self._fills[source] = FillSender(connection, source, self._server)
            return sender

        self._dial(("fill", source), member, Role.TRANSFER, connected, lambda: None)

    def fill_lost(self, sender: FillSender) -> None:
        """A fill's connection is gone, because it ended or because it broke."""
        if self._fills.get(sender.source) is sender:
            del self._fills[sender.source]
            self.adjust()

    # Both.

    def _check_identity(self, reply: HelloReply, member: Member) -> None:
        if reply.identity != member.store_id:
            raise HelloRefused(f"server {member.server_id} at this address has other data than the map says")

    def _jitter(self) -> float:
        return self._server.random.uniform(0.5, 1.0)

    def _dial(
        self,
        key: Hashable,
        member: Member,
        role: Role,
        connected: Callable[[Connection, HelloReply], Session],
        ready: Callable[[], None],
    ) -> None:
        core = self._server.core
        assert core is not None
        attempt = self._attempts.setdefault(key, _Attempt())
        if attempt.dialing is not None or (attempt.retry is not None and attempt.retry.active()):
            return
        address = core.map.server_of(member)
        if address is None:
            return
        hello = make_hello(role, core.map.cluster, core.me.server_id, core.me.store_id)
        dialing = attempt.dialing = dial(self._server.reactor, address.host, address.port, hello, connected)

        def done(_: Any) -> None:
            attempt.dialing = None
            self._attempts.pop(key, None)
            ready()

        def failed(failure: Failure) -> None:
            attempt.dialing = None
            if self._attempts.get(key) is not attempt or self._stopped:
                return
            attempt.failures += 1
            pause = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2**attempt.failures) * self._jitter()
            log.debug("no connection to {address}: {error}", address=address.address, error=failure.getErrorMessage())
            attempt.retry = self._server.reactor.callLater(pause, self.adjust)

        dialing.addCallbacks(done, failed)
