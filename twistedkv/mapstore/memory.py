"""A map store in memory, for tests. What it keeps is a `MemoryDisk`, which can be opened again, as a file can."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import MappingProxyType

import attrs

from twistedkv.clustermap import ClusterMap, Configuration, Server
from twistedkv.core.operations import Event, Operation
from twistedkv.core.steps import Change, Saved
from twistedkv.errors import Superseded
from twistedkv.mapstore.interface import JOURNAL_PAGE, JOURNAL_ROWS_MAX, SpawnedProcess


@attrs.define
class MemoryDisk:
    """What survives the store."""

    identity: bytes = attrs.Factory(lambda: os.urandom(16))
    generation: int = 0
    version: int = 0
    epoch_floor: int = 0
    servers: dict[int, Server] = attrs.Factory(dict)
    shards: dict[int, Configuration] = attrs.Factory(dict)
    promised: dict[int, int] = attrs.Factory(dict)
    operations: dict[str, Operation] = attrs.Factory(dict)
    journal: list[Event] = attrs.Factory(list)
    last_event: int = 0
    last_operation: int = 0
    stopped_in_order: bool = False
    heartbeat_ms: int = 0
    processes: list[SpawnedProcess] = attrs.Factory(list)


class MemoryMapStore:
    """See `interface.MapStore`."""

    def __init__(self, disk: MemoryDisk | None = None, journal_rows_max: int = JOURNAL_ROWS_MAX) -> None:
        self._disk = MemoryDisk() if disk is None else disk
        self._journal_rows_max = journal_rows_max
        self._disk.generation += 1
        self.generation = self._disk.generation
        self.identity = self._disk.identity

    def load(self) -> Saved:
        """See MapStore."""
        disk = self._disk
        return Saved(
            map=attrs.evolve(
                ClusterMap.empty(),
                version=disk.version,
                servers=MappingProxyType(dict(disk.servers)),
                shards=tuple(disk.shards[shard] for shard in sorted(disk.shards)),
            ),
            promised=MappingProxyType(dict(disk.promised)),
            epoch_floor=disk.epoch_floor,
            operations=tuple(disk.operations.values()),
            last_event=disk.last_event,
            last_operation=disk.last_operation,
        )

    def apply(self, change: Change) -> None:
        """See MapStore."""
        disk = self._disk
        self._check_generation()
        present = {} if change.born_anew else disk.shards
        for shard, epoch in change.expected.items():
            if (present[shard].epoch if shard in present else 0) != epoch:
                raise Superseded(f"shard {shard} is not in epoch {epoch} any more: another coordinator has acted")
        if change.born_anew:
            disk.servers.clear()
            disk.shards.clear()
            disk.promised.clear()
        if change.version is not None:
            disk.version = change.version
        if change.epoch_floor is not None:
            disk.epoch_floor = change.epoch_floor
        disk.servers.update(change.servers)
        disk.shards.update(change.shards)
        disk.promised.update(change.promised)
        disk.operations.update(change.operations)
        for operation_id in change.forgotten:
            disk.operations.pop(operation_id, None)
        disk.last_operation = max(disk.last_operation, change.last_operation)
        disk.journal.extend(change.events)
        if change.events:
            disk.last_event = change.events[-1].number
            del disk.journal[: max(0, len(disk.journal) - self._journal_rows_max)]

    def journal(self, after: int, limit: int = JOURNAL_PAGE) -> list[Event]:
        """See MapStore."""
        return [event for event in self._disk.journal if event.number > after][:limit]

    def stopped_in_order(self) -> bool:
        """See MapStore."""
        return self._disk.stopped_in_order

    def set_stopped_in_order(self, stopped: bool) -> None:
        """See MapStore."""
        self._check_generation()
        self._disk.stopped_in_order = stopped

    def heartbeat_ms(self) -> int:
        """See MapStore."""
        return self._disk.heartbeat_ms

    def set_heartbeat_ms(self, milliseconds: int) -> None:
        """See MapStore."""
        self._check_generation()
        self._disk.heartbeat_ms = milliseconds

    def processes(self) -> list[SpawnedProcess]:
        """See MapStore."""
        return list(self._disk.processes)

    def record_processes(self, processes: Iterable[SpawnedProcess]) -> None:
        """See MapStore."""
        self._check_generation()
        self._disk.processes = sorted(processes, key=lambda process: process.server_id)

    def close(self) -> None:
        """See MapStore."""

    def _check_generation(self) -> None:
        if self._disk.generation != self.generation:
            raise Superseded("another coordinator has opened the map store: this one stops")
