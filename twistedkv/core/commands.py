"""What an operator can command: switch a shard's primary, accept that a shard's data are lost. And
`status`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from twistedkv.clustermap import ClusterMap, Configuration, ServerState
from twistedkv.core.configurations import preferred_first, set_members
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.membership import review_all
from twistedkv.core.operations import Kind, Operation, operation_json, whole
from twistedkv.core.repair import start_switch
from twistedkv.errors import InvalidRequest


def switch(state: CoordinatorState, shard: int, server_id: int, now: float) -> Operation | None:
    """Make `server_id` the shard's primary, now and by preference. None: it is so already.

    Raises InvalidRequest when that cannot be done at this moment.
    """
    configuration = state.shards.get(shard)
    if configuration is None:
        raise InvalidRequest(f"there is no shard {shard}: the shards are 0 to {len(state.shards) - 1}")
    if server_id not in state.servers:
        known = ", ".join(map(str, sorted(state.servers))) or "none"
        raise InvalidRequest(f"there is no server {server_id}: the servers are {known}")
    if configuration.lost:
        raise InvalidRequest(f"shard {shard} is LOST: see `twistedkv status`")
    if shard in state.seals:
        raise InvalidRequest(f"shard {shard} is failing over: try again in a moment")
    if shard in state.switches:
        raise InvalidRequest(f"shard {shard} is being switched: try again in a moment")
    if configuration.learners:
        raise InvalidRequest(f"shard {shard} is being filled: try again when `twistedkv status` shows it in sync")
    if configuration.primary.server_id == server_id and state.live(configuration.primary):
        if configuration.preferred[:1] != (server_id,):
            set_members(state, configuration, preferred=preferred_first(configuration, server_id))
        return None
    in_sync = [m.server_id for m in configuration.members if state.ready_for_copies(m.server_id)]
    if server_id not in in_sync:
        choice = ", ".join(map(str, in_sync)) or "none at this moment"
        raise InvalidRequest(f"server {server_id} has no in-sync copy of shard {shard}: choose one of {choice}")
    if not state.connected(configuration.primary.server_id) or shard not in state.settled:
        raise InvalidRequest(f"the primary of shard {shard} is not serving yet: try again in a moment")
    text = f"switch of shard {shard} to server {server_id}"
    operation = state.start_operation(Kind.SWITCH, now, server=server_id, shards=(shard,), text=text)
    start_switch(state, configuration, server_id, now, operation.id)
    return operation


def accept_loss(state: CoordinatorState, shard: int | None, now: float) -> list[int]:
    """Make a lost shard (None: every one) empty and usable. Returns which.

    Raises InvalidRequest when the shard is not lost, or no server is there to hold it.
    """
    if shard is not None and shard not in state.shards:
        raise InvalidRequest(f"there is no shard {shard}: the shards are 0 to {len(state.shards) - 1}")
    if shard is not None and shard in state.seals and state.shards[shard].lost:
        raise InvalidRequest(f"shard {shard} is being taken back from a server that returned: look again in a second")
    lost = [c for c in state.shards.values() if c.lost and shard in (None, c.shard) and c.shard not in state.seals]
    if not lost and shard is not None:
        raise InvalidRequest(f"shard {shard} is not lost: nothing has to be accepted")
    ready = [server_id for server_id in sorted(state.servers) if state.ready_for_copies(server_id)]
    if lost and not ready:
        raise InvalidRequest("no server is there to hold the shard: start one first")
    accepted = []
    for configuration in lost:
        hosts = [server_id for server_id in configuration.preferred if server_id in ready] or ready[:1]
        members = [state.servers[server_id].member for server_id in hosts]
        epoch = state.next_epoch(configuration.shard)
        state.set_shard(
            attrs.evolve(
                configuration,
                epoch=epoch,
                birth=epoch,
                primary=members[0],
                secondaries=tuple(members[1:]),
                learners=(),
                released=True,
                lost=False,
            )
        )
        state.empty = {(s, member) for s, member in state.empty if s != configuration.shard}
        accepted.append(configuration.shard)
        text = f"shard {configuration.shard} begins empty again; the loss was accepted"
        state.event("shard.loss_accepted", text, now, shard=configuration.shard, epoch=epoch)
    review_all(state, now)
    return accepted


# Status.


def shard_state(state: CoordinatorState, configuration: Configuration) -> str:
    """ok, degraded, filling, sealing, switching or lost."""
    shard = configuration.shard
    if configuration.lost:
        return "lost"
    if shard in state.seals:
        return "sealing"
    if shard in state.switches:
        return "switching"
    if configuration.learners:
        return "filling"
    return "ok" if _healthy(state, configuration) else "degraded"


def _healthy(state: CoordinatorState, configuration: Configuration) -> bool:
    return (
        whole(configuration, state.live)
        and len(configuration.members) >= state.settings.copies
        and configuration.shard in state.settled
        and configuration.shard not in state.seals
    )


def healthy(state: CoordinatorState) -> bool:
    """Every shard has all its copies in sync and its preferred primary serving, and nothing is lost."""
    return bool(state.shards) and all(_healthy(state, c) for c in state.shards.values())


def serving(state: CoordinatorState) -> bool:
    """Every shard has a primary that serves, with however many copies."""
    return bool(state.shards) and all(
        not c.lost and shard in state.settled and shard not in state.seals and state.live(c.primary)
        for shard, c in state.shards.items()
    )


def status(state: CoordinatorState, now: float) -> dict[str, Any]:
    """What `status` answers, but for the coordinator's own address and process."""
    return {
        "cluster": state.settings.cluster,
        "map_version": state.version,
        "copies": state.settings.copies,
        "min_copies": state.settings.min_copies,
        "heartbeat_seconds": state.heartbeat,
        "healthy": healthy(state),
        "servers": [_server_json(state, server_id, now) for server_id in sorted(state.servers)],
        "shards": [_shard_json(state, state.shards[shard]) for shard in sorted(state.shards)],
        "lost": [c.shard for c in state.shards.values() if c.lost],
        "operations": operations(state),
        "shortages": [{"server": server_id, "text": text} for server_id, text in state.shortage.helpless.items()],
    }


def operations(state: CoordinatorState) -> list[dict[str, Any]]:
    """All operations that are still known, the oldest first."""
    return [operation_json(o, state.progress.get(o.id)) for o in state.operations.values()]


def _server_json(state: CoordinatorState, server_id: int, now: float) -> dict[str, Any]:
    server = state.servers[server_id]
    view = state.view(server_id)
    silent = state.detector.since_heard(server_id, now)
    failed = server.state is ServerState.FAILED
    return {
        "id": server_id,
        "state": server.state.name.lower(),
        "address": server.address,
        "line_port": server.line_port,
        "pid": server.pid,
        "store": server.store_id.hex(),
        "last_beat_seconds": None if silent is None or failed else round(silent, 3),
        "primaries": _count(c.primary == server.member for c in state.shards.values()),
        "secondaries": _count(server.member in c.secondaries for c in state.shards.values()),
        "learners": _count(server.member in c.learners for c in state.shards.values()),
        "keys": view.keys,
        "bytes": view.bytes_stored,
        "engine": view.engine,
        "space": view.usage.level.name.lower(),
        "memory_used": view.usage.memory,
        "memory_limit": view.usage.memory_limit,
        "disk_used": view.usage.disk,
        "disk_limit": view.usage.disk_limit,
        "evicts": view.usage.evicts,
    }


def _count(found: Iterable[bool]) -> int:
    return sum(1 for one in found if one)


def _shard_json(state: CoordinatorState, configuration: Configuration) -> dict[str, Any]:
    report = state.report(configuration.shard, configuration.primary)
    return {
        "shard": configuration.shard,
        "slots": [configuration.first_slot, configuration.last_slot],
        "epoch": configuration.epoch,
        "primary": configuration.primary.server_id,
        "secondaries": [member.server_id for member in configuration.secondaries],
        "learners": [member.server_id for member in configuration.learners],
        "preferred": list(configuration.preferred),
        "state": shard_state(state, configuration),
        "bytes": state.size(configuration.shard),
        "last": report.last if report is not None else 0,
        "commit": report.commit if report is not None else 0,
    }


def map_json(cluster_map: ClusterMap) -> dict[str, Any]:
    """What `map` answers: the map, field by field, with store ids in hex."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.hex()
        if attrs.has(type(value)):
            return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
        if isinstance(value, ServerState):
            return value.name.lower()
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return value

    return {
        field.name: (
            [plain(server) for _, server in sorted(cluster_map.servers.items())]
            if field.name == "servers"
            else plain(getattr(cluster_map, field.name))
        )
        for field in attrs.fields(ClusterMap)
    }
