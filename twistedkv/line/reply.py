"""The place of one reply among those of its conversation."""

from __future__ import annotations

from typing import Protocol

from twistedkv.client.lanes import Lane
from twistedkv.line.failures import reply_of
from twistedkv.resp.replies import OK


class Settling(Protocol):
    """Whoever waits for replies."""

    def answered(self, reply: Reply) -> None:
        """This one is there."""


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
        self.conversation.answered(self)

    def errback(self, fail: Exception) -> None:
        """It was not executed, or that is not known."""
        self.data = reply_of(fail)
        self.conversation.answered(self)


class RunReply(Reply):
    """The same for SETs in a row, which may be of several shards. Each shard's part is told when it has ended."""

    __slots__ = ("_failed", "_lanes", "_parts")

    def __init__(self, conversation: Settling, argv: list[bytes], since: float) -> None:
        super().__init__(conversation, argv, since)
        self._lanes: list[Lane] = []
        self._parts = 0
        self._failed: dict[Lane, bytes] = {}

    def begin(self, lanes: list[Lane], parts: int) -> None:
        """These are the lanes of the commands; so many differ."""
        self._lanes = lanes
        self._parts = parts

    def part(self, lane: Lane, error: bytes) -> None:
        """The commands of one lane have been executed, or all have this reply."""
        if error:
            self._failed[lane] = error
        self._parts -= 1
        if not self._parts:
            failed = self._failed
            lanes = self._lanes
            self.data = b"".join([failed.get(lane, OK) for lane in lanes]) if failed else OK * len(lanes)
            self.conversation.answered(self)
