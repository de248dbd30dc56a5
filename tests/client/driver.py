"""Drives the pure router as a rim and a network would, and checks at every step what must always hold."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs

from tests.client.fakes import make_map
from twistedkv.client.lanes import Link, LinkState
from twistedkv.client.links import Connect
from twistedkv.client.numbers import WriteNumbers
from twistedkv.client.operations import WRITES, Operation
from twistedkv.client.routing import Router
from twistedkv.clustermap import ClusterMap
from twistedkv.columns import encode_column
from twistedkv.errors import NotDone, OutcomeUnknown, Status
from twistedkv.limits import WRITE_WINDOW
from twistedkv.messages.client import (
    Cas,
    Delete,
    Execute,
    ExecuteMode,
    Get,
    GetMany,
    Incr,
    MapRequest,
    MapUpdate,
    Put,
    PutMany,
)
from twistedkv.records import make_record
from twistedkv.slots import slot_of
from twistedkv.wire.client import (
    CAS,
    CONFIG_RESP,
    EXECUTE,
    FAMILY,
    GET,
    GET_MANY,
    PUT,
    PUT_MANY,
    RESULT,
    Request,
    decode_request,
)
from twistedkv.wire.frames import RETRY, FrameDecoder

AFTER_LOOKUP = (Status.VERSION_MISMATCH, Status.NOT_AN_INTEGER, Status.OUT_OF_SPACE, Status.NOT_ENOUGH_COPIES)
REFUSED = (Status.WRONG_SERVER, Status.NOT_PRIMARY_YET)


def several(kind: int, *keys: bytes) -> PutMany | GetMany:
    """A request for keys of one slot."""
    slot = slot_of(keys[0])
    return GetMany(slot, list(keys)) if kind == GET_MANY else PutMany(0, 0, 0, slot, list(keys), [b"v"] * len(keys))


@attrs.define(eq=False)
class Attempt:
    """One time that an operation was sent."""

    link: Link
    request_id: int
    request: Request
    retry: bool
    end: str | Status = "in flight"
    """A status, "lost", or "in flight"."""


@attrs.define(eq=False)
class Call:
    """One operation, as its caller sees it; is its waiter."""

    operation: Any = None
    order: int = 0
    attempts: list[Attempt] = attrs.Factory(list)
    outcomes: list[Any] = attrs.Factory(list)
    cancelled: bool = False

    def callback(self, result: Any) -> None:
        self.outcomes.append(result)

    def errback(self, fail: Any) -> None:
        self.outcomes.append(fail)

    @property
    def outcome(self) -> Any:
        assert len(self.outcomes) == 1, self.outcomes
        return self.outcomes[0]

    @property
    def ended(self) -> bool:
        return bool(self.outcomes) or self.cancelled


class Driver:
    """A router, and what has become of everything that it did."""

    def __init__(self, known: ClusterMap | None = None, *, seed: int = 0, window: int = WRITE_WINDOW) -> None:
        self.now = 1000.0
        self.map = known or make_map()
        self.router = Router([("coordinator", 7400)], Random(seed))
        self.dialing: list[Link] = []
        self.open: dict[Link, list[Attempt]] = {}
        """What has arrived at the other end of each open link, and was not answered."""
        self.closed: list[Link] = []
        self.calls: list[Call] = []
        self.by_number: dict[tuple[WriteNumbers, int], Call] = {}
        self.relaid = False
        self.window = window
        self.router.start(self.now)
        self.settle()

    # What a caller does.

    def submit(self, kind: int, key: bytes, seconds: float = 10.0, value: Any = b"v", argument: int = 0) -> Call:
        call = Call(order=len(self.calls))
        self.calls.append(call)
        ends = self.now + seconds
        if kind in (PUT_MANY, GET_MANY):
            value = several(kind, key, b"{%b}2" % key)
        elif kind not in (PUT, CAS, EXECUTE):
            value = b""
        call.operation = Operation(kind, key, slot_of(key), ends, call, value, argument)
        self.router.submit(call.operation, self.now)
        self.settle()
        return call

    def put(self, key: bytes, seconds: float = 10.0) -> Call:
        return self.submit(PUT, key, seconds)

    def get(self, key: bytes, seconds: float = 10.0) -> Call:
        return self.submit(GET, key, seconds)

    def execute(self, *command: bytes, writes: bool) -> Call:
        """A command of the line port, whose key comes second."""
        key = command[1]
        message = Execute(0, 0, 0, slot_of(key), 2, ExecuteMode.SINGLE, [], [list(command)])
        return self.submit(EXECUTE, key, value=message, argument=WRITES if writes else 0)

    def cancel(self, call: Call) -> None:
        if not call.ended:
            call.cancelled = True
            self.router.cancel(call.operation, self.now)
            self.settle()

    # What the network does.

    def link(self, server_id: int | None) -> Link:
        """The link to a server, or to the coordinator."""
        return self.router.coordinator if server_id is None else self.router.links[server_id]

    def accept(self, server_id: int | None) -> None:
        """The dialled link opens."""
        link = self.link(server_id)
        self.dialing.remove(link)
        identity = b"c" * 16 if link.server is None else link.server.store_id
        assert self.router.connected(link, server_id or 0, identity, self.now)
        self.open[link] = []
        self.settle()

    def accept_all(self) -> None:
        for link in list(self.dialing):
            self.accept(None if link.server is None else link.server.server_id)

    def refuse(self, server_id: int | None, reason: str = "refused", *, hello: bool = False) -> None:
        link = self.link(server_id)
        self.dialing.remove(link)
        self.router.connect_failed(link, reason, self.now, refused=hello)
        self.settle()

    def lose(self, server_id: int | None) -> None:
        """The connection ends."""
        link = self.link(server_id)
        for attempt in self.open.pop(link):
            attempt.end = "lost"
        self.router.lost(link, "reset", self.now)
        self.settle()

    def frame(self, link: Link, message_type: int, request_id: int, body: bytes) -> None:
        self.router.frames_received(link, [(message_type, 0, request_id, body)], self.now)
        self.settle()

    def answer(self, attempt: Attempt, status: Status, version: int = 1, value: bytes = b"7") -> None:
        """The other end answers."""
        self.open[attempt.link].remove(attempt)
        attempt.end = status
        if isinstance(attempt.request, GetMany) and status is Status.SUCCESS and value == b"7":
            version, value = 0, encode_column([make_record(1, 0, value)] * len(attempt.request.keys))
        self.frame(attempt.link, RESULT, attempt.request_id, bytes([status]) + version.to_bytes(8, "big") + value)

    def answer_all(self, status: Status = Status.SUCCESS) -> None:
        for attempts in list(self.open.values()):
            for attempt in list(attempts):
                if attempt not in self.open.get(attempt.link, ()):
                    continue
                if isinstance(attempt.request, MapRequest):
                    self.send_map(attempt)
                else:
                    self.answer(attempt, status)

    def send_map(self, attempt: Attempt) -> None:
        """The other end answers a request for the map."""
        self.open[attempt.link].remove(attempt)
        self.frame(attempt.link, CONFIG_RESP, attempt.request_id, FAMILY.encode(MapUpdate(self.map))[1])

    def publish(self, known: ClusterMap) -> None:
        """There is a new map, and the coordinator pushes it, if it can."""
        if [s.first_slot for s in known.shards] != [s.first_slot for s in self.map.shards]:
            self.relaid = True
        self.map = known
        link = self.router.coordinator
        if link in self.open:
            self.frame(link, CONFIG_RESP, 0, FAMILY.encode(MapUpdate(known))[1])

    def begin(self) -> None:
        """The coordinator answers, all links that are dialled open."""
        for _ in range(3):
            self.accept_all()
            for attempt in [a for attempts in self.open.values() for a in attempts]:
                if isinstance(attempt.request, MapRequest):
                    self.send_map(attempt)

    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        if self.router.wake_at <= self.now:
            self.router.wake(self.now)
        self.settle()

    def sent(self, server_id: int | None) -> list[Attempt]:
        """What waits for an answer of this server."""
        return self.open[self.link(server_id)]

    # What the rim does.

    def settle(self) -> None:
        """Perform, flush, tell; check."""
        router = self.router
        while router.actions or router.finished or router.dirty:
            actions, router.actions = router.actions, []
            for action in actions:
                if isinstance(action, Connect):
                    assert action.link.state is LinkState.CONNECTING
                    self.dialing.append(action.link)
                elif action.link in self.dialing:
                    self.dialing.remove(action.link)
                else:
                    for attempt in self.open.pop(action.link):
                        attempt.end = "lost"
                    self.closed.append(action.link)
            finished, router.finished = router.finished, []
            for waiter, done, outcome in finished:
                (waiter.callback if done else waiter.errback)(outcome)
            for link, data in router.flush():
                for message_type, flags, request_id, body in FrameDecoder().feed(data):
                    self._arrived(link, request_id, flags, decode_request(message_type, body))
        self.check()

    def _arrived(self, link: Link, request_id: int, flags: int, request: Request) -> None:
        assert link in self.open, "sent on a link that is not open"
        attempt = Attempt(link, request_id, request, bool(flags & RETRY))
        self.open[link].append(attempt)
        if isinstance(request, MapRequest):
            return
        operation = link.waiting[request_id]
        [call] = [call for call in self.calls if call.operation is operation]
        self._check_attempt(call, attempt)
        call.attempts.append(attempt)

    def _check_attempt(self, call: Call, attempt: Attempt) -> None:
        request = attempt.request
        assert isinstance(request, Get | Put | Delete | Cas | Incr | Execute | PutMany | GetMany)
        assert not call.ended, "sent after its end"
        lane = call.operation.lane
        assert attempt.link.server is not None
        assert attempt.link.server.member == lane.configuration.primary
        for other in self.calls:
            waits = other is not call and not other.ended and other.operation.lane is lane
            if waits and not self.relaid and other.order < call.order:
                assert other.attempts, f"{call.operation} was sent ahead of {other.operation}"
                last = other.attempts[-1]
                assert last.link is attempt.link, "a lane has operations in flight on two links"
                assert last.end == "in flight", f"{call.operation} was sent ahead of {other.operation}, which bounced"
        if isinstance(request, Get | GetMany) or not call.operation.writes:
            return
        numbers = call.operation.numbers
        assert self.by_number.setdefault((numbers, request.number), call) is call, "a number was given twice"
        assert self.relaid or numbers is lane.numbers
        ends = [earlier.end for earlier in call.attempts]
        maybe = [end for end in ends if end not in REFUSED]
        assert attempt.retry == bool(maybe), f"RETRY is {attempt.retry} after {ends}"
        assert all(earlier.request.since == request.since for earlier in call.attempts)  # type: ignore[union-attr]
        unfinished = [number for (of, number), other in self.by_number.items() if of is numbers and not other.ended]
        assert request.oldest <= min(unfinished)
        assert 0 < request.oldest <= request.number < request.oldest + self.window

    def check(self) -> None:
        """What holds at any time."""
        for call in self.calls:
            assert len(call.outcomes) <= 1, f"{call.operation} ended {len(call.outcomes)} times"
            assert not (call.outcomes and call.cancelled)
            if call.outcomes:
                self._check_outcome(call, call.outcomes[0])
        router = self.router
        if not router.closed:
            in_flight = [o for link in [router.coordinator, *router.links.values()] for o in link.waiting.values()]
            for lane in router.lanes:
                assert lane.inflight == sum(1 for operation in in_flight if operation.lane is lane)
        assert all(numbers.oldest <= number for (numbers, number), call in self.by_number.items() if not call.ended)

    def _check_outcome(self, call: Call, outcome: Any) -> None:
        ends = [attempt.end for attempt in call.attempts]
        writes = call.operation.writes
        if isinstance(outcome, OutcomeUnknown):
            assert writes and ends
        elif isinstance(outcome, NotDone) and writes and ends:
            definite = ends[-1] in AFTER_LOOKUP
            unsure = [end for end in ends if end in ("lost", "in flight", Status.SUPERSEDED)]
            assert definite or not unsure, f"{outcome!r} after {ends}"
        elif not isinstance(outcome, Exception):
            assert ends[-1] in (Status.SUCCESS, Status.KEY_NOT_FOUND)
