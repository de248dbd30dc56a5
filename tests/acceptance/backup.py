"""A million keys are backed up under load and restored into a cluster of other numbers of servers, shards and copies.

`python -m tests.acceptance.backup [--keys 1000000] [--rate MB/S]`
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.acceptance.report import Report, run
from tests.live.cluster import Cluster
from tests.live.load import Load
from tests.live.pairs import Pairs, check_pairs
from twistedkv.blocking import Client
from twistedkv.limits import SLOTS
from twistedkv.slots import slot_of

VALUE = b"%0100d"
SECONDS_MAX = 600
BATCH = 20_000


class Probe:
    """What a PUT takes, one after the other with a pause, by one client."""

    def __init__(self, address: str) -> None:
        self._client = Client(address, deadline=30)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.times: list[float] = []
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(0.002):
            number += 1
            began = time.monotonic()
            self._client.put(b"probe%d" % (number % 1000), b"x" * 100)
            self.times.append(time.monotonic() - began)

    def taken(self) -> str:
        """Of the PUTs since the last time."""
        times, self.times = sorted(self.times), []
        p50, p99 = (1000 * times[min(len(times) - 1, int(len(times) * share))] for share in (0.5, 0.99))
        return f"PUT p50 {p50:.2f} ms, p99 {p99:.2f} ms, longest {1000 * times[-1]:.1f} ms, of {len(times)}"

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._client.close()


def items(client: Client, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    slot, after = 0, b""
    while slot < SLOTS:
        page = client.scan_page(slot, after, prefix, True, 10_000)
        yield from ((item.key, item.value) for item in page.items)
        slot, after = page.next_slot, page.next_after


def done(report: Report, cluster: Cluster, *arguments: object) -> float:
    """Run a command, which has to succeed. How many seconds it took."""
    began = time.monotonic()
    result = cluster.cli(cluster.address, *arguments, seconds=SECONDS_MAX)
    name = " ".join(str(argument) for argument in arguments if not isinstance(argument, Path))
    report.holds(result.returncode == 0, f"{name}: {result.stderr.strip()}", result.stdout)
    return time.monotonic() - began


def fill(client: Client, keys: int) -> None:
    for begin in range(0, keys, BATCH):
        client.mput({b"key:%012d" % n: VALUE % n for n in range(begin, min(keys, begin + BATCH))})


def read(directory: Path) -> Any:
    return json.loads((directory / "manifest.json").read_bytes())


def script(report: Report, directory: Path) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rate", default="")
    given = parser.parse_args()
    rate = ["--rate", given.rate] if given.rate else []
    for name in ("source", "target"):
        (directory / name).mkdir()
    loaded, quiet = directory / "loaded", directory / "quiet"
    with Cluster(directory / "source", servers=3, copies=2, shards=12) as source:
        source.start_cluster()
        fill(source.client(deadline=60), given.keys)
        report.measured(f"{given.keys:,} keys of 16 bytes with values of 100 on 3 servers, 2 copies of 12 shards")
        with (
            Load(source.address, writers=2, pause_seconds=0.005, deadline=30.0) as load,
            Pairs(source.address) as pairs,
        ):
            probe = Probe(source.address)
            time.sleep(10)
            report.measured(f"under load, before: {probe.taken()}")
            least, operations = pairs.rounds, load.done()
            seconds = done(report, source, "backup", loaded, *rate)
            most = pairs.rounds
            report.measured(f"under load, during: {probe.taken()}")
            size = sum(file["bytes"] for file in read(loaded)["files"])
            report.measured(
                f"{seconds:.1f} s, {size / 1e6:.1f} MB, {size / seconds / 1e6:.1f} MB/s, with "
                f"{(load.done() - operations) / seconds:,.0f} operations/s and {(most - least) / seconds * 96:,.0f} "
                "keys/s of pairs meanwhile"
            )
            done(report, source, "backup", directory / "fast", "--rate", "0")
            report.measured(f"under load, during one without a limit: {probe.taken()}")
            probe.stop()
        report.holds(not load.failures and not pairs.problems, "no operation failed", load.last_errors)
        problems = load.check(source.shared, 2)
        report.holds(not problems, "every acknowledged write is there, on both copies", problems[:5])
        done(report, source, "backup", quiet)
        expected = dict(items(source.client(deadline=60)))
    done(report, source, "backup", "verify", loaded)
    for backup, least_, most_ in ((loaded, least, most), (quiet, pairs.rounds, pairs.rounds)):
        target_directory = directory / "target" / backup.name
        target_directory.mkdir()
        with Cluster(target_directory, servers=4, copies=3, shards=7) as target:
            target.start_cluster()
            seconds = done(report, target, "restore", backup)
            report.measured(f"into 4 servers, 3 copies of 7 shards: {seconds:.1f} s")
            found = dict(items(target.client(deadline=60)))
            right = sum(found.get(b"key:%012d" % n) == VALUE % n for n in range(given.keys))
            report.holds(right == given.keys, f"{right:,} of {given.keys:,} keys have their value")
            check_pairs(found, least_, most_)
            report.holds(True, "each shard is as it was at one moment")
            if backup == quiet:
                report.holds(found == expected, f"all {len(expected):,} keys are as they were, and no others")
    flipped = quiet / read(quiet)["files"][slot_of(b"any") % 12]["file"]
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    result = source.cli(source.address, "backup", "verify", quiet)
    report.holds(result.returncode == 1, f"a flipped bit is found: {result.stderr.splitlines()[0]}")


if __name__ == "__main__":
    run("backup and restore", script)
