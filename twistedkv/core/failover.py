"""Rule 1 of `core.recovery`: seal the members of a shard whose primary is gone, and promote the longest log.

Commit needs every member, so any one member that is sealed stops the old primary for good; and the longest log among
those that were sealed holds all that was ever acknowledged.

`Configuration.released` tells the new primary that nobody else can hold a lease on the shard, so that it need not wait.
It is not enough that the last primary was reaped: it may itself have been waiting for an older one's lease to run out.
Hence `CoordinatorState.settled`: the shards whose primary has reported that it serves.
"""

from __future__ import annotations

import attrs

from twistedkv.clustermap import Configuration, Member
from twistedkv.core.configurations import by_preference
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.steps import Seal
from twistedkv.messages.coordinator import ReplicaRole, Sealed
from twistedkv.messages.coordinator import Seal as SealMessage

SEAL_WAIT_BEATS = 1
"""So long a member that was sent SEAL is waited for; then those who answered are enough."""
SEAL_REPEAT_BEATS = 2
STUCK_BEATS = 3
"""A primary that says that it serves no more is failed over after so long."""
SWITCHING_BEATS = 10
"""So long may a primary take to step down when nobody has asked it to, as far as is known."""

NOT_SERVING = (
    ReplicaRole.NONE,
    ReplicaRole.LEARNER,
    ReplicaRole.SECONDARY,
    ReplicaRole.SEALED,
    ReplicaRole.STEPPED_DOWN,
)


def failover_reason(state: CoordinatorState, configuration: Configuration, now: float) -> str:
    """Why rule 1 applies; empty if it does not."""
    shard = configuration.shard
    if not state.can_hold(shard, configuration.primary):
        return f"its primary, server {configuration.primary.server_id}, failed"
    for member in configuration.members:
        report = state.report(shard, member)
        if report is not None and report.epoch > configuration.epoch:
            return f"server {member.server_id} knows of epoch {report.epoch}"
    report = state.report(shard, configuration.primary)
    if report is None or report.epoch != configuration.epoch or shard in state.switches:
        state.stuck_since.pop(shard, None)
        return ""
    patience = STUCK_BEATS if report.role in NOT_SERVING else SWITCHING_BEATS
    if report.role not in NOT_SERVING and report.role is not ReplicaRole.SWITCHING:
        state.stuck_since.pop(shard, None)
        return ""
    since = state.stuck_since.setdefault(shard, now)
    if now - since > patience * state.heartbeat:
        return f"its primary, server {configuration.primary.server_id}, says it is {report.role.name}"
    return ""


def begin_seal(state: CoordinatorState, shard: int, reason: str, now: float) -> None:
    """Use a new epoch to stop the shard's members, or declare it lost if there are none."""
    configuration = state.shards[shard]
    state.end_switch(shard, "the shard failed over")
    state.stuck_since.pop(shard, None)
    if not any(state.can_hold(shard, member) for member in configuration.members):
        _lose(state, configuration, now)
        return
    epoch = state.next_epoch(shard)
    state.promise(shard, epoch)
    state.seals[shard] = Seal(epoch, now)
    state.event("shard.sealed", f"shard {shard}: {reason}", now, shard=shard, epoch=epoch)
    review_seal(state, shard, now)


def review_seal(state: CoordinatorState, shard: int, now: float) -> None:
    seal = state.seals[shard]
    configuration = state.shards[shard]
    live = [member for member in configuration.members if state.can_hold(shard, member)]
    if not live:
        del state.seals[shard]
        _lose(state, configuration, now)
        return
    highest = max((answer.epoch for answer in seal.answers.values()), default=0)
    if highest > seal.epoch:
        epoch = max(highest + 1, state.next_epoch(shard))
        state.promise(shard, epoch)
        state.seals[shard] = seal = Seal(epoch, seal.started)
    for member in live:
        asked = seal.asked.get(member)
        overdue = asked is None or now - asked >= SEAL_REPEAT_BEATS * state.heartbeat
        if member not in seal.answers and overdue and state.connected(member.server_id):
            seal.asked[member] = now
            state.send(member.server_id, SealMessage(shard, seal.epoch))
    answered = [member for member in live if member in seal.answers]
    if answered and not any(_expected(state, seal, member, now) for member in live if member not in answered):
        _promote(state, configuration, seal, answered, now)


def _expected(state: CoordinatorState, seal: Seal, member: Member, now: float) -> bool:
    """Whether a member that has not answered is worth waiting for: it was just asked, or is yet to be.

    Who is not waited for loses its copy, and the shard one that it may need. After a start of the coordinator all
    servers live and dial one after the other; the failure detector ends the wait for those who do not.
    """
    asked = seal.asked.get(member)
    connected = state.connected(member.server_id)
    return not connected or asked is None or now - asked < SEAL_WAIT_BEATS * state.heartbeat


def sealed(state: CoordinatorState, server_id: int, answer: Sealed, now: float) -> None:
    """A server has answered SEAL."""
    seal = state.seals.get(answer.shard)
    configuration = state.shards.get(answer.shard)
    server = state.servers.get(server_id)
    if seal is None or configuration is None or server is None or answer.epoch < seal.epoch:
        return
    member = server.member
    if member not in configuration.members or member not in seal.asked:
        return
    if answer.holds:
        seal.answers[member] = answer
    else:
        state.empty.add((answer.shard, member))


def _promote(
    state: CoordinatorState, configuration: Configuration, seal: Seal, answered: list[Member], now: float
) -> None:
    shard = configuration.shard
    answered = by_preference(configuration, answered)
    best = max(answered, key=lambda member: (seal.answers[member].last, -answered.index(member)))
    old = configuration.primary
    over = old in state.reaped or old in answered
    promoted = attrs.evolve(
        configuration,
        epoch=seal.epoch,
        primary=best,
        secondaries=tuple(member for member in answered if member != best),
        learners=(),
        released=over and (configuration.released or shard in state.settled),
        lost=False,
    )
    del state.seals[shard]
    state.set_shard(promoted)
    state.settled.discard(shard)
    state.primary_since[shard] = promoted.epoch
    milliseconds = (now - seal.started) * 1000
    state.event(
        "shard.promoted",
        f"shard {shard}: server {best.server_id} is primary, {milliseconds:.0f} ms after the seal",
        now,
        shard=shard,
        epoch=promoted.epoch,
        server=best.server_id,
    )


def _lose(state: CoordinatorState, configuration: Configuration, now: float) -> None:
    """No copy lives. All that may still have the data stay named; who has said that it holds nothing does not."""
    if configuration.lost:
        return
    shard = configuration.shard
    named = [m for m in configuration.members if (shard, m) not in state.empty] or list(configuration.members)
    state.set_shard(
        attrs.evolve(
            configuration,
            epoch=state.next_epoch(shard),
            primary=named[0],
            secondaries=tuple(named[1:]),
            learners=(),
            lost=True,
        )
    )
    names = ", ".join(str(member.server_id) for member in named)
    state.event(
        "shard.lost",
        f"shard {shard} is LOST: no copy is left; it had copies on server {names}. "
        f"`twistedkv admin accept-loss {shard}` makes it empty and usable",
        now,
        shard=shard,
        epoch=state.shards[shard].epoch,
    )
