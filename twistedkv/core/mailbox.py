"""Where answers go: the core's view of a client's connection."""

from __future__ import annotations


class Mailbox:
    """The answers of one turn to one client, until the rim joins and writes them."""

    __slots__ = ("client", "open", "parts", "size")

    def __init__(self, client: bytes) -> None:
        self.client = client
        """Client id, 16 bytes."""
        self.parts: list[bytes] = []
        self.size = 0
        """Bytes in `parts`."""
        self.open = True
        """False once the connection is gone: its parked requests are dropped, unexecuted."""

    def take(self) -> bytes:
        """All answers, joined. The mailbox is empty afterwards."""
        data = b"".join(self.parts)
        self.parts.clear()
        self.size = 0
        return data


class Outbox:
    """What the state machines of a server want to be said in this turn. The rim empties it (`ServerCore.flush`)."""

    __slots__ = ("began_to_serve", "dirty", "mailboxes", "to_coordinator")

    def __init__(self) -> None:
        self.mailboxes: list[Mailbox] = []
        """Those with answers, each once."""
        self.dirty: dict[int, None] = {}
        """Shards with something to replicate, or whose followers have to be told something."""
        self.to_coordinator: list[tuple[object, int]] = []
        """(message, request id that it answers, or 0)."""
        self.began_to_serve = False
        """A replica serves since this turn: the coordinator waits for that, and should not until the next beat."""

    def answer(self, mailbox: Mailbox, frame: bytes) -> None:
        """Send a whole frame to a client, in the order of the calls."""
        if not mailbox.parts:
            self.mailboxes.append(mailbox)
        mailbox.parts.append(frame)
        mailbox.size += len(frame)

    def tell(self, message: object, request_id: int = 0) -> None:
        """Send a message to the coordinator."""
        self.to_coordinator.append((message, request_id))
