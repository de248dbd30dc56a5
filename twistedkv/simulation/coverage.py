"""What a batch of runs has to have seen. One that has not seen it has proved little, and fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twistedkv.core.operations import Event, Kind, Phase

BATCH_SEEDS_MIN = 100
"""Fewer runs need not see everything."""

INVARIANTS = tuple(f"I{number}" for number in range(1, 18))

ENDED_IN = tuple(
    f"coordinator ended in {phase}" for phase in (Phase.ONGOING, Phase.USE_SECONDARY, Phase.ONE_SET_COMPLETED)
)

WANTED: Mapping[str, str] = {
    "shard.promoted": "failover",
    "refused: OLD_EPOCH": "refused old epoch",
    "read without a lease": "refused lease",
    "retry recognised": "deduplicated retry",
    "learner.completed": "filled learner",
    "learner.discarded": "discarded learner",
    "switch.done": "switch-over",
    "grace waited out": "waited-out grace",
    "unknown outcome": "unknown outcome",
    "refused: GAP": "resent gap",
    "primary superseded": "primary that hears of a higher epoch",
    "second failure": "second failure during recovery",
    "server.returned": "server that was taken for failed, or cut off, and returns",
    "server.replaced": "replaced server",
    "no room": "write that is refused because a copy is full",
    "space.ok": "server that was full and has room again",
    "coordinator started again": "coordinator restart",
    "refused: HOLDS": "copy that came back with its data",
    "fault: power cut": "power cut of all servers",
    "fault: fill disk": "full disk",
    "fault: slow disk": "slow disk",
    **{name: f"coordinator restart in phase {name.rpartition(' ')[2]} of a recovery" for name in ENDED_IN},
    "coordinator ended while sealing": "coordinator restart while a shard is sealed",
    "coordinator ended while filling": "coordinator restart while a learner is filled",
    "coordinator ended while switching": "coordinator restart while a role is given away",
    **{f"looked at: {name}": f"{name} could have been broken" for name in INVARIANTS},
}
"""What is counted, and what it is called."""


def missing(counts: Mapping[str, float]) -> list[str]:
    """What a batch with these counts has not seen."""
    return [text for name, text in WANTED.items() if not counts.get(name)]


def of_journal(journal: Iterable[Event]) -> dict[str, int]:
    """How often each kind of event happened, and how often a server failed while another failure was being repaired."""
    counts: dict[str, int] = {}
    recoveries: dict[str | None, None] = {}
    for event in journal:
        counts[event.event] = counts.get(event.event, 0) + 1
        if event.event == "operation.started" and (event.operation or "").startswith(Kind.RECOVERY):
            recoveries[event.operation] = None
        elif event.event in ("operation.done", "operation.failed"):
            recoveries.pop(event.operation, None)
        elif event.event == "server.failed" and recoveries:
            counts["second failure"] = counts.get("second failure", 0) + 1
    return counts
