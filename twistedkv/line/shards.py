"""Where commands are executed: here, if this server is the primary of their keys, else on the server that is.

Both ways are one client of the cluster, with one client id and, for each shard, one row of write numbers. So a write
that was begun here and could not be finished, because this server has lost the shard, is sent to the new primary under
the number that it has, and is executed once.

Order: what goes to one shard is executed in the order in which it came. A command is executed here only when nothing
is on its way, or waits to be sent, to the same shard. And when a primary dies, what was on its way to it is sent again:
writes give what they gave, but reads are read again, and would see what a write after them has left. So a write is sent
only when the reads before it have been answered, unless they are in one batch, which has one number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from operator import lt
from typing import TYPE_CHECKING, Any

from twistedkv.client.lanes import Lane, LaneState
from twistedkv.client.operations import BOUNCES, WRITES, Operation, Waiter, refusal
from twistedkv.errors import OutcomeUnknown, Status, Unavailable
from twistedkv.limits import (
    BATCH_BYTES_MAX,
    BATCH_COMMAND_ARGUMENTS_MAX,
    BATCH_COMMAND_BYTES_MAX,
    BATCH_COMMANDS_MAX,
    CLIENT_OUTPUT_BYTES_MAX,
)
from twistedkv.line.batch import Batch, bytes_of
from twistedkv.line.box import LocalBox
from twistedkv.line.reply import Reply, RunReply
from twistedkv.messages.client import Execute, ExecuteMode, PutMany, Watched
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.net.failstop import fail_stop
from twistedkv.records import flagged
from twistedkv.wire.client import EXECUTE, PUT_MANY

if TYPE_CHECKING:
    from twistedkv.client.rim import Rim
    from twistedkv.core.replica import Replica
    from twistedkv.service.server import ServerService

TIGHT_SECONDS = 10.0
"""So long SETs for others are not made one request, after one was refused for want of space."""
_SUCCESS = int(Status.SUCCESS)
_STEADY = (LaneState.IDLE, LaneState.OPEN)


class _Read:
    """Waits for a read that another server executes. A `Waiter`."""

    __slots__ = ("_lane", "_shards", "_waiter")

    def __init__(self, shards: Shards, lane: Lane, waiter: Waiter) -> None:
        self._shards = shards
        self._lane = lane
        self._waiter = waiter

    def callback(self, result: Any) -> None:
        self._waiter.callback(result)
        self._shards.read_ended(self._lane)

    def errback(self, fail: Exception) -> None:
        self._waiter.errback(fail)
        self._shards.read_ended(self._lane)


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
        self._box = LocalBox(client.client_id, self._flush)
        self._waiting: dict[int, Operation] = {}
        """Executed here and not answered, in the order of their deadlines."""
        self._last_id = 0
        self._batches: dict[Lane, Batch] = {}
        """What has come in this turn for each shard, and is to be executed at its end."""
        self._reads: dict[Lane, int] = {}
        """Reads on their way to another server, of each shard that has any."""
        self._behind: dict[Lane, deque[Operation]] = {}
        """What waits for them, and for what waits: the first is a write. Invariant: only of shards in `_reads`."""
        self.tight_until = 0.0
        """Until when another server is thought to be full, because it has said so."""
        server.before_flush.append(self._send_batches)

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
    def known(self) -> bool:
        """Whether it is known which shards there are."""
        return bool(self._router.table)

    @property
    def full(self) -> bool:
        """Whether what was executed here has enough to answer: the next command waits until some of it is answered."""
        return self._box.size > CLIENT_OUTPUT_BYTES_MAX

    def execute(self, waiter: Waiter, slot: int, command: list[bytes], *, writes: bool, protocol: int) -> None:
        """Execute a command on one shard. The waiter is told the reply, or the error of `twistedkv.errors`.

        Commands that come in one turn of the reactor are executed together at its end. What it stores and replies has
        to be bounded by what it says: so it may not return, or make longer, a value that is there.
        """
        table = self._router.table
        size = sum(map(len, command))
        if not table or size > BATCH_COMMAND_BYTES_MAX or len(command) > BATCH_COMMAND_ARGUMENTS_MAX:
            self.alone(waiter, slot, command, writes=writes, protocol=protocol)
            return
        lane = table[slot]
        batch = self._batches.get(lane)
        if batch is not None and batch.commands and batch.protocol != protocol:
            del self._batches[lane]
            self._send_batch(batch)
        batch = self._batch(lane, slot, 1, size)
        batch.add(waiter, command, protocol)
        if writes:
            batch.writes = True

    def _batch(self, lane: Lane, slot: int, count: int, size: int) -> Batch:
        """The batch of a lane, with room for so many commands, whose arguments have so many bytes."""
        batches = self._batches
        batch = batches.get(lane)
        if batch is None or len(batch) + count > BATCH_COMMANDS_MAX or batch.size + size > BATCH_BYTES_MAX:
            if batch is not None:
                self._send_batch(batch)
            elif not batches:
                self._server.end_turn_soon()
            batch = batches[lane] = Batch(lane, slot, self._refused)
        batch.size += size
        return batch

    def _refused(self) -> None:
        self.tight_until = self._server.now() + TIGHT_SECONDS

    def put(self, waiter: Reply, slot: int, key: bytes, value: bytes) -> None:
        """As `execute` of a SET without options, of at most BATCH_COMMAND_BYTES_MAX."""
        table = self._router.table
        if not table:
            self.alone(waiter, slot, [b"SET", key, value], writes=True, protocol=2)
            return
        self._batch(table[slot], slot, 1, len(key) + len(value)).put(waiter, [key], [value])

    def put_run(self, waiter: RunReply, slots: list[int], keys: list[bytes], values: list[bytes]) -> list[int]:
        """The same of several, when the shards are known. A slot of each shard that they are of."""
        lanes = list(map(self._router.table.__getitem__, slots))
        first = lanes[0]
        if lanes.count(first) == len(lanes):
            waiter.begin(lanes, 1)
            self._batch(first, slots[0], len(keys), bytes_of(keys, values)).put(waiter, keys, values)
            return slots[:1]
        order = sorted(range(len(slots)), key=slots.__getitem__)  # a shard has the slots from one to another
        keys = list(map(keys.__getitem__, order))
        values = list(map(values.__getitem__, order))
        distinct = dict.fromkeys(map(lanes.__getitem__, order))
        waiter.begin(lanes, len(distinct))
        begin = 0
        some_slots = []
        for lane in distinct:
            slot = slots[order[begin]]
            some_slots.append(slot)
            end = begin + lanes.count(lane)
            some, theirs = keys[begin:end], values[begin:end]
            self._batch(lane, slot, end - begin, bytes_of(some, theirs)).put(waiter, some, theirs)
            begin = end
        return some_slots

    def alone(self, waiter: Waiter, slot: int, command: list[bytes], *, writes: bool, protocol: int) -> None:
        """The same for a command with larger effects, or about all keys of a shard: executed by itself, in order."""
        self._alone(waiter, slot, [command], writes, protocol, ExecuteMode.SINGLE, [])

    def transaction(
        self,
        waiter: Waiter,
        slot: int,
        commands: list[list[bytes]],
        *,
        writes: bool,
        protocol: int,
        watched: dict[bytes, int],
    ) -> None:
        """Execute commands on one shard together. The reply is the list of theirs."""
        versions = [Watched(key, version) for key, version in watched.items()]
        self._alone(waiter, slot, commands, writes, protocol, ExecuteMode.TRANSACTION, versions)

    def _alone(
        self,
        waiter: Waiter,
        slot: int,
        commands: list[list[bytes]],
        writes: bool,
        protocol: int,
        mode: ExecuteMode,
        watched: list[Watched],
    ) -> None:
        """Send what is no part of a batch, after what came before it."""
        lane = self.lane(slot)
        batch = None if lane is None else self._batches.pop(lane, None)
        if batch is not None:
            self._send_batch(batch)
        self._send(waiter, slot, Execute(0, 0, 0, slot, protocol, mode, watched, commands), writes)

    def _send_batches(self) -> None:
        """The turn ends."""
        batches, self._batches = self._batches, {}
        for batch in batches.values():
            self._send_batch(batch)

    @property
    def tight(self) -> bool:
        """Whether writes are refused for want of space, as far as is known here. Then SETs are executed one by one:
        otherwise those of a batch are one request."""
        core = self._server.core
        return (core is not None and core.space.refuses) or self._server.now() < self.tight_until

    def _send_batch(self, batch: Batch) -> None:
        if len(batch.keys) > 1 and self.tight:
            batch.apart()
        self._send(batch, batch.slot, batch.message(), batch.writes)

    def _send(self, waiter: Waiter, slot: int, message: Execute | PutMany, writes: bool) -> None:
        client = self._client
        deadline = client.seconds() + client.deadline
        kind = EXECUTE if type(message) is Execute else PUT_MANY
        operation = Operation(kind, b"", slot, deadline, waiter, message, WRITES if writes else 0)
        lane = self.lane(slot)
        if lane is not None and lane in self._behind:
            self._behind[lane].append(operation)
        else:
            self._go(operation, lane)

    def _go(self, operation: Operation, lane: Lane | None) -> None:
        """Execute it here, or send it to where it is executed: a write only when no read is on its way before it."""
        if lane is None:
            self._client.begin(operation)
            return
        steady = not lane.inflight and not lane.queue and lane.state in _STEADY
        if steady and self._here(operation, lane):
            return
        if not operation.argument:
            self._reads[lane] = self._reads.get(lane, 0) + 1
            operation.waiter = _Read(self, lane, operation.waiter)  # type: ignore[arg-type]
        elif lane in self._reads:
            self._behind[lane] = deque([operation])
            return
        self._client.begin(operation)

    def read_ended(self, lane: Lane) -> None:
        """A read that another server executed has been answered, or never will be."""
        self._reads[lane] -= 1
        if self._reads[lane]:
            return
        del self._reads[lane]
        waiting = self._behind.pop(lane, None)
        while waiting:
            if lane in self._behind:
                self._behind[lane].extend(waiting)
                return
            self._go(waiting.popleft(), lane)

    def value(self, slot: int, key: bytes) -> bytes | None:
        """The record of a key (empty: there is none) that may be told at once: this server is its primary, the newest
        update of the key is on all copies, and nothing that came before waits to be executed. None: ask the shard."""
        table = self._router.table
        replica = self._settled(table[slot]) if table else None
        return None if replica is None else replica.serving.clean(slot, key)

    def values(self, slots: list[int], keys: list[bytes]) -> list[bytes] | None:
        """The same of several: of all of them, or None."""
        table = self._router.table
        if not table:
            return None
        lanes = list(map(table.__getitem__, slots))
        bounds: dict[Lane, bytes] = {}
        leased = inf
        for lane in set(lanes):
            replica = self._settled(lane)
            bound = None if replica is None else replica.clean_below()
            if replica is None or bound is None:
                return None
            bounds[lane] = bound
            leased = min(leased, replica.lease_until)
        core = self._server.core
        assert core is not None
        found = core.store.get_many(slots, keys)
        there = found if None not in found else list(filter(None, found))
        records = [record or b"" for record in found]
        if flagged(there) or not all(map(lt, records, map(bounds.__getitem__, lanes))):  # type: ignore[arg-type]
            return None
        return records if self._server.now() < leased else None

    def _settled(self, lane: Lane) -> Replica | None:
        """The copy of a shard on this server, if nothing that came before waits to be executed."""
        core = self._server.core
        if core is None or lane.inflight or lane.queue or lane.state not in _STEADY or lane in self._batches:
            return None
        return core.replicas.get(lane.configuration.shard)

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
        self._request(replica, message, operation.slot)
        self._server.end_turn_soon()
        return True

    @fail_stop
    def _request(self, replica: Replica, message: Execute | PutMany, slot: int) -> None:
        replica.serving.request(self._box, self._last_id, 0, message, slot)

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
