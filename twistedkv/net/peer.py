"""PEER connections: replication from a primary's server (which dials) to another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twistedkv.clustermap import Member
from twistedkv.core.turn import PeerMessage
from twistedkv.errors import ProtocolError
from twistedkv.messages.peer import BeginFill, Configure, RefusedSection, Replicate, SlotQuery
from twistedkv.net.failstop import fail_stop
from twistedkv.watermarks import Level
from twistedkv.wire.frames import Frame, encode_frame
from twistedkv.wire.peer import (
    ACK,
    FAMILY,
    REPLICATE,
    SLOT_STATE,
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
            if message_type == ACK:
                core.acknowledged(self.member, decode_ack(body), now)
                continue
            if message_type != SLOT_STATE:
                raise ProtocolError(f"expected ACK on this connection, got type 0x{message_type:02x}")
            core.scrub.answered(self.member, FAMILY.decode(message_type, body))
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
        self._number = self._heard = self._said = 0
        """Of frames: up to which all may be relied on, have come, and were said to have come."""
        self._level = Level.OK
        server.links.receiver_connected(self)

    @fail_stop
    def frames_received(self, frames: list[Frame]) -> None:
        """Apply all frames that one read brought, and acknowledge them as soon as they may be relied on."""
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
            elif isinstance(message, SlotQuery):
                self.connection.send(*FAMILY.encode(core.scrub.answer(message)))
            else:
                raise ProtocolError(f"type 0x{message_type:02x} does not belong on a PEER connection")
        if number:
            if self._server.stable:
                self._number = self._heard = self._said = number
                self.connection.send(ACK, encode_ack(number, number, refused, level))
            else:
                self._heard, self._level = number, level
                self._server.when_stable(partial(self._stable, number))
                if refused:
                    self._acknowledge(refused)
        if not core.outbox.empty:
            self._server.end_turn_soon()

    def _stable(self, number: int) -> None:
        """All frames up to this one may be relied on."""
        self._number = number
        self._acknowledge([])

    def say_heard(self) -> None:
        """Say which frames have come, if they still wait for the disk: the lease does not depend on that."""
        if self._said != self._heard:
            self._acknowledge([])

    def _acknowledge(self, refused: list[RefusedSection]) -> None:
        if not self.connection.closed:
            self._said = self._heard
            self.connection.send(ACK, encode_ack(self._number, self._heard, refused, self._level))

    def connection_lost(self, reason: str) -> None:
        """Nothing depends on it."""
        self._server.links.receiver_lost(self)
