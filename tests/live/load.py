"""Load that remembers what was acknowledged, and says afterwards what is missing.

Each writer is a thread with a client of its own. It alone writes its keys, so it knows at each moment which values
they can have: the one acknowledged last, or one whose outcome is unknown since. Counters are everybody's: their sums
are between the increments that were acknowledged and those plus the unknown ones, and no sum is returned twice.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Collection
from typing import Any

from twistedkv.blocking import Client
from twistedkv.errors import NotDone, OutcomeUnknown, ShardLost, TwistedKVError, VersionMismatch
from twistedkv.slots import slot_of

COUNTERS = [b"counter-%d" % i for i in range(12)]


def shard_of(client: Client, key: bytes) -> int:
    """The shard that holds the key."""
    slot = slot_of(key)
    return next(c.shard for c in client.cluster_map.shards if c.first_slot <= slot <= c.last_slot)


class _Writer(threading.Thread):
    def __init__(self, load: Load, number: int) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self._load = load
        self._number = number
        self._random = random.Random(number)
        self._client = Client(load.address, deadline=load.deadline)
        self._written = 0
        self.possible: dict[bytes, list[bytes | None]] = {}
        """By key: what it may hold; the first was acknowledged."""
        self.versions: dict[bytes, int | None] = {}
        """Of keys that are only changed with CAS; None when it is not known."""
        self.sums: dict[bytes, list[int]] = {key: [] for key in load.counters}
        self.unknown_increments: Counter[bytes] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.last_errors: list[str] = []
        self.problems: list[str] = []
        self.longest_seconds = 0.0
        self.longest_operation = ""

    def run(self) -> None:
        try:
            while not self._load.stopping.is_set():
                self._one()
                if self._load.pause_seconds:
                    time.sleep(self._load.pause_seconds)
        except BaseException as error:
            self.problems.append(f"{self.name} has died of {error!r}")
        finally:
            self._client.close()

    def _one(self) -> None:
        key = b"%sw%d-%d" % (self._load.name, self._number, self._random.randrange(self._load.keys))
        chance = self._random.random()
        began = time.monotonic()
        operation = self._cas if chance < 0.15 else self._increment if chance < 0.35 else self._change
        if chance > 0.75:
            operation = self._read
        try:
            outcome = operation(key)
        except ShardLost:
            outcome = "ShardLost"
        except (NotDone, OutcomeUnknown) as error:
            outcome = type(error).__name__
            self.last_errors = [*self.last_errors[-4:], f"{outcome}: {error}"]
        self.outcomes[outcome] += 1
        took = time.monotonic() - began
        if took > self.longest_seconds:
            self.longest_seconds, self.longest_operation = took, f"{operation.__name__} {key!r}: {outcome}"

    def _next_value(self) -> bytes:
        self._written += 1
        return b"%d/%d" % (self._number, self._written) + b"." * self._random.randrange(100)

    def _change(self, key: bytes) -> str:
        value = None if self._random.random() < 0.1 else self._next_value()
        try:
            if value is None:
                self._client.delete(key)
            else:
                self._client.put(key, value)
        except OutcomeUnknown:
            self.possible.setdefault(key, [None]).append(value)
            raise
        self.possible[key] = [value]
        return "done"

    def _cas(self, key: bytes) -> str:
        key = b"cas-" + key
        possible = self.possible.setdefault(key, [None])
        version = self.versions.get(key, 0)
        if version is None:
            found = self._client.get(key)
            self._expect(key, None if found is None else found.value)
            self.possible[key] = possible = [None if found is None else found.value]
            self.versions[key] = version = 0 if found is None else found.version
        value = self._next_value()
        try:
            self.versions[key] = self._client.cas(key, value, version)
        except VersionMismatch as mismatch:
            self.problems.append(f"CAS of {key!r}: version {version} was acknowledged, {mismatch.found} is there")
            self.versions[key] = None
            possible.append(value)
            return "mismatch"
        except OutcomeUnknown:
            self.versions[key] = None
            possible.append(value)
            raise
        self.possible[key] = [value]
        return "done"

    def _increment(self, key: bytes) -> str:
        counter = self._load.name + self._random.choice(COUNTERS)
        try:
            self.sums[counter].append(self._client.incr(counter).value)
        except OutcomeUnknown:
            self.unknown_increments[counter] += 1
            raise
        return "done"

    def _read(self, key: bytes) -> str:
        found = self._client.get(key)
        self._expect(key, None if found is None else found.value)
        return "done"

    def _expect(self, key: bytes, value: bytes | None) -> None:
        if value not in self.possible.get(key, [None]):
            self.problems.append(f"{key!r} was read as {value!r}, expected one of {self.possible.get(key)}")


class Load:
    """Some writers at work. `with Load(address) as load:` begins; `load.stop()` ends."""

    def __init__(
        self,
        address: str,
        *,
        writers: int = 4,
        keys: int = 50,
        pause_seconds: float = 0.002,
        deadline: float = 10.0,
        name: str = "",
    ) -> None:
        self.name = name.encode()
        self.address = address
        self.keys = keys
        self.pause_seconds = pause_seconds
        self.deadline = deadline
        self.counters = [self.name + key for key in COUNTERS]
        self.stopping = threading.Event()
        self._writers = [_Writer(self, number) for number in range(writers)]

    def __enter__(self) -> Load:
        for writer in self._writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every writer end the operation that it is at."""
        self.stopping.set()
        for writer in self._writers:
            writer.join(60)

    @property
    def outcomes(self) -> Counter[str]:
        """How many operations ended how."""
        return sum((writer.outcomes for writer in self._writers), Counter())

    @property
    def failures(self) -> dict[str, int]:
        """Operations that were not done, or whose outcome is unknown."""
        return {name: count for name, count in self.outcomes.items() if name != "done"}

    @property
    def last_errors(self) -> list[str]:
        """Some of their texts."""
        return [text for writer in self._writers for text in writer.last_errors]

    @property
    def longest(self) -> tuple[float, str]:
        """Seconds of the longest operation, and what it was."""
        return max((writer.longest_seconds, writer.longest_operation) for writer in self._writers)

    def done(self) -> int:
        """Operations that were acknowledged so far."""
        return self.outcomes["done"]

    def check(self, client: Client, copies: int, *, lost: Collection[int] = ()) -> list[str]:
        """What is wrong, when all writers have stopped: nothing, it is hoped. `lost` are shards not to be looked at."""
        client.refresh()
        problems = [problem for writer in self._writers for problem in writer.problems]
        problems += [f"{writer.name} hangs" for writer in self._writers if writer.is_alive()]
        expected: dict[bytes, list[bytes | None]] = {}
        for writer in self._writers:
            expected.update(writer.possible)
        listed = set() if lost else {item.key for item in client.scan()}
        for key, possible in expected.items():
            if shard_of(client, key) not in lost:
                problems += _check_key(client, key, possible, copies)
                if not lost and possible == [None] and key in listed:
                    problems.append(f"{key!r} was deleted and is listed")
                if not lost and None not in possible and key not in listed:
                    problems.append(f"{key!r} was stored and is not listed")
        for key in self.counters:
            if shard_of(client, key) not in lost:
                problems += self._check_counter(client, key, copies)
        return problems

    def _check_counter(self, client: Client, key: bytes, copies: int) -> list[str]:
        sums = [value for writer in self._writers for value in writer.sums[key]]
        unknown = sum(writer.unknown_increments[key] for writer in self._writers)
        found = client.get(key)
        total = int(found.value) if found is not None else 0
        problems = []
        if not len(sums) <= total <= len(sums) + unknown:
            problems.append(f"{key!r} is {total}: {len(sums)} increments were acknowledged, {unknown} are unknown")
        if len(set(sums)) != len(sums):
            twice = [value for value, times in Counter(sums).items() if times > 1]
            problems.append(f"{key!r}: the same sum was returned twice: {twice[:5]}")
        return problems + _check_key(client, key, [found.value if found is not None else None], copies)

    def describe(self) -> dict[str, Any]:
        """For reports."""
        seconds, what = self.longest
        return {"outcomes": dict(self.outcomes), "longest_ms": round(seconds * 1000, 1), "longest": what}


def _check_key(client: Client, key: bytes, possible: list[bytes | None], copies: int) -> list[str]:
    try:
        found = client.get(key)
        value = None if found is None else found.value
        if value not in possible:
            return [f"{key!r} (shard {shard_of(client, key)}) holds {value!r}, expected one of {possible}"]
        checks = client.verify(key, value)
    except TwistedKVError as error:
        return [f"{key!r} (shard {shard_of(client, key)}) could not be read: {type(error).__name__}: {error}"]
    if len(checks) != copies or not all(check.matches for check in checks):
        return [f"{key!r} (shard {shard_of(client, key)}): the copies are {checks}, expected {copies} of {value!r}"]
    return []
