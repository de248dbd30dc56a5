"""The load generator in C (`loader.c`): built when it is needed, run, and its figures read."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import attrs

from benchmarks.frames import LoadError
from benchmarks.peers import ask
from twistedkv.resp.answers import AnswerDecoder

SOURCE = Path(__file__).with_name("loader.c")


@attrs.frozen
class Load:
    """What one run of the loader found."""

    per_second: float
    p50_us: int
    p99_us: int
    errors: int
    misses: int
    loader_share: float
    """CPU seconds of the loader in a second."""


@cache
def program() -> str:
    """The path of the loader, compiled."""
    into = Path(tempfile.mkdtemp(prefix="twistedkv-loader-")) / "loader"
    try:
        subprocess.run(["cc", "-O2", "-o", str(into), str(SOURCE)], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise LoadError("there is no C compiler for the load generator: apt-get install gcc libc6-dev") from None
    except subprocess.CalledProcessError as error:
        raise LoadError(f"the load generator does not compile: {error.stderr}") from None
    return str(into)


def run(
    operation: str,
    places: Sequence[str],
    *,
    in_flight: int,
    connections: int = 50,
    seconds: float = 2.0,
    keys: int = 100_000,
    value_bytes: int = 100,
) -> Load:
    """Load servers on this machine: `set`, `get` or `setwait`, `in_flight` on each connection.

    places  `PORT` or `PORT:FIRST-LAST,FIRST-LAST`, the slots that are asked for there
    """
    command = [program(), "127.0.0.1", operation, str(connections), str(in_flight), str(seconds)]
    command += [str(keys), str(value_bytes), *places]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 10 * seconds, check=False)
    if done.returncode:
        raise LoadError(f"the load generator failed: {done.stderr.strip()}")
    said = json.loads(done.stdout)
    return Load(
        said["requests"] / said["seconds"],
        said["p50_us"],
        said["p99_us"],
        said["errors"],
        said["misses"],
        said["loader_cpu_seconds"] / said["seconds"],
    )


def places_of(port: int) -> list[str]:
    """The servers of a cluster and the slots that each is primary of, as its line port at `port` tells them."""
    (ranges,) = AnswerDecoder().feed(ask(port, "CLUSTER", "SLOTS"))
    slots: dict[int, list[str]] = {}
    if not isinstance(ranges, list):
        raise LoadError(f"CLUSTER SLOTS was answered by {ranges!r}")
    for each in ranges:
        if isinstance(each, list) and isinstance(each[2], list):
            place = each[2][1]
            first, last = each[0], each[1]
            if isinstance(place, int) and isinstance(first, int) and isinstance(last, int):
                slots.setdefault(place, []).append(f"{first}-{last}")
    return [f"{place}:{','.join(ranges)}" for place, ranges in slots.items()]
