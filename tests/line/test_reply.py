"""A reply's place: it is told once, with whatever came of the command."""

from __future__ import annotations

from twistedkv.errors import OutcomeUnknown
from twistedkv.line.reply import Reply


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def answered(self, reply: Reply) -> None:
        self.told.append(reply.data)


def test_a_result_and_a_failure_are_replies() -> None:
    listener = Listener()
    Reply(listener, [b"PING"], 0.0).callback(b"+PONG\r\n")
    Reply(listener, [], 0.0).errback(OutcomeUnknown("lost"))
    assert listener.told[0] == b"+PONG\r\n"
    assert listener.told[1].startswith(b"-UNKNOWN ")
