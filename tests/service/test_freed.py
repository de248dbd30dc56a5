"""Freed memory is given back while a server runs, and seldom when that takes long."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from twisted.internet.task import Clock

from twistedkv.service.freed import RESIDENT_BYTES_MAX, REST_SECONDS, FreedMemory


def test_it_is_given_back_from_time_to_time() -> None:
    clock: Any = Clock()
    given: list[float] = []
    freed = FreedMemory(clock, lambda: given.append(clock.seconds()))
    freed.startService()
    clock.pump([REST_SECONDS / 2] * 6)
    assert given == [REST_SECONDS * number for number in (1, 2, 3)]
    freed.stopService()
    assert clock.getDelayedCalls() == []


def test_what_takes_long_is_done_seldom() -> None:
    clock: Any = Clock()
    given: list[float] = []

    def trim() -> None:
        given.append(clock.seconds())
        clock.rightNow += 0.1

    freed = FreedMemory(clock, trim)
    freed.startService()
    clock.pump([1.0] * 200)
    assert len(given) == 2 and given[1] - given[0] >= 100
    freed.stopService()


def test_a_large_server_is_not_held_up() -> None:
    clock: Any = Clock()
    sizes = [RESIDENT_BYTES_MAX, RESIDENT_BYTES_MAX + 1, RESIDENT_BYTES_MAX + 1, 1]
    given: list[float] = []
    freed = FreedMemory(clock, lambda: given.append(clock.seconds()), lambda: sizes.pop(0))
    freed.startService()
    clock.pump([REST_SECONDS] * 4)
    assert given == [REST_SECONDS, 4 * REST_SECONDS], "and when it has become smaller, it is done again"
    freed.stopService()


PIECES = """
import random
from twistedkv.service.freed import resident_bytes, trimmer
chance = random.Random(1)
held = [bytes(chance.randint(600, 30_000)) for _ in range(10_000)]
del held[::2]
before = resident_bytes()
trimmer()()
print(before - resident_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_pages_between_what_is_used_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PIECES], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10_000_000
