"""TRANSFER connections: a shard's records from its primary's server (which dials) to a learner's.

A producer on its transport: chunks are made when the transport has room, when the learner's acknowledgements leave a
place in the window, and when clients leave time: after a chunk that took t seconds to make, clients that were active in
the meantime get FILL_CLIENT_SHARE times t before the next one. All fills of a server share its time (`Pace`): with one
pace for each, many fills together would leave nothing to the clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall, IPushProducer
from zope.interface import implementer

from twistedkv.core.transfer import FillSource
from twistedkv.errors import DamagedRecord, ProtocolError
from twistedkv.messages.peer import FillChunk, FillEnd, FillSessions
from twistedkv.net.failstop import fail_stop
from twistedkv.wire.frames import Frame, encode_frame
from twistedkv.wire.peer import FAMILY, FILL_ACK

if TYPE_CHECKING:
    from twistedkv.messages.hello import Hello
    from twistedkv.net.framed import Connection
    from twistedkv.service.server import ServerService

FILL_CLIENT_SHARE = 4.0
MENDED_SECONDS = 0.5
"""A record that is damaged here may be mended from another copy by then."""


class Pace:
    """When a server's fills may make their next chunk."""

    def __init__(self) -> None:
        self._free_at = 0.0
        self._served = 0

    def wait(self, now: float) -> float:
        """Seconds until then."""
        return max(0.0, self._free_at - now)

    def made(self, began: float, now: float, served: int) -> None:
        """A chunk was made. `served` grows with each turn in which clients were answered."""
        busy, self._served = served != self._served, served
        self._free_at = now + (now - began) * FILL_CLIENT_SHARE if busy else now


@implementer(IPushProducer)
class FillSender:
    """The primary's end of one fill."""

    def __init__(self, connection: Connection, source: FillSource, server: ServerService) -> None:
        self.connection = connection
        self.source = source
        self._server = server
        self._paused = False
        self._call: IDelayedCall | None = None
        connection.transport.registerProducer(self, True)
        self._pump_after(0.0)

    @fail_stop
    def frames_received(self, frames: list[Frame]) -> None:
        """Acknowledgements of chunks."""
        now = self._server.now()
        for message_type, _, _, body in frames:
            if message_type != FILL_ACK:
                raise ProtocolError(f"expected FILL_ACK on this connection, got type 0x{message_type:02x}")
            self.source.acknowledged(FAMILY.decode(message_type, body), now)
        self._server.end_turn_soon()
        if self.source.ended or not self.source.current:
            self.close()
        elif self._call is None:
            self._pump_after(0.0)

    def close(self) -> None:
        """The fill has ended, or is no longer wanted."""
        if not self.connection.closed:
            self.connection.transport.unregisterProducer()
            self.connection.close()

    def connection_lost(self, reason: str) -> None:
        """Go on over another connection, if the fill is still wanted."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if not self.source.ended:
            self.source.connection_lost()
        self._server.links.fill_lost(self)

    def _pump_after(self, seconds: float) -> None:
        self._call = self._server.reactor.callLater(seconds, self._pump)

    @fail_stop
    def _pump(self) -> None:
        self._call = None
        if self._paused or self.connection.closed:
            return
        if not self.source.current:
            self.close()
            return
        pace = self._server.links.pace
        began = self._server.now()
        wait = pace.wait(began)
        if wait:
            self._pump_after(wait)
            return
        try:
            message = self.source.next_message()
        except DamagedRecord as error:
            self._server.core.scrub.damaged(error)  # type: ignore[union-attr]
            self._pump_after(MENDED_SECONDS)
            return
        if message is None:
            return  # the next acknowledgement goes on
        self.connection.send_bytes(encode_frame(*FAMILY.encode(message)))
        now = self._server.now()
        pace.made(began, now, self._server.served)
        if self._call is None:
            self._pump_after(pace.wait(now))

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._call is None and not self.connection.closed:
            self._pump_after(0.0)

    def stopProducing(self) -> None:
        self._paused = True


class FillReceiver:
    """The learner's end."""

    def __init__(self, connection: Connection, hello: Hello, server: ServerService) -> None:
        self._connection = connection
        self._server = server

    @fail_stop
    def frames_received(self, frames: list[Frame]) -> None:
        """Store chunks, and acknowledge them once they may be relied on: each for itself, since fills may share a
        connection.
        """
        core = self._server.core
        if core is None:
            self._connection.abort()
            return
        acks = []
        for message_type, _, _, body in frames:
            message = FAMILY.decode(message_type, body)
            if not isinstance(message, FillChunk | FillSessions | FillEnd):
                raise ProtocolError(f"type 0x{message_type:02x} does not belong on a TRANSFER connection")
            acks.append(encode_frame(*FAMILY.encode(core.fill_received(message))))
        self._server.when_stable(lambda: self._send(b"".join(acks)))

    def _send(self, acks: bytes) -> None:
        if not self._connection.closed:
            self._connection.send_bytes(acks)

    def connection_lost(self, reason: str) -> None:
        """Nothing depends on it."""
