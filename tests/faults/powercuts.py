"""Power cuts: what was synced is there afterwards, and nothing else (`images`).

For a cut every process of a node is stopped, its disk is copied, the process is killed, and it is started again on the
copy. So whatever a client was told before the cut has to be in what the copies of the disks hold.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.scene import Scene
from tests.faults.stage import Stage
from tests.live.cluster import Daemon, send, wait_for
from twistedkv.blocking import Client
from twistedkv.errors import TwistedKVError

DISK_MEGABYTES = 192
CUTS = 10
ENGINE = ("--engine=lmdb",)
LATE_SECONDS = 7.0
RETURN_SECONDS_MAX = 20.0
"""For the start of a process, and opening what is there, on a busy machine. How fast that is, is not asked here."""
BULK = {"bulk": 2, "bytes": 20_000, "keys": 100, "pause": 0.02}
"""So much that records are folded from the log into their places all the time."""
HALF_KEPT = 0.3
"""Share of pages that the kernel may have written when the power is cut."""
INTERVAL_SECONDS = 0.1
STORING_SECONDS_MAX = 0.5
"""For a batch to be stored, on a busy machine: so much more than the interval may be lost."""
UPDATES = ("write", "cas", "incr", "delete")


def _cut(scene: Scene, daemons: Sequence[Daemon], text: str, chance: random.Random) -> float:
    """The power of these goes away, at one moment. This moment."""
    cut = time.monotonic()
    for daemon in chance.sample(daemons, len(daemons)):
        send(daemon.pid, signal.SIGSTOP)
    wait_for("all threads have stopped", lambda: all(map(_stopped, daemons)))
    scene.fault(text)
    disks = [scene.cluster.disks[daemon.name] for daemon in daemons]
    for disk in disks:
        file = disk.path / "store" / "data.mdb"
        if file.exists() and chance.random() < 0.5:
            disk.leak(file, chance, chance.random() * HALF_KEPT)
        disk.copy()
    for daemon in daemons:
        daemon.kill()
    for disk in disks:
        disk.restore()
    return cut


def _stopped(daemon: Daemon) -> bool:
    states = [
        stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{daemon.pid}/task").glob("*/stat")
    ]
    return bool(states) and set(states) <= {"T", "t", "Z", "X"}


def power_cut_node(stage: Stage, cuts: int = CUTS) -> None:
    """One server loses its power under load, again and again; it returns with its data, and catches up."""
    chance = stage.random
    with stage.scene(disk_megabytes=DISK_MEGABYTES, server_flags=ENGINE) as scene:
        scene.load().ask(**BULK)
        for number in range(cuts):
            scene.work(chance.randrange(100, 400))
            victim = scene.primary() if number % 2 else chance.choice(sorted(scene.daemons))
            stores = _stores(scene)
            _cut(scene, [scene.daemons[victim]], f"server {victim} loses its power", chance)
            time.sleep(chance.random() * 2)
            since = scene.note(f"server {victim} has power again")
            scene.start_server(victim)
            scene.recovered(since, more_seconds=RETURN_SECONDS_MAX, after="its return")
            scene.report.holds(_stores(scene) == stores, "it has the store that it had")
        _end(scene, cuts)


def power_cut_all(stage: Stage, cuts: int = CUTS) -> None:
    """All servers and the coordinator lose their power at one moment, and return in any order."""
    chance = stage.random
    with stage.scene(disk_megabytes=DISK_MEGABYTES, server_flags=ENGINE) as scene:
        scene.load().ask(**BULK)
        for number in range(cuts):
            scene.work(chance.randrange(100, 400))
            stores = _stores(scene)
            daemons = [scene.coordinator, *scene.daemons.values()]
            _cut(scene, daemons, "everything loses its power", chance)
            since = _return(scene, chance, late=number % 5 == 2)
            scene.recovered(since, more_seconds=RETURN_SECONDS_MAX, after="the last return")
            scene.report.holds(_stores(scene) == stores, "every server has the store that it had")
        _end(scene, cuts)


def power_cut_young(stage: Stage, cuts: int = CUTS) -> None:
    """Everything loses its power while the cluster is being formed, again and again; then it is formed, and of use."""
    chance = stage.random
    with stage.scene(disk_megabytes=DISK_MEGABYTES, server_flags=ENGINE, formed=False) as scene:
        since = time.monotonic()
        for _ in range(cuts):
            time.sleep(chance.uniform(0.5, 3.0))
            _cut(scene, [scene.coordinator, *scene.daemons.values()], "everything loses its power", chance)
            since = _return(scene, chance, late=False)
        scene.recovered(since, more_seconds=RETURN_SECONDS_MAX, after="the last return")
        scene.load()
        scene.work()
        _end(scene, cuts)


def _return(scene: Scene, chance: random.Random, *, late: bool) -> float:
    """Everything is started again, in any order, one perhaps much later. The moment of the last."""
    numbers = [0, *scene.daemons]
    chance.shuffle(numbers)
    since = time.monotonic()
    for place, number in enumerate(numbers):
        time.sleep(LATE_SECONDS if late and place == len(numbers) - 1 else chance.random() ** 2)
        if number:
            since = scene.note(f"server {number} has power again")
            scene.start_server(number)
        else:
            since = scene.start_coordinator()
    return since


def _stores(scene: Scene) -> dict[int, str]:
    return {server["id"]: server["store"] for server in scene.cluster.status()["servers"]}


def _end(scene: Scene, cuts: int) -> None:
    log = scene.finish(operations=300, faults=cuts)
    updates = sum(record.result == "ok" and record.f in UPDATES for record in log.records)
    pages = sum(disk.half_kept for disk in scene.cluster.disks.values())
    scene.report.measured(f"{updates} acknowledged updates, {cuts} cuts, {pages} pages that were written early")


class _Writer(threading.Thread):
    """Writes new keys, one after the other, and remembers when each was acknowledged."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(daemon=True)
        self._client = Client(address, deadline=30.0)
        self._name = name
        self.stopping = False
        self.acknowledged: list[tuple[bytes, float]] = []

    def run(self) -> None:
        number = 0
        while not self.stopping:
            number += 1
            key = f"{self._name}-{number}".encode()
            try:
                self._client.put(key, key)
            except TwistedKVError:
                continue
            self.acknowledged.append((key, time.monotonic()))
        self._client.close()


def power_cut_interval(stage: Stage, cuts: int = CUTS) -> None:
    """With `--durability interval`, a power cut of everything loses at most what was acknowledged last."""
    chance, report = stage.random, stage.report
    flags = (*ENGINE, "--durability=interval", f"--sync-interval={INTERVAL_SECONDS}")
    with stage.scene(disk_megabytes=DISK_MEGABYTES, server_flags=flags) as scene:
        total = lost_in_all = 0
        for number in range(cuts):
            writers = [_Writer(scene.cluster.address, f"{number}.{i}") for i in range(4)]
            for writer in writers:
                writer.start()
            time.sleep(1 + chance.random())
            cut = _cut(scene, [scene.coordinator, *scene.daemons.values()], "everything loses its power", chance)
            for writer in writers:
                writer.stopping = True
            since = _return(scene, chance, late=False)
            scene.recovered(since, more_seconds=RETURN_SECONDS_MAX, after="the last return")
            for writer in writers:
                writer.join()
            before = {key: when for writer in writers for key, when in writer.acknowledged if when <= cut}
            found = scene.cluster.shared.mget(before)
            lost = [when for key, when in before.items() if found[key] is None]
            wrong = [key for key, one in found.items() if one is not None and one.value != key]
            oldest = cut - min(lost, default=cut)
            report.holds(not wrong, "no value is wrong", wrong[:5])
            report.holds(
                oldest <= INTERVAL_SECONDS + STORING_SECONDS_MAX,
                f"{len(before)} acknowledged, {len(lost)} lost, the oldest {oldest * 1000:.0f} ms before the cut",
            )
            total, lost_in_all = total + len(before), lost_in_all + len(lost)
        scene.figures.operations = total
        report.measured(f"{total} acknowledged updates, {cuts} cuts, {lost_in_all} lost")
        report.holds(lost_in_all, "some were lost, or this proves nothing")
