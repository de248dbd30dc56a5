"""Where commands are executed: here, if this server is the primary of their keys, else on the server that is.

Both ways are one client of the cluster, with one client id and, for each shard, one row of write numbers. So a write
that was begun here and could not be finished, because this server has lost the shard, is sent to the new primary under
the number that it has, and is executed once.

Order: what goes to one shard is executed in the order in which it came. A command is executed here only when nothing
is on its way, or waits to be sent, to the same shard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twistedkv.client.lanes import Lane, LaneState
from twistedkv.client.operations import BOUNCES, WRITES, Operation, Waiter, refusal
from twistedkv.core.mailbox import Mailbox
from twistedkv.errors import OutcomeUnknown, Status, Unavailable
from twistedkv.limits import CLIENT_OUTPUT_BYTES_MAX
from twistedkv.messages.client import Execute, Watched
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.wire.client import EXECUTE

if TYPE_CHECKING:
    from twistedkv.client.rim import Rim
    from twistedkv.service.server import ServerService

_SUCCESS = int(Status.SUCCESS)
_STEADY = (LaneState.IDLE, LaneState.OPEN)


class _LocalBox(Mailbox):
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

    def ended(self, request_id: int) -> None:
        """The result is of no use any more, or has been taken."""
        self.size -= self._sizes.pop(request_id, 0)


class Shards:
    """The shards of the cluster, for the commands of this server's line clients.

    server  the server that this is a part of
    client  of the cluster, for what is not executed here
    """

    def __init__(self, server: ServerService, client: Rim, flushed: Callable[[], None]) -> None:
        self._server = server
        self._flushed = flushed
        """Called when waiters have been told of what was executed here in a turn."""
        self._client = client
        self._router = client.router
        self._box = _LocalBox(client.client_id, self._flush)
        self._waiting: dict[int, Operation] = {}
        """Executed here and not answered, in the order of their deadlines."""
        self._last_id = 0

    def lane(self, slot: int) -> Lane | None:
        """What is known of the slot's shard; None before there is a map."""
        table = self._router.table
        return table[slot] if table else None

    def shard(self, slot: int) -> int:
        """The number of the slot's shard; -1 before there is a map."""
        lane = self.lane(slot)
        return -1 if lane is None else lane.configuration.shard

    def is_mine(self, slot: int) -> bool:
        """Whether this server is the primary of the slot, as far as is known."""
        lane = self.lane(slot)
        core = self._server.core
        return lane is not None and core is not None and lane.configuration.primary == core.me

    @property
    def full(self) -> bool:
        """Whether what was executed here has enough to answer: the next command waits until some of it is answered."""
        return self._box.size > CLIENT_OUTPUT_BYTES_MAX

    def execute(
        self,
        waiter: Waiter,
        slot: int,
        commands: list[list[bytes]],
        *,
        writes: bool,
        protocol: int,
        transaction: bool = False,
        watched: dict[bytes, int] | None = None,
    ) -> None:
        """Execute commands on one shard. The waiter is told the reply, or the error of `twistedkv.errors`."""
        versions = [Watched(key, version) for key, version in watched.items()] if watched else []
        message = Execute(0, 0, 0, slot, protocol, transaction, versions, commands)
        client = self._client
        deadline = client.seconds() + client.deadline
        operation = Operation(EXECUTE, b"", slot, deadline, waiter, message, WRITES if writes else 0)
        lane = self.lane(slot)
        if lane is None or lane.inflight or lane.queue or lane.state not in _STEADY or not self._here(operation, lane):
            client.begin(operation)

    def _here(self, operation: Operation, lane: Lane) -> bool:
        """Execute it on this server, if that can be done now."""
        core = self._server.core
        if core is None or core.pressed:
            return False
        replica = core.replicas.get(lane.configuration.shard)
        if replica is None or replica.role is not ReplicaRole.PRIMARY or core.stopped:
            return False
        message = operation.value
        if operation.argument:
            number = lane.numbers.give()
            if not number:
                return False
            operation.numbers = lane.numbers
            operation.number = message.number = number
            operation.since = message.since = lane.newest
            message.oldest = lane.numbers.oldest
        operation.lane = lane
        self._last_id += 1
        self._waiting[self._last_id] = operation
        replica.serving.request(self._box, self._last_id, 0, message, operation.slot)
        self._server.end_turn_soon()
        return True

    def _flush(self) -> None:
        """The turn has ended: tell everybody what came of it."""
        parts, self._box.parts = self._box.parts, []
        waiting = self._waiting
        for request_id, (status, version, value) in parts:
            self._box.ended(request_id)
            operation = waiting.pop(request_id, None)
            if operation is None:
                continue
            lane = operation.lane
            if status == _SUCCESS:
                if lane is not None and version > lane.newest:
                    lane.newest = version
                if operation.numbers is not None:
                    operation.numbers.end(operation.number)
                waiter, operation.waiter = operation.waiter, None
                waiter.callback(value)  # type: ignore[union-attr]
            elif status in BOUNCES:
                if status == Status.SUPERSEDED and operation.number:
                    operation.maybe = True
                operation.heard = f"this server said {Status(status).name}"
                self._client.begin(operation)
            else:
                text = value.decode("utf-8", "replace")
                self._end(operation, refusal(operation, status, version, text, f"{lane}"))
        self._flushed()

    def _end(self, operation: Operation, error: Exception) -> None:
        if operation.numbers is not None:
            operation.numbers.end(operation.number)
        waiter, operation.waiter = operation.waiter, None
        if waiter is not None:
            waiter.errback(error)

    def expire(self, now: float) -> None:
        """End what has been executed here and has found no end before its deadline: its copies do not answer."""
        overdue = []
        for request_id, operation in self._waiting.items():
            if operation.deadline > now:
                break
            overdue.append(request_id)
        for request_id in overdue:
            operation = self._waiting.pop(request_id)
            self._box.ended(request_id)
            text = f"{operation} ({operation.lane}): not every copy has it before the deadline"
            if operation.number:
                self._end(operation, OutcomeUnknown(f"{text}; it may have been executed, read the key to find out"))
            else:
                self._end(operation, Unavailable(text))
