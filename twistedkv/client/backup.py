"""The requests of a backup, to a shard's primary (`twistedkv.core.backup`). Whole backups are in `twistedkv.backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from twistedkv.client.operations import Operation
from twistedkv.errors import InvalidRequest
from twistedkv.limits import SLOTS
from twistedkv.messages.client import BackupRequest
from twistedkv.wire.client import FAMILY

if TYPE_CHECKING:
    from twistedkv.client.rim import Rim


def ask(client: Rim, request: BackupRequest, deadline: float) -> Deferred[Any]:
    """Send a request to the primary of its slot's shard. Fails with Lapsed when the shard has to be begun again."""
    slot = request.slot
    if not 0 <= slot < SLOTS:
        raise InvalidRequest(f"a slot is 0 to {SLOTS - 1}, not {slot}")
    answer: Deferred[Any] = Deferred(lambda _: client.cancel(operation))
    operation = Operation(FAMILY.types[type(request)], b"", slot, deadline, answer, request)
    client.begin(operation)
    return answer
