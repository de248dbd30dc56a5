"""Lanes: when and where operations are sent, and sent again. `routing` says why it is done in this way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from random import Random
from typing import Any

from twistedkv.client.lanes import Lane, LaneState, Link, LinkState
from twistedkv.client.links import Links
from twistedkv.client.numbers import WriteNumbers
from twistedkv.client.operations import Operation, Waiter, encode, refusal
from twistedkv.client.results import Unreachable
from twistedkv.clustermap import Configuration, ServerState
from twistedkv.errors import Status, Unavailable
from twistedkv.limits import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, SLOTS
from twistedkv.wire.client import CONFIG_REQ

DRAIN_SECONDS_MAX = 4.0
"""Longer than a server keeps requests parked."""


class Delivery(Links):
    """All lanes of one client. `Router` adds the callers' side, the answers and the deadlines."""

    def __init__(self, coordinators: Iterable[tuple[str, int]], random: Random) -> None:
        super().__init__(coordinators, random)
        self.finished: list[tuple[Waiter, bool, Any]] = []
        """(whom to tell, whether it was done, the result or the exception)."""
        self.held = 0
        """Operations in any queue or in flight, also ended ones that are still in flight. At most UNFINISHED_MAX."""
        self.unrouted: deque[Operation] = deque()
        """Came before the map did."""
        self.lanes: list[Lane] = []
        """By shard number."""
        self.table: list[Lane] = []
        """By slot; empty until there is a map with shards."""
        self._window: dict[Lane, None] = {}
        """Lanes in state WINDOW."""

    # Sending.

    def pump(self, lane: Lane, now: float) -> None:
        """Send what the lane holds, as far as that goes. For whenever what it waits for may have come."""
        if lane.state is LaneState.DRAINING:
            return
        queue = lane.queue
        while queue and queue[0].waiter is None:
            queue.popleft()
            self.held -= 1
        lane.state = LaneState.IDLE
        if not queue:
            return
        configuration = lane.configuration
        if configuration.lost:
            self._lost_for_good(lane)
            return
        if now < lane.not_before:
            lane.state = LaneState.BACKING_OFF
            return
        server = self.map.server_of(configuration.primary)
        if server is None or server.state is ServerState.FAILED:
            lane.state = LaneState.STRANDED
            self.want_map(now)
            return
        link = self.link_to(server)
        link.lanes[lane] = None
        if link.state is not LinkState.OPEN:
            lane.state = LaneState.CONNECTING
            self.open(link, now)
            return
        if lane.inflight and lane.link is not link:
            lane.state = LaneState.DRAINING
            return
        lane.link = link
        while queue:
            operation = queue[0]
            if operation.waiter is None:
                self.held -= 1
            elif not self.send(operation, lane, now):
                lane.state = LaneState.WINDOW
                self._window[lane] = None
                return
            queue.popleft()
        lane.state = LaneState.OPEN

    def send(self, operation: Operation, lane: Lane, now: float) -> bool:
        """Put the next attempt of an operation on its lane's link. False if there is no number for it now."""
        if not operation.number and operation.writes:
            numbers = lane.numbers
            number = numbers.give()
            if not number:
                return False
            operation.numbers = numbers
            operation.number = number
            operation.since = lane.newest
        lane.inflight += 1
        self.put_out(operation, lane.link, now)  # type: ignore[arg-type]
        return True

    def put_out(self, operation: Operation, link: Link, now: float) -> None:
        """Add the frame of an operation to what is sent next."""
        request_id = link.last_id = link.last_id % 0xFFFFFFFF + 1
        if not link.waiting:
            link.heard_at = now
        link.waiting[request_id] = operation
        out = link.out
        if not out:
            self.dirty[link] = None
        out.append(encode(operation, request_id))

    def try_window(self, now: float) -> None:
        """Numbers may have become free: send on, the lane first that has waited longest."""
        if self._window:
            lanes, self._window = self._window, {}
            for lane in lanes:
                if lane.state is not LaneState.WINDOW:
                    continue
                if lane.numbers.available:
                    self.pump(lane, now)
                else:
                    self._window[lane] = None

    # Sending again.

    def bounce(self, operation: Operation, lane: Lane, now: float) -> None:
        """The attempt is over, the operation is not: keep it to be sent again. The caller sees to `_drained`."""
        if operation.waiter is None:
            self.held -= 1
        elif lane.retired:
            self.unrouted.append(operation)
            self.at(now, self._route)
        else:
            lane.bounced.append(operation)
        lane.state = LaneState.DRAINING

    def drained(self, lane: Lane, now: float) -> None:
        """Nothing of the lane is in flight: put what has bounced back in front, and send."""
        bounced, lane.bounced = lane.bounced, []
        bounced.sort(key=_by_order, reverse=True)
        lane.queue.extendleft(bounced)
        lane.state = LaneState.IDLE
        last, lane.link = lane.link, None
        refused, lane.refused = lane.refused, False
        server = None if last is None else last.server
        again = refused and server is not None and server.member == lane.configuration.primary
        if again:
            lane.delay = min(max(2 * lane.delay, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)
            lane.not_before = now + self.jittered(lane.delay)
            self.at(lane.not_before, partial(self.pump, lane))
        self.pump(lane, now)
        if again:
            self.want_map(now)

    def _lost_for_good(self, lane: Lane) -> None:
        """No copy of the shard is left."""
        text = "no copy is left, see `twistedkv status`"
        for operation in lane.queue:
            self.drop(operation, refusal(operation, Status.SHARD_LOST, 0, text, str(lane)))
        lane.queue.clear()

    # Links and maps.

    def link_opened(self, link: Link, now: float) -> None:
        for lane in list(link.lanes):
            if lane.state is LaneState.CONNECTING:
                self.pump(lane, now)

    def link_lost(self, link: Link, reason: str, now: float) -> None:
        waiting = list(link.waiting.values())
        link.waiting.clear()  # in place: the frames of one read may be on their way through it
        lanes, link.lanes = link.lanes, {}
        for operation in waiting:
            lane = operation.lane
            if lane is None:
                if operation.kind != CONFIG_REQ:
                    self.drop(operation, Unreachable(reason))
                continue
            lane.inflight -= 1
            operation.heard = reason
            if operation.number:
                operation.maybe = True
            self.bounce(operation, lane, now)
        if not link.coordinator:
            for operation in link.pending:
                if operation.kind != CONFIG_REQ:
                    self.drop(operation, Unreachable(reason))
            link.pending.clear()
        for lane in lanes:
            if lane.link is link:
                self.drained(lane, now)
            elif lane.state is LaneState.CONNECTING:
                for operation in lane.queue:
                    operation.heard = reason
                self.pump(lane, now)
        self.try_window(now)

    def map_replaced(self) -> None:
        for lane in self.lanes:
            lane.newest = 0

    def map_changed(self) -> None:
        shards = self.map.shards
        if shards and sum(len(shard.slots) for shard in shards) != SLOTS:
            return  # a part of a map: what is not known yet cannot be routed, and the rest is on its way
        if _layout(shards) != _layout(lane.configuration for lane in self.lanes):
            self._lay_out(shards)
            return
        for lane, configuration in zip(self.lanes, shards, strict=True):
            if configuration != lane.configuration:
                lane.configuration = configuration
                lane.delay = lane.not_before = 0.0

    def lanes_follow(self, now: float) -> None:
        for lane in self.lanes:
            if not lane.inflight:
                if lane.state is LaneState.OPEN:
                    lane.link = None
                self.pump(lane, now)
                continue
            link = lane.link
            if link is None or link.server is None:
                continue
            if link.server.member != lane.configuration.primary and lane.state is not LaneState.DRAINING:
                lane.state = LaneState.DRAINING
                self.at(now + DRAIN_SECONDS_MAX, partial(self._drain_overdue, lane, link))
            elif lane.state is not LaneState.DRAINING:
                self.pump(lane, now)
        self._route(now)

    def _route(self, now: float) -> None:
        """Give what has no lane yet to its lane."""
        if self.table:
            unrouted, self.unrouted = self.unrouted, deque()
            for operation in unrouted:
                operation.lane = self.table[operation.slot]
                operation.lane.queue.append(operation)
            for lane in {operation.lane: None for operation in unrouted if operation.lane is not None}:
                self.pump(lane, now)

    def _lay_out(self, shards: tuple[Configuration, ...]) -> None:
        """The shards have other slots than before (or are known for the first time): make new lanes.

        What is in flight in old lanes is answered there; what bounces there is sent again by way of the new ones.
        """
        old = self.lanes
        # What the new shards remember of this client came from old ones: numbers go on from the highest of all.
        first = max((lane.numbers.next for lane in old), default=1)
        self.lanes = [Lane(configuration, WriteNumbers(first)) for configuration in shards]
        self.table = [lane for lane in self.lanes for _ in lane.configuration.slots]
        operations = [operation for lane in old for operation in (*lane.bounced, *lane.queue)]
        for lane in old:
            lane.retired = True
            lane.queue.clear()
            lane.bounced.clear()
        self.unrouted.extend(sorted(operations, key=_by_order))

    def _drain_overdue(self, lane: Lane, link: Link, now: float) -> None:
        if lane.state is LaneState.DRAINING and lane.link is link and lane.inflight:
            self.give_up(link, f"it is no longer the primary of {lane}, and does not answer", now)

    def stuck(self) -> bool:
        if self.unrouted or self.map_waiters:
            return True
        waiting = (LaneState.STRANDED, LaneState.BACKING_OFF, LaneState.CONNECTING, LaneState.DRAINING)
        return any((lane.queue or lane.bounced) and lane.state in waiting for lane in self.lanes)

    def map_answered(self, operation: Operation) -> None:
        self.drop(operation, self.map)

    def refuse_all(self, reason: str) -> None:
        for queue in (self.unrouted, self.coordinator.pending):
            for operation in queue:
                self.drop(operation, Unavailable(f"{operation} was not sent: {self.coordinator} refused: {reason}"))
            queue.clear()

    # Ends.

    def end(self, operation: Operation, outcome: Any) -> None:
        waiter = operation.waiter
        if waiter is not None:
            operation.waiter = None
            self.finished.append((waiter, not isinstance(outcome, Exception), outcome))
            if operation.numbers is not None:
                operation.numbers.end(operation.number)

    def drop(self, operation: Operation, outcome: Any) -> None:
        """End an operation that has been taken out of its queue or is not in flight any more."""
        self.held -= 1
        self.end(operation, outcome)


def _by_order(operation: Operation) -> int:
    return operation.order


def _layout(configurations: Iterable[Configuration]) -> list[tuple[int, int]]:
    return [(configuration.shard, configuration.first_slot) for configuration in configurations]
