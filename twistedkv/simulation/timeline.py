"""One queue of events for everything that is simulated, and the digest of what has happened.

True time is seconds since the beginning of the run. Events at the same moment happen in the order in which they were
put here. Chance comes from streams that are derived from the seed by name, one for each concern, so that a new use of
chance does not change what the others draw.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Any


class Killed(BaseException):
    """The simulated process in which this is raised has ended at this very place."""


class Timeline:
    """True time and what happens in it."""

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self.now = 0.0
        self.events = 0
        """Events so far."""
        self.problems: list[str] = []
        """Errors that nobody should have seen, with their time and traceback."""
        self.story: list[tuple[float, str]] = []
        """What was done to the cluster, and what it did about it, for people."""
        self._queue: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = 0
        self._digest = blake2b(digest_size=16)

    def stream(self, concern: str) -> random.Random:
        """The random numbers of one concern."""
        return random.Random(f"{self.seed}/{concern}")

    def at(self, when: float, call: Callable[..., object], *args: Any) -> None:
        """Have `call(*args)` called at the true time `when`, or now if that has passed."""
        self._number += 1
        heappush(self._queue, (when if when > self.now else self.now, self._number, call, args))

    def run_until(self, when: float) -> None:
        """Let everything happen up to the true time `when`."""
        queue = self._queue
        while queue and queue[0][0] <= when:
            self.now, _, call, args = heappop(queue)
            self.events += 1
            call(*args)
        self.now = when

    def run_while(self, condition: Callable[[], bool], seconds: float, step: float = 0.05) -> bool:
        """Run on as long as `condition()` holds, looking at it in steps. False if it still holds after `seconds`."""
        limit = self.now + seconds
        while condition():
            if self.now >= limit:
                return False
            self.run_until(min(limit, self.now + step))
        return True

    def note(self, data: bytes) -> None:
        """Something has happened: it becomes part of the digest, with its time."""
        self._digest.update(b"%.9f %d " % (self.now, len(data)))
        self._digest.update(data)

    def tell(self, text: str) -> None:
        """As `note`, and part of the story too."""
        self.note(text.encode())
        self.story.append((self.now, text))

    def failed(self, where: str) -> None:
        """The exception being dealt with should not have happened."""
        self.problems.append(f"{self.now:.6f} {where}: {traceback.format_exc()}")

    @property
    def digest(self) -> str:
        """Of all that was noted so far, in hexadecimal."""
        return self._digest.hexdigest()
