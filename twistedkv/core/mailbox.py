"""Where answers go: the core's view of a client's connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twistedkv.errors import DamagedRecord, Status
from twistedkv.wire.client import result_frame

_SUCCESS = int(Status.SUCCESS)


class Mailbox:
    """The answers of one turn to one client, until the rim joins and writes them.

    What is made of a result is the mailbox's: here the frame of a RESULT, on the line port a reply.
    """

    __slots__ = ("client", "flush", "open", "parts", "size")

    parts: list[Any]

    def __init__(self, client: bytes, flush: Callable[[], None]) -> None:
        self.client = client
        """Client id, 16 bytes."""
        self.flush = flush
        """The rim's: called at the end of a turn in which there were answers."""
        self.parts = []
        self.size = 0
        """Bytes in `parts`."""
        self.open = True
        """False once the connection is gone: its parked requests are dropped, unexecuted."""

    def add(self, request_id: int, answer: Any) -> None:
        """Keep an answer that `result` has made, or for a binary client any frame."""
        self.parts.append(answer)
        self.size += len(answer)

    def result(self, request_id: int, status: int, version: int = 0, value: bytes = b"") -> Any:
        """The answer that says so."""
        return result_frame(request_id, status, version, value)

    def executed(self, request_id: int, version: int, reply: bytes, parts: list[bytes] | None) -> Any:
        """The answer to commands; `parts` are the replies of a batch, which `reply` is the list of."""
        return self.result(request_id, _SUCCESS, version, reply)

    def take(self) -> bytes:
        """All answers, joined. The mailbox is empty afterwards."""
        data = b"".join(self.parts)
        self.parts.clear()
        self.size = 0
        return data


class Outbox:
    """What the state machines of a server want to be said in this turn. The rim empties it (`ServerCore.flush`)."""

    __slots__ = ("began_to_serve", "damaged", "dirty", "mailboxes", "to_coordinator", "unstable")

    def __init__(self) -> None:
        self.mailboxes: list[Mailbox] = []
        """Those with answers, each once."""
        self.dirty: dict[int, None] = {}
        """Shards with something to replicate, or whose followers have to be told something."""
        self.unstable: dict[int, None] = {}
        """Shards with something in this turn that a durable store has yet to store."""
        self.damaged: list[DamagedRecord] = []
        """What was met of damaged records since the last tick."""
        self.to_coordinator: list[tuple[object, int]] = []
        """(message, request id that it answers, or 0)."""
        self.began_to_serve = False
        """A replica serves since this turn: the coordinator waits for that, and should not until the next beat."""

    @property
    def empty(self) -> bool:
        """Whether nothing is to be said."""
        return not (self.dirty or self.mailboxes or self.to_coordinator or self.began_to_serve or self.unstable)

    def answer(self, mailbox: Mailbox, request_id: int, answer: Any) -> None:
        """Send a client what its mailbox has made of a result, in the order of the calls."""
        if not mailbox.parts:
            self.mailboxes.append(mailbox)
        mailbox.add(request_id, answer)

    def tell(self, message: object, request_id: int = 0) -> None:
        """Send a message to the coordinator."""
        self.to_coordinator.append((message, request_id))
