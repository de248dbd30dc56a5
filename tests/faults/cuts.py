"""Packets that do not arrive: a server cut off from everybody, from the coordinator, from a backup in one direction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.network import Network
from tests.faults.pauses import DONE_MEANWHILE, assert_hunted
from tests.faults.scene import SUSPICION_SECONDS, Scene
from tests.faults.stage import Stage
from twistedkv.core.repair import RETRY_BEATS
from twistedkv.limits import HEARTBEAT_SECONDS

CUT_SECONDS = 3 * SUSPICION_SECONDS
LONG_CUT_SECONDS = 8 * SUSPICION_SECONDS
"""So long that what a kernel sends again at doubling intervals would come much too late after it."""
RETRY_SECONDS_MAX = 4 * RETRY_BEATS * HEARTBEAT_SECONDS
"""Fills that fail because of lost packets are tried again after pauses that double, and the third of these pauses can
begin just before the end of the fault."""
LOST_PERCENT = 50
SERVERS = 3


@contextmanager
def _during(
    scene: Scene,
    network: Network,
    text: str,
    seconds: float = CUT_SECONDS,
    more_seconds: float = 0.0,
) -> Iterator[float]:
    """A fault of the network, whose rules are made in the block: it lasts so long, then it is healed, and everything
    has to recover from that.
    """
    done = scene.done()
    began = scene.fault(f"{text} for {seconds:.1f} s")
    yield began
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    done = scene.done() - done
    network.heal()
    healed = scene.note("and again as it was")
    scene.report.holds(done >= DONE_MEANWHILE, f"{done} operations were acknowledged meanwhile")
    scene.recovered(healed, after="that", more_seconds=more_seconds)


def isolate_primary(stage: Stage) -> None:
    """A primary is cut off from everybody; clients on its own machine still reach it and must not read stale values."""
    with stage.network(SERVERS) as network, stage.scene(network=network) as scene:
        scene.load()
        victim = scene.primary()
        node = f"server_{victim}"
        beside = scene.load(clients=0, node=node)
        scene.hunt(victim, beside=beside)
        scene.work()
        with _during(scene, network, f"server {victim} is cut off from everybody") as began:
            network.isolate(node)
            scene.failed(victim)
        ended = time.monotonic()
        scene.work()
        hunted = beside.ask(hunted=True)
        log = scene.finish(operations=900, faults=1)
        assert_hunted(scene, log, hunted, began, ended)


def cut_primary_from_coordinator(stage: Stage) -> None:
    """Nothing passes between a primary and the coordinator; clients and the other servers still reach it."""
    with stage.network(SERVERS) as network, stage.scene(network=network, replace_after=60) as scene:
        scene.load()
        victim = scene.primary()
        load = scene.hunt(victim)
        scene.work()
        node = f"server_{victim}"
        with _during(scene, network, f"server {victim} is cut off from the coordinator", LONG_CUT_SECONDS) as began:
            network.cut(node, "coordinator")
            scene.failed(victim)
        ended = time.monotonic()
        scene.work()
        hunted = load.ask(hunted=True)
        log = scene.finish(operations=900, faults=1)
        assert_hunted(scene, log, hunted, began, ended)


def cut_primary_to_backup(stage: Stage) -> None:
    """What a primary sends to one of its backups does not arrive; the other direction works, and everything else."""
    with stage.network(SERVERS) as network, stage.scene(network=network) as scene:
        scene.load()
        victim = scene.primary()
        shards = scene.cluster.status()["shards"]
        backup = scene.random.choice([s["secondaries"][0] for s in shards if s["primary"] == victim])
        scene.hunt(victim)
        scene.work()
        node = f"server_{victim}"
        before = scene.last_event()
        with _during(scene, network, f"nothing arrives of what server {victim} sends to server {backup}"):
            network.cut_one_way(node, f"server_{backup}")
        events = [event["event"] for event in scene.journal(before)]
        scene.report.holds("shard.reduced" in events, "copies that could not be reached were given up")
        scene.work()
        scene.finish(operations=900, faults=1)


def lose_packets(stage: Stage) -> None:
    """Half of all packets to and from a primary are lost: connections hold, and everything is slow."""
    with stage.network(SERVERS) as network, stage.scene(network=network) as scene:
        scene.load()
        victim = scene.primary()
        scene.hunt(victim)
        scene.work()
        node = f"server_{victim}"
        text = f"{LOST_PERCENT} % of the packets to and from server {victim} are lost"
        with _during(scene, network, text, more_seconds=RETRY_SECONDS_MAX):
            network.lose(node, LOST_PERCENT)
        scene.work()
        scene.finish(operations=900, faults=1)
