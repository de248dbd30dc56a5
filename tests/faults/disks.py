"""Disks that are full, and disks that fail."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.faults.scene import Scene
from tests.faults.stage import Stage
from tests.faults.tracing import Tracing
from tests.live.cluster import alive, wait_for
from tests.live.load import shard_of
from twistedkv.errors import TwistedKVError

ENGINE = ("--engine=lmdb",)
SMALL_MEGABYTES = 24
FULL_SECONDS = 6.0
READ_SECONDS_MAX = 1.0
BULK = {"bulk": 2, "bytes": 20_000, "keys": 40, "pause": 0.05}
"""Something that grows: a store uses again what was freed in it."""


def _fill(disk: Path) -> Path:
    """Take all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        os.fsync(file.fileno())
    return ballast


def _full(scene: Scene, servers: Sequence[int]) -> list[Path]:
    """Fill the disks of these, and wait until it is noticed: by one whose writing fails, or that is past its mark, and
    then refuses or gives away what would be written. What to remove again."""
    said = {server: len(scene.daemons[server].said()) for server in servers}
    ballasts = [_fill(scene.cluster.disks[f"server_{server}"].path) for server in servers]

    def noticed() -> bool:
        marks = scene.coordinator.said()
        return any(
            "the disk has no room" in scene.daemons[server].said()[said[server] :]
            or f"server {server} is past its" in marks
            for server in servers
        )

    wait_for(f"it is noticed that the disks of {servers} are full", noticed)
    return ballasts


def _reads(scene: Scene, keys: list[bytes]) -> None:
    """All of these can be read at once."""
    client = scene.cluster.client(deadline=10.0)
    slowest = 0.0
    for key in keys:
        began = time.monotonic()
        found = client.get(key)
        slowest = max(slowest, time.monotonic() - began)
        assert found is not None and found.value == b"value of " + key, (key, found)
    scene.report.holds(
        slowest <= READ_SECONDS_MAX, f"{len(keys)} reads are answered, the slowest after {slowest * 1000:.0f} ms"
    )


def _prepare(scene: Scene) -> list[bytes]:
    keys = [b"x%d" % i for i in range(100)]
    client = scene.cluster.shared
    client.mput({key: b"value of " + key for key in keys})
    assert {shard_of(client, key) for key in keys} == {shard["shard"] for shard in scene.cluster.status()["shards"]}
    return keys


def disk_full(stage: Stage) -> None:
    """One server's disk is full for a while, and once more over its restart: nothing is lost, and it goes on."""
    victim = stage.random.randrange(1, 4)
    with stage.scene(disk_megabytes=SMALL_MEGABYTES, server_flags=ENGINE) as scene:
        keys = _prepare(scene)
        load = scene.load()
        load.ask(**BULK)
        for restart in (False, True):
            scene.work()
            since = scene.fault(f"server {victim}'s disk is full")
            [ballast] = _full(scene, [victim])
            done = scene.done()
            _reads(scene, keys)
            if restart:
                scene.daemons[victim].kill()
                scene.start_server(victim)
            time.sleep(max(0.0, FULL_SECONDS - (time.monotonic() - since)))
            scene.note(f"{scene.done() - done} operations were done meanwhile")
            _reads(scene, keys)
            scene.report.holds(scene.daemons[victim].running, "the server runs", scene.daemons[victim].exit_code)
            since = scene.note(f"server {victim}'s disk has room again")
            ballast.unlink()
            if not scene.daemons[victim].running:
                scene.start_server(victim)
            scene.recovered(since, more_seconds=10.0, after="that")
        scene.work()
        scene.finish(operations=500, faults=2)


def disk_full_everywhere(stage: Stage, seconds: float = FULL_SECONDS) -> None:
    """All disks are full for a while: reads are answered, writes wait or are refused, and go on when there is room."""
    with stage.scene(disk_megabytes=SMALL_MEGABYTES, server_flags=ENGINE) as scene:
        keys = _prepare(scene)
        load = scene.load()
        load.ask(**BULK)
        scene.work()
        scene.fault("all disks of servers are full")
        ballasts = _full(scene, list(scene.daemons))
        time.sleep(seconds)
        _reads(scene, keys)
        scene.report.holds(all(daemon.running for daemon in scene.daemons.values()), "all servers run")
        since = scene.note("there is room again")
        for ballast in ballasts:
            ballast.unlink()
        scene.recovered(since, more_seconds=10.0, after="that")
        scene.work()
        scene.finish(operations=400, faults=1)


def _stores(scene: Scene) -> dict[int, str]:
    return {server["id"]: server["store"] for server in scene.cluster.status()["servers"]}


def _change_roles(scene: Scene, server: int) -> None:
    """Of a shard that this server leads, so that it has to keep that."""
    shard = next(each for each in scene.cluster.status()["shards"] if each["primary"] == server)
    with suppress(TwistedKVError):
        scene.cluster.shared.admin("switch", shard=shard["shard"], server=shard["secondaries"][0])


def sync_fails(stage: Stage, times: int = 3) -> None:
    """A server's fdatasync, or a write before it, says EIO: it ends at once, another process goes on with its data."""
    chance = stage.random
    with stage.scene(spawned=True, engine="lmdb") as scene:
        scene.load()
        for number in range(times):
            scene.work(100)
            victim = scene.primary()
            pid, stores = scene.cluster.pids()[victim], _stores(scene)
            # Logs are appended by pwrite64 all the time; the tables are written when they get what no log has.
            call, moment = (("pwrite64", chance.randrange(1, 30)), ("fdatasync", 1), ("writev", 1))[number % 3]
            inject = f"{call}:error=EIO:when={moment}"
            before = scene.last_event()
            with Tracing(pid, inject, scene.directory / f"strace-{number}") as tracing:
                _change_roles(scene, victim)
                wait_for("the server ends", lambda pid=pid: not alive(pid))
                since = scene.fault(f"server {victim}: {inject}")
                scene.report.holds(tracing.injected(), "a call was made to fail")
            scene.recovered(since, without=(pid,), more_seconds=3.0)
            failed = [event["text"] for event in scene.journal(before) if event["event"] == "server.failed"]
            exited = f"its process ended with exit code {os.EX_IOERR}"
            scene.report.holds(any(exited in text for text in failed), "it ended with EX_IOERR", failed)
            scene.report.holds(_stores(scene) == stores, "the next process has its data")
            said = (scene.directory / "base" / f"server_{victim}.log").read_text("utf-8", "replace")
            scene.report.holds("ends at once: its store has failed" in said, "it has said why", said[-500:])
        scene.work()
        scene.finish(operations=300, faults=times)
