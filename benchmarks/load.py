"""Replicated PUT/s and GET/s with 1, 16 and 128 requests in flight.

    python -m benchmarks.load                                a throw-away cluster on this machine
    python -m benchmarks.load --coordinator HOST:PORT        one that runs already (its data are written over)
    python -m benchmarks.load --ceiling                      a fake server: what the loader itself can do

One process, one thread, a connection to each server (or more: --connections), each a client of its own with its own
write numbers. Requests are encoded before the clock runs and sent straight to the primary of their slot. In flight
counts the requests of all connections together. Each figure is the median of --runs runs, PUT and GET in turn.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import attrs

from benchmarks import machine
from benchmarks.cluster import local_cluster
from benchmarks.fake import in_a_process
from benchmarks.frames import LoadError, Requests, encode_gets, encode_puts
from benchmarks.lanes import Address, Lane, Measurement, connect, fetch_map, run
from twistedkv.clustermap import ClusterMap
from twistedkv.slots import slot_of

KEY_BYTES = 16
VALUE_BYTES = 100
REQUESTS_MAX = 2_000_000
"""Encoded for one run at most, over all connections."""
CALIBRATION_SECONDS = 0.3
CALIBRATION_REQUESTS = 40_000


@attrs.frozen
class Row:
    """The median of some runs of one operation with one number in flight."""

    operation: str
    in_flight: int
    per_second: float
    per_second_all: list[float]
    p50_ms: float
    p99_ms: float
    loader_microseconds: float
    """CPU time of the loader for each operation."""
    failures: dict[str, int]


class Target:
    """Whom to send what: servers by slot, and the keys of each."""

    def __init__(self, cluster_map: ClusterMap, keys: int, connections: int, value: bytes) -> None:
        self._value = value
        self._random = random.Random(1)
        self._keys: dict[Address, list[bytes]] = {}
        self._connections = connections
        table = cluster_map.slot_table()
        if not table:
            raise LoadError("the cluster has no shards yet: start its servers first")
        for number in range(keys):
            key = b"key:%0*d" % (KEY_BYTES - 4, number)
            primary = cluster_map.shards[table[slot_of(key)]].primary
            server = cluster_map.server_of(primary)
            if server is None:
                raise LoadError(
                    f"the primary {primary} of the slot of {key!r} is not in the map: wait until it is healed"
                )
            self._keys.setdefault((server.host, server.port), []).append(key)

    def load_all(self) -> Counter[str]:
        """Put every key once; what failed."""
        with self._lanes(lambda keys, _: keys, self._puts, 64) as lanes:
            # One after the other: a run ends when one of its lanes has no more to send.
            return sum((run([lane], 64, 600.0).failures for lane in lanes), Counter())

    def measure(self, operation: str, in_flight: int, seconds: float) -> Measurement:
        """One run, after a short one that tells how many requests to encode."""
        encode = self._puts if operation == "PUT" else self._gets
        with self._lanes(self._some(CALIBRATION_REQUESTS), encode, in_flight) as lanes:
            rate = run(lanes, in_flight, CALIBRATION_SECONDS).rate
        count = min(REQUESTS_MAX, int(rate * seconds * 1.5) + CALIBRATION_REQUESTS)
        with self._lanes(self._some(count), encode, in_flight) as lanes:
            return run(lanes, in_flight, seconds)

    def _some(self, count: int) -> Callable[[list[bytes], int], list[bytes]]:
        return lambda keys, lanes: self._random.choices(keys, k=count // lanes)

    def _puts(self, keys: Sequence[bytes], margin: int) -> Requests:
        return encode_puts(keys, self._value, margin)

    def _gets(self, keys: Sequence[bytes], margin: int) -> Requests:
        return encode_gets(keys, self._value)

    @contextmanager
    def _lanes(
        self,
        choose: Callable[[list[bytes], int], list[bytes]],
        encode: Callable[[Sequence[bytes], int], Requests],
        in_flight: int,
    ) -> Iterator[list[Lane]]:
        """New connections with their requests, a few to each server."""
        margin = 4 * in_flight
        count = len(self._keys) * self._connections
        with ExitStack() as stack:
            lanes = []
            for _ in range(self._connections):
                for address, keys in self._keys.items():
                    sock = stack.enter_context(connect(address))
                    lanes.append(Lane(sock, encode(choose(keys, count), margin), margin))
            yield lanes


def median_of(operation: str, in_flight: int, runs: Sequence[Measurement]) -> Row:
    """The row of a table: medians; failures of all runs together."""
    return Row(
        operation=operation,
        in_flight=in_flight,
        per_second=statistics.median(one.rate for one in runs),
        per_second_all=[round(one.rate) for one in runs],
        p50_ms=statistics.median(one.latency(0.50) for one in runs) * 1e3,
        p99_ms=statistics.median(one.latency(0.99) for one in runs) * 1e3,
        loader_microseconds=statistics.median(one.cost_microseconds for one in runs),
        failures=dict(sum((one.failures for one in runs), Counter())),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [
        f"{'':4} {'in flight':>9} {'per second':>11} {'p50 ms':>8} {'p99 ms':>8} {'loader us/op':>12}  not successful"
    ]
    for row in rows:
        failures = ", ".join(f"{count} {name}" for name, count in row.failures.items()) or "0"
        lines.append(
            f"{row.operation:4} {row.in_flight:9} {row.per_second:11,.0f} {row.p50_ms:8.3f} {row.p99_ms:8.3f}"
            f" {row.loader_microseconds:12.2f}  {failures}"
        )
    return "\n".join(lines)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError("expected HOST:PORT")
    return host, int(port)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.load", description=(__doc__ or "").split("\n", 1)[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--coordinator", type=_address, metavar="HOST:PORT", help="measure this cluster [a throw-away one]"
    )
    where.add_argument("--ceiling", action="store_true", help="measure the loader against a fake server")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16, 128], metavar="N", help="[1 16 128]")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run [3]")
    parser.add_argument("--runs", type=int, default=3, help="of which the median is taken [3]")
    parser.add_argument("--keys", type=int, default=10_000, help="different keys [10000]")
    parser.add_argument("--connections", type=int, default=1, help="to each server [1]")
    parser.add_argument("--servers", type=int, default=3, help="of the throw-away cluster [3]")
    parser.add_argument("--copies", type=int, default=2, help="of the throw-away cluster [2]")
    parser.add_argument("--shards", type=int, default=12, help="of the throw-away cluster [12]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exit code 1 when it could not be measured or an operation failed."""
    options = _arguments(arguments)
    value = bytes(ord("a") + number % 26 for number in range(VALUE_BYTES))
    rows: list[Row] = []
    try:
        with ExitStack() as stack:
            if options.ceiling:
                address = ("127.0.0.1", stack.enter_context(in_a_process(value)))
            elif options.coordinator:
                address = options.coordinator
            else:
                names = ("servers", "copies", "shards")
                flags = [part for name in names for part in (f"--{name}", str(getattr(options, name)))]
                address = stack.enter_context(local_cluster(flags))
            cluster_map = fetch_map(address)
            target = Target(cluster_map, options.keys, options.connections, value)
            if failed := target.load_all():
                raise LoadError(f"of {options.keys} keys not all could be stored: {dict(failed)}")
            for in_flight in options.in_flight:
                runs: dict[str, list[Measurement]] = {"PUT": [], "GET": []}
                for _ in range(options.runs):
                    for operation, measured in runs.items():
                        measured.append(target.measure(operation, in_flight, options.seconds))
                        time.sleep(0.05)
                rows += [median_of(operation, in_flight, measured) for operation, measured in runs.items()]
    except (LoadError, OSError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    facts = {
        "machine": machine.describe(),
        "servers": len(cluster_map.servers),
        "copies": cluster_map.copies,
        "shards": len(cluster_map.shards),
        "key_bytes": KEY_BYTES,
        "value_bytes": VALUE_BYTES,
        "keys": options.keys,
        "runs": options.runs,
        "seconds": options.seconds,
        "connections_per_server": options.connections,
    }
    if options.json:
        print(json.dumps(facts | {"results": [attrs.asdict(row) for row in rows]}, indent=2))
    else:
        on = facts["machine"]
        print(f"{on['cpu']}, {on['cores']} cores, shared by loader and servers; {on['python']}; {on['system']}")
        print(
            f"{facts['servers']} servers, {facts['copies']} copies, {facts['shards']} shards; {options.keys} keys of"
            f" {KEY_BYTES} bytes, values of {VALUE_BYTES}; medians of {options.runs} runs of {options.seconds:g} s"
        )
        print(table(rows))
    return 1 if any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
