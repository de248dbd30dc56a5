"""What the methods of the clients return, and the errors that only a client can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from twistedkv.errors import OperationError, Unavailable

__all__ = ["CopyCheck", "Incremented", "PartialFailure", "Unreachable", "Value"]


class Value(NamedTuple):
    """What a key holds. A named tuple, because one is made for every GET."""

    value: bytes
    version: int
    """Of the write that stored it; to be given to `cas`."""


class Incremented(NamedTuple):
    """What INCR made of a key."""

    value: int
    version: int


class CopyCheck(NamedTuple):
    """What one copy holds for a key, committed or not, compared with what the caller expects."""

    server: int
    role: str
    """`primary` or `secondary`, as the cluster map says when all copies have answered."""
    matches: bool
    value: bytes | None
    version: int
    """0 when the copy does not have the key."""


class PartialFailure(OperationError):
    """An operation on many keys was not done for some of them.

    `done` has the results of the others; `failed` the error for each key: NotDone or OutcomeUnknown, and their kinds.
    """

    def __init__(self, message: str, done: Mapping[bytes, Any], failed: Mapping[bytes, Exception]) -> None:
        super().__init__(message)
        self.done = done
        self.failed = failed


class Unreachable(Unavailable):
    """One attempt to ask a certain server has failed. Used within the client, which tries again."""
