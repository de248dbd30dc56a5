"""What each server should hold: the first placement, replacement, balance. Changes `preferred` and nothing else.

The rules of `core.recovery` then make the configurations follow.
"""

from __future__ import annotations

import attrs

from twistedkv.clustermap import Configuration, ServerState
from twistedkv.core import placement
from twistedkv.core.configurations import set_members
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.operations import Kind, Phase, recovery_phase, whole
from twistedkv.core.recovery import review_shard
from twistedkv.slots import slot_ranges
from twistedkv.watermarks import Level


def rooms(state: CoordinatorState) -> placement.Rooms:
    """What the servers have room for up to their low marks, besides what is on its way to them."""
    if not any(view.usage.memory_limit or view.usage.disk_limit for view in state.views.values()):
        return placement.Rooms()
    sizes = {shard: state.size(shard) for shard in state.shards}
    left = {
        server_id: view.usage.room if view.usage.level is Level.OK else 0 for server_id, view in state.views.items()
    }
    for shard, configuration in state.shards.items():
        for server_id in {*configuration.preferred} - {member.server_id for member in configuration.members}:
            if server_id in left and left[server_id] > 0:
                left[server_id] = max(1, left[server_id] - sizes[shard])
    return placement.Rooms(sizes, left)


def _even(state: CoordinatorState) -> placement.Rooms:
    """Who may be given copies only so that everybody has as many.

    Not those that have been short of space: what was moved away from them would be moved back. (How large a copy is
    does not matter here: what follows from numbers that change all the time would have to be looked at all the time.)
    """
    return placement.Rooms(None, dict.fromkeys(state.shortage.uneven, 0))


def form(state: CoordinatorState, now: float) -> None:
    """Make the first configurations once enough servers are there."""
    settings = state.settings
    if state.shards:
        return
    ready = sorted(server_id for server_id in state.servers if state.ready_for_copies(server_id))
    if len(ready) < settings.servers:
        return
    epoch = state.epoch_floor + 1
    ranges = slot_ranges(settings.shards)
    for shard, preferred in enumerate(placement.initial(ready, settings.shards, settings.copies)):
        members = [state.servers[server_id].member for server_id in preferred]
        state.set_shard(
            Configuration(
                shard=shard,
                first_slot=ranges[shard][0],
                last_slot=ranges[shard][1],
                epoch=epoch,
                birth=epoch,
                primary=members[0],
                secondaries=tuple(members[1:]),
                learners=(),
                released=True,
                lost=False,
                preferred=preferred,
            )
        )
    text = f"{settings.shards} shards, {settings.copies} copies, servers {', '.join(map(str, ready))}"
    state.event("cluster.formed", text, now, epoch=epoch)


def replace(state: CoordinatorState, server_id: int, now: float) -> None:
    """A preferred server is gone: its places go to a standby, or after a while to the survivors."""
    holder = _holder_of_place(state, server_id)
    successor = _activate_standby(state, holder, now) if _gone(state, holder) else holder
    if successor is not None and not state.ready_for_copies(successor):
        return  # its connection has broken: it comes back, or will have failed in a moment
    preferred = {c.shard: c.preferred for c in state.shards.values()}
    if successor is not None:
        changes = {
            shard: placement.replaced(names, server_id, successor)
            for shard, names in preferred.items()
            if server_id in names
        }
    else:
        server = state.servers.get(server_id)
        if server is not None and server.state is ServerState.LEAVING:
            return
        if now - state.view(server_id).failed_at < state.settings.replace_after_seconds:
            return
        survivors = [s for s in state.servers if state.ready_for_copies(s)]
        if len(survivors) < state.settings.copies:
            return
        changes = placement.taken_over(preferred, server_id, survivors, state.settings.copies, rooms(state))
        if any(_may_change(state, state.shards[shard]) for shard in changes):
            state.event("server.replaced", f"the survivors take over from server {server_id}", now, server=server_id)
    prefer(state, changes, now)


def _holder_of_place(state: CoordinatorState, server_id: int) -> int:
    """Who has the place of a server that is gone: the last of those who took it one after the other, or nobody yet."""
    passed = {server_id}
    holder = server_id
    while (successor := state.successors.get(holder)) is not None and successor not in passed:
        passed.add(successor)
        holder = successor
        if not _gone(state, holder):
            break
    return holder


def _gone(state: CoordinatorState, server_id: int) -> bool:
    server = state.servers.get(server_id)
    return server is None or server.state in (ServerState.FAILED, ServerState.LEAVING)


def _activate_standby(state: CoordinatorState, server_id: int, now: float) -> int | None:
    for standby in sorted(state.servers.values(), key=lambda server: server.server_id):
        if standby.state is ServerState.STANDBY and state.connected(standby.server_id):
            state.successors[server_id] = standby.server_id
            text = f"standby server {standby.server_id} takes the place of server {server_id}"
            state.event("server.replacing", text, now, server=server_id)
            state.set_server(attrs.evolve(standby, state=ServerState.ACTIVE))
            state.event("server.replaced", text, now, server=server_id)
            return standby.server_id
    return None


def _may_change(state: CoordinatorState, configuration: Configuration) -> bool:
    return configuration.shard not in state.seals and configuration.shard not in state.switches


def prefer(state: CoordinatorState, changes: dict[int, placement.Preferred], now: float) -> None:
    """Store new preferred servers, where nothing is under way, and let the shards follow."""
    for shard, preferred in changes.items():
        configuration = state.shards[shard]
        if _may_change(state, configuration) and preferred and preferred != configuration.preferred:
            if configuration.lost:
                lost = attrs.evolve(configuration, epoch=state.next_epoch(shard), preferred=preferred)
                state.set_shard(lost)
            else:
                set_members(state, configuration, preferred=preferred)
            review_shard(state, shard, now)


def rebalance(state: CoordinatorState, now: float) -> None:
    """Give a server that has less than its share some copies; only while everything else is well."""
    if not state.shards or state.seals or state.switches:
        return
    if not all(whole(state.shards[shard], state.live, role_too=False) for shard in state.restless):
        return
    ready = sorted(server_id for server_id in state.servers if state.ready_for_copies(server_id))
    if not ready:
        return
    preferred = {c.shard: c.preferred for c in state.shards.values()}
    if not set(ready).issuperset(server_id for names in preferred.values() for server_id in names):
        return
    changes = placement.resized(preferred, ready, state.settings.copies, rooms(state))
    changes = changes or placement.rebalanced(preferred, ready, _even(state))
    if not changes:
        return
    shards = tuple(sorted(changes))
    state.start_operation(Kind.MOVE, now, shards=shards, text=f"move: {len(shards)} shards are placed anew")
    prefer(state, changes, now)


def review_operations(state: CoordinatorState, now: float) -> None:
    for operation in list(state.operations.values()):
        if not operation.running:
            continue
        if operation.kind is Kind.RECOVERY:
            phase = recovery_phase(operation, state.shards, state.live)
            if state.seals and phase is not Phase.FAILED and any(s in state.seals for s in operation.shards):
                phase = Phase.ONGOING
            state.set_phase(operation, phase, now)
        elif operation.kind is Kind.MOVE:
            own = [state.shards[shard] for shard in operation.shards if shard in state.shards]
            if any(c.lost for c in own):
                state.set_phase(operation, Phase.FAILED, now, "a shard was lost")
            elif all(whole(c, state.live) for c in own):
                state.set_phase(operation, Phase.DONE, now)
        elif operation.kind is Kind.SWITCH and not any(
            switch.operation == operation.id for switch in state.switches.values()
        ):
            state.set_phase(operation, Phase.FAILED, now, "the coordinator was restarted meanwhile")
        elif operation.kind is Kind.DRAIN:
            leaving = state.servers.get(operation.server or 0)
            if leaving is None or leaving.state is not ServerState.LEAVING:
                text = f"server {operation.server} ended before everything was handed over"
                state.set_phase(operation, Phase.FAILED, now, text)
