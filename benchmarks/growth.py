"""Rows of the table: what a request costs as a cluster grows: keys, connections, shards, values.

Each line compares one size with the first of its series, measured in turns: 1 is flat. Each size has a cluster of its
own beside that of the first one. Values of 100 bytes, 100,000 keys, 50 connections with 16 requests in flight on each,
but for what the line names. A single connection is given as many requests in flight as fifty have together: by itself
it would leave nothing to execute at once.

Keys that do not fit into half of the free memory are left out, and said so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from benchmarks.comparing import Bound, Comparison, alternate
from benchmarks.lines import SHAPE, figures, line_cluster
from benchmarks.loading import places_of, run

FLAT = 0.85
KEYS = (10_000, 100_000, 1_000_000, 10_000_000)
KEYS_PER_SECOND = 5_000_000
"""Of `--seconds`: a short run leaves out what takes minutes to fill."""
KEY_BYTES = 600
"""Memory for each key, both copies, with room."""
CONNECTIONS = (50, 200, 1000)
SHARDS = (2, 8, 16, 64)
"""Of which each of the two servers is primary."""
VALUES = (10, 100, 1024, 10 * 1024, 100 * 1024, 1024 * 1024)
STORED_BYTES = 64 * 1024 * 1024
"""Of values, in one copy: large ones have fewer keys."""
BURST_BYTES = 256 * 1024


@attrs.frozen
class Point:
    """One size: what is asked, and how."""

    label: str
    places: list[str]
    connections: int = 50
    in_flight: int = 16
    keys: int = 100_000
    value_bytes: int = 100

    def fill(self) -> None:
        """Store every key."""
        in_flight = max(1, min(64, BURST_BYTES // self.value_bytes))
        run("fill", self.places, in_flight=in_flight, keys=self.keys, value_bytes=self.value_bytes)

    def measure(self, operation: str, seconds: float) -> list[float]:
        """Requests in a second, and kilobytes of their values."""
        load = run(
            operation,
            self.places,
            in_flight=self.in_flight,
            connections=self.connections,
            seconds=seconds,
            keys=self.keys,
            value_bytes=self.value_bytes,
        )
        per_second, _ = figures(load)
        return [per_second, per_second * self.value_bytes / 1e3]


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """SET and GET in a second of each size, beside the first of its series."""
    return [
        *_keys(runs, seconds),
        *_connections(runs, seconds),
        *_shards(runs, seconds),
        *_values(runs, seconds),
    ]


def _keys(runs: int, seconds: float) -> Iterator[Comparison]:
    with _cluster() as first, _cluster() as other:
        base = Point(f"{KEYS[0]:,} keys", first, keys=KEYS[0])
        base.fill()
        for keys in KEYS[1:]:
            if keys > KEYS_PER_SECOND * seconds:
                print(f"growth: {keys:,} keys are left out: they are for runs of {keys / KEYS_PER_SECOND:g} s and more")
            elif reason := no_room(keys * KEY_BYTES, Path("/proc/meminfo").read_text("ascii")):
                print(f"growth: {keys:,} keys are left out: {reason}")
            else:
                point = Point(f"{keys:,} keys", other, keys=keys)
                point.fill()
                yield from _compare(point, base, runs, seconds, FLAT)


def no_room(needed: int, meminfo: str) -> str:
    """Why so many bytes are not to be used on a machine with this /proc/meminfo; empty if they may."""
    for line in meminfo.splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            available = int(amount.split()[0]) * 1024
            if needed <= available // 2:
                return ""
            return f"they need {needed / 1e9:.1f} GB, and half of the free memory is {available / 2e9:.1f} GB"
    return "how much memory is free is not known here"


def _connections(runs: int, seconds: float) -> Iterator[Comparison]:
    with _cluster() as places:
        base = Point(f"{CONNECTIONS[0]} connections, P=1", places, connections=CONNECTIONS[0], in_flight=1)
        base.fill()
        alone = Point(f"1 connection, P={CONNECTIONS[0]}", places[:1], 1, CONNECTIONS[0])
        yield from _compare(alone, base, runs, seconds, None)
        for connections in CONNECTIONS[1:]:
            point = attrs.evolve(base, label=f"{connections:,} connections, P=1", connections=connections)
            yield from _compare(point, base, runs, seconds, FLAT)


def _shards(runs: int, seconds: float) -> Iterator[Comparison]:
    with _cluster(SHARDS[0]) as first:
        base = Point(f"{SHARDS[0]} shards a server", first)
        base.fill()
        for shards in SHARDS[1:]:
            with _cluster(shards) as other:
                point = Point(f"{shards} shards a server", other)
                point.fill()
                yield from _compare(point, base, runs, seconds, FLAT)


def _values(runs: int, seconds: float) -> Iterator[Comparison]:
    with _cluster() as first, _cluster() as other:
        base = _of_values(VALUES[0], first)
        base.fill()
        for size in VALUES[1:]:
            point = _of_values(size, other)
            point.fill()
            yield from _compare(point, base, runs, seconds, None, bytes_too=True)


def _of_values(size: int, places: list[str]) -> Point:
    keys, in_flight = min(100_000, STORED_BYTES // size), max(1, min(16, BURST_BYTES // size))
    return Point(f"values of {size:,} bytes, P={in_flight}", places, in_flight=in_flight, keys=keys, value_bytes=size)


@contextmanager
def _cluster(shards: int | None = None) -> Iterator[list[str]]:
    """A cluster of two servers, each primary of so many shards; where its keys are."""
    shape = SHAPE if shards is None else (*SHAPE[:-1], str(2 * shards))
    with line_cluster(*shape) as port:
        yield places_of(port)


def _compare(
    point: Point, base: Point, runs: int, seconds: float, target: float | None, *, bytes_too: bool = False
) -> Iterator[Comparison]:
    for operation in ("set", "get"):
        ours, theirs = alternate(
            runs,
            lambda operation=operation: point.measure(operation, seconds),  # type: ignore[misc]
            lambda operation=operation: base.measure(operation, seconds),  # type: ignore[misc]
        )
        name = f"{operation}, {point.label}; {base.label}"
        yield Comparison(name, "/s", ours[0], theirs[0], target)
        if bytes_too:
            yield Comparison(name, "kB/s", ours[1], theirs[1], None)
