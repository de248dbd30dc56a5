"""Operations that are made of others: on many keys, on all copies, over all shards.

MGET and MPUT send the keys of each shard together, in parts of a bounded size, of which a bounded number is under way:
so any number of keys can be given. How large what is read will be is not known; a server answers as many keys of a part
as fit, and is asked again for the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import chain, repeat
from struct import Struct
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList

from twistedkv.client.arguments import check_key, check_keys, check_scan, check_value, check_values
from twistedkv.client.operations import BOUNCES, REFRESH, Operation, refusal
from twistedkv.client.results import CopyCheck, PartialFailure, Unreachable, Value
from twistedkv.clustermap import ClusterMap, Configuration, Member, ServerState
from twistedkv.errors import NOT_FORMED, InvalidRequest, NotDone, OperationError, ShardLost, Status, Unavailable
from twistedkv.limits import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, SLOTS
from twistedkv.messages.client import GetMany, Noop, PutMany, Result, Scan, ScanItem, ScanPage, Verify
from twistedkv.records import RECORD_HEAD_BYTES, flagged, record_value, record_version
from twistedkv.slots import slot_of, slots_of
from twistedkv.wire.client import GET_MANY, NOOP, PUT_MANY, SCAN, VERIFY

if TYPE_CHECKING:
    from twistedkv.client.rim import Rim

PART_KEYS_MAX = 512
PART_BYTES_MAX = 256 * 1024
"""Of the values in one part, unless it is of one key."""
PARTS_MAX = 32
"""Under way at a time."""
UNDER_WAY_BYTES = 16 * 1024 * 1024

_VERSION = Struct(">Q")


def mget(client: Rim, keys: Iterable[bytes], deadline: float) -> Deferred[dict[bytes, Value | None]]:
    """See Client.mget."""
    wanted = list(dict.fromkeys(keys))
    check_keys(wanted)
    return _Scatter(client, wanted, None, deadline).done


def mput(client: Rim, mapping: Mapping[bytes, bytes], deadline: float) -> Deferred[dict[bytes, int]]:
    """See Client.mput."""
    pairs = dict(mapping)
    keys, values = list(pairs), list(pairs.values())
    check_keys(keys)
    check_values(values)
    return _Scatter(client, keys, values, deadline).done


class _Part:
    """Keys of one shard, and for a write their values. Waits for the operation that is sent for them."""

    __slots__ = ("keys", "operation", "scatter", "size", "values")

    operation: Operation

    def __init__(self, scatter: _Scatter, keys: list[bytes], values: list[bytes]) -> None:
        self.scatter = scatter
        self.keys = keys
        self.values = values
        """Empty for a read."""
        self.size = sum(map(len, values))

    def callback(self, result: Any) -> None:
        self.scatter.part_done(self, result)

    def errback(self, fail: Exception) -> None:
        self.scatter.part_failed(self, fail)


class _Scatter:
    """One operation for the keys of each shard. `done` fires with all results, or fails with PartialFailure.

    values  None: keys are read
    """

    def __init__(self, client: Rim, keys: list[bytes], values: list[bytes] | None, deadline: float) -> None:
        self.done: Deferred[Any] = Deferred(self._cancelled)
        self._client = client
        self._writes = values is not None
        self._deadline = deadline
        self._left = keys, values or []
        """What is in no part yet."""
        self._parts: deque[_Part] = deque()
        self._under_way: dict[_Part, None] = {}
        self._bytes = 0
        """Of the values under way."""
        self._results: dict[bytes, Any] = dict.fromkeys(keys)
        """In the caller's order; what has failed is taken out at the end."""
        self._failed: dict[bytes, Exception] = {}
        self._filling = False
        self._fill()

    def _fill(self) -> None:
        """Begin as many as may be under way."""
        if self._filling:
            return
        self._filling = True
        under_way = self._under_way
        while len(under_way) < PARTS_MAX and (not under_way or self._bytes < UNDER_WAY_BYTES):
            if not self._parts:
                self._part()
            if not self._parts:
                break
            self._begin(self._parts.popleft())
        self._filling = False
        if not under_way and not self.done.called:
            self._end()

    def _begin(self, part: _Part) -> None:
        keys = part.keys
        slot = slot_of(keys[0])
        message = PutMany(0, 0, 0, slot, keys, part.values) if self._writes else GetMany(slot, keys)
        kind = PUT_MANY if self._writes else GET_MANY
        part.operation = Operation(kind, b"", slot, self._deadline, part, message)
        self._under_way[part] = None
        self._bytes += part.size
        self._client.begin(part.operation)

    def _part(self) -> None:
        """Make parts of what is left. As long as the shards are not known, only of some, and each of one key."""
        keys, values = self._left
        table = self._client.router.table
        if not table:
            self._left = keys[PARTS_MAX:], values[PARTS_MAX:]
            self._parts_of(keys[:PARTS_MAX], values[:PARTS_MAX], keys)
        elif keys:
            self._left = [], []
            self._parts_of(keys, values, map(table.__getitem__, slots_of(keys)))

    def _parts_of(self, keys: list[bytes], values: list[bytes], groups: Iterable[Any]) -> None:
        """Keys of one group may be in one part."""
        grouped: dict[Any, list[int]] = {}
        for place, group in enumerate(groups):
            if place == len(keys):
                break
            if group in grouped:
                grouped[group].append(place)
            else:
                grouped[group] = [place]
        for places in grouped.values():
            for begin, end in _cuts(places, values):
                chosen = places[begin:end]
                some = list(map(keys.__getitem__, chosen))
                self._parts.append(_Part(self, some, list(map(values.__getitem__, chosen)) if self._writes else []))

    def part_done(self, part: _Part, outcome: Any) -> None:
        """An operation has ended: with the version of all, or the records of the first keys at least."""
        keys = part.keys
        if self._writes:
            self._results.update(dict.fromkeys(keys, outcome))
        else:
            self._results.update(zip(keys, values_of(outcome), strict=False))
            if len(outcome) < len(keys):
                self._parts.append(_Part(self, keys[len(outcome) :], []))
        self._ended(part)

    def part_failed(self, part: _Part, error: Exception) -> None:
        """It has failed, for all of its keys. If they have been of more than one shard, each is sent by itself."""
        if isinstance(error, InvalidRequest) and len(part.keys) > 1:
            self._parts_of(part.keys, part.values, part.keys)
        else:
            self._failed.update(dict.fromkeys(part.keys, error))
        self._ended(part)

    def _ended(self, part: _Part) -> None:
        if self._under_way.pop(part, self) is None:
            self._bytes -= part.size
        self._fill()

    def _end(self) -> None:
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
        self._left = [], []
        self._parts.clear()
        under_way, self._under_way = list(self._under_way), {}
        for part in under_way:
            self._client.cancel(part.operation)


def _cuts(places: list[int], values: list[bytes]) -> Iterator[tuple[int, int]]:
    """Where to cut the places of one shard into parts, so that none is too large for a frame, or holds up the rest."""
    if not values:
        for begin in range(0, len(places), PART_KEYS_MAX):
            yield begin, begin + PART_KEYS_MAX
        return
    begin = size = 0
    for at, place in enumerate(places):
        more = len(values[place])
        if at > begin and (size + more > PART_BYTES_MAX or at - begin >= PART_KEYS_MAX):
            yield begin, at
            begin, size = at, 0
        size += more
    yield begin, len(places)


def values_of(records: list[bytes]) -> Iterable[Value | None]:
    """What a caller gets of records, of which those that are not there are empty."""
    if b"" in records or flagged(records):
        return [Value(record_value(record), record_version(record)) if record else None for record in records]
    values = [record[RECORD_HEAD_BYTES:] for record in records]
    versions = chain.from_iterable(map(_VERSION.unpack_from, records))
    # As `Value(...)` for each, without a call of Python for each.
    return map(tuple.__new__, repeat(Value), zip(values, versions, strict=True))


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
