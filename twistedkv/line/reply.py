"""The place of one reply among those of its conversation."""

from __future__ import annotations

from typing import Protocol

from twistedkv.line.failures import reply_of


class Settling(Protocol):
    """Whoever waits for replies."""

    def settled(self, replies: list[Reply]) -> None:
        """These are there."""


class Reply:
    """A `Waiter` for one command."""

    __slots__ = ("argv", "conversation", "data", "forwarded", "since")

    def __init__(self, conversation: Settling, argv: list[bytes], since: float) -> None:
        self.conversation = conversation
        self.argv = argv
        """Empty if nobody has to know how long it took."""
        self.since = since
        self.data = b""
        """Empty until it is there."""
        self.forwarded = False
        """It has values in it, and comes from another server."""

    def callback(self, result: bytes) -> None:
        """The command was executed, or has failed in a way that its reply says."""
        self.data = result
        self.conversation.settled([self])

    def errback(self, fail: Exception) -> None:
        """It was not executed, or that is not known."""
        self.data = reply_of(fail)
        self.conversation.settled([self])
