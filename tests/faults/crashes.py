"""Processes that are killed: primaries, backups, the coordinator, both sides of a fill, all of them at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.faults.stage import Stage
from tests.live.cluster import send
from tests.live.load import shard_of
from twistedkv.errors import ShardLost, TwistedKVError
from twistedkv.failpoints import EXIT_CODE

FILLED_KEYS, FILLED_BYTES = 4_000, 16 * 1024
"""What is stored so that a fill takes long enough to be hit."""
REFUSED_SECONDS_MAX = 1.0


def kill_primary(stage: Stage, kills: int = 3) -> None:
    """The primary of some shards is killed under load, three times; its coordinator starts another process."""
    with stage.scene(spawned=True) as scene:
        scene.load()
        for _ in range(kills):
            scene.work()
            since, pid = scene.kill(scene.primary())
            scene.recovered(since, without=(pid,))
        scene.work()
        scene.finish(operations=500 * kills, faults=kills)


def kill_backup(stage: Stage) -> None:
    """A server that is nobody's primary is killed, twice: no failover, only copies that are missing."""
    with stage.scene(standbys=2) as scene:
        scene.load()
        for _ in range(2):
            victim = scene.primary()
            for shard in scene.cluster.status()["shards"]:
                if shard["primary"] == victim:
                    scene.cluster.shared.admin("switch", shard=shard["shard"], server=shard["secondaries"][0])
            scene.cluster.healthy()
            scene.work()
            before = scene.last_event()
            since, pid = scene.kill(victim, ", which is only backup")
            scene.recovered(since, without=(pid,))
            events = [event["event"] for event in scene.journal(before)]
            scene.report.holds(
                "shard.promoted" not in events and "shard.reduced" in events, "no shard had to fail over", events
            )
        scene.work()
        scene.finish(operations=1_000, faults=2)


def kill_coordinator_then_primary(stage: Stage) -> None:
    """The coordinator is killed, then a primary, then the coordinator is started again."""
    with stage.scene(standbys=1) as scene:
        scene.load()
        victim, pids = scene.primary(), scene.cluster.pids()
        scene.fault("the coordinator is killed")
        scene.coordinator.kill()
        scene.work(600)
        scene.fault(f"server {victim} is killed")
        scene.daemons[victim].kill()
        time.sleep(0.5)
        since = scene.start_coordinator()
        scene.recovered(since, without=(pids[victim],), after="the coordinator's return")
        scene.work()
        scene.finish(operations=1_000, faults=2)


def _kill_during_fill(stage: Stage, text: str, whom: Callable[[dict[str, Any]], int], **options: Any) -> None:
    with stage.scene(**options) as scene:
        values = {b"filled-%d" % i: stage.random.randbytes(FILLED_BYTES) for i in range(FILLED_KEYS)}
        scene.cluster.client(deadline=30.0).mput(values)
        scene.load()
        before = scene.last_event()
        _, first = scene.kill(scene.primary())

        status = scene.cluster.status_when("a fill", lambda s: any(shard["learners"] for shard in s["shards"]))
        shards = [shard for shard in status["shards"] if shard["learners"]]
        victim = whom(shards[0])
        [second] = [one["pid"] for one in status["servers"] if one["id"] == victim]
        send(second, signal.SIGKILL)
        since = scene.fault(f"server {victim} is killed, {text} {shards[0]['shard']}")
        scene.recovered(since, without=(first, second))
        concerned = [shard for shard in shards if victim in (shard["primary"], *shard["learners"])]
        broken = [shard["shard"] for shard in concerned if _interrupted(scene.journal(before), victim, shard["shard"])]
        scene.report.holds(broken, f"it was in the middle of filling shards {broken}")
        scene.work()
        scene.finish(operations=500, faults=2)
        found = scene.cluster.client(deadline=30.0).mget(values)
        whole = {key: one and one.value for key, one in found.items()} == values
        scene.report.holds(whole, f"the {len(values)} values that were filled are as they were")


def _interrupted(events: list[dict[str, Any]], victim: int, shard: int) -> bool:
    """Whether the shard's fill was under way when the victim was found to have failed, and has been made again."""
    kinds: list[str] = []
    failed = False
    for event in events:
        failed = failed or (event["event"] == "server.failed" and event["server"] == victim)
        if event["shard"] == shard and event["event"] in ("learner.added", "learner.completed"):
            kinds.append(event["event"].partition(".")[2] + (" after" if failed else ""))
    return kinds[:2] == ["added", "added after"] and kinds[-1] == "completed after"


def kill_source_of_fill(stage: Stage) -> None:
    """Of three copies one is killed, and then the primary that fills its replacement."""
    text = "the source of the fill of shard"
    _kill_during_fill(stage, text, lambda shard: int(shard["primary"]), servers=4, copies=3, standbys=2)


def kill_target_of_fill(stage: Stage) -> None:
    """A server is killed, and then the standby that is being filled in its place."""
    text = "the target of the fill of shard"
    _kill_during_fill(stage, text, lambda shard: int(shard["learners"][0]), standbys=2)


def kill_all(stage: Stage) -> None:
    """A power cut: every process is killed at the same moment, coordinator included, and all are started again.

    The storage of today is memory, so everything is lost; the durable form of this scenario, in which nothing is, comes
    with the store on disk. What has to hold: the loss is reported, requests are refused at once and as not applied, no
    shard becomes empty in silence, and after `accept-loss` the cluster is of use again.
    """
    with stage.scene() as scene:
        cluster = scene.cluster
        scene.load()
        keys = [b"before-%d" % i for i in range(200)]
        cluster.shared.mput(dict.fromkeys(keys, b"value"))
        scene.work()
        shards = [shard["shard"] for shard in cluster.status()["shards"]]
        daemons = [scene.coordinator, *scene.daemons.values()]
        scene.fault("every process is killed")
        for daemon in daemons:
            send(daemon.pid, signal.SIGKILL)
        for daemon in daemons:
            daemon.wait()
        since = scene.note("all are started again")
        scene.start_coordinator()
        for server in list(scene.daemons):
            scene.start_server(server)
        status = cluster.status_when(
            "all servers are back, and all shards are LOST",
            lambda s: [one["state"] for one in s["servers"]] == ["active"] * len(scene.daemons) and s["lost"] == shards,
        )
        report = scene.report
        took = time.monotonic() - since
        report.holds(not status["healthy"], f"after {took:.1f} s all {len(shards)} shards are reported LOST")
        events = [event["event"] for event in scene.journal() if event["event"] == "shard.lost"]
        report.holds(len(events) == len(shards), "the journal says so of each", events)
        client = cluster.client(deadline=30.0)
        outcomes = [_refused(client.get, key) for key in keys] + [_refused(client.put, key, b"new") for key in keys]
        wrong = [outcome for outcome in outcomes if not isinstance(outcome, float)]
        report.holds(not wrong, "every request is refused with ShardLost: certainly not applied", wrong[:3])
        slowest = max([outcome for outcome in outcomes if isinstance(outcome, float)], default=0.0)
        report.holds(slowest <= REFUSED_SECONDS_MAX, f"and at once: the slowest after {slowest * 1000:.0f} ms")
        scene.finish(operations=500, faults=1, final=False)
        refused = cluster.cli(cluster.address, "get", "before-1")
        report.holds(
            refused.returncode == 3 and "accept-loss" in refused.stderr, "the command line says what to do", refused
        )
        cluster.command("admin", "accept-loss", "--yes", "all")
        cluster.healthy()
        report.holds(not cluster.status()["lost"], "the loss is accepted")
        client.mput(dict.fromkeys(keys, b"again"))
        checks = [client.verify(key, b"again") for key in keys]
        whole = all(len(check) == cluster.copies and all(copy.matches for copy in check) for check in checks)
        report.holds(
            whole and {shard_of(client, key) for key in keys} == set(shards), "and every shard is of use again"
        )


def _refused(call: Callable[..., object], *arguments: bytes) -> float | str:
    """Seconds until ShardLost, or what happened instead."""
    began = time.monotonic()
    try:
        return f"done: {call(*arguments)!r}"
    except ShardLost:
        return time.monotonic() - began
    except TwistedKVError as error:
        return repr(error)


DEATHS = (("before", 5), ("after", 5), ("after", 6), ("before", 9), ("after", 11))
"""(before or after the commit, its number since the coordinator's start). The first is the start, the next three are
the returns of the servers; then come the failure with the seals, promotions, learners, their completion, switches."""


def coordinator_dies_at_commit(stage: Stage, deaths: Sequence[tuple[str, int]] = DEATHS) -> None:
    """The coordinator dies before, or after, its n-th commit while a killed server is replaced; it is started again."""
    with stage.scene() as scene:
        scene.load()
        for point, count in deaths:
            scene.coordinator.kill()
            scene.start_coordinator(f"mapstore.{point}_apply:{count}")
            victim = scene.primary()
            _, pid = scene.kill(victim)
            scene.start_server(victim)
            code = scene.coordinator.wait()
            scene.fault(f"the coordinator has ended itself {point} its commit {count}")
            scene.report.holds(code == EXIT_CODE, f"with exit code {EXIT_CODE}", code)
            since = scene.start_coordinator()
            scene.recovered(since, without=(pid,), after="the coordinator's return")
            scene.work(150)
        scene.work()
        scene.finish(operations=200 * len(deaths), faults=2 * len(deaths))
