"""Operations that are made of others: on many keys, on all copies, over all shards.

MGET and MPUT keep a bounded number of single operations under way, so that any number of keys can be given, and begin
with few of them until it is known how large the values are: a server stops executing for a client that asks for more
than it reads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList

from twistedkv.client.arguments import check_key, check_scan, check_value
from twistedkv.client.operations import BOUNCES, REFRESH, Operation, refusal
from twistedkv.client.results import CopyCheck, PartialFailure, Unreachable, Value
from twistedkv.clustermap import ClusterMap, Configuration, Member, ServerState
from twistedkv.errors import NOT_FORMED, InvalidRequest, NotDone, OperationError, ShardLost, Status, Unavailable
from twistedkv.limits import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, SLOTS
from twistedkv.messages.client import Noop, Result, Scan, ScanItem, ScanPage, Verify
from twistedkv.slots import slot_of
from twistedkv.wire.client import GET, NOOP, PUT, SCAN, VERIFY

if TYPE_CHECKING:
    from twistedkv.client.rim import Rim

UNDER_WAY_MAX = 2048
UNDER_WAY_FIRST = 64
UNDER_WAY_BYTES = 16 * 1024 * 1024


def mget(client: Rim, keys: Iterable[bytes], deadline: float) -> Deferred[dict[bytes, Value | None]]:
    """See Client.mget."""
    wanted = dict.fromkeys(keys)
    for key in wanted:
        check_key(key)
    return _Scatter(client, GET, wanted, deadline).done


def mput(client: Rim, mapping: Mapping[bytes, bytes], deadline: float) -> Deferred[dict[bytes, int]]:
    """See Client.mput."""
    pairs = dict(mapping)
    for key, value in pairs.items():
        check_key(key)
        check_value(value)
    return _Scatter(client, PUT, pairs, deadline).done


class _Scatter:
    """One operation for each key. `done` fires with all results, or fails with PartialFailure."""

    def __init__(self, client: Rim, kind: int, pairs: Mapping[bytes, bytes | None], deadline: float) -> None:
        self.done: Deferred[Any] = Deferred(self._cancelled)
        self._client = client
        self._kind = kind
        self._deadline = deadline
        self._left: Iterator[tuple[bytes, bytes | None]] = iter(pairs.items())
        self._exhausted = False
        self._under_way: dict[Operation, None] = {}
        self._results: dict[bytes, Any] = dict.fromkeys(pairs)
        """In the caller's order; what has failed is taken out at the end."""
        self._failed: dict[bytes, Exception] = {}
        self._completed = 0
        self._largest = 1
        self._filling = False
        self._fill()

    def _fill(self) -> None:
        """Begin as many as may be under way."""
        if self._filling:
            return
        self._filling = True
        under_way = self._under_way
        while not self._exhausted:
            most = min(UNDER_WAY_MAX, UNDER_WAY_FIRST + 2 * self._completed, 1 + UNDER_WAY_BYTES // self._largest)
            if len(under_way) >= most:
                break
            pair = next(self._left, None)
            if pair is None:
                self._exhausted = True
                break
            key, value = pair
            if value is not None and len(value) > self._largest:
                self._largest = len(value)
            part = _Part(self, key)
            operation = part.operation = Operation(
                self._kind, key, slot_of(key), self._deadline, part, b"" if value is None else value
            )
            under_way[operation] = None
            self._client.begin(operation)
        self._filling = False
        if self._exhausted and not under_way:
            self._end()

    def part_done(self, operation: Operation, outcome: Any) -> None:
        """One key has its result."""
        self._results[operation.key] = outcome
        if type(outcome) is Value and len(outcome.value) > self._largest:
            self._largest = len(outcome.value)
        self._ended(operation)

    def part_failed(self, operation: Operation, error: Exception) -> None:
        """One key has none."""
        self._failed[operation.key] = error
        self._ended(operation)

    def _ended(self, operation: Operation) -> None:
        self._under_way.pop(operation, None)
        self._completed += 1
        self._fill()

    def _end(self) -> None:
        if self.done.called:
            return
        if not self._failed:
            self.done.callback(self._results)
            return
        total = len(self._results)
        for key in self._failed:
            del self._results[key]
        first = next(iter(self._failed.values()))
        text = f"{len(self._failed)} of {total} keys failed; the first: {first}"
        self.done.errback(PartialFailure(text, self._results, self._failed))

    def _cancelled(self, _: object) -> None:
        self._exhausted = True
        under_way, self._under_way = list(self._under_way), {}
        for operation in under_way:
            self._client.cancel(operation)


class _Part:
    """Waits for one key of many."""

    __slots__ = ("operation", "scatter")

    operation: Operation

    def __init__(self, scatter: _Scatter, key: bytes) -> None:
        self.scatter = scatter

    def callback(self, result: Any) -> None:
        self.scatter.part_done(self.operation, result)

    def errback(self, fail: Exception) -> None:
        self.scatter.part_failed(self.operation, fail)


def refresh(client: Rim, deadline: float) -> Deferred[ClusterMap]:
    """See Client.refresh."""
    answer: Deferred[ClusterMap] = Deferred(lambda _: client.cancel(operation))
    operation = Operation(REFRESH, b"", -1, deadline, answer)
    client.begin_refresh(operation)
    return answer


def _ask(client: Rim, kind: int, key: bytes, message: Any, server: int, deadline: float) -> Deferred[Any]:
    """Send one message to one server, once. Fails with Unreachable when that was not possible."""
    answer: Deferred[Any] = Deferred(lambda _: client.cancel(operation))
    operation = Operation(kind, key, -1, deadline, answer, message)
    client.begin_to(operation, server)
    return answer


class _Rounds:
    """Tries something again and again, with growing pauses, until the deadline."""

    def __init__(self, client: Rim, what: str, deadline: float) -> None:
        self._client = client
        self._what = what
        self._deadline = deadline
        self._delay = 0.0

    async def next(self, heard: str) -> None:
        """Wait for the next round. Raises Unavailable when there is no time for one."""
        now = self._client.seconds()
        self._delay = min(max(2 * self._delay, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)
        pause = min(self._client.router.jittered(self._delay), self._deadline - now)
        if pause > 0:
            await self._client.pause(pause)
        if self._client.seconds() >= self._deadline:
            raise Unavailable(f"{self._what}: no answer before the deadline; last heard: {heard}")


async def verify(client: Rim, key: bytes, value: bytes | None, server: int | None, deadline: float) -> list[CopyCheck]:
    """See Client.verify."""
    check_key(key)
    if value is not None:
        check_value(value)
    slot = slot_of(key)
    rounds = _Rounds(client, f"VERIFY {key!r}", deadline)
    known: dict[Member, Result] = {}
    while True:
        configuration = await _configuration(client, slot, deadline)
        members = [member for member in configuration.members if server in (None, member.server_id)]
        if not members:
            # Perhaps only by our map.
            await refresh(client, deadline)
            configuration = await _configuration(client, slot, deadline)
            members = [member for member in configuration.members if server in (None, member.server_id)]
            if not members:
                raise NotDone(f"VERIFY {key!r}: server {server} holds no copy of shard {configuration.shard}")
        if configuration.lost:
            raise ShardLost(
                f"VERIFY {key!r}: shard {configuration.shard} is lost: no copy is left; "
                f"`twistedkv admin accept-loss {configuration.shard}` makes it empty and usable"
            )
        missing = [member for member in members if member not in known]
        asked = [_ask(client, VERIFY, key, Verify(key), member.server_id, deadline) for member in missing]
        heard = ""
        for member, (_, outcome) in zip(missing, await DeferredList(asked, consumeErrors=True), strict=True):
            result = outcome if isinstance(outcome, Result) else outcome.value
            if isinstance(result, Result):
                if result.status in (Status.SUCCESS, Status.KEY_NOT_FOUND):
                    known[member] = result
                    continue
                text = result.value.decode("utf-8", "replace")
                if result.status not in BOUNCES:
                    operation = Operation(VERIFY, key, slot, deadline, None)
                    raise refusal(operation, result.status, 0, text, f"server {member.server_id}")
                heard = f"server {member.server_id} said {Status(result.status).name} {text}".strip()
            elif isinstance(result, Unreachable):
                heard = str(result)
            else:
                raise result
        configuration = await _configuration(client, slot, deadline)
        members = [member for member in configuration.members if server in (None, member.server_id)]
        if members and all(member in known for member in members):
            return [_check(member, configuration, value, known[member]) for member in members]
        if heard:
            client.router.want_map(client.seconds())
            await rounds.next(heard)


def _check(member: Member, configuration: Configuration, expected: bytes | None, result: Result) -> CopyCheck:
    role = "primary" if member == configuration.primary else "secondary"
    found = result.value if result.status == Status.SUCCESS else None
    return CopyCheck(member.server_id, role, found == expected, found, result.version if found is not None else 0)


async def _configuration(client: Rim, slot: int, deadline: float) -> Configuration:
    """The configuration of a slot's shard, as soon as there is a map with shards."""
    rounds = _Rounds(client, "the cluster map", deadline)
    while not client.router.table:
        await refresh(client, deadline)
        if not client.router.table:
            await rounds.next(NOT_FORMED)
    return client.router.table[slot].configuration


async def noop(client: Rim, server: int | None, deadline: float) -> None:
    """See Client.noop."""
    rounds = _Rounds(client, "NOOP", deadline)
    number = 0
    while True:
        if not client.router.map.servers:
            await refresh(client, deadline)
        servers = client.router.map.servers
        live = [known.server_id for known in servers.values() if known.state is not ServerState.FAILED]
        if server is not None and server not in servers:
            raise InvalidRequest(f"there is no server {server}; known are {sorted(servers)}")
        if server is not None or live:
            number += 1
            try:
                await _ask(client, NOOP, b"", Noop(), live[number % len(live)] if server is None else server, deadline)
            except Unreachable as unreachable:
                heard = str(unreachable)
            else:
                return
        else:
            heard = "no server is running"
        await rounds.next(heard)


def scan_page(
    client: Rim, slot: int, after: bytes, prefix: bytes, values: bool, page: int, deadline: float
) -> Deferred[ScanPage]:
    """See Client.scan_page."""
    check_scan(prefix, page)
    if not 0 <= slot < SLOTS:
        raise InvalidRequest(f"a slot is 0 to {SLOTS - 1}, not {slot}")
    answer: Deferred[ScanPage] = Deferred(lambda _: client.cancel(operation))
    operation = Operation(SCAN, b"", slot, deadline, answer, Scan(slot, after, page, prefix, values))

    def received(result: ScanPage) -> ScanPage:
        if result.next_slot >= SLOTS and operation.lane is not None:
            # Whether a shard's end is told as the end of all or as the slot after it: go on with the next shard.
            result.next_slot = operation.lane.configuration.last_slot + 1
        if (result.next_slot, result.next_after) <= (slot, after):
            raise OperationError(f"SCAN: a server sent the same place {slot}, {after!r} to go on from")
        return result

    answer.addCallback(received)
    client.begin(operation)
    return answer


async def scan(client: Rim, prefix: bytes, values: bool, page: int) -> AsyncIterator[ScanItem]:
    """See Client.scan."""
    slot, after = 0, b""
    while slot < SLOTS:
        found = await scan_page(client, slot, after, prefix, values, page, client.deadline_at(None))
        for item in found.items:
            yield item
        slot, after = found.next_slot, found.next_after
