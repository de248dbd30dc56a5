"""Rows of the table: data on disk, beside the same in memory, and more data than there is memory for them.

For the second, both servers are put into a control group whose memory, page cache included, is a third of what they
hold. Where that cannot be done (it takes root, and cgroup v1), the rows are left out, and said so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.comparing import Bound, Comparison, alternate
from benchmarks.frames import LoadError
from benchmarks.lines import KEYS, SHAPE, figures, line_cluster
from benchmarks.loading import places_of, run
from benchmarks.peers import ask

ON_DISK = (*SHAPE, "--engine", "lmdb")
GROUPS = Path("/sys/fs/cgroup/memory")
LARGE_KEYS, LARGE_VALUE_BYTES = 200_000, 1000
MEMORY_BYTES = LARGE_KEYS * LARGE_VALUE_BYTES * 2 // 3
"""A third of the values of both copies."""


def rows(runs: int, seconds: float) -> list[Comparison | Bound]:
    """SET and GET on two copies on disk against two in memory, then more than fits into memory."""
    found: list[Comparison | Bound] = []
    with ExitStack() as stack:
        ours, theirs = (places_of(stack.enter_context(line_cluster(*options))) for options in (ON_DISK, SHAPE))
        for where in (ours, theirs):
            run("fill", where, in_flight=64, keys=KEYS)
        for operation in ("set", "get"):
            for in_flight in (1, 16, 128):
                load = {"in_flight": in_flight, "seconds": seconds, "keys": KEYS}
                mine, other = alternate(
                    runs,
                    lambda what=operation, how=load: figures(run(what, ours, **how)),  # type: ignore[misc]
                    lambda what=operation, how=load: figures(run(what, theirs, **how)),  # type: ignore[misc]
                )
                name = f"{operation}, on disk, P={in_flight}; in memory"
                found.append(Comparison(name, "/s", mine[0], other[0], None))
                found.append(Comparison(f"{name}, p99", "us", mine[1], other[1], None, more_is_better=False))
    return found + large(runs, seconds)


def large(runs: int, seconds: float) -> list[Comparison | Bound]:
    """A data set of three times the memory, stored and read back."""
    with line_cluster(*ON_DISK) as port:
        places = places_of(port)
        try:
            with confined([int(place.partition(":")[0]) for place in places]):
                load = {"keys": LARGE_KEYS, "value_bytes": LARGE_VALUE_BYTES}
                filled = run("fill", places, in_flight=16, **load)
                found: list[Comparison | Bound] = [Bound("larger than memory: stored", "/s", [filled.per_second], None)]
                for operation in ("get", "set"):
                    loads = [run(operation, places, in_flight=1, seconds=seconds, **load) for _ in range(runs)]
                    if any(each.errors or each.misses for each in loads):
                        raise LoadError("not everything that was stored is there")
                    found.append(Bound(f"larger than memory: {operation}", "/s", [e.per_second for e in loads], None))
                    found.append(Bound(f"larger than memory: {operation}, p99", "us", [e.p99_us for e in loads], None))
                return found
        except PermissionError as error:
            print(f"{'larger than memory':<44} left out: {error}")
            return []


@contextmanager
def confined(ports: Sequence[int]) -> Iterator[None]:
    """The servers with these line ports have no more memory than that together, besides what they have already.

    Raises PermissionError when it cannot be done.
    """
    group = GROUPS / f"twistedkv-bench-{os.getpid()}"
    pids = [_pid(port) for port in ports]
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(MEMORY_BYTES))
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        raise PermissionError(f"no control group of memory could be made: {error}") from None
    try:
        yield
    finally:
        for pid in pids:
            (GROUPS / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _pid(port: int) -> int:
    for line in ask(port, "INFO", "server").split(b"\r\n"):
        if line.startswith(b"process_id:"):
            return int(line.partition(b":")[2])
    raise LoadError("INFO server does not tell the process")
