"""Links between servers that are slow, late, broken, or dead without saying so.

A proxy stands before one of the servers. It carries what the other servers send there as primaries, replication and
fills, and the acknowledgements. Clients, the coordinator, and what this server sends as a primary do not pass it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.processes import Subordinate
from tests.faults.scene import SUSPICION_SECONDS, Scene
from tests.faults.stage import Stage
from twistedkv.limits import UNACKNOWLEDGED_BYTES_MAX

SERVERS = 3
VICTIM = 3
"""The server before which the proxy stands."""
BAD_SECONDS = 3 * SUSPICION_SECONDS
TRICKLE_BYTES_PER_SECOND = 20_000
BULK_LANES, BULK_BYTES, BULK_KEYS, BULK_PAUSE_SECONDS = 4, 256 * 1024, 10, 0.025
"""At most 40 MB/s."""
GROWTH_BYTES_MAX = 3 * UNACKNOWLEDGED_BYTES_MAX
"""What a primary may hold for one peer is there twice, in the log and on its way to the kernel; and as much again for
the allocator and the answers of clients that are not read."""
STALL_SECONDS_MAX = 2 * SUSPICION_SECONDS
DELAY_SECONDS = 0.03
BREAKS = 10


@contextmanager
def _proxied(stage: Stage) -> Iterator[tuple[Scene, Subordinate]]:
    """A cluster under load, and the proxy before the victim."""
    with (
        stage.network(SERVERS, "proxy") as network,
        stage.proxy(network, VICTIM) as proxy,
        stage.scene(network=network) as scene,
    ):
        scene.load()
        yield scene, proxy


def _resident_bytes(pid: int) -> int:
    """The memory that a process occupies."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def starve_backup(stage: Stage) -> None:
    """A backup can take no more than a trickle, while large values are written.

    With a store on disk its disk would be full; the store of today is memory, so it is the way there that is. Clients
    must not fail nor stall for long: the primaries press back, or give the copy up. Their memory stays bounded. And
    when the backup can take everything again it catches up.
    """
    with _proxied(stage) as (scene, proxy):
        load = scene.loads[0]
        load.ask(bulk=BULK_LANES, bytes=BULK_BYTES, keys=BULK_KEYS, pause=BULK_PAUSE_SECONDS)
        scene.work()
        pids = [pid for server, pid in scene.cluster.pids().items() if server != VICTIM]
        before, most = {pid: _resident_bytes(pid) for pid in pids}, dict.fromkeys(pids, 0)
        event, done = scene.last_event(), load.ask()
        began = scene.fault(
            f"server {VICTIM} can take {TRICKLE_BYTES_PER_SECOND / 1000:.0f} kB/s for {BAD_SECONDS:.1f} s"
        )
        proxy.ask(weather={"bytes_per_second": TRICKLE_BYTES_PER_SECOND}, direction="there")
        while time.monotonic() < began + BAD_SECONDS:
            time.sleep(0.05)
            for pid in pids:
                most[pid] = max(most[pid], _resident_bytes(pid) - before[pid])
        proxy.ask(weather={})
        since = scene.note("it can take everything again")
        scene.recovered(since, after="that")
        report, after = scene.report, load.ask()
        reduced = [each["text"] for each in scene.journal(event) if each["event"] == "shard.reduced"]
        report.measured(f"given up meanwhile: {len(reduced)} copies of it")
        grown = max(most.values())
        report.holds(
            grown <= GROWTH_BYTES_MAX,
            f"no primary has grown by more than {grown / 1e6:.0f} MB, at most {GROWTH_BYTES_MAX / 1e6:.0f}",
        )
        written = after["bulk_ok"] - done["bulk_ok"]
        report.holds(
            written > 0 and "bulk_fail" not in after and "bulk_info" not in after,
            f"{written * BULK_BYTES / 1e6:.0f} MB were written meanwhile, and none of that failed",
            after,
        )
        report.holds(
            after["bulk_longest_ms"] <= STALL_SECONDS_MAX * 1000,
            f"no large write took longer than {after['bulk_longest_ms']} ms, at most {STALL_SECONDS_MAX:.1f} s",
        )
        scene.work()
        scene.finish(operations=900, faults=1)


def half_open_links(stage: Stage) -> None:
    """The links to a backup are dead and nobody is told: bytes are taken, and never arrive."""
    with _proxied(stage) as (scene, proxy):
        scene.work()
        event = scene.last_event()
        began = scene.fault(f"nothing arrives over the links to server {VICTIM}, for {BAD_SECONDS:.1f} s")
        proxy.ask(weather={"silent": True})
        time.sleep(max(0.0, began + BAD_SECONDS - time.monotonic()))
        proxy.ask(weather={})
        since = scene.note("they are reset")
        scene.recovered(since, after="that")
        events = [each["event"] for each in scene.journal(event)]
        scene.report.holds("shard.reduced" in events, "copies that could not be reached were given up", events)
        scene.work()
        scene.finish(operations=900, faults=1)


def late_links(stage: Stage) -> None:
    """What is sent to a backup and its acknowledgements are late, and irregularly so: slower, and no failure."""
    with _proxied(stage) as (scene, proxy):
        scene.work()
        event = scene.last_event()
        scene.fault(f"{DELAY_SECONDS * 1000:.0f} to {DELAY_SECONDS * 2000:.0f} ms on the links to server {VICTIM}")
        proxy.ask(weather={"delay_seconds": DELAY_SECONDS, "jitter_seconds": DELAY_SECONDS})
        scene.work(600)
        events = [each["text"] for each in scene.journal(event)]
        scene.report.holds(not events, "nobody was taken for failed", events)
        proxy.ask(weather={})
        scene.note("as before")
        scene.work()
        scene.finish(operations=1_200, faults=1)


def broken_links(stage: Stage) -> None:
    """The links to a backup are reset, or cut in the middle of a frame, again and again: nothing fails."""
    with _proxied(stage) as (scene, proxy):
        event, links = scene.last_event(), proxy.ask()["accepted"]
        for number in range(BREAKS):
            scene.work(100)
            if number % 2:
                scene.fault(f"the links to server {VICTIM} are reset")
                proxy.ask(reset=True)
            else:
                count = scene.random.randrange(1, 5_000)
                scene.fault(f"the links to server {VICTIM} are cut after {count} more bytes each")
                proxy.ask(weather={"cut_after_bytes": count}, direction="there")
                scene.work(50)
                proxy.ask(weather={})
        since = scene.note("and no more")
        scene.recovered(since, after="the last one")
        events = [each["text"] for each in scene.journal(event) if each["event"] in ("server.failed", "shard.sealed")]
        scene.report.holds(not events, "nobody was taken for failed", events)
        scene.work()
        links = proxy.ask()["accepted"] - links
        scene.report.holds(links >= BREAKS, f"links were made anew {links} times")
        log = scene.finish(operations=1_500, faults=BREAKS)
        failed = [record for record in log.records if record.result == "fail" and not record.mismatch]
        scene.report.holds(not failed, "no request failed", failed[:5])
