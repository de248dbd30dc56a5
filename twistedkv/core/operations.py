"""Operations: recoveries, switches, moves and drains as an operator sees them; and the events of the journal.

Neither decides anything. What happens next follows from the map and from who lives; an operation only says
what all of that is for, how far it has come (the phases are the original system's), and how long it will
take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import attrs

from twistedkv.clustermap import Configuration, Member
from twistedkv.messages.coordinator import FillReport

OPERATIONS_KEPT = 100
"""Ended operations that are still shown."""
_RATE_WEIGHT = 0.3


class Kind(StrEnum):
    """What an operation is for."""

    RECOVERY = "recovery"
    SWITCH = "switch"
    MOVE = "move"
    DRAIN = "drain"


class Phase(StrEnum):
    """How far a recovery has come; the other kinds go from ONGOING to DONE or FAILED."""

    ONGOING = "ONGOING"
    """Shards of the failed server have no serving primary yet, or there is nothing else to say."""
    USE_SECONDARY = "USE_SECONDARY"
    """All shards of which it was primary have failed over."""
    ONE_SET_COMPLETED = "ONE_SET_COMPLETED"
    """Its primary set or its secondary set has all copies again."""
    DONE = "DONE"
    """Everything is as it should be."""
    FAILED = "FAILED"
    """A shard was lost, or the operation was given up."""


ENDED = (Phase.DONE, Phase.FAILED)


@attrs.frozen
class Operation:
    """One operation. Times are seconds of the wall clock, for people."""

    id: str
    number: int
    kind: Kind
    server: int | None
    shards: tuple[int, ...]
    primaries: tuple[int, ...]
    """Those of the shards of which the failed server was primary."""
    phase: Phase
    started: float
    ended: float | None = None

    @property
    def state(self) -> str:
        """running, done or failed."""
        return {Phase.DONE: "done", Phase.FAILED: "failed"}.get(self.phase, "running")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.phase not in ENDED


@attrs.frozen
class Event:
    """A line of the journal."""

    number: int
    time: float
    """Seconds of the wall clock."""
    event: str
    text: str
    shard: int | None = None
    epoch: int | None = None
    server: int | None = None
    operation: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As `journal` answers it."""
        return attrs.asdict(self) | {"time": iso(self.time)}


def iso(seconds: float | None) -> str | None:
    """Wall-clock seconds as ISO 8601, UTC, with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def whole(configuration: Configuration, live: Callable[[Member], bool], *, role_too: bool = True) -> bool:
    """Whether a shard has all its preferred copies, in sync and alive, and (`role_too`) its preferred
    primary."""
    if configuration.lost or configuration.learners:
        return False
    holders = {member.server_id for member in configuration.members if live(member)}
    if not holders.issuperset(configuration.preferred) or not configuration.preferred:
        return False
    return not role_too or configuration.primary.server_id == configuration.preferred[0]


def recovery_phase(operation: Operation, shards: Mapping[int, Configuration], live: Callable[[Member], bool]) -> Phase:
    """How far a recovery has come, judged by nothing but the map and who lives."""
    own = [shards[shard] for shard in operation.shards if shard in shards]
    if any(configuration.lost for configuration in own):
        return Phase.FAILED
    primary_set = [c for c in own if c.shard in operation.primaries]
    secondary_set = [c for c in own if c.shard not in operation.primaries]
    primaries_whole = all(whole(c, live) for c in primary_set)
    secondaries_whole = all(whole(c, live, role_too=False) for c in secondary_set)
    if primaries_whole and secondaries_whole:
        return Phase.DONE
    if not all(live(c.primary) for c in own):
        return Phase.ONGOING
    if (primary_set and all(whole(c, live, role_too=False) for c in primary_set)) or (
        secondary_set and secondaries_whole
    ):
        return Phase.ONE_SET_COMPLETED
    return Phase.USE_SECONDARY


@attrs.define
class _Fill:
    records: int = 0
    records_total: int = 0
    bytes_sent: int = 0


class Progress:
    """What the fills of one operation have moved, and how fast. Lives in memory only."""

    def __init__(self) -> None:
        self._fills: dict[int, _Fill] = {}
        self._measured: tuple[float, int, int] | None = None
        self._bytes_per_second = 0.0
        self._records_per_second = 0.0

    @property
    def records(self) -> int:
        """Records sent so far."""
        return sum(fill.records for fill in self._fills.values())

    @property
    def records_total(self) -> int:
        """Records to send, as far as known."""
        return sum(max(fill.records_total, fill.records) for fill in self._fills.values())

    @property
    def bytes_sent(self) -> int:
        """Bytes sent so far."""
        return sum(fill.bytes_sent for fill in self._fills.values())

    @property
    def bytes_per_second(self) -> float:
        """The rate, smoothed."""
        return self._bytes_per_second

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None when nothing moves."""
        if self._records_per_second <= 0:
            return None
        return (self.records_total - self.records) / self._records_per_second

    def report(self, fills: Iterable[FillReport], now: float) -> None:
        """A primary has told how far its fills are. `now` is monotonic seconds."""
        for fill in fills:
            self._fills[fill.shard] = _Fill(fill.records, fill.records_total, fill.bytes_sent)
        if self._measured is None:
            self._measured = (now, self.bytes_sent, self.records)
            return
        then, bytes_then, records_then = self._measured
        if now - then < 0.1:
            return
        self._measured = (now, self.bytes_sent, self.records)
        bytes_rate = max(0, self.bytes_sent - bytes_then) / (now - then)
        records_rate = max(0, self.records - records_then) / (now - then)
        self._bytes_per_second += _RATE_WEIGHT * (bytes_rate - self._bytes_per_second)
        self._records_per_second += _RATE_WEIGHT * (records_rate - self._records_per_second)

    def completed(self, shard: int) -> None:
        """The fill of a shard has ended: all its records are there."""
        fill = self._fills.get(shard)
        if fill is not None:
            fill.records = fill.records_total = max(fill.records_total, fill.records)


def operation_json(operation: Operation, progress: Progress | None) -> dict[str, Any]:
    """As `status` shows it."""
    running = operation.running and progress is not None
    progress = progress or Progress()
    left = progress.seconds_left if running else None
    return {
        "id": operation.id,
        "kind": str(operation.kind),
        "server": operation.server,
        "shards": list(operation.shards),
        "phase": str(operation.phase),
        "state": operation.state,
        "started": iso(operation.started),
        "ended": iso(operation.ended),
        "records": progress.records,
        "records_total": progress.records_total,
        "bytes": progress.bytes_sent,
        "rate_bytes_per_second": round(progress.bytes_per_second) if running else 0,
        "seconds_left": None if left is None else round(left, 1),
    }
