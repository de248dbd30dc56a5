"""The simulated clients at work. A process that dies leaves operations behind whose outcome nobody knows."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import ensureDeferred

from twistedkv.history.record import Record, line_of
from twistedkv.recording.history import History
from twistedkv.recording.lanes import Habits, Lane
from twistedkv.simulation.process import Process
from twistedkv.simulation.timeline import Timeline


def history_on(timeline: Timeline, answered: Callable[[Record], None] = lambda record: None) -> History:
    """A history by true time, whose operations are part of the run's digest. `answered` is told of each."""

    def ended(record: Record) -> None:
        timeline.note(line_of(record).encode())
        answered(record)

    return History(lambda: round(timeline.now * 1e9), ended)


class Workload:
    """All lanes of all clients."""

    def __init__(
        self, timeline: Timeline, habits: Habits, answered: Callable[[Record], None] = lambda record: None
    ) -> None:
        self.history = history_on(timeline, answered)
        self.habits = habits
        self.stopping = False
        self._timeline = timeline
        self._started = 0
        self._living: dict[Process, int] = {}
        """Lanes that have not ended, by process."""

    def run_client(self, process: Process) -> None:
        """Have a client process, which has just been made, do things."""
        self._living[process] = self.habits.lanes
        for _ in range(self.habits.lanes):
            self._started += 1
            chance = self._timeline.stream(f"lane {self._started}")
            process.reactor.callLater(0.001, self._start, process, chance)

    @property
    def unfinished(self) -> bool:
        """Whether some lane of a living client has not ended."""
        return any(lanes for process, lanes in self._living.items() if process.alive)

    def _start(self, process: Process, chance: random.Random) -> None:
        client, reactor = process.program.client, process.reactor
        lane = Lane(self.history, self.habits, client, reactor, chance, lambda: self.stopping)
        ensureDeferred(lane.run()).addCallbacks(lambda _: self._ended(process), self._failed)

    def _ended(self, process: Process) -> None:
        self._living[process] -= 1

    def _failed(self, failure: Any) -> None:
        self._timeline.problems.append(f"{self._timeline.now:.6f} a client: {failure.getTraceback()}")
