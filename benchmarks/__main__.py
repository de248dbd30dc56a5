"""The table of targets (docs/performance.md): `python -m benchmarks [NAME ...]`, `make bench NAME=put`.

Each row starts what it compares, on free ports of this machine, alternates measurements, and ends it again. `leak`
takes an hour, or as many --seconds as it is given, and is measured only when it is named.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks import clients, durable, etcd, growth, heartbeats, leak, lines, machine, outages, refill, simulated
from benchmarks.comparing import Bound, Comparison
from benchmarks.drawing import bars
from benchmarks.frames import LoadError

ROWS: dict[str, Callable[[int, float], list[Comparison | Bound]]] = {
    "put": lines.put,
    "get": lines.get,
    "client": clients.rows,
    "memory": lines.memory,
    "outage": outages.rows,
    "durable": durable.rows,
    "etcd": etcd.rows,
    "refill": refill.rows,
    "coordinator": heartbeats.rows,
    "growth": growth.rows,
    "servers": simulated.rows,
}
LONG: dict[str, Callable[[int, float], list[Comparison | Bound]]] = {"leak": leak.rows}
"""Only when they are named."""
SECONDS = 2.0
LONG_SECONDS = {"leak": leak.SECONDS}


def main() -> int:
    """Print the table, and write it as JSON and as a plot if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = f"rows: {', '.join(ROWS)} (default: these); {', '.join(LONG)}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=named)
    parser.add_argument("--runs", type=int, default=5, help="measurements of each, in turns [5]")
    parser.add_argument("--seconds", type=float, help="of each measurement [2; leak: 3600]")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--svg", type=Path, help="write a plot of the ratios to this file")
    options = parser.parse_args()
    known = ROWS | LONG
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}: choose of {', '.join(known)}")
    described = machine.describe()
    print(", ".join(f"{value} cores" if name == "cores" else str(value) for name, value in described.items()))
    print(f"{'':<44} {'twistedkv':>12} {'other':>12} {'':<6} ratio (least to most of a pair)")
    table: list[Comparison | Bound] = []
    failed = False
    for name in options.names or ROWS:
        try:
            rows = known[name](options.runs, options.seconds or LONG_SECONDS.get(name, SECONDS))
        except LoadError as error:
            print(f"{name}: not measured: {error}")
            failed = True
            continue
        for row in rows:
            print(row.as_text(), flush=True)
        table += rows
    if options.json:
        options.json.write_text(
            json.dumps({"machine": described, "rows": [attrs.asdict(row) for row in table]}, indent=1)
        )
    if options.svg:
        options.svg.write_text(bars([row for row in table if isinstance(row, Comparison)]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
