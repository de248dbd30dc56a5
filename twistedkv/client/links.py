"""The map and how it is kept up to date, the links to servers and coordinator, and the timers of the router.

The coordinator's link is always wanted: it brings every new map by itself. Links to servers are made when a lane or a
request needs them. What is connected, refused or lost comes from the rim; what to connect or close is told to it.

*When a newer map is wanted* (a server said that there is one, a link was lost, a primary has failed): the coordinator
is asked, and as long as that brings nothing newer, servers by turns, with growing pauses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

import attrs

from twistedkv.client.lanes import LaneState, Link, LinkState
from twistedkv.client.operations import Operation
from twistedkv.clustermap import ClusterMap, Server, ServerState
from twistedkv.limits import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN
from twistedkv.messages.client import MapRequest
from twistedkv.wire.client import CONFIG_REQ

SILENCE_SECONDS = 5.0
"""A link on which something has expired, and that has been silent for so long, is made anew."""
MAP_SECONDS_MIN = 0.05
MAP_SECONDS_MAX = 1.0
"""Pauses between two requests for a newer map."""


@attrs.frozen
class Connect:
    """Dial the link's address, and say `connected` or `connect_failed`."""

    link: Link


@attrs.frozen
class Disconnect:
    """Abort the link's connection, or the attempt to make one. Nothing more is to be said of it."""

    link: Link


Action = Connect | Disconnect


class Links(ABC):
    """See the module. `Router` adds the operations."""

    def __init__(self, coordinators: Iterable[tuple[str, int]], random: Random) -> None:
        self._addresses = tuple(coordinators)
        self.map = ClusterMap.empty()
        self.coordinator = Link(None, *self._addresses[0])
        self.links: dict[int, Link] = {}
        """By server id. Invariant: none is CLOSED, and each has the address and store id that the map has."""
        self.actions: list[Action] = []
        self.dirty: dict[Link, None] = {}
        """Links with frames for the next flush."""
        self.wake_at = inf
        self.sweep_at = inf
        """Invariant: no operation has an earlier deadline."""
        self.closed = False
        self.map_waiters: list[Operation] = []
        """Wait for any answer to a request for the map."""
        self._random = random
        self._timers: list[tuple[float, int, Callable[[float], None]]] = []
        self._timer_numbers = count()
        self._address = 0
        self._identity = b""
        self._replace = False
        """The coordinator is another one than before: its next map replaces ours."""
        self._map_wanted = False
        self._map_delay = 0.0
        self._map_not_before = 0.0
        self._map_asks = 0
        """Since the map has last changed. Invariant of these three: requests for the map are not more frequent
        than MAP_SECONDS_MIN, whoever wants it how often."""

    # For the rim.

    def start(self, now: float) -> None:
        """Begin: connect to the coordinator."""
        self._connect(self.coordinator, now)

    def connected(self, link: Link, server_id: int, identity: bytes, now: float) -> bool:
        """HELLO is through. False: it is not whom we meant, or not wanted any more: close it, say `connect_failed`."""
        if link.state is LinkState.CLOSED or self.closed:
            return False
        server = link.server
        if server is None:
            self._replace = self._replace or (self._identity not in (b"", identity))
            self._identity = identity
        elif (server_id, identity) != (server.server_id, server.store_id):
            return False
        link.state = LinkState.OPEN
        link.heard = False
        link.heard_at = now
        link.error = ""
        if server is None:
            self._ask(link, now)
        pending, link.pending = link.pending, type(link.pending)()
        for operation in pending:
            self.send_to(operation, link, now)
        self.link_opened(link, now)
        return True

    def connect_failed(self, link: Link, reason: str, now: float, *, refused: bool = False) -> None:
        """The link could not be made. `refused`: it was, and HELLO was answered by this sentence."""
        if link.state is LinkState.CLOSED or self.closed:
            return
        link.error = reason
        link.state = LinkState.IDLE
        link.delay = min(max(2 * link.delay, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)
        if link.server is None:
            self._address = (self._address + 1) % len(self._addresses)
            link.host, link.port = self._addresses[self._address]
            if refused and not self.map.shards:
                self.refuse_all(reason)
            self._connect(link, now)
            return
        self.link_lost(link, f"{link} could not be reached: {reason}", now)
        self.want_map(now)

    def lost(self, link: Link, reason: str, now: float) -> None:
        """The link's connection has ended."""
        if link.state is LinkState.CLOSED or self.closed:
            return
        link.error = reason
        link.state = LinkState.IDLE
        link.delay = 0.0 if link.heard else min(max(2 * link.delay, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)
        self.dirty.pop(link, None)
        link.out.clear()
        self.link_lost(link, f"the connection to {link} was lost: {reason}", now)
        if link.server is None:
            self._connect(link, now)
        else:
            self.want_map(now)

    def flush(self) -> list[tuple[Link, bytes]]:
        """What is to be written now, in one piece for each link."""
        dirty, self.dirty = self.dirty, {}
        output = []
        for link in dirty:
            frames, link.out = link.out, []
            output.append((link, frames[0] if len(frames) == 1 else b"".join(frames)))
        return output

    def wake(self, now: float) -> None:
        """`wake_at` has come."""
        timers = self._timers
        if self.sweep_at <= now:
            self.sweep(now)  # first, so that nothing is sent again whose deadline has passed
        while timers and timers[0][0] <= now and not self.closed:
            heappop(timers)[2](now)
        self.wake_at = min(self.sweep_at, timers[0][0]) if timers else self.sweep_at

    # For the router.

    def at(self, when: float, call: Callable[[float], None]) -> None:
        """Have `call(now)` called at `when` or soon after."""
        heappush(self._timers, (when, next(self._timer_numbers), call))
        self.wake_at = min(self.wake_at, when)

    def sweep_by(self, when: float) -> None:
        """Look for operations past their deadline at `when`, or earlier."""
        self.sweep_at = when
        self.wake_at = min(self.wake_at, when)

    def jittered(self, delay: float) -> float:
        """Between half of `delay` and all of it."""
        return delay * (0.5 + 0.5 * self._random.random())

    def link_to(self, server: Server) -> Link:
        """The link to a server of the map."""
        link = self.links.get(server.server_id)
        if link is None:
            link = self.links[server.server_id] = Link(server, server.host, server.port)
        return link

    def open(self, link: Link, now: float) -> None:
        """The link is needed."""
        if link.state is LinkState.IDLE:
            self._connect(link, now)

    def send_to(self, operation: Operation, link: Link, now: float) -> None:
        """Send what is meant for this very link, or keep it until the link opens."""
        if link.state is not LinkState.OPEN:
            link.pending.append(operation)
            self.open(link, now)
            return
        self.put_out(operation, link, now)

    @abstractmethod
    def put_out(self, operation: Operation, link: Link, now: float) -> None:
        """Add the frame of an operation to what is sent next."""

    def give_up(self, link: Link, why: str, now: float) -> None:
        """Close a link for good; what was in flight on it is lost. A new one takes its place when it is needed."""
        if link.state is LinkState.CLOSED:
            return
        server = link.server
        if server is None:
            self.coordinator = Link(None, link.host, link.port)
            self.coordinator.pending = link.pending
            self.coordinator.delay = BACKOFF_SECONDS_MIN
            self._connect(self.coordinator, now)
        elif self.links.get(server.server_id) is link:
            del self.links[server.server_id]
        if link.state in (LinkState.OPEN, LinkState.CONNECTING):
            self.actions.append(Disconnect(link))
        link.state = LinkState.CLOSED
        self.dirty.pop(link, None)
        link.out.clear()
        self.link_lost(link, f"{link}: {why}", now)

    def close_links(self) -> None:
        """Close everything."""
        for link in [self.coordinator, *self.links.values()]:
            if link.state in (LinkState.OPEN, LinkState.CONNECTING):
                self.actions.append(Disconnect(link))
            link.state = LinkState.CLOSED
            link.waiting.clear()
            link.pending.clear()
            link.out.clear()
        self.links.clear()
        self.dirty.clear()
        self._timers.clear()
        self.wake_at = self.sweep_at = inf

    # The map.

    def want_map(self, now: float) -> None:
        """There is, or soon will be, a newer map than ours."""
        if not self._map_wanted:
            self._map_wanted = True
            if now >= self._map_not_before:
                self._ask_again(now)
            else:
                self.at(self._map_not_before, self._ask_again)

    def ask_map(self, now: float) -> None:
        """Ask for the map, whether or not there is a newer one."""
        if self.coordinator.state is LinkState.OPEN:
            self._ask(self.coordinator, now)
        self.want_map(now)

    def map_received(self, link: Link, received: ClusterMap, now: float, *, asked: bool) -> None:
        """A map, or a part of one, has come."""
        before = self.map
        if self._replace and asked and link is self.coordinator:
            self._replace = False
            self.map = received
            self.map_replaced()
        else:
            self.map = before.merged(received)
        waiters, self.map_waiters = self.map_waiters, []
        for operation in waiters:
            self.map_answered(operation)
        if self.map == before:
            return
        self._map_wanted = False
        self._map_delay = self._map_not_before = 0.0
        self._map_asks = 0
        self.map_changed()
        for other in list(self.links.values()):
            server = other.server
            if server is not None:
                now_known = self.map.servers.get(server.server_id)
                if now_known is None or now_known.member != server.member:
                    self.give_up(other, "it is gone, or has lost its data", now)
                elif now_known.state is ServerState.FAILED:
                    self.give_up(other, "it has failed", now)
                elif (now_known.host, now_known.port) != (server.host, server.port):
                    self.give_up(other, "it has moved", now)
        self.lanes_follow(now)

    def _ask_again(self, now: float) -> None:
        if not self._map_wanted or self.closed or now < self._map_not_before:
            return
        if not self.stuck():
            self._map_wanted = False
            return
        candidates = [link for link in self.links.values() if link.state is LinkState.OPEN]
        coordinator = self.coordinator
        if coordinator.state is LinkState.OPEN and coordinator.waiting and coordinator.heard_at < now - SILENCE_SECONDS:
            self.give_up(coordinator, "it has said nothing for too long", now)
        use_coordinator = self.coordinator.state is LinkState.OPEN and (self._map_asks % 2 == 0 or not candidates)
        self._map_asks += 1
        if use_coordinator:
            self._ask(self.coordinator, now)
        elif candidates:
            self._ask(self._random.choice(candidates), now)
        else:
            servers = [server for server in self.map.servers.values() if server.state is not ServerState.FAILED]
            if servers:
                link = self.link_to(self._random.choice(servers))
                if not link.pending:
                    link.pending.append(Operation(CONFIG_REQ, b"", -1, inf, None, MapRequest(False)))
                    self.open(link, now)
        self._map_delay = min(max(2 * self._map_delay, MAP_SECONDS_MIN), MAP_SECONDS_MAX)
        self._map_not_before = now + self.jittered(self._map_delay)
        self.at(self._map_not_before, self._ask_again)

    def _ask(self, link: Link, now: float) -> None:
        self.put_out(Operation(CONFIG_REQ, b"", -1, inf, None, MapRequest(link.coordinator)), link, now)

    def _connect(self, link: Link, now: float) -> None:
        if link.delay:
            link.state = LinkState.BACKING_OFF
            self.at(now + self.jittered(link.delay), lambda then: self._reconnect(link, then))
        else:
            link.state = LinkState.CONNECTING
            self.actions.append(Connect(link))

    def _reconnect(self, link: Link, now: float) -> None:
        if link.state is not LinkState.BACKING_OFF:
            return
        link.state = LinkState.IDLE
        if link.server is None or link.pending or any(lane.state is LaneState.CONNECTING for lane in link.lanes):
            link.state = LinkState.CONNECTING
            self.actions.append(Connect(link))

    # What the router adds.

    @abstractmethod
    def sweep(self, now: float) -> None:
        """End the operations whose deadline has passed; set `sweep_at`."""

    @abstractmethod
    def stuck(self) -> bool:
        """Whether any operation waits for a newer map."""

    @abstractmethod
    def refuse_all(self, reason: str) -> None:
        """The coordinator will not have us: end what has no other way to go."""

    @abstractmethod
    def link_opened(self, link: Link, now: float) -> None:
        """Send what waits for this link."""

    @abstractmethod
    def link_lost(self, link: Link, reason: str, now: float) -> None:
        """Take back what was in flight or waiting on this link, which is not open any more."""

    @abstractmethod
    def map_changed(self) -> None:
        """Adopt the configurations of the new map; send nothing yet."""

    @abstractmethod
    def map_replaced(self) -> None:
        """It is another cluster's map: what was learnt about versions is void."""

    @abstractmethod
    def map_answered(self, operation: Operation) -> None:
        """End an operation that asked for the map."""

    @abstractmethod
    def lanes_follow(self, now: float) -> None:
        """Send each lane's operations where the new map says."""
