"""What recorded clients do: *lanes*, each of which does one operation at a time.

Keys are used for a while and then left, so that the history of each stays short enough to be searched.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from twistedkv.client.twisted import Client
from twistedkv.errors import NotDone, OutcomeUnknown, VersionMismatch
from twistedkv.history.record import Record
from twistedkv.recording.history import History, version


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
    registers: int = 6
    """Keys of a round that are written."""
    counters: int = 2
    """Keys of a round that are added to."""
    operations_per_round: int = 300
    """After so many operations of all lanes other keys are used."""


class Lane:
    """Does things with a client until `stopping()` is true. `reactor` has the client's `callLater`."""

    def __init__(
        self,
        history: History,
        habits: Habits,
        client: Client,
        reactor: Any,
        chance: random.Random,
        stopping: Callable[[], bool],
    ) -> None:
        self._history = history
        self._habits = habits
        self._client = client
        self._reactor = reactor
        self._random = chance
        self._stopping = stopping
        self._name = history.new_process()
        self._known: dict[str, tuple[int, Any]] = {}
        """By key: packed version and value that it was last seen with."""
        self._written = 0

    async def run(self) -> None:
        """Until it is to stop. Each operation ends in the history."""
        think_seconds = self._habits.think_seconds
        while not self._stopping():
            await self._one()
            if think_seconds:
                await self._pause(self._random.expovariate(1 / think_seconds))

    def _pause(self, seconds: float) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, pause.callback, None)
        return pause

    async def _one(self) -> None:
        chance, habits = self._random, self._habits
        turn = len(self._history.records) // habits.operations_per_round
        place = chance.randrange(habits.registers + habits.counters)
        counts = place >= habits.registers
        key = f"{'c' if counts else 'r'}{turn}.{place}"
        draw = chance.random()
        if draw < habits.reads:
            f = "read"
        elif counts:
            f = "incr" if chance.random() < 0.95 else "delete"
        else:
            f = chance.choices(("write", "cas", "delete"), (5, 3, 1))[0]
        if f == "cas" and key not in self._known:
            f = "read"
        deadline = chance.uniform(0.05, 1.0) if chance.random() < habits.impatient else 10.0
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


async def read_all(client: Client, history: History, keys: list[str]) -> None:
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
