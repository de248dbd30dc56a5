"""Making the next configuration of a shard: the parts that the rules share."""

from __future__ import annotations

import attrs

from twistedkv.clustermap import Configuration, Member
from twistedkv.core.coordinator import CoordinatorState


def addressed(state: CoordinatorState, server_id: int, shard: int, epoch: int) -> Configuration | None:
    """The configuration that a primary's message is about, if it is the present one and not about to
    change."""
    configuration = state.shards.get(shard)
    if configuration is None or shard in state.seals or configuration.epoch != epoch or configuration.lost:
        return None
    server = state.servers.get(server_id)
    return configuration if server is not None and server.member == configuration.primary else None


def set_members(
    state: CoordinatorState,
    configuration: Configuration,
    *,
    secondaries: tuple[Member, ...] | None = None,
    learners: tuple[Member, ...] | None = None,
    preferred: tuple[int, ...] | None = None,
) -> None:
    """The next configuration, with the same primary."""
    shard = configuration.shard
    state.set_shard(
        attrs.evolve(
            configuration,
            epoch=state.next_epoch(shard),
            secondaries=configuration.secondaries if secondaries is None else secondaries,
            learners=configuration.learners if learners is None else learners,
            preferred=configuration.preferred if preferred is None else preferred,
            released=configuration.released or shard in state.settled,
        )
    )


def by_preference(configuration: Configuration, members: list[Member]) -> list[Member]:
    """Preferred servers first, in their order; then the others as they were."""
    rank = {server_id: i for i, server_id in enumerate(configuration.preferred)}
    return sorted(members, key=lambda member: rank.get(member.server_id, len(rank)))


def preferred_first(configuration: Configuration, server_id: int) -> tuple[int, ...]:
    """The preferred servers with this one at their head."""
    preferred = configuration.preferred
    others = [other for other in preferred if other != server_id]
    return (server_id, *others)[: max(1, len(preferred))]


def drop(state: CoordinatorState, configuration: Configuration, member: Member, why: str, now: float) -> None:
    """The next configuration, without this secondary or learner."""
    if member == configuration.primary:
        return
    shard = configuration.shard
    learner = member in configuration.learners
    set_members(
        state,
        configuration,
        secondaries=tuple(other for other in configuration.secondaries if other != member),
        learners=tuple(other for other in configuration.learners if other != member),
    )
    state.event(
        "learner.discarded" if learner else "shard.reduced",
        f"shard {shard}: {'learner' if learner else 'secondary'} on server {member.server_id} {why}",
        now,
        shard=shard,
        epoch=state.shards[shard].epoch,
        server=member.server_id,
    )
