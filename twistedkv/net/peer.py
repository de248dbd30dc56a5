"""PEER connections: replication from a primary's server (which dials) to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twistedkv.clustermap import Member
from twistedkv.core.turn import PeerMessage
from twistedkv.errors import ProtocolError
from twistedkv.messages.peer import BeginFill, Configure, RefusedSection, Replicate
from twistedkv.net.failstop import fail_stop
from twistedkv.watermarks import Level
from twistedkv.wire.frames import Frame, encode_frame
from twistedkv.wire.peer import (
    ACK,
    FAMILY,
    REPLICATE,
    decode_ack,
    decode_replicate,
    encode_ack,
    encode_replicate,
)

if TYPE_CHECKING:
    from twistedkv.messages.hello import Hello
    from twistedkv.net.framed import Connection
    from twistedkv.service.server import ServerService


class PeerSender:
    """The primary's end."""

    def __init__(self, connection: Connection, member: Member, server: ServerService) -> None:
        self.connection = connection
        self.member = member
        self._server = server

    def send(self, messages: list[PeerMessage]) -> None:
        """Write the messages of one turn, at once."""
        parts = []
        for message in messages:
            if isinstance(message, Replicate):
                parts.append(encode_frame(REPLICATE, encode_replicate(message)))
            else:
                parts.append(encode_frame(*FAMILY.encode(message)))
        self.connection.send_bytes(b"".join(parts))

    @fail_stop
    def frames_received(self, frames: list[Frame]) -> None:
        """Acknowledgements."""
        core = self._server.core
        assert core is not None
        now = self._server.now()
        for message_type, _, _, body in frames:
            if message_type != ACK:
                raise ProtocolError(f"expected ACK on this connection, got type 0x{message_type:02x}")
            core.acknowledged(self.member, decode_ack(body), now)
        self._server.end_turn_soon()

    def connection_lost(self, reason: str) -> None:
        """Tell the server, which dials again if it still needs the peer."""
        self._server.links.peer_lost(self)


class PeerReceiver:
    """The other copies' end."""

    def __init__(self, connection: Connection, hello: Hello, server: ServerService) -> None:
        self.connection = connection
        self.member = Member(hello.server_id, hello.identity)
        self._server = server
        server.links.receiver_connected(self)

    @fail_stop
    def frames_received(self, frames: list[Frame]) -> None:
        """Apply all frames that one read brought, then acknowledge them at once."""
        core = self._server.core
        if core is None:
            self.connection.abort()
            return
        now = self._server.now()
        refused: list[RefusedSection] = []
        number, level = 0, Level.OK
        for message_type, _, _, body in frames:
            if message_type == REPLICATE:
                ack = core.replicate(decode_replicate(body), now)
                number, level = ack.number, ack.level
                refused += ack.refused
                continue
            message = FAMILY.decode(message_type, body)
            if isinstance(message, Configure):
                core.configured(message, now)
            elif isinstance(message, BeginFill):
                core.begin_fill(message)
            else:
                raise ProtocolError(f"type 0x{message_type:02x} does not belong on a PEER connection")
        if number:
            self.connection.send(ACK, encode_ack(number, refused, level))
        if not core.outbox.empty:
            self._server.end_turn_soon()

    def connection_lost(self, reason: str) -> None:
        """Nothing depends on it."""
        self._server.links.receiver_lost(self)
