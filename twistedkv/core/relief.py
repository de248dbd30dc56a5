"""What the coordinator does about servers that are short of space.

A server says with each heartbeat how full it is. Past its low mark it is given no new copies (`assignment.rooms`), and
is relieved of some, one at a time: of those that are small enough for some server with room the smallest that is
enough, else the largest. Past its high mark it is, if none is enough, the smallest: a shard of which no copy is on a
full server can be written again, so they are moved away whatever it is that fills the server.

A move changes `preferred`, as all placement does; the configurations follow. When nobody has room, a standby becomes
active, or a server is started, and the usual rules for newcomers give it its share. When that can not be done either,
`status` and the journal say what an operator could do.

What was moved shows only when the last copy has been dropped and the server has spoken again: so long it is left alone.
And to have room again it has to come down some way below its low mark, while the taker must stay below its own: so
nothing is moved to and fro.

A server that has been short of space is given no copies only because others have more, until it has had room enough for
them for a while (`Shortage.uneven`).

A server that evicts is full for as long as it is of use. So it is relieved only by others that run already.
"""

from __future__ import annotations

import attrs

from twistedkv.clustermap import Configuration, ServerState
from twistedkv.core.assignment import prefer, rooms
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.operations import Kind, whole
from twistedkv.core.placement import Rooms, replaced
from twistedkv.messages.coordinator import Usage
from twistedkv.watermarks import Level

SETTLE_BEATS = 10
"""After a move the server's own word on how full it is has to come, before the next."""
WORTH_PART = 8
"""A copy that is less than so small a part of what has to go is not worth its move."""
SPAWN_SECONDS = 30.0
"""A server that was to be started and has not registered after so long is given up."""
EVEN_SECONDS = 30.0
"""So long a server has to have room before it is given copies only because others have more."""
_KINDS = {Level.OK: "space.ok", Level.LOW: "space.low", Level.HIGH: "space.high"}


def heard(state: CoordinatorState, server_id: int, usage: Usage, now: float) -> None:
    """A server has said how full it is."""
    view, shortage = state.view(server_id), state.shortage
    if (usage.memory_limit or usage.disk_limit) and state.servers[server_id].store_id in state.inherited:
        shortage.uneven.setdefault(server_id, now)
        state.inherited.discard(state.servers[server_id].store_id)
    before, view.usage = view.usage.level, usage
    if usage.level is before or (usage.evicts and Level.OK not in (usage.level, before)):
        return  # a cache passes its high mark again and again
    state.changes += 1
    if usage.level is Level.OK:
        shortage.servers.pop(server_id, None)
        shortage.uneven[server_id] = now
    else:
        shortage.servers[server_id] = None
        shortage.uneven[server_id] = now
    where = {Level.OK: "has room again", Level.LOW: "is past its low mark", Level.HIGH: "is past its high mark"}
    text = f"server {server_id} {where[usage.level]}: {usage_text(usage)}"
    state.event(_KINDS[usage.level], text, now, server=server_id)


def usage_text(usage: Usage) -> str:
    """What is used, of how much."""
    parts = [
        f"{used:,} of {limit:,} bytes of {name}"
        for name, used, limit in (
            ("memory", usage.memory, usage.memory_limit),
            ("disk", usage.disk, usage.disk_limit),
        )
        if limit
    ]
    return " and ".join(parts)


def relieve(state: CoordinatorState, now: float) -> None:
    """See to those that are short of space."""
    shortage = state.shortage
    for server_id in [server_id for server_id in shortage.helpless if server_id not in shortage.servers]:
        del shortage.helpless[server_id]
    if now >= shortage.next_look:
        shortage.next_look = now + SETTLE_BEATS * state.heartbeat
        for server_id in [server_id for server_id in shortage.uneven if server_id not in shortage.servers]:
            _forgive(state, server_id, now)
    for server_id in list(shortage.servers):
        if not state.ready_for_copies(server_id) or not _may_be_relieved(state, server_id, now):
            continue
        shortage.not_before[server_id] = now + SETTLE_BEATS * state.heartbeat
        if _move(state, server_id, now):
            shortage.helpless.pop(server_id, None)
        elif not state.view(server_id).usage.evicts and not _get_help(state, server_id, now):
            _say_helpless(state, server_id, now)


def _forgive(state: CoordinatorState, server_id: int, now: float) -> None:
    """Treat a server as any other again, if it has had room for its share, twice over, for a while."""
    uneven, copies = state.shortage.uneven, sum(len(c.preferred) for c in state.shards.values())
    ready = sum(state.ready_for_copies(each) for each in state.servers)
    held = sum(server_id in configuration.preferred for configuration in state.shards.values())
    largest = max((state.size(shard) for shard in state.shards), default=0)
    if (
        server_id not in state.servers
        or 2 * (copies // max(1, ready) - held) * largest > state.view(server_id).usage.room
    ):
        uneven[server_id] = now
    elif now - uneven[server_id] >= EVEN_SECONDS:
        del uneven[server_id]
        state.changes += 1


def _may_be_relieved(state: CoordinatorState, server_id: int, now: float) -> bool:
    """Whether nothing is under way that has yet to show in what the server says."""
    shortage = state.shortage
    if now < shortage.not_before.get(server_id, 0.0):
        return False
    if _moving(state, server_id):
        shortage.moving[server_id] = None
        shortage.not_before[server_id] = now + state.heartbeat
        return False
    if server_id in shortage.moving:
        del shortage.moving[server_id]
        shortage.not_before[server_id] = now + SETTLE_BEATS * state.heartbeat
        return False
    return True


def _moving(state: CoordinatorState, server_id: int) -> bool:
    """Whether a move from this server, or one for all, is under way, or a copy of it has yet to be dropped."""
    return any(
        operation.running and operation.kind is Kind.MOVE and operation.server in (None, server_id)
        for operation in state.operations.values()
    ) or any(
        server_id not in configuration.preferred
        and any(member.server_id == server_id for member in configuration.everyone)
        for configuration in state.shards.values()
    )


def _move(state: CoordinatorState, server_id: int, now: float) -> bool:
    """Have one of its copies moved to a server with room. False: there is none such."""
    room = rooms(state)
    usage = state.view(server_id).usage
    excess, full = 1 - usage.room, usage.level is Level.HIGH
    takers = [
        taker
        for taker in state.servers
        if taker != server_id and state.ready_for_copies(taker) and state.view(taker).usage.level is Level.OK
    ]
    choices = []
    for shard, configuration in state.shards.items():
        if server_id not in configuration.preferred or not _movable(state, configuration, server_id):
            continue
        held = any(member.server_id == server_id for member in configuration.members)
        size = state.size(shard)
        if held and not full and size * WORTH_PART < excess:
            continue
        able = [taker for taker in takers if taker not in configuration.preferred and room.fits(shard, taker)]
        if able:
            rank = (held, size < excess, size if full or size >= excess else -size, shard)
            choices.append((rank, shard, _roomiest(able, room)))
    if not choices:
        return False
    _, shard, taker = min(choices)
    mark = "high" if full else "low"
    text = f"move of shard {shard}, {state.size(shard):,} bytes, to server {taker}: server {server_id} is past its "
    state.start_operation(Kind.MOVE, now, server=server_id, shards=(shard,), text=f"{text}{mark} mark")
    prefer(state, {shard: replaced(state.shards[shard].preferred, server_id, taker)}, now)
    return True


def _movable(state: CoordinatorState, configuration: Configuration, server_id: int) -> bool:
    """Whether nothing else is under way for the shard, but that this server has no room for its copy."""
    shard = configuration.shard
    if configuration.lost or configuration.learners or shard in state.seals or shard in state.switches:
        return False
    if shard not in state.settled:
        return False
    holders = {member.server_id for member in configuration.members}
    return whole(configuration, state.live, role_too=False) or server_id not in holders


def _roomiest(takers: list[int], room: Rooms) -> int:
    return min(takers, key=lambda taker: (-room.left(taker), taker))


def _get_help(state: CoordinatorState, server_id: int, now: float) -> bool:
    """Have one more server: a standby, or a new one. Whether one comes, or is on its way."""
    shortage, settings = state.shortage, state.settings
    for spawned, since in list(shortage.spawned.items()):
        if spawned in state.servers or now - since > SPAWN_SECONDS:
            del shortage.spawned[spawned]
    if shortage.spawned:
        return True
    for standby in sorted(state.servers.values(), key=lambda server: server.server_id):
        if standby.state is ServerState.STANDBY and state.connected(standby.server_id):
            text = f"standby server {standby.server_id} becomes active: server {server_id} is short of space"
            state.set_server(attrs.evolve(standby, state=ServerState.ACTIVE))
            state.event("space.standby", text, now, server=standby.server_id)
            return True
    running = sum(server.state is not ServerState.FAILED for server in state.servers.values())
    if settings.respawns and running < settings.servers_max:
        newcomer = max(settings.servers, *state.servers) + 1
        shortage.spawned[newcomer] = now
        state.step.spawn.append(newcomer)
        text = f"server {newcomer} is started: server {server_id} is short of space"
        state.event("space.server", text, now, server=newcomer)
        return True
    return False


def _say_helpless(state: CoordinatorState, server_id: int, now: float) -> None:
    usage = state.view(server_id).usage
    full = usage.level is Level.HIGH
    text = (
        f"server {server_id} is past its {'high' if full else 'low'} mark, "
        f"{'and refuses writes that grow' if full else 'and will refuse writes past its high one'}: "
        f"no server has room for a copy of its shards, and there is no standby; "
        f"add a server, raise the limit, or delete something"
    )
    if state.shortage.helpless.get(server_id) != text:
        state.shortage.helpless[server_id] = text
        state.event("space.helpless", text, now, server=server_id)
