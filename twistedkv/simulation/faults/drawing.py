"""The faults of a run as a list. Each run draws which kinds it has at all (swarm testing)."""

from __future__ import annotations

import attrs

from twistedkv.simulation.timeline import Timeline

KINDS = (
    "kill server",
    "power off",
    "freeze server",
    "slow server",
    "stop server",
    "fail storage",
    "fill disk",
    "slow disk",
    "power cut",
    "fill server",
    "cut coordinator",
    "cut peers",
    "isolate server",
    "cut client",
    "reset",
    "reset all",
    "storm",
    "kill coordinator",
    "freeze coordinator",
    "slow coordinator",
    "store error",
    "kill in step",
    "spawn error",
    "switch",
    "kill client",
    "freeze client",
)

WEIGHTS = {"kill server": 4, "freeze server": 3, "power off": 2, "isolate server": 2, "kill coordinator": 2}
"""How often those are drawn, in place of once."""


@attrs.frozen
class Fault:
    """One thing that goes wrong. What exactly depends on `chance`, and on who is there then."""

    at: float
    """Seconds after the faults begin."""
    kind: str
    seconds: float
    """How long, of what ends by itself."""
    chance: int
    """Seed of what is left to be drawn."""

    def __str__(self) -> str:
        return f"after {self.at:.3f} s: {self.kind} ({self.seconds:.2f} s)"


def draw_faults(timeline: Timeline, seconds: float, mean_pause: float) -> list[Fault]:
    """The faults of a run."""
    chance = timeline.stream("faults")
    kinds = [kind for kind in KINDS if chance.random() < 0.6] or ["kill server"]
    weights = [WEIGHTS.get(kind, 1) for kind in kinds]
    faults = []
    at = chance.expovariate(1 / mean_pause)
    while at < seconds:
        length = chance.choice((0.1, 0.5, 1.0, 2.0, 5.0)) * chance.uniform(0.5, 1.5)
        faults.append(Fault(at, chance.choices(kinds, weights)[0], length, chance.getrandbits(32)))
        at += chance.expovariate(1 / mean_pause)
    return faults
