"""Servers that are frozen and thawed, and the hunt for what a thawed one might still believe; switches in order."""

from __future__ import annotations

import time

from tests.faults.historyfile import Log
from tests.faults.scene import SUSPICION_SECONDS, Scene
from tests.faults.stage import Stage

FROZEN_SECONDS = 3 * SUSPICION_SECONDS
PAUSES = 8
PAUSE_SECONDS_MIN = 0.1
SWITCHES = 20
DONE_MEANWHILE = 100
"""Operations that have to be acknowledged while one server is away for 3 D."""


def freeze_primary(stage: Stage) -> None:
    """A primary is stopped (SIGSTOP) for 3 D and goes on, with clients pinned to it that ask it all the time."""
    with stage.scene() as scene:
        scene.load()
        victim = scene.primary()
        load = scene.hunt(victim)
        scene.work()
        done = scene.done()
        frozen = scene.fault(f"server {victim} is frozen for {FROZEN_SECONDS:.1f} s")
        with scene.frozen(victim):
            scene.failed(victim)
            time.sleep(max(0.0, frozen + FROZEN_SECONDS - time.monotonic()))
            done = scene.done() - done
            thawed = scene.note(f"server {victim} is thawed")
        scene.report.holds(done >= DONE_MEANWHILE, f"{done} operations were acknowledged meanwhile")
        scene.recovered(thawed, after="the thaw")
        scene.work()
        hunted = load.ask(hunted=True)
        log = scene.finish(operations=900, faults=1)
        assert_hunted(scene, log, hunted, frozen, thawed)


def assert_hunted(scene: Scene, log: Log, hunted: dict[str, int], began: float, ended: float) -> None:
    """What was hunted for could have been there: keys were overwritten elsewhere while the old primary was away (from
    `began` to `ended`), and it was asked for them all the time.

    That no answer was stale is what the checkers have said.
    """
    from_ns, to_ns = round((began + SUSPICION_SECONDS) * 1e9), round(ended * 1e9)
    keys = [record for record in log.records if record.key.startswith("h") and from_ns < record.call < to_ns]
    written = [record for record in keys if record.f == "write" and record.result == "ok" and record.returned < to_ns]
    asked = [record for record in keys if record.f == "read" and record.result == "fail"]
    report = scene.report
    report.holds(len(written) >= 20, f"{len(written)} writes to the hunted keys at their new primary meanwhile")
    report.holds(len(asked) >= 50, f"and {len(asked)} reads of them that the old one has refused, meanwhile or later")
    report.holds(
        hunted.get("answered", 0) >= 20,
        f"of {hunted.get('asked')} reads by pinned clients {hunted.get('answered')} were answered, and of their writes "
        f"{hunted.get('written')}",
    )


def random_pauses(stage: Stage) -> None:
    """Servers are frozen at random, for 0.1 s to 3 D, again and again: some are suspected, some are not."""
    with stage.scene() as scene:
        scene.load()
        scene.hunt(scene.primary())
        chance = scene.random
        servers = sorted(scene.daemons)
        for _ in range(PAUSES):
            scene.work(100)
            victim = chance.choice(servers)
            seconds = PAUSE_SECONDS_MIN * (FROZEN_SECONDS / PAUSE_SECONDS_MIN) ** chance.random()
            scene.fault(f"server {victim} is frozen for {seconds:.2f} s")
            with scene.frozen(victim):
                time.sleep(seconds)
        since = scene.note("the last one is thawed")
        scene.recovered(since, after="the last thaw")
        scene.work()
        scene.finish(operations=1_400, faults=PAUSES)


def switch_primary(stage: Stage) -> None:
    """The primary's role of some shard is given to another copy, twenty times, and no request fails."""
    with stage.scene() as scene:
        scene.load()
        slowest = 0.0
        for _ in range(SWITCHES):
            shard = scene.random.choice(scene.cluster.healthy()["shards"])
            target = shard["secondaries"][0]
            since = scene.fault(f"shard {shard['shard']} is switched from server {shard['primary']} to {target}")
            scene.cluster.shared.admin("switch", shard=shard["shard"], server=target)
            slowest = max(slowest, time.monotonic() - since)
            scene.work(50)
        scene.recovered(since, after="the last switch")
        scene.report.measured(f"the slowest switch took {slowest * 1000:.0f} ms")
        log = scene.finish(operations=1_000, faults=SWITCHES)
        failed = [record for record in log.records if record.result == "fail" and not record.mismatch]
        scene.report.holds(not failed, "no request failed", failed[:5])
