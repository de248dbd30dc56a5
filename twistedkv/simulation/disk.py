"""The coordinator's store on a simulated disk: the store in memory, with faults."""

from __future__ import annotations

from collections.abc import Callable

from twistedkv.clustermap import Configuration
from twistedkv.core.steps import Change
from twistedkv.mapstore.memory import MemoryDisk, MemoryMapStore
from twistedkv.simulation.process import Process
from twistedkv.simulation.timeline import Killed


class SimulatedMapStore(MemoryMapStore):
    """Of one coordinator process. `fault(moment)` is called before and after each change, and may raise OSError (only
    before) or end the process; `stored(change, shards before it)` is told what was stored."""

    def __init__(
        self,
        disk: MemoryDisk,
        process: Process,
        fault: Callable[[str], None],
        stored: Callable[[Change, dict[int, Configuration]], None] = lambda change, before: None,
    ) -> None:
        super().__init__(disk)
        self._process = process
        self._fault = fault
        self._stored = stored

    def apply(self, change: Change) -> None:
        """See MapStore."""
        if not self._process.alive:
            raise Killed
        self._fault("before")
        before = dict(self._disk.shards)
        super().apply(change)
        self._stored(change, before)
        self._process.timeline.note(repr(change).encode())
        self._fault("after")
