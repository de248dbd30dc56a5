"""A client's connection, on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from twistedkv.core.mailbox import Mailbox
from twistedkv.net.failstop import fail_stop
from twistedkv.wire.frames import Frame

if TYPE_CHECKING:
    from twistedkv.messages.hello import Hello
    from twistedkv.net.framed import Connection
    from twistedkv.service.server import ServerService


@implementer(IPushProducer)
class ClientSession:
    """Requests in, answers out, and neither faster than the other side takes them.

    Reading stops while the client does not read its answers (the transport says so, since this is its producer), and
    while replication is pressed (the server says so).
    """

    def __init__(self, connection: Connection, hello: Hello, server: ServerService) -> None:
        self.mailbox = Mailbox(hello.identity, self.flush)
        self._connection = connection
        self._server = server
        self._backlog: list[Frame] = []
        """Requests that are read but not executed, because the answers before them are too large."""
        self._full = False
        """The client does not read."""
        self._pressed = False
        """The peers do not keep up."""
        connection.transport.registerProducer(self, True)
        server.client_connected(self)

    def frames_received(self, frames: list[Frame]) -> None:
        """Execute, or keep for later."""
        if self._backlog or self._full:
            self._backlog += frames
        else:
            self._execute(frames)

    @fail_stop
    def _execute(self, frames: list[Frame]) -> None:
        core = self._server.core
        if core is None:
            self._connection.abort()
            return
        done = core.requests(self.mailbox, frames)
        self._backlog = frames[done:] if done < len(frames) else []
        self._server.end_turn_soon()

    def flush(self) -> None:
        """Write the answers of this turn."""
        self._connection.send_bytes(self.mailbox.take())
        if self._backlog and not self._full:
            self._execute(self._backlog)

    def close(self, *, at_once: bool) -> None:
        """End the connection: `at_once` when the same client has made a newer one, else after the last answer."""
        if at_once:
            self.connection_lost("")
            self._connection.abort()
        else:
            self._connection.transport.unregisterProducer()
            self._connection.close()

    def connection_lost(self, reason: str) -> None:
        """What this client has parked is dropped, unexecuted."""
        self.mailbox.open = False
        self._backlog.clear()
        self._server.client_lost(self)

    # Back-pressure.

    def press(self, pressed: bool) -> None:
        """The peers do not keep up, or do again."""
        if pressed != self._pressed:
            self._pressed = pressed
            self._read_or_not()

    def pauseProducing(self) -> None:
        self._full = True
        self._read_or_not()

    def resumeProducing(self) -> None:
        self._full = False
        if self._backlog:
            self._execute(self._backlog)
        self._read_or_not()

    def stopProducing(self) -> None:
        self.mailbox.open = False

    def _read_or_not(self) -> None:
        if self._connection.closed:
            return
        if self._full or self._pressed:
            self._connection.transport.pauseProducing()
        else:
            self._connection.transport.resumeProducing()
