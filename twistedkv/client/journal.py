"""Commands to the coordinator, and following its journal of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twistedkv.client.operations import Operation
from twistedkv.client.results import Unreachable
from twistedkv.client.routing import FOLLOW
from twistedkv.errors import (
    InvalidRequest,
    NotDone,
    OperationError,
    OutcomeUnknown,
    Status,
)
from twistedkv.limits import JSON_BYTES_MAX
from twistedkv.messages.client import Result
from twistedkv.messages.coordinator import AdminReply, AdminRequest
from twistedkv.wire.coordinator import FAMILY

if TYPE_CHECKING:
    from twistedkv.client.rim import Rim

log = Logger()

READ_ONLY = frozenset(("status", "map", "journal"))
"""Commands that change nothing: they are given again when the connection was lost before the answer."""


def _encode(command: str, arguments: Mapping[str, Any]) -> tuple[int, bytes]:
    try:
        text = json.dumps({"command": command, **arguments}).encode()
    except (TypeError, ValueError) as wrong:
        raise InvalidRequest(f"the arguments of {command!r} cannot be written as JSON: {wrong}") from wrong
    if len(text) > JSON_BYTES_MAX:
        raise InvalidRequest(f"the arguments of {command!r} have {len(text)} bytes, {JSON_BYTES_MAX} are allowed")
    return FAMILY.encode(AdminRequest(text))


def _decode(command: str, reply: AdminReply | Result) -> dict[str, Any]:
    """The answer. Raises what the coordinator said."""
    status = Status(reply.status) if reply.status in Status.__members__.values() else Status.SERVER_FAILURE
    if isinstance(reply, Result):
        text = reply.value.decode("utf-8", "replace")
        raise NotDone(f"{command!r} was refused: {text or status.name}; is this the coordinator's address?")
    try:
        answer = json.loads(reply.json) if reply.json else {}
    except (ValueError, RecursionError) as wrong:
        raise OperationError(f"the answer to {command!r} is no JSON") from wrong
    if reply.status != Status.SUCCESS:
        said = answer.get("error") if isinstance(answer, dict) else None
        error = OperationError(str(said or f"{command!r} failed"))
        error.status = status
        raise error
    if not isinstance(answer, dict):
        raise OperationError(f"the answer to {command!r} is no JSON object")
    return answer


async def admin(client: Rim, command: str, arguments: Mapping[str, Any], deadline: float) -> dict[str, Any]:
    """See Client.admin."""
    message = _encode(command, arguments)
    while True:
        try:
            return _decode(command, await _give(client, message, deadline))
        except Unreachable as lost:
            if command not in READ_ONLY:
                text = f"{command!r} was given to the coordinator, and then {lost}; see `twistedkv status`"
                raise OutcomeUnknown(text) from lost


def _events(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What an answer to `journal` holds. Raises OperationError."""
    events = answer.get("events", [])
    if not isinstance(events, list) or not all(
        isinstance(event, dict) and isinstance(event.get("number", 0), int) for event in events
    ):
        raise OperationError("the answer to 'journal' holds no events")
    return events


def _give(client: Rim, message: tuple[int, bytes], deadline: float) -> Deferred[Any]:
    answer: Deferred[Any] = Deferred(lambda _: client.cancel(operation))
    operation = Operation(message[0], b"", -1, deadline, answer, message)
    client.begin_to(operation, None)
    return answer


class Following:
    """Receives the events of the coordinator's journal, one by one, until `stop`."""

    def __init__(self, client: Rim, callback: Callable[[dict[str, Any]], object], after: int) -> None:
        self.after = after
        """Number of the newest event received."""
        self.done: Deferred[None] = Deferred(lambda _: self.stop())
        """Fires after `stop`; fails when the coordinator refuses."""
        self._client = client
        self._callback = callback
        self._operation: Operation | None = None
        self._ask()

    def stop(self) -> None:
        """Receive no more."""
        operation, self._operation = self._operation, None
        if operation is not None:
            self._client.cancel(operation)
            if not self.done.called:
                self.done.callback(None)

    def _ask(self) -> None:
        message = _encode("journal", {"after": self.after, "follow": True})
        self._operation = Operation(message[0], b"", -1, inf, self, message, FOLLOW)
        self._client.begin_to(self._operation, None)

    # As the waiter of an operation that is answered again and again.

    def callback(self, reply: AdminReply | Result) -> None:
        """Some events, or a refusal."""
        if self._operation is None:
            return
        try:
            events = _events(_decode("journal", reply))
        except OperationError as error:
            self._fail(error)
            return
        for event in events:
            if self._operation is None:
                return
            self.after = max(self.after, event.get("number", 0))
            try:
                self._callback(event)
            except Exception:
                log.failure("the callback of a followed journal failed")

    def errback(self, fail: Exception) -> None:
        """The connection was lost, or the client closed."""
        if self._operation is None:
            return
        if isinstance(fail, Unreachable):
            self._ask()
        else:
            self._fail(fail)

    def _fail(self, error: Exception) -> None:
        self._operation = None
        self.done.errback(error)
