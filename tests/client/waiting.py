"""Waiting for Deferreds, in a network that is moved by hand."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.support.transport import MemoryNetwork

ADDRESS = "127.0.0.1:7400"


class Outcome:
    """Of a Deferred."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.values: list[Any] = []
        deferred.addBoth(self._ended)

    def _ended(self, value: Any) -> None:
        self.values.append(value.value if isinstance(value, Failure) else value)

    @property
    def value(self) -> Any:
        """The result, or the exception."""
        [value] = self.values
        return value


def done(network: MemoryNetwork, deferred: Deferred[Any], seconds: float = 0) -> Any:
    """The end of a call, after so much time."""
    outcome = Outcome(deferred)
    network.pump_seconds(seconds)
    return outcome.value
