"""What a run is going to be, decided before it begins: the cluster, the clients, and each fault with its time.

The same seed gives the same plan, and each lane of the clients draws the same numbers. What comes of it differs from
run to run, because time is real: which operation a lane is at when a fault comes, and whether it is allowed then.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import attrs

from twistedkv.recording.lanes import Habits

KINDS = {
    "kill": "a server is killed (SIGKILL); the cluster replaces it",
    "kill-two": "two servers are killed, shortly one after the other; for this there have to be three copies",
    "freeze": "a server is frozen (SIGSTOP) for 0.1 to 3 s",
    "switch": "another copy of a shard becomes its primary, as an operator would ask for",
    "kill-coordinator": "the coordinator is killed, and started again after 0.2 to 3 s",
    "freeze-coordinator": "the coordinator is frozen for 0.1 to 3 s",
}
"""Faults, and what they are."""

WEIGHTS = {"kill": 4, "kill-two": 2, "freeze": 3, "switch": 2, "kill-coordinator": 2, "freeze-coordinator": 1}
"""How often each is drawn, beside the others."""

COPIES_FOR_TWO = 3
"""With fewer copies two servers at a time are more than the promise allows."""

CALM_SECONDS = 2.0
"""Before the first fault: what the rest is compared with."""
FREEZE_SECONDS = (0.1, 3.0)
AWAY_SECONDS = (0.2, 3.0)
GAP_SECONDS = (0.0, 0.5)
"""Between the two of kill-two."""


@attrs.frozen
class Settings:
    """What somebody can choose."""

    seed: int
    seconds: float = 60.0
    """Of clients and faults; mending and checking come on top."""
    servers: int = 3
    copies: int = 2
    shards: int = 12
    clients: int = 4
    pause: float = 2.5
    """Mean seconds between two faults."""
    kinds: tuple[str, ...] = tuple(KINDS)
    """Of KINDS, those to draw from; kill-two is left out where there are too few copies."""

    @property
    def possible_kinds(self) -> list[str]:
        """The kinds that this cluster has to withstand."""
        return [kind for kind in KINDS if kind in self.kinds and (kind != "kill-two" or self.copies >= COPIES_FOR_TWO)]


@attrs.frozen
class Fault:
    """One thing that goes wrong."""

    number: int
    """From 1, in order of time."""
    at: float
    """Seconds after the clients began."""
    kind: str
    server: int = 0
    """Which server (kill, freeze, and the first of kill-two); 0 for other kinds."""
    second: int = 0
    """The other server of kill-two."""
    shard: int = -1
    """Which shard (switch)."""
    seconds: float = 0.0
    """How long (freeze, kill-coordinator), or how much later the second of kill-two is killed."""

    def __str__(self) -> str:
        length = f"{self.seconds:.1f} s"
        return {
            "kill": f"kill server {self.server}",
            "kill-two": f"kill server {self.server}, and server {self.second} {length} later",
            "freeze": f"freeze server {self.server} for {length}",
            "switch": f"switch shard {self.shard}",
            "kill-coordinator": f"kill the coordinator, start it after {length}",
            "freeze-coordinator": f"freeze the coordinator for {length}",
        }[self.kind]


def draw_faults(settings: Settings) -> list[Fault]:
    """The faults of a run, in order of time. Depends on the seed and the other settings, and on nothing else."""
    chance = random.Random(f"{settings.seed} faults")
    kinds = settings.possible_kinds
    if not kinds:
        return []
    weights = [WEIGHTS[kind] for kind in kinds]
    faults: list[Fault] = []
    at = CALM_SECONDS + chance.expovariate(1 / settings.pause)
    while at < settings.seconds:
        kind = chance.choices(kinds, weights)[0]
        faults.append(_draw_one(chance, settings, len(faults) + 1, round(at, 3), kind))
        at += chance.expovariate(1 / settings.pause)
    return faults


def _draw_one(chance: random.Random, settings: Settings, number: int, at: float, kind: str) -> Fault:
    servers = range(1, settings.servers + 1)
    if kind == "kill":
        return Fault(number, at, kind, server=chance.choice(servers))
    if kind == "kill-two":
        first, second = chance.sample(servers, 2)
        return Fault(number, at, kind, server=first, second=second, seconds=_length(chance, GAP_SECONDS))
    if kind == "freeze":
        return Fault(number, at, kind, server=chance.choice(servers), seconds=_length(chance, FREEZE_SECONDS))
    if kind == "switch":
        return Fault(number, at, kind, shard=chance.randrange(settings.shards))
    return Fault(number, at, kind, seconds=_length(chance, AWAY_SECONDS if "kill" in kind else FREEZE_SECONDS))


def _length(chance: random.Random, bounds: Sequence[float]) -> float:
    return round(chance.uniform(*bounds), 3)


HABITS = Habits(think_seconds=0.002, impatient=0.02, registers=24, counters=8, operations_per_round=1200)
"""Of the clients: about so busy that a machine with two processors has some of them left. A round takes about half a
second, so that the keys that were in use when a server failed are in use when another one has taken over."""


def lane_chance(settings: Settings, lane: int) -> random.Random:
    """What a lane, counted from 1, draws from."""
    return random.Random(f"{settings.seed} lane {lane}")


def configuration_of(settings: Settings) -> dict[str, Any]:
    """What the faults and the clients' draws depend on, for the header of the history."""
    return attrs.asdict(settings) | {"kinds": settings.possible_kinds, "habits": attrs.asdict(HABITS)}
