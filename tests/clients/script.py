"""The side of a client's program: what it tells the one who started it, and the sums of what it has written.

A program is given the ports of the servers as arguments. It writes lines, `did WHAT` for every part of it that went
well, `kill PLACE` when the server at that place of its arguments is to be killed, and `end` last. It is told `healed`
when the cluster has a new server and all copies again. tests/clients/node/script.cjs is the same in another language.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping

COUNTERS = 32
BEFORE = 50
AFTERWARDS = 200
"""Increments before a server is killed, and after the cluster has healed."""
UNKNOWN_MAX = 24
"""Increments of one counter: their sum has to fit into 64 bits."""


class Script:
    """The conversation with the one who started the program."""

    def __init__(self, ports: list[int] | None = None) -> None:
        self.ports = [int(each) for each in sys.argv[1:]] if ports is None else ports
        self._healed = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "healed":
                self._healed.set()

    def did(self, what: str) -> None:
        """A part went well."""
        print(f"did {what}", flush=True)

    def kill(self, place: int) -> None:
        """Have a server killed."""
        self._healed.clear()
        print(f"kill {place}", flush=True)

    @property
    def healed(self) -> bool:
        """Whether the cluster has healed since the last `kill`."""
        return self._healed.is_set()

    def end(self) -> None:
        """That was all."""
        print("end", flush=True)


def same(found: object, expected: object) -> None:
    """AssertionError unless they are equal."""
    assert found == expected, f"{str(found)[:500]!r} instead of {str(expected)[:500]!r}"


class Tally:
    """Increments of counters: what they have to come to.

    Increments of a counter that are not known to have been executed are by different powers of four. So a sum tells
    which of them were executed, and that none was executed twice.
    """

    def __init__(self, name: str, counters: int = COUNTERS) -> None:
        self.keys = [f"{name}:{number}" for number in range(counters)]
        self._sums = dict.fromkeys(self.keys, 0)
        self._open: dict[str, list[int]] = {key: [] for key in self.keys}
        self._next = 0
        self.acknowledged = 0
        self.unknown = 0
        self.refused = 0
        self.errors: dict[str, int] = {}
        """How often each was heard."""

    def next(self) -> tuple[str, int]:
        """The counter to be incremented, and by how much."""
        key = self.keys[self._next % len(self.keys)]
        self._next += 1
        return key, 4 ** len(self._open[key])

    def done(self, key: str, by: int) -> None:
        """It was acknowledged."""
        self.acknowledged += 1
        self._sums[key] += by

    def failed(self, key: str, by: int, error: BaseException) -> None:
        """There was an error. Only one that says so means that it was not executed."""
        text = f"{type(error).__name__}: {error}"
        self.errors[text] = self.errors.get(text, 0) + 1
        if "not executed" in text:
            self.refused += 1
        else:
            self.unknown += 1
            self._open[key].append(by)
            assert len(self._open[key]) <= UNKNOWN_MAX, f"too much of unknown outcome: {self}"

    def judge(self, values: Mapping[str, object]) -> None:
        """AssertionError unless every counter has all that was acknowledged, and nothing that was not asked for."""
        for key in self.keys:
            value = int(values[key] or 0)  # type: ignore[call-overload]
            rest = value - self._sums[key]
            for by in reversed(self._open[key]):
                rest -= by if rest >= by else 0
            assert rest == 0, (
                f"{key} is {value}; acknowledged: {self._sums[key]}, of unknown outcome: {self._open[key]}; {self}"
            )

    def __str__(self) -> str:
        text = f"{self.acknowledged} increments are there"
        if self.unknown:
            text += f", {self.unknown} of unknown outcome"
        if self.refused:
            text += f", {self.refused} refused"
        if self.errors:
            error = max(self.errors, key=lambda each: self.errors[each])
            text += f" ({error[:160]})"
        return text


def rounds(script: Script, place: int) -> Iterator[int]:
    """One for each increment to be made: before a server is killed, until the cluster has healed, and afterwards."""
    yield from range(BEFORE)
    script.kill(place)
    count = BEFORE
    while not script.healed:
        yield count
        count += 1
    yield from range(count, count + AFTERWARDS)


def through_kill(
    script: Script,
    place: int,
    tally: Tally,
    increment: Callable[[str, int], object],
    errors: tuple[type[BaseException], ...],
    pause: Callable[[], None],
) -> None:
    """Increments, one after another, while the server at a place is killed; `pause` after an error."""
    for _ in rounds(script, place):
        key, by = tally.next()
        try:
            increment(key, by)
        except errors as error:
            tally.failed(key, by, error)
            pause()
        else:
            tally.done(key, by)
