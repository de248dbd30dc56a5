"""Where the core puts the results of what is executed for the line clients of its own server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twistedkv.core.mailbox import Mailbox
from twistedkv.errors import Status

_SUCCESS = int(Status.SUCCESS)


class LocalBox(Mailbox):
    """Results of what is executed here, by the number under which its operation waits.

    `size` counts them from when they are made: some wait for a write before them to be on all copies.
    """

    def __init__(self, client: bytes, flush: Callable[[], None]) -> None:
        super().__init__(client, flush)
        self._sizes: dict[int, int] = {}

    def add(self, request_id: int, answer: Any) -> None:
        self.parts.append((request_id, answer))

    def result(self, request_id: int, status: int, version: int = 0, value: bytes = b"") -> Any:
        self.ended(request_id)
        self._sizes[request_id] = len(value)
        self.size += len(value)
        return status, version, value

    def executed(self, request_id: int, version: int, reply: bytes, parts: list[bytes] | None) -> Any:
        answer = self.result(request_id, _SUCCESS, version, reply)
        return answer if parts is None else (_SUCCESS, version, parts)

    def ended(self, request_id: int) -> None:
        """The result is of no use any more, or has been taken."""
        self.size -= self._sizes.pop(request_id, 0)
