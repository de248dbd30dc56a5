"""Rules 3 to 6 of `core.recovery`: fill what is missing, switch the roles back, drop what is not needed.

Every answer of a server carries the epoch it is about, and counts only if that is the shard's present one and no seal
is under way (compare and set): so it may come late or twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from twistedkv.clustermap import Configuration, ServerState
from twistedkv.core.configurations import addressed, by_preference, drop, preferred_first, set_members
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.operations import whole
from twistedkv.core.steps import Patience, Switch
from twistedkv.messages.coordinator import (
    Relinquished,
    Remove,
    SwitchPrimary,
    UpdatedPrimary,
    UpdatedSecondary,
    UpdatePrimary,
    UpdatePrimaryFailed,
    UpdateSecondary,
    UpdateSecondaryFailed,
)

SWITCH_GIVEN_UP_BEATS = 10
FILL_REPEAT_BEATS = 10
"""A primary that does not speak of a fill for so long is asked for it again."""
RETRY_BEATS = 5
REMOVAL_BEATS = 0.5
"""A primary asks for a removal at each beat, until it is done: two askings that count are at least so far apart."""
REMOVAL_FORGOTTEN_BEATS = 5


def improve(state: CoordinatorState, configuration: Configuration, now: float) -> None:
    """Rules 4 to 6, for a shard whose members all live."""
    shard = configuration.shard
    primary = configuration.primary.server_id
    if shard not in state.settled or not state.connected(primary):
        return
    holders = {member.server_id for member in configuration.members}
    missing = [server for server in configuration.preferred if server not in holders]
    for server_id in missing:
        if state.may_be_filled(server_id, shard):
            if now >= state.fill_patience.get(shard, Patience()).not_before:
                _add_learner(state, configuration, server_id, now)
                return
            break
    target = _switch_target(state, configuration)
    if target and now >= state.switch_patience.get(shard, Patience()).not_before:
        start_switch(state, configuration, target, now)
    elif whole(configuration, state.live) and len(configuration.members) > len(configuration.preferred):
        extra = next(m for m in configuration.secondaries if m.server_id not in configuration.preferred)
        drop(state, configuration, extra, "is not needed any more", now)


def _add_learner(state: CoordinatorState, configuration: Configuration, server_id: int, now: float) -> None:
    shard = configuration.shard
    learner = state.servers[server_id].member
    set_members(state, configuration, learners=(learner,))
    state.view(server_id).given += state.size(shard)
    state.empty.discard((shard, learner))
    state.event(
        "learner.added",
        f"shard {shard}: server {server_id} is filled from server {configuration.primary.server_id}",
        now,
        shard=shard,
        epoch=state.shards[shard].epoch,
        server=server_id,
    )
    request_fill(state, state.shards[shard], now)


def request_fill(state: CoordinatorState, configuration: Configuration, now: float) -> None:
    """Tell the primary to fill its learner (again)."""
    state.fill_seen[configuration.shard] = now
    for learner in configuration.learners:
        first = bool(configuration.preferred) and configuration.preferred[0] == learner.server_id
        kind = UpdatePrimary if first else UpdateSecondary
        state.send(configuration.primary.server_id, kind(configuration))


def watch_fill(state: CoordinatorState, configuration: Configuration, now: float) -> None:
    """Repeat a request that the primary seems not to know of; take back one that nobody wants any more."""
    shard = configuration.shard
    for learner in configuration.learners:
        if learner.server_id not in configuration.preferred:
            drop(state, configuration, learner, "is not needed any more", now)
            return
    seen = state.fill_seen.setdefault(shard, now)
    if now - seen >= FILL_REPEAT_BEATS * state.heartbeat and state.connected(configuration.primary.server_id):
        request_fill(state, configuration, now)


def updated(state: CoordinatorState, server_id: int, message: UpdatedPrimary | UpdatedSecondary, now: float) -> None:
    """UPDATED_PRIMARY or UPDATED_SECONDARY: the learner holds everything and is counted."""
    shard, learner = message.shard, message.learner
    configuration = addressed(state, server_id, shard, message.epoch)
    if configuration is None or learner not in configuration.learners or not state.live(learner):
        return
    set_members(
        state,
        configuration,
        secondaries=tuple(by_preference(configuration, [*configuration.secondaries, learner])),
        learners=tuple(other for other in configuration.learners if other != learner),
    )
    state.fill_patience.pop(shard, None)
    for operation in state.operations.values():
        if operation.running and shard in operation.shards and operation.id in state.progress:
            state.progress[operation.id].completed(shard)
    state.event(
        "learner.completed",
        f"shard {shard}: server {learner.server_id} is a member",
        now,
        shard=shard,
        epoch=state.shards[shard].epoch,
        server=learner.server_id,
    )


def update_failed(
    state: CoordinatorState, server_id: int, message: UpdatePrimaryFailed | UpdateSecondaryFailed, now: float
) -> None:
    """UPDATE_PRIMARY_FAILED or UPDATE_SECONDARY_FAILED: the fill can not go on."""
    shard, learner = message.shard, message.learner
    configuration = addressed(state, server_id, shard, message.epoch)
    if configuration is None or learner not in configuration.learners:
        return
    state.fill_patience.setdefault(shard, Patience()).failed(now, RETRY_BEATS * state.heartbeat)
    drop(state, configuration, learner, f"could not be filled: {message.reason}", now)


def remove(state: CoordinatorState, server_id: int, message: Remove, now: float) -> None:
    """The primary can not reach a member: rule 3.

    It has to say so twice, in two reads some time apart. What comes in one may have lain in a socket for long, and who
    said it may be dead by now: then the member, which may be well again, is the one that has the data.
    """
    shard, member = message.shard, message.member
    configuration = addressed(state, server_id, shard, message.epoch)
    if configuration is None or member not in configuration.everyone or member == configuration.primary:
        return
    asked = state.removals.get((shard, member))
    if asked is None or asked[0] != message.epoch or now - asked[1] > REMOVAL_FORGOTTEN_BEATS * state.heartbeat:
        for key in [key for key, (epoch, _) in state.removals.items() if key[0] == shard and epoch != message.epoch]:
            del state.removals[key]
        state.removals[shard, member] = (message.epoch, now)
        return
    if now - asked[1] < REMOVAL_BEATS * state.heartbeat:
        return
    del state.removals[shard, member]
    drop(state, configuration, member, f"was given up by its primary: {message.reason}", now)
    state.fill_patience.setdefault(shard, Patience()).failed(now, RETRY_BEATS * state.heartbeat)


def _switch_target(state: CoordinatorState, configuration: Configuration) -> int:
    """The server that should take the primary's role now; 0 if nobody should."""
    in_sync = [m.server_id for m in configuration.secondaries if state.ready_for_copies(m.server_id)]
    primary = configuration.primary.server_id
    if state.servers[primary].state is ServerState.LEAVING:
        return in_sync[0] if in_sync else 0
    preferred = configuration.preferred
    holders = {member.server_id for member in configuration.members}
    if preferred and preferred[0] in in_sync:
        missing = [s for s in preferred if s not in holders and state.may_be_filled(s, configuration.shard)]
        return 0 if missing else preferred[0]
    return 0


def start_switch(
    state: CoordinatorState, configuration: Configuration, target: int, now: float, operation: str | None = None
) -> None:
    """Ask the primary to step down in favour of `target`, an in-sync secondary."""
    shard = configuration.shard
    primary = configuration.primary.server_id
    state.switches[shard] = Switch(configuration.epoch, target, now, operation)
    state.disturb(shard)
    state.send(primary, SwitchPrimary(shard, configuration.epoch, target))
    state.event(
        "switch.started",
        f"shard {shard}: from server {primary} to server {target}",
        now,
        shard=shard,
        epoch=configuration.epoch,
        server=target,
        operation=operation,
    )


def watch_switch(state: CoordinatorState, configuration: Configuration, now: float) -> None:
    shard = configuration.shard
    if now - state.switches[shard].started >= SWITCH_GIVEN_UP_BEATS * state.heartbeat:
        primary = configuration.primary.server_id
        switch_failed(state, primary, shard, epoch=configuration.epoch, reason="no answer in time", now=now)


def switch_failed(state: CoordinatorState, server_id: int, shard: int, *, epoch: int, reason: str, now: float) -> None:
    """The primary refused to step down, or did not answer."""
    configuration = addressed(state, server_id, shard, epoch)
    if configuration is None or shard not in state.switches:
        return
    state.switch_patience.setdefault(shard, Patience()).failed(now, SWITCH_GIVEN_UP_BEATS * state.heartbeat)
    state.event("switch.failed", f"shard {shard}: {reason}", now, shard=shard, epoch=epoch, server=server_id)
    state.end_switch(shard, reason)


def relinquished(state: CoordinatorState, server_id: int, message: Relinquished, now: float) -> None:
    """The primary has stepped down in this epoch, with everything committed: any member can take over at
    once."""
    shard = message.shard
    configuration = addressed(state, server_id, shard, message.epoch)
    if configuration is None:
        return
    switch = state.switches.get(shard)
    wanted = switch.target if switch is not None else (configuration.preferred or (0,))[0]
    live = [member for member in configuration.secondaries if state.ready_for_copies(member.server_id)]
    old = configuration.primary
    target = next((member for member in live if member.server_id == wanted), None)
    if target is None:
        target = old if state.live(old) or not live else live[0]
    preferred = configuration.preferred
    if switch is not None and switch.operation is not None and target.server_id == switch.target:
        preferred = preferred_first(configuration, target.server_id)
    others = [member for member in configuration.members if member != target]
    new = attrs.evolve(
        configuration,
        epoch=state.next_epoch(shard),
        primary=target,
        secondaries=tuple(by_preference(configuration, others)),
        learners=(),
        released=True,
        preferred=preferred,
    )
    milliseconds = (now - switch.started) * 1000 if switch is not None else 0.0
    operation = switch.operation if switch is not None else None
    state.event(
        "switch.done",
        f"shard {shard}: server {target.server_id} is primary, after {milliseconds:.1f} ms",
        now,
        shard=shard,
        epoch=new.epoch,
        server=target.server_id,
        operation=operation,
    )
    state.set_shard(new)
    state.switch_patience.pop(shard, None)


CONSEQUENCES: dict[type, Callable[[CoordinatorState, int, Any, float], None]] = {
    UpdatedPrimary: updated,
    UpdatedSecondary: updated,
    UpdatePrimaryFailed: update_failed,
    UpdateSecondaryFailed: update_failed,
    Remove: remove,
    Relinquished: relinquished,
}
"""What to do with a primary's message about a shard. `review_shard` has to follow."""
