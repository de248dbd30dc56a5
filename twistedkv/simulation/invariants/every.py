"""All invariants of one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twistedkv.history.record import Record
from twistedkv.simulation.cluster import Cluster
from twistedkv.simulation.invariants.copies import CopyChecks
from twistedkv.simulation.invariants.log import LogChecks
from twistedkv.simulation.invariants.serving import ServingChecks
from twistedkv.simulation.invariants.stored import StoredChecks
from twistedkv.simulation.invariants.watch import Watch

LOOK_SECONDS = 0.05


class Invariants:
    """Watches one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.watch = Watch(cluster)
        self.stored = StoredChecks(self.watch)
        self._copies = CopyChecks(self.watch)
        self._serving = ServingChecks(self.watch, self._copies)
        self._log = LogChecks(self.watch)
        self._timeline = cluster.timeline
        self._timeline.at(self._timeline.now, self._look)

    @contextmanager
    def around(self) -> Iterator[None]:
        """For the time of a run: whatever the cores do is looked at."""
        with self.stored.around(), self._copies.around(), self._serving.around(), self._log.around():
            yield

    def answered(self, record: Record) -> None:
        """An operation of a client has ended."""
        self._serving.answered(record)

    def _look(self) -> None:
        self._serving.look()
        self._timeline.at(self._timeline.now + LOOK_SECONDS, self._look)
