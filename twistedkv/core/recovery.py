"""The rules for one shard: what its next configuration is, given the present one and who lives.

`review_shard` is called after every event that could matter to a shard, and at each tick for every shard that is not at
rest (I17). It applies the first rule that fits, again and again until none does:

1. The primary failed, or a member knows of a higher epoch, or the primary has stepped down: **seal** the live members
   in a new epoch, and when they have answered, **promote** the one that holds most (`failover`).
2. A secondary or a learner failed: a configuration without it. A secondary that is only suspected waits for that
   until its primary has been heard of since: a wrong suspicion must not cost the last copy, should the primary be gone.
3. The primary asks for one of them to be removed: the same (`repair`, as the following).
4. A preferred server has no copy: it becomes a **learner**, one at a time; UPDATED_... makes it a member.
5. Another than the preferred server is primary, and that one is in sync: **switch**.
6. A member is not preferred, and all that are preferred are in sync: it is dropped.

Shards are independent of each other. Nothing of this is remembered from one call to the next but what was stored, and
hints that may be lost: so each step can be repeated, and any process may die between any two.
"""

from __future__ import annotations

from twistedkv.clustermap import Configuration, Member
from twistedkv.core.configurations import drop
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.failover import NOT_SERVING, begin_seal, failover_reason, review_seal
from twistedkv.core.operations import whole
from twistedkv.core.repair import REMOVAL_BEATS, improve, watch_fill, watch_switch


def review_shard(state: CoordinatorState, shard: int, now: float) -> None:
    """Apply the rules to a shard until none of them changes anything."""
    for _ in range(8):
        changes = state.changes
        if shard in state.seals:
            review_seal(state, shard, now)
        else:
            _review_configuration(state, state.shards[shard], now)
        if state.changes == changes or shard in state.seals:
            break
    if state.changes == changes and at_rest(state, state.shards[shard]):
        state.restless.discard(shard)
    else:
        state.restless.add(shard)


def at_rest(state: CoordinatorState, configuration: Configuration) -> bool:
    """Whether a shard that the rules were just applied to, to no effect, needs no look until something has changed.

    All is as it should be, and nothing waits for its time.
    """
    shard = configuration.shard
    return (
        shard in state.settled
        and shard not in state.seals
        and shard not in state.switches
        and shard not in state.stuck_since
        and len(configuration.members) == len(configuration.preferred)
        and whole(configuration, state.live)
        and all(state.ready_for_copies(server_id) for server_id in configuration.preferred)
    )


def _review_configuration(state: CoordinatorState, configuration: Configuration, now: float) -> None:
    shard = configuration.shard
    if configuration.lost:
        if any(state.can_hold(shard, member) for member in configuration.members):
            begin_seal(state, shard, "a server returned with its copy", now)
        return
    reason = failover_reason(state, configuration, now)
    if reason:
        begin_seal(state, shard, reason, now)
        return
    if _drop_failed(state, configuration, now):
        return
    if shard in state.switches:
        watch_switch(state, configuration, now)
    elif configuration.learners:
        watch_fill(state, configuration, now)
    else:
        improve(state, configuration, now)


def _drop_failed(state: CoordinatorState, configuration: Configuration, now: float) -> bool:
    failed = [
        member
        for member in configuration.everyone[1:]
        if not state.can_hold(configuration.shard, member) and _may_be_dropped(state, configuration, member, now)
    ]
    for member in failed:
        drop(state, state.shards[configuration.shard], member, "failed", now)
    return bool(failed)


def _may_be_dropped(state: CoordinatorState, configuration: Configuration, member: Member, now: float) -> bool:
    server = state.servers.get(member.server_id)
    word = state.report(configuration.shard, configuration.primary)
    if word is None or (word.role in NOT_SERVING and word.epoch >= configuration.epoch):
        return False  # it may be a process that has lost the end of its log, and does not lead
    certain = server is None or server.store_id != member.store_id or member in state.reaped
    if certain or member in configuration.learners or (configuration.shard, member) in state.empty:
        return True
    # What is heard a moment after may have been said before: it may have lain in a socket.
    primary = configuration.primary.server_id
    silent = state.detector.since_heard(primary, now)
    since = state.view(member.server_id).failed_at + REMOVAL_BEATS * state.heartbeat
    return state.connected(primary) and silent is not None and now - silent >= since
