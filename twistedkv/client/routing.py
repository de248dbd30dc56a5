"""Routing: events and the time in, frames and ends of operations out. No connection, timer or Deferred is known here.

Goals: an operation reaches its shard's primary and ends exactly once, with a definite result wherever there is one; a
failover costs a client no more than it takes to hear of it; operations on one key are sent in the order they came in.

*Order.* Each shard has a lane. As long as its primary answers, operations are sent as they come. When one is refused or
lost, or the map names another primary, the lane drains: what comes is queued until everything in flight has been
answered, refused or lost; then the refused and lost ones are sent again, in their first order, and then the queue.
(Operations that were in flight together are concurrent: if the first is refused and the second executed, the caller
had not asked for an order by waiting. What is kept is that nothing is sent ahead of an older one.)

*At most once.* A write keeps its number. Once an attempt may have been executed (the connection was lost after it was
sent, or the server said SUPERSEDED), `maybe` is set, for good: later attempts carry RETRY, so that the server looks
for the result of the earlier one, and if no later attempt gives a definite answer, the end is OutcomeUnknown. A refusal
that says "not executed" speaks of its own attempt only; `operations.refusal` knows which also settle the earlier ones.

*Hazards.* A primary that is frozen keeps its connection and says nothing: when the map says that it has failed, has
another store id or address, or is gone, its link is closed at once, and what was in flight goes to the new primary.
An old primary that is cut off from us alone: a lane drains for DRAIN_SECONDS_MAX at most. A server that is frozen while
there is no coordinator to say so: when operations expire on a link that has been silent for SILENCE_SECONDS, it is
closed. Callers are told last (`finished` is emptied by the rim when the state is consistent), because they may call
back at once.

The rim's contract: after each event it performs `actions` in order, tells `finished`, arranges for `flush` to be called
in the next turn if `dirty`, and for `wake` to be called at `wake_at`. Nothing here raises but ProtocolError, from
`frames_received` only, after which the rim must close the connection and say `lost`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from math import inf
from random import Random
from struct import Struct, error
from typing import Any

from twistedkv.client.delivery import Delivery
from twistedkv.client.lanes import Lane, LaneState, Link, LinkState
from twistedkv.client.links import SILENCE_SECONDS
from twistedkv.client.operations import BOUNCES, Operation, refusal
from twistedkv.client.results import Incremented, Unreachable, Value
from twistedkv.clustermap import ServerState
from twistedkv.columns import decode_column
from twistedkv.errors import NOT_FORMED, InvalidRequest, OutcomeUnknown, ProtocolError, Status, Unavailable
from twistedkv.limits import FRAME_BYTES_MAX
from twistedkv.messages.client import MapUpdate
from twistedkv.records import RECORD_BYTES_MAX, RECORD_HEAD_BYTES
from twistedkv.wire.client import (
    ANSWERS,
    CONFIG_REQ,
    CONFIG_RESP,
    DELETE,
    EXECUTE,
    GET,
    GET_MANY,
    INCR,
    RESULT,
    decode_response,
    decode_result,
    execute_bytes,
)
from twistedkv.wire.coordinator import ADMIN, ADMIN_REPLY
from twistedkv.wire.coordinator import FAMILY as COORDINATOR_FAMILY
from twistedkv.wire.frames import Frame

UNFINISHED_MAX = 100_000
"""Operations that a client holds; more are refused at once."""
SWEEP_SECONDS = 0.01
"""How late an operation may learn that its deadline has passed, at least; grows with their number."""
SWEEP_SECONDS_EACH = 1e-6

FOLLOW = 1
"""`argument` of a command that is answered again and again."""

_RESULT_HEAD = Struct(">BQ")
_RESULT_HEAD_BYTES = _RESULT_HEAD.size
_DONE = bytes([Status.SUCCESS])
_MISSING = Status.KEY_NOT_FOUND


class Router(Delivery):
    """All operations of one client."""

    def __init__(self, coordinators: Iterable[tuple[str, int]], random: Random) -> None:
        super().__init__(coordinators, random)
        self._order = 0
        self._cancelled = False
        """Whether some that are held may have been cancelled since the last sweep."""

    # The caller's side.

    def submit(self, operation: Operation, now: float) -> None:
        """Take an operation that is routed by slot."""
        if not self._accept(operation, now):
            return
        if operation.kind == EXECUTE and (size := execute_bytes(operation.value)) > FRAME_BYTES_MAX:
            self.drop(operation, _too_large(operation, size))
            return
        table = self.table
        if not table:
            self.unrouted.append(operation)
            return
        lane = table[operation.slot]
        operation.lane = lane
        if lane.state is LaneState.OPEN and self.send(operation, lane, now):
            return
        lane.queue.append(operation)
        if lane.state is LaneState.OPEN or lane.state is LaneState.IDLE:
            self.pump(lane, now)

    def submit_to(self, operation: Operation, server_id: int | None, now: float) -> None:
        """Take an operation for one certain server, or for the coordinator (None). It is attempted once."""
        if not self._accept(operation, now):
            return
        if server_id is None:
            link = self.coordinator
        else:
            server = self.map.servers.get(server_id)
            if server is None or server.state is ServerState.FAILED:
                self.drop(operation, Unreachable(f"server {server_id} is not running, as far as the map knows"))
                return
            link = self.link_to(server)
        self.send_to(operation, link, now)

    def refresh(self, operation: Operation, now: float) -> None:
        """Ask for the map; `operation` ends with it when any has come."""
        if self._accept(operation, now):
            self.map_waiters.append(operation)
            self.ask_map(now)

    def cancel(self, operation: Operation, now: float) -> None:
        """Nobody waits for the operation any more. It is not sent (again)."""
        if operation.waiter is not None:
            operation.waiter = None
            if operation.numbers is not None:
                operation.numbers.end(operation.number)
                self.try_window(now)
            self._cancelled = True

    def close(self, now: float) -> None:
        """End everything. Later operations fail at once."""
        self.closed = True
        why = "the client was closed"
        for link in [self.coordinator, *self.links.values()]:
            for operation in link.waiting.values():
                self.end(operation, self._given_up(operation, link, True, why))
        for queue, to in self._queues():
            for operation in queue:
                self.end(operation, self._given_up(operation, to, False, why))
            queue.clear()
        self.held = 0
        self.close_links()

    def _accept(self, operation: Operation, now: float) -> bool:
        if self.held >= UNFINISHED_MAX and self._cancelled:
            self.sweep(now)
        if self.closed or self.held >= UNFINISHED_MAX:
            why = "the client was closed" if self.closed else f"{UNFINISHED_MAX} operations are unfinished already"
            self.end(operation, Unavailable(f"{operation} was not sent: {why}"))
            return False
        self.held += 1
        self._order += 1
        operation.order = self._order
        if operation.deadline < self.sweep_at:
            self.sweep_by(operation.deadline)
        return True

    # Answers.

    def frames_received(self, link: Link, frames: list[Frame], now: float) -> None:
        """What one read of a link completed."""
        if link.state is LinkState.CLOSED:
            return
        link.heard = True
        link.heard_at = now
        waiting = link.waiting
        unpack = _RESULT_HEAD.unpack_from
        for frame in frames:
            message_type, _, request_id, body = frame
            operation = waiting.pop(request_id, None)
            if operation is None or operation.lane is None:
                self._direct_received(link, operation, frame, now)
                continue
            lane = operation.lane
            try:
                kind = operation.kind
                if message_type == RESULT and (kind not in ANSWERS or body[:1] != _DONE):
                    status, version = unpack(body)
                    if kind == INCR and not status:
                        total = int(body[_RESULT_HEAD_BYTES:])
                    elif kind == GET_MANY and not status:
                        records = _records(body, operation)
                elif message_type == ANSWERS.get(kind):
                    page, status, version = decode_response(message_type, body), 0, 0
                else:
                    raise ProtocolError(f"message type 0x{message_type:02x} is no answer to {operation}")
            except (error, ProtocolError, ValueError) as wrong:
                waiting[request_id] = operation
                raise ProtocolError(f"{link} sent a malformed answer: {wrong}") from wrong
            lane.inflight -= 1
            if not status:
                if version > lane.newest:  # noqa: PLR1730 (each answer comes by here)
                    lane.newest = version
                if lane.delay:
                    lane.delay = 0.0
                self.held -= 1
                waiter = operation.waiter
                if waiter is not None:
                    outcome: Any = version
                    if kind == GET:
                        outcome = Value(body[_RESULT_HEAD_BYTES:], version)
                    elif kind == INCR:
                        outcome = Incremented(total, version)
                    elif kind == EXECUTE:
                        outcome = body[_RESULT_HEAD_BYTES:]
                    elif kind == GET_MANY:
                        outcome = records
                    elif message_type != RESULT:
                        outcome = page
                    operation.waiter = None
                    self.finished.append((waiter, True, outcome))
                    if operation.numbers is not None:
                        operation.numbers.end(operation.number)
            else:
                self._refused(operation, lane, link, status, version, body[_RESULT_HEAD_BYTES:], now)
            if not lane.inflight and lane.state is LaneState.DRAINING:
                self.drained(lane, now)
        if self._window:
            self.try_window(now)

    def _refused(
        self, operation: Operation, lane: Lane, link: Link, status: int, version: int, text: bytes, now: float
    ) -> None:
        if status == _MISSING and operation.kind in (GET, DELETE):
            lane.newest = max(lane.newest, version)
            self.drop(operation, None)
            return
        said = text.decode("utf-8", "replace")
        if status in BOUNCES or (status == Status.SERVER_FAILURE and not operation.writes):
            name = Status(status).name
            operation.heard = f"{link} said {name}{': ' if said else ''}{said}"
            if status == Status.SUPERSEDED and operation.writes:
                operation.maybe = True
            lane.refused = True
            self.bounce(operation, lane, now)
            if status == Status.SUPERSEDED or version > self.map.version:
                self.want_map(now)
            return
        if status == Status.VERSION_MISMATCH:
            lane.newest = max(lane.newest, version)
        self.drop(operation, refusal(operation, status, version, said, f"{lane}, {link}"))

    def _direct_received(self, link: Link, operation: Operation | None, frame: Frame, now: float) -> None:
        """An answer to what was sent to this very server, or a map that was pushed."""
        message_type, _, request_id, body = frame
        reply: Any
        try:
            if message_type == CONFIG_RESP and (operation is None or operation.kind == CONFIG_REQ):
                update = decode_response(message_type, body)
                if isinstance(update, MapUpdate):
                    self.map_received(link, update.map, now, asked=operation is not None)
                return
            if operation is None or operation.kind == CONFIG_REQ:
                return  # of a journal that nobody follows any more, or a map that was refused
            if message_type == ADMIN_REPLY and operation.kind == ADMIN:
                reply = COORDINATOR_FAMILY.decode(message_type, body)
            elif message_type == RESULT:
                reply = decode_result(body)
            else:
                raise ProtocolError(f"message type 0x{message_type:02x} is no answer to {operation}")
        except ProtocolError:
            if operation is not None:
                link.waiting[request_id] = operation
            raise
        if operation.argument == FOLLOW and operation.waiter is not None and reply.status == Status.SUCCESS:
            link.waiting[request_id] = operation
            self.finished.append((operation.waiter, True, reply))
        else:
            self.drop(operation, reply)

    # Deadlines.

    def _given_up(self, operation: Operation, link: Link | None, sent: bool, why: str) -> Exception:
        """The error of an operation that ends here and not by an answer.

        `link` is where it is in flight (then `sent` is true), or where it waits if it is for that very server.
        """
        lane = operation.lane
        heard = operation.heard
        if lane is not None:
            server = self.map.servers.get(lane.configuration.primary.server_id)
            place = f"{lane}, server {server.server_id} at {server.address}" if server else f"{lane}"
        else:
            link = link or self.coordinator
            place = f"{link}, {link.state.value}"
            heard = heard or link.error
            if not heard and not self.table and link.state is LinkState.OPEN:
                heard = NOT_FORMED
        if sent and not heard:
            heard = "no answer"
        text = f"{operation} ({place}): {why}; last heard: {heard or 'nothing'}"
        if operation.number and (sent or operation.maybe):
            return OutcomeUnknown(f"{text}; the write may have been executed, read the key to find out")
        return Unavailable(text)

    def _queues(self) -> Iterator[tuple[deque[Operation] | list[Operation], Link | None]]:
        """All operations that are not in flight, and the link they wait for if it is a certain one."""
        yield self.unrouted, None
        yield self.map_waiters, None
        for link in (self.coordinator, *self.links.values()):
            yield link.pending, link
        for lane in self.lanes:
            yield lane.bounced, None
            yield lane.queue, None

    def sweep(self, now: float) -> None:
        """End the operations whose deadline has passed, and let go of the ended ones that are still queued."""
        why = "no answer before the deadline"
        earliest = inf
        for queue, to in self._queues():
            kept = []
            for operation in queue:
                if operation.waiter is None and operation.kind != CONFIG_REQ:
                    self.held -= 1
                elif operation.deadline <= now:
                    self.drop(operation, self._given_up(operation, to, False, why))
                else:
                    kept.append(operation)
                    earliest = min(earliest, operation.deadline)
            if len(kept) < len(queue):
                queue.clear()
                queue.extend(kept)
        self._cancelled = False
        silent = []
        for link in [self.coordinator, *self.links.values()]:
            expired = False
            for operation in link.waiting.values():
                if operation.waiter is None:
                    continue
                if operation.deadline <= now:
                    expired = True
                    self.end(operation, self._given_up(operation, link, True, why))
                else:
                    earliest = min(earliest, operation.deadline)
            if expired and link.heard_at <= now - SILENCE_SECONDS:
                silent.append(link)
        pause = SWEEP_SECONDS + SWEEP_SECONDS_EACH * self.held
        self.sweep_by(max(earliest, now + pause) if earliest < inf else inf)
        for link in silent:
            self.give_up(link, "it has said nothing for too long", now)
        self.try_window(now)


def _too_large(operation: Operation, size: int) -> Exception:
    text = f"{operation} would take {size} bytes on the way, at most {FRAME_BYTES_MAX} are possible"
    return OutcomeUnknown(text) if operation.maybe else InvalidRequest(text)


def _records(body: bytes, operation: Operation) -> list[bytes]:
    """What answers a GET_MANY: records of the first keys, and of one at least."""
    keys = operation.value.keys
    records, end = decode_column(body, _RESULT_HEAD_BYTES, 0, RECORD_BYTES_MAX, len(keys))
    if not records or end != len(body) or any(0 < len(record) < RECORD_HEAD_BYTES for record in records):
        raise ProtocolError(f"{len(records)} records for {len(keys)} keys, and {len(body) - end} bytes after them")
    return records
