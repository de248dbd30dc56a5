"""The cluster map: which servers there are, and each shard's configuration. Immutable, versioned.

Only the coordinator makes the next map; everybody else merges what it is told, where for each shard the configuration
with the larger epoch wins, so that updates may arrive late, twice or out of order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType

import attrs

STORE_ID_BYTES = 16


class ServerState(IntEnum):
    """What the coordinator thinks of a server."""

    ACTIVE = 1
    """Holds shards, or may be given some."""
    STANDBY = 2
    """Waits to replace a failed server; holds nothing."""
    FAILED = 3
    """Five beats missed, or its end was seen. It holds nothing, as far as new configurations go."""
    LEAVING = 4
    """Is being stopped in order: gives its roles away and gets no new ones."""


@attrs.frozen
class Member:
    """One copy's holder: a server *with the data it has now*. A process that lost its data is another member (I9)."""

    server_id: int
    store_id: bytes

    def __str__(self) -> str:
        return f"{self.server_id}/{self.store_id.hex()[:6]}"


@attrs.frozen
class Server:
    """A server as the coordinator knows it."""

    server_id: int
    store_id: bytes
    host: str
    port: int
    state: ServerState
    pid: int = 0
    line_port: int = 0
    """Of the line protocol. 0: none."""
    course_port: int = 0
    """Of the original system's protocol. 0: none."""

    @property
    def member(self) -> Member:
        """The identity under which the server can hold a copy now."""
        return Member(self.server_id, self.store_id)

    @property
    def address(self) -> str:
        """`host:port` for people."""
        return f"{self.host}:{self.port}"


@attrs.frozen
class Configuration:
    """Who serves one shard, in one epoch."""

    shard: int
    first_slot: int
    last_slot: int
    epoch: int
    """Grows by one or more with each change. Invariant: an epoch names one configuration only (I1)."""
    birth: int
    """The epoch in which the shard was created empty; a member that has never held the shard starts empty."""
    primary: Member
    secondaries: tuple[Member, ...]
    """In-sync members besides the primary. Invariant: each holds every acknowledged write (I3, I10)."""
    learners: tuple[Member, ...]
    """Being filled. Invariant: never promoted (I9, I10)."""
    released: bool
    """The previous primary certainly serves no more: its lease need not be waited out (I8)."""
    lost: bool
    """No member is left that could serve. The members stay named: if one returns with its data, it is taken back."""
    preferred: tuple[int, ...]
    """Server ids that should hold the copies when all is well, the primary's first."""

    @property
    def members(self) -> tuple[Member, ...]:
        """Primary and secondaries."""
        return (self.primary, *self.secondaries)

    @property
    def everyone(self) -> tuple[Member, ...]:
        """Members and learners."""
        return (self.primary, *self.secondaries, *self.learners)

    @property
    def slots(self) -> range:
        """The slots of the shard."""
        return range(self.first_slot, self.last_slot + 1)


@attrs.frozen
class ClusterMap:
    """All configurations and all servers."""

    cluster: str
    version: int
    """Grows with each change of anything in the map. 0: nothing is known yet."""
    copies: int
    min_copies: int
    heartbeat_ms: int
    servers: Mapping[int, Server]
    """By server id."""
    shards: tuple[Configuration, ...]
    """By shard number. Empty until the cluster has been formed."""

    @classmethod
    def empty(cls, cluster: str = "") -> ClusterMap:
        """The map of one who knows nothing yet."""
        return cls(cluster, 0, 0, 0, 0, MappingProxyType({}), ())

    def slot_table(self) -> list[int]:
        """For each slot the number of its shard; an empty list as long as there are no shards."""
        table: list[int] = []
        for shard in self.shards:
            table.extend([shard.shard] * (shard.last_slot - shard.first_slot + 1))
        return table

    def server_of(self, member: Member) -> Server | None:
        """The server of a member, if it still has that member's data."""
        server = self.servers.get(member.server_id)
        return server if server is not None and server.store_id == member.store_id else None

    def changed(
        self, *, servers: Iterable[Server] = (), shards: Iterable[Configuration] = (), version: int | None = None
    ) -> ClusterMap:
        """The next map: these servers and configurations replaced or added. For the coordinator."""
        new_servers = dict(self.servers)
        new_servers.update((server.server_id, server) for server in servers)
        new_shards = {shard.shard: shard for shard in self.shards}
        new_shards.update((shard.shard, shard) for shard in shards)
        return attrs.evolve(
            self,
            version=self.version + 1 if version is None else version,
            servers=MappingProxyType(new_servers),
            shards=tuple(new_shards[i] for i in sorted(new_shards)),
        )

    def merged(self, update: ClusterMap) -> ClusterMap:
        """This map after hearing of `update`, which may be older, newer, or only the changed part of a map.

        Servers come from the newer of the two; of each shard the configuration with the larger epoch is kept.
        """
        shards = {shard.shard: shard for shard in self.shards}
        for shard in update.shards:
            known = shards.get(shard.shard)
            if known is None or shard.epoch > known.epoch:
                shards[shard.shard] = shard
        newer = update if update.version >= self.version else self
        return ClusterMap(
            cluster=newer.cluster,
            version=newer.version,
            copies=newer.copies,
            min_copies=newer.min_copies,
            heartbeat_ms=newer.heartbeat_ms,
            servers=newer.servers,
            shards=tuple(shards[i] for i in sorted(shards)),
        )
