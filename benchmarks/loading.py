"""The load generator in C (`loader.c`): built when it is needed, run, and its figures read."""

from __future__ import annotations

import atexit
import json
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

import attrs

from benchmarks.frames import LoadError
from benchmarks.peers import ask
from twistedkv.resp.answers import AnswerDecoder

SOURCE = Path(__file__).with_name("loader.c")
ANSWER_SECONDS_MAX = 30.0
"""For the figures of a load that is asked for them."""


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
    atexit.register(shutil.rmtree, into.parent, ignore_errors=True)
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
    """Load servers on this machine: `set`, `get`, `setwait`, `fill` or `etcd`, `in_flight` on each connection.

    places  `PORT` or `PORT:FIRST-LAST,FIRST-LAST`, the slots that are asked for there
    """
    command = [program(), "127.0.0.1", operation, str(connections), str(in_flight), str(seconds)]
    command += [str(keys), str(value_bytes), *places]
    limit = 60 + 10 * seconds + keys / 5_000
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise LoadError(f"the load generator has not come to its end in {limit:.0f} s") from None
    if done.returncode:
        raise LoadError(f"the load generator failed: {done.stderr.removeprefix('ready').strip()}")
    return load_of(done.stdout)


def load_of(text: str) -> Load:
    """What a line that the loader prints says."""
    said = json.loads(text)
    seconds = max(said["seconds"], 1e-9)
    return Load(
        said["requests"] / seconds,
        said["p50_us"],
        said["p99_us"],
        said["errors"],
        said["misses"],
        said["loader_cpu_seconds"] / seconds,
    )


class Running:
    """A load that goes on until it is stopped, and can be asked for its figures meanwhile."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self._process = process
        self._output = output

    def figures(self) -> Load:
        """Of the time since the last call, or since the load began. Raises LoadError when it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGUSR1)
            if select.select([self._output], [], [], ANSWER_SECONDS_MAX)[0] and (line := self._output.readline()):
                return load_of(line)
        self._process.kill()
        raise LoadError(f"the load generator has ended: {self._process.communicate()[1].strip()}")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def running(
    operation: str, places: Sequence[str], *, connections: int, in_flight: int, seconds_max: float, keys: int
) -> Iterator[Running]:
    """A load as that of `run`, with values of 100 bytes, until the end of the block, but `seconds_max` at most."""
    command = [program(), "127.0.0.1", operation, str(connections), str(in_flight), str(seconds_max)]
    command += [str(keys), "100", *places]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if process.stdout is not None and process.stderr is not None:
            process.stderr.readline()  # it is ready: before, a signal would end it
            load = Running(process, process.stdout)
            try:
                yield load
            finally:
                load.stop()


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
