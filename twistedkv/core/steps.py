"""What goes into the coordinator's state, and what comes out of a step of it: plain values.

A step collects a `Step`. Whoever performs it must do so in this order, and must do nothing of it when the
first fails:

1. store `step.change`, in one transaction;
2. publish `step.update` to servers and subscribed clients;
3. send `step.sends`;
4. see to `step.failed` (kill, spawn a replacement), and fire `step.outcomes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from twistedkv.clustermap import ClusterMap, Configuration, Member, Server
from twistedkv.core.operations import Event, Operation
from twistedkv.messages.coordinator import NO_USAGE, Sealed, ShardReport, Usage


@attrs.frozen
class Settings:
    """What the operator wants. Times in seconds."""

    cluster: str
    servers: int
    shards: int
    copies: int
    min_copies: int
    heartbeat_seconds: float
    replace_after_seconds: float
    respawns: bool = False
    """Servers 1 to `servers` are started again by this coordinator, under the same id."""
    servers_max: int = 0
    """And further ones up to so many in all, when these are short of space."""


@attrs.frozen
class Saved:
    """What the map store holds."""

    map: ClusterMap
    promised: Mapping[int, int] = MappingProxyType({})
    """By shard: the highest epoch used in a SEAL. Invariant: stored before the SEAL is sent."""
    epoch_floor: int = 0
    """All epochs up to this one have been used by shards that are no more."""
    operations: tuple[Operation, ...] = ()
    last_event: int = 0
    last_operation: int = 0


@attrs.define
class Change:
    """What one transaction of the map store changes."""

    version: int | None = None
    """The map's next version, when the map has changed."""
    servers: dict[int, Server] = attrs.Factory(dict)
    shards: dict[int, Configuration] = attrs.Factory(dict)
    expected: dict[int, int] = attrs.Factory(dict)
    """For each shard in `shards`, the epoch that must be in the store (0: no configuration)."""
    promised: dict[int, int] = attrs.Factory(dict)
    born_anew: bool = False
    """Before all else: forget every server and every shard, but not the epochs."""
    epoch_floor: int | None = None
    operations: dict[str, Operation] = attrs.Factory(dict)
    forgotten: list[str] = attrs.Factory(list)
    """Ended operations that are dropped."""
    last_operation: int = 0
    events: list[Event] = attrs.Factory(list)

    def __bool__(self) -> bool:
        return bool(
            self.version is not None or self.promised or self.operations or self.events or self.epoch_floor is not None
        )


@attrs.define
class Step:
    """What is to be done, in the order of the module's description."""

    change: Change = attrs.Factory(Change)
    update: ClusterMap | None = None
    """What to publish: all servers, and the configurations that have changed."""
    sends: list[tuple[int, Any]] = attrs.Factory(list)
    """Server id and message."""
    failed: list[tuple[int, int]] = attrs.Factory(list)
    """Servers that have been declared failed, with the pids that they had."""
    outcomes: list[tuple[str, str]] = attrs.Factory(list)
    """Operation id and error (empty: success), for operations that have ended."""
    spawn: list[int] = attrs.Factory(list)
    """Servers that are to be started here, besides those that are anyway."""
    departures: list[tuple[int, str]] = attrs.Factory(list)
    """Leaving servers that can go now, and what is wrong with that (empty: nothing)."""


@attrs.define
class View:
    """What is known of a server besides the map; all of it is lost with the coordinator."""

    connected: bool = False
    standby: bool = False
    """It asked to be one."""
    engine: str = ""
    """Where its data are, in its own words."""
    keys: int = 0
    bytes_stored: int = 0
    usage: Usage = NO_USAGE
    """As it has said in its last heartbeat."""
    given: int = 0
    """Bytes of the copies that it was given since then."""
    reports: dict[int, ShardReport] = attrs.Factory(dict)
    told: list[ShardReport] | None = None
    """The list of which `reports` was made, if it came with a heartbeat: see `wire.coordinator.HeartbeatDecoder`."""
    retired: list[bytes] = attrs.Factory(list)
    """Store ids of processes that others have replaced under this server id."""
    failed_at: float = 0.0
    leaving_at: float = 0.0
    leaving_answered: bool = False


@attrs.define
class Shortage:
    """Of space: which servers are short of it, and what is being done."""

    servers: dict[int, None] = attrs.Factory(dict)
    """Past their low mark."""
    uneven: dict[int, float] = attrs.Factory(dict)
    """Have been past it, as far as is known, and since when they have room for their share: they are given no copies
    only to make the numbers of copies even."""
    not_before: dict[int, float] = attrs.Factory(dict)
    """When a server is looked at again."""
    moving: dict[int, None] = attrs.Factory(dict)
    """Had something moved away from them when they were looked at last: what was moved has to show first."""
    next_look: float = 0.0
    """When those in `uneven` are looked at again."""
    spawned: dict[int, float] = attrs.Factory(dict)
    """Servers that are being started, and since when."""
    helpless: dict[int, str] = attrs.Factory(dict)
    """For whom nothing can be done, and what an operator could do."""


@attrs.define
class Seal:
    """A failover under way: from SEAL to promotion."""

    epoch: int
    started: float
    asked: dict[Member, float] = attrs.Factory(dict)
    """When each was sent SEAL last."""
    answers: dict[Member, Sealed] = attrs.Factory(dict)


@attrs.define
class Switch:
    """A SWITCH_PRIMARY that has been sent."""

    epoch: int
    target: int
    started: float
    operation: str | None = None
    """The operator's, if it was one who asked."""


@attrs.define
class Patience:
    """Growing pauses between attempts at one thing."""

    not_before: float = 0.0
    failures: int = 0

    def failed(self, now: float, seconds: float) -> None:
        """Wait `seconds`, twice and then four times as long with further failures, before the next attempt.

        Not longer: a cut link between two servers fails attempt after attempt, and when it is healed nobody is told.
        """
        self.not_before = now + seconds * 2 ** min(self.failures, 2)
        self.failures += 1
