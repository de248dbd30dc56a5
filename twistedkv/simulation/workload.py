"""What the simulated clients do, and the history of it.

Each client process has a few *lanes*, which do one operation at a time each. Keys are used for a while and then left,
so that the history of each stays short enough to be searched. A process that dies leaves operations behind whose
outcome nobody knows.
"""

from __future__ import annotations

import random
from typing import Any

import attrs
from twisted.internet.defer import Deferred, ensureDeferred

from twistedkv.errors import NotDone, OutcomeUnknown, VersionMismatch
from twistedkv.history.record import FOREVER, Record, Version, line_of
from twistedkv.records import epoch_of, sequence_of
from twistedkv.simulation.process import Process
from twistedkv.simulation.timeline import Timeline

REGISTERS = 6
COUNTERS = 2
OPERATIONS_PER_ROUND = 300
"""After so many operations other keys are used."""


@attrs.frozen
class Habits:
    """What the clients of a run are like."""

    lanes: int = 2
    """Of each client."""
    think_seconds: float = 0.01
    """Mean pause between a lane's operations."""
    impatient: float = 0.1
    """Share of operations that wait only a short time for an answer."""
    reads: float = 0.5
    """Share of operations that read."""


class History:
    """Everything that was asked and answered."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.records: list[Record] = []
        self.processes = 0

    def new_process(self) -> int:
        """A name for somebody who does one thing at a time."""
        self.processes += 1
        return self.processes

    def now(self) -> int:
        """Nanoseconds of true time."""
        return round(self.timeline.now * 1e9)

    def begin(self, process: int, key: str, f: str, args: list[Any], expected: Version | None = None) -> Record:
        """An operation is called. Until its end is said, its outcome is not known."""
        number = len(self.records) + 1
        record = Record(process, number, key, f, args, self.now(), FOREVER, "info", expected=expected)
        self.records.append(record)
        return record

    def end(self, record: Record, result: str) -> None:
        """Its outcome is known, or is known not to become known."""
        record.result = result
        if result != "info":
            record.returned = self.now()
        self.timeline.note(line_of(record).encode())

    @property
    def relevant(self) -> list[Record]:
        """Without the reads that were never answered."""
        return [r for r in self.records if r.f != "read" or r.result == "ok"]


def version(packed: int | None) -> Version | None:
    """As it stands in a history."""
    return (epoch_of(packed), sequence_of(packed)) if packed else None


class Workload:
    """All lanes of all clients."""

    def __init__(self, timeline: Timeline, habits: Habits) -> None:
        self.history = History(timeline)
        self.habits = habits
        self.stopping = False
        self.lanes = 0
        """That have not ended, of client processes that live."""
        self._timeline = timeline
        self._started = 0
        self._living: dict[Process, int] = {}

    def keys(self) -> list[str]:
        """All keys that were used, in order."""
        return sorted({record.key for record in self.history.records})

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
        lane = _Lane(self, process, chance)
        ensureDeferred(lane.run()).addCallbacks(lambda _: self._ended(process), self._failed)

    def _ended(self, process: Process) -> None:
        self._living[process] -= 1

    def _failed(self, failure: Any) -> None:
        self._timeline.problems.append(f"{self._timeline.now:.6f} a client: {failure.getTraceback()}")


class _Lane:
    def __init__(self, workload: Workload, process: Process, chance: random.Random) -> None:
        self._workload = workload
        self._history = workload.history
        self._process = process
        self._client = process.program.client
        self._random = chance
        self._name = self._history.new_process()
        self._known: dict[str, tuple[int, Any]] = {}
        """By key: packed version and value that it was last seen with."""
        self._written = 0

    async def run(self) -> None:
        habits, chance = self._workload.habits, self._random
        while not self._workload.stopping:
            await self._one()
            if habits.think_seconds:
                await self._pause(chance.expovariate(1 / habits.think_seconds))

    def _pause(self, seconds: float) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        self._process.reactor.callLater(seconds, pause.callback, None)
        return pause

    async def _one(self) -> None:
        chance, history = self._random, self._history
        turn = len(history.records) // OPERATIONS_PER_ROUND
        place = chance.randrange(REGISTERS + COUNTERS)
        counts = place >= REGISTERS
        key = f"{'c' if counts else 'r'}{turn}.{place}"
        draw = chance.random()
        reads = self._workload.habits.reads
        if draw < reads:
            f = "read"
        elif counts:
            f = "incr" if chance.random() < 0.95 else "delete"
        else:
            f = chance.choices(("write", "cas", "delete"), (5, 3, 1))[0]
        if f == "cas" and key not in self._known:
            f = "read"
        deadline = chance.uniform(0.05, 1.0) if chance.random() < self._workload.habits.impatient else 10.0
        await self._do(key, f, deadline)

    async def _do(self, key: str, f: str, deadline: float) -> None:
        history, client, name = self._history, self._client, key.encode()
        self._written += 1
        fresh = f"{self._name}-{self._written}"
        known, seen = self._known.get(key, (0, None))
        args: list[Any] = {"write": [fresh], "cas": [seen, fresh], "incr": [1]}.get(f, [])
        record = history.begin(self._name, key, f, args, version(known) if f == "cas" else None)
        try:
            if f == "read":
                found = await client.get(name, deadline=deadline)
                text = None if found is None else found.value.decode()
                record.value = int(text) if text is not None and key[0] == "c" else text
                self._saw(record, 0 if found is None else found.version)
            elif f == "write":
                self._saw(record, await client.put(name, fresh.encode(), deadline=deadline), fresh)
            elif f == "cas":
                self._saw(record, await client.cas(name, fresh.encode(), known, deadline=deadline), fresh)
            elif f == "incr":
                total = await client.incr(name, deadline=deadline)
                self._saw(record, total.version, total.value)
            else:
                removed = await client.delete(name, deadline=deadline)
                record.value = removed is not None
                record.version = version(removed)
                self._known[key] = (0, None)
            history.end(record, "ok")
        except VersionMismatch as mismatch:
            record.mismatch = True
            record.version = version(mismatch.found)
            self._known.pop(key, None)
            history.end(record, "fail")
        except NotDone:
            history.end(record, "fail")
        except OutcomeUnknown:
            self._known.pop(key, None)
            history.end(record, "info")
            self._name = history.new_process()

    def _saw(self, record: Record, packed: int, value: Any = None) -> None:
        if value is not None:
            record.value = value
        record.version = version(packed)
        self._known[record.key] = (packed, record.value)


async def read_all(client: Any, history: History, keys: list[str]) -> None:
    """Read every key once more, as the process that comes after all others."""
    name = history.new_process()
    for key in keys:
        record = history.begin(name, key, "read", [])
        found = await client.get(key.encode())
        if found is not None:
            text = found.value.decode()
            record.value = int(text) if key[0] == "c" else text
            record.version = version(found.version)
        history.end(record, "ok")
