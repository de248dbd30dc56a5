"""Watches the paths that every request takes: what each costs, in instructions of Python's virtual machine.

    python -m benchmarks.guard             # compare with what is written down; make guard
    python -m benchmarks.guard --write     # write it down anew, after a change that was meant
    python -m benchmarks.guard --times     # and the time of each, as a multiple of a plain loop in the same run

The number of instructions is the same on every machine and in every run, however busy it is, so a difference of a few
per cent is a change of the code. It differs between versions of Python: a version that is not written down is measured
and not judged. What is done in C is not seen by it; `--times` shows that, and judges nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.stages import VALUE, Stage, bursts_of, least
from twistedkv.core.mailbox import Mailbox
from twistedkv.line import conversation
from twistedkv.messages.client import Get, GetMany, Put, PutMany
from twistedkv.slots import slot_of
from twistedkv.wire.client import encode_request
from twistedkv.wire.frames import Frame

WRITTEN = Path(__file__).with_name("guard.json")
TOLERANCE = 0.03
KEYS = 2000
CLIENTS_IN_A_TURN = 10
MANY = 100


def counted(run: Callable[[], None]) -> int:
    """How many instructions of the virtual machine `run()` takes, in all functions that it calls."""
    total = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal total
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            total += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return total


class _Scene:
    """A server that has some keys, and its clients. `steps` are (name, requests in it, how to prepare, what counts)."""

    def __init__(self) -> None:
        self._stage = Stage()
        self._stage.fill(KEYS)
        self._chance = random.Random(1)
        self._number = 0
        self._mailbox = Mailbox(b"c" * 16, lambda: None)

    def line(self, operation: str, in_flight: int) -> Callable[[], Callable[[], None]]:
        """A turn of the line port, from the bytes to the replies, with the other copy."""

        def prepare() -> Callable[[], None]:
            bursts = bursts_of(operation, in_flight, self._chance, KEYS)[:CLIENTS_IN_A_TURN]

            def turn() -> None:
                for talker, burst in zip(self._stage.talkers, bursts, strict=False):
                    talker.received(burst)
                self._stage.end()

            return turn

        return prepare

    def binary(self, requests: Callable[[], list[Any]]) -> Callable[[], Callable[[], None]]:
        """The same of a client of the binary protocol, without its connection."""

        def prepare() -> Callable[[], None]:
            frames: list[Frame] = []
            for place, request in enumerate(requests()):
                message_type, body = encode_request(request)
                frames.append((message_type, 0, place + 1, body))

            def turn() -> None:
                core = self._stage.server.core
                assert core is not None
                core.requests(self._mailbox, frames)
                self._stage.server.end_turn_soon()
                self._stage.end()
                self._mailbox.take()

            return turn

        return prepare

    def keys(self, count: int) -> list[bytes]:
        """Different ones, of one shard."""
        return self._chance.sample([b"{one}%d" % n for n in range(KEYS)], count)

    def write(self) -> tuple[int, int, int]:
        """Number, oldest, since."""
        self._number += 1
        return self._number, self._number, 0

    def paths(self) -> dict[str, tuple[int, Callable[[], Callable[[], None]]]]:
        """By name: how many requests, and what prepares one round of them."""
        found: dict[str, tuple[int, Callable[[], Callable[[], None]]]] = {}
        for operation in ("SET", "GET"):
            for in_flight in (1, 16, 128):
                name = f"line port, {operation}, {in_flight} in flight"
                found[name] = CLIENTS_IN_A_TURN * in_flight, self.line(operation, in_flight)
        found["binary, PUT"] = MANY, self.binary(lambda: [Put(*self.write(), key, VALUE) for key in self.keys(MANY)])
        found["binary, GET"] = MANY, self.binary(lambda: [Get(key) for key in self.keys(MANY)])
        slot = slot_of(b"{one}")
        found["binary, PUT_MANY"] = (
            MANY,
            self.binary(lambda: [PutMany(*self.write(), slot, self.keys(MANY), [VALUE] * MANY)]),
        )
        found["binary, GET_MANY"] = MANY, self.binary(lambda: [GetMany(slot, self.keys(MANY))])
        return found


def instructions() -> dict[str, float]:
    """Instructions for each request, by path."""
    figures = {}
    for name, (count, prepare) in _Scene().paths().items():
        for _ in range(3):  # until everything that is made once has been made
            prepare()()
        figures[name] = round(counted(prepare()) / count, 1)
    return figures


def written() -> dict[str, float]:
    """What is written down for this version of Python; empty if nothing is."""
    table: dict[str, dict[str, float]] = json.loads(WRITTEN.read_text("utf-8")) if WRITTEN.exists() else {}
    return table.get(_version(), {})


def worse(figures: dict[str, float], before: dict[str, float]) -> list[str]:
    """What costs more than it did, in words."""
    return [
        f"{name}: {figures[name]:g} instructions for each request, {was:g} are written down"
        for name, was in before.items()
        if figures.get(name, 0.0) > was * (1 + TOLERANCE)
    ]


def compiled() -> bool:
    """Whether the hot modules are compiled: then they have no instructions."""
    return not str(conversation.__file__).endswith(".py")


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _write(figures: dict[str, float]) -> None:
    table = json.loads(WRITTEN.read_text("utf-8")) if WRITTEN.exists() else {}
    table[_version()] = figures
    WRITTEN.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


def _times() -> dict[str, float]:
    """Of each path, as a multiple of storing as many values in a dict, one by one."""
    scene = _Scene()
    keys = [b"key:%012d" % n for n in range(KEYS)]
    table: dict[bytes, bytes] = {}

    def plain(_: object) -> None:
        for key in keys:
            table[key] = VALUE + key

    unit = least(200, lambda: None, plain, KEYS)
    return {
        name: least(60, prepare, lambda turn: turn(), count) / unit for name, (count, prepare) in scene.paths().items()
    }


def main() -> int:
    """Print the table; 1 if a path costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the figures down for this version of Python")
    parser.add_argument("--times", action="store_true", help="show the times, too")
    options = parser.parse_args()
    if compiled():
        print("the hot modules are compiled here, so there is nothing to count: use the other environment (make guard)")
        return 0
    figures, before = instructions(), written()
    times = _times() if options.times else {}
    for name, figure in figures.items():
        was = f"{before[name]:>9,.1f} written down" if name in before else ""
        took = f"{times[name]:>7.1f} x a plain loop" if times else ""
        print(f"{name:<34} {figure:>9,.1f} instructions {was} {took}".rstrip())
    if options.write:
        _write(figures)
        return 0
    if not before:
        print(f"nothing is written down for Python {_version()}: python -m benchmarks.guard --write")
    for line in worse(figures, before):
        print(line)
    return int(bool(worse(figures, before)))


if __name__ == "__main__":
    sys.exit(main())
