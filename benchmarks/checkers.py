"""Operations/s of the two checkers of histories, on a history that is linearizable.

    python -m benchmarks.checkers                        1,000,000 operations, 5,000 keys, 50 processes
    python -m benchmarks.checkers --unknown 0.02         more operations whose outcome nobody knows

The history is made by a model that does one thing at a time, at a random moment of each operation. It is made before
the clock runs; grouping it by key is measured. Each figure is the median of --runs runs, in CPU time.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from benchmarks import machine
from twistedkv.history.record import FOREVER, Record, Version
from twistedkv.history.search import check_by_search
from twistedkv.history.witness import check_by_versions

OPERATIONS_PER_EPOCH = 100_000
PAUSE_NS_MAX = 20_000
"""Between two operations of a process."""
LATENCY_NS_MAX = 200_000


@attrs.frozen
class Row:
    """The median of some runs of one checker. Seconds are of CPU time: others on the machine do not count."""

    checker: str
    seconds: float
    per_second: float
    seconds_all: list[float]
    violations: int
    undecided: int


def linearizable_history(operations: int, keys: int, processes: int, unknown: float, seed: int = 1) -> list[Record]:
    """What clients of a correct store have seen, in the order of the calls.

    Half of the operations read; of the others most write, some compare, delete or, on every fifth key, add. `unknown`
    is the share of those that write whose outcome nobody knows: half of these had no effect.
    """
    chance = random.Random(seed)
    free = [0] * processes
    planned = []
    for _ in range(operations):
        lane = chance.randrange(processes)
        call = free[lane] + chance.randint(1, PAUSE_NS_MAX)
        free[lane] = returned = call + chance.randint(1, LATENCY_NS_MAX)
        planned.append((chance.randint(call, returned), call, returned, lane))
    planned.sort()
    names = list(range(processes))
    store: dict[int, tuple[Any, Version | None]] = {}
    records = []
    for number, (_, call, returned, lane) in enumerate(planned, start=1):
        key = chance.randrange(keys)
        state = store.get(key, (None, None))
        record = Record(names[lane], number, f"key:{key}", "read", [], call, returned, "ok")
        records.append(record)
        if chance.random() < 0.5:
            record.value, record.version = state
            continue
        after = _change(record, chance.random(), counts=key % 5 == 0, state=state)
        if chance.random() < unknown:
            record.result, record.returned, record.value, record.version = "info", FOREVER, None, None
            names[lane] = max(names) + 1
            if chance.random() < 0.5:
                continue
        store[key] = after
    records.sort(key=lambda record: record.call)
    return records


def _change(record: Record, draw: float, counts: bool, state: tuple[Any, Version | None]) -> tuple[Any, Version | None]:
    """Make a record one that writes, and tell what the key has then."""
    version = (1 + record.op // OPERATIONS_PER_EPOCH, record.op)
    value = f"{record.process}-{record.op}"
    if draw < 0.1:
        record.f, record.value = "delete", state[1] is not None
        record.version = version if record.value else None
        return None, None
    if counts:
        record.f, record.args, record.value = "incr", [1], (state[0] or 0) + 1
    elif draw < 0.3:
        record.f, record.args, record.value, record.expected = "cas", [state[0], value], value, state[1]
    else:
        record.f, record.args, record.value = "write", [value], value
    record.version = version
    return record.value, version


def measure(checker: str, check: Callable[[list[Record]], tuple[int, int]], records: list[Record], runs: int) -> Row:
    """Some runs; `check` returns the number of violations, and of keys of which nothing is known."""
    seconds = []
    found = (0, 0)
    for _ in range(runs):
        gc.collect()
        began = time.process_time()
        found = check(records)
        seconds.append(time.process_time() - began)
    median = statistics.median(seconds)
    return Row(checker, median, len(records) / median, [round(each, 3) for each in seconds], *found)


def by_versions(records: list[Record]) -> tuple[int, int]:
    """The witness."""
    return len(check_by_versions(records)), 0


def by_search(records: list[Record]) -> tuple[int, int]:
    """The search."""
    violations, undecided = check_by_search(records)
    return len(violations), len(undecided)


CHECKERS: dict[str, Callable[[list[Record]], tuple[int, int]]] = {"by versions": by_versions, "by search": by_search}


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [f"{'checker':11} {'seconds':>8} {'operations/s':>13} {'violations':>11} {'undecided':>10}"]
    lines += [
        f"{row.checker:11} {row.seconds:8.2f} {row.per_second:13,.0f} {row.violations:11} {row.undecided:10}"
        for row in rows
    ]
    return "\n".join(lines)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.checkers", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--operations", type=int, default=1_000_000, help="of the history [1000000]")
    parser.add_argument("--keys", type=int, default=5_000, help="different keys [5000]")
    parser.add_argument("--processes", type=int, default=50, help="that work at the same time [50]")
    parser.add_argument("--unknown", type=float, default=0.001, help="share of writes with unknown outcome [0.001]")
    parser.add_argument("--runs", type=int, default=3, help="of which the median is taken [3]")
    parser.add_argument("--checkers", nargs="+", choices=list(CHECKERS), default=list(CHECKERS), help="[both]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exit code 1 when a checker refuses the history, which is right."""
    options = _arguments(arguments)
    records = linearizable_history(options.operations, options.keys, options.processes, options.unknown)
    rows = [measure(name, CHECKERS[name], records, options.runs) for name in options.checkers]
    facts = {
        "machine": machine.describe(),
        "operations": len(records),
        "unknown": sum(record.result == "info" for record in records),
        "keys": options.keys,
        "processes": options.processes,
        "runs": options.runs,
    }
    if options.json:
        print(json.dumps(facts | {"results": [attrs.asdict(row) for row in rows]}, indent=2))
    else:
        on = facts["machine"]
        print(f"{on['cpu']}, {on['cores']} cores; {on['python']}; {on['system']}")
        print(
            f"{len(records):,} operations, {facts['unknown']:,} of unknown outcome, on {options.keys:,} keys by"
            f" {options.processes} processes; medians of {options.runs} runs"
        )
        print(table(rows))
    return 1 if any(row.violations for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
