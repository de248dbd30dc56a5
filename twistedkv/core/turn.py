"""What a turn of a server ends with."""

from __future__ import annotations

import attrs

from twistedkv.core.mailbox import Mailbox
from twistedkv.core.progress import PeerLink
from twistedkv.messages.peer import BeginFill, Configure, Replicate, SlotQuery

PeerMessage = Configure | BeginFill | Replicate | SlotQuery


@attrs.define
class Turn:
    """What the rim has to write at the end of a turn."""

    mailboxes: list[Mailbox]
    """Clients with answers; the rim empties each mailbox."""
    frames: list[tuple[PeerLink, list[PeerMessage]]]
    """For each peer its messages, in this order."""
    to_coordinator: list[tuple[object, int]]
    """(message, request id that it answers or 0); a str is the reason why a request failed."""
