"""The rules for servers: who joins, who has failed, who leaves.

`review_servers` is called at each tick and after each event about a server; what each server should hold is the
business of `assignment`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from twistedkv.clustermap import Configuration, Member, Server, ServerState
from twistedkv.core import relief
from twistedkv.core.assignment import form, rebalance, replace, review_operations
from twistedkv.core.configurations import drop
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.failover import NOT_SERVING
from twistedkv.core.operations import Kind, Phase
from twistedkv.core.recovery import review_shard
from twistedkv.core.repair import request_fill
from twistedkv.limits import SERVERS_MAX
from twistedkv.messages.coordinator import NO_USAGE, Started

LEAVING_SECONDS = 4.0
"""A server that wants to leave is let go after so long, whatever it still holds."""
RETIRED_KEPT = 32
SWEEP_TICKS = 400
"""Every shard is looked at once in so many ticks, whatever is known of it: 20 s at the default heartbeat."""


@attrs.frozen
class Admission:
    """The answer to Started. With `text`, the server must end; `hold` means to give no answer and hang up."""

    server_id: int
    text: str = ""
    hold: bool = False
    replaced: bool = False
    """Another process had this id: it must end."""


def register(state: CoordinatorState, started: Started, now: float) -> Admission:
    """A server introduces itself."""
    server_id = started.server_id or _id_of_store(state, started.store_id) or _free_id(state)
    if not 1 <= server_id <= SERVERS_MAX:
        return Admission(0, f"a server id is from 1 to {SERVERS_MAX}, and all are taken: stop a server first")
    view = state.view(server_id)
    if started.store_id in view.retired:
        return Admission(server_id, f"another process has taken the place of server {server_id}")
    highest = max((report.epoch for report in started.reports), default=0)
    if not state.shards and highest > state.epoch_floor:
        return Admission(server_id, "it holds shards that this coordinator's store knows nothing of", hold=True)
    known = state.servers.get(server_id)
    same = known is not None and known.store_id == started.store_id
    if known is not None and not same:
        view.retired = [*view.retired, known.store_id][-RETIRED_KEPT:]
        if known.state is not ServerState.FAILED:
            server_failed(state, server_id, "another process registered with its id", now, gone=False)
    state.reaped.pop(Member(server_id, started.store_id), None)
    state.set_connected(server_id, True)
    view.standby = started.standby
    view.engine = started.engine
    view.leaving_answered = False
    if not same:
        view.usage = NO_USAGE
        state.shortage.uneven.pop(server_id, None)
    view.reports = {report.shard: report for report in started.reports}
    view.told = None
    state.detector.heard(server_id, now)
    state.set_server(
        Server(
            server_id=server_id,
            store_id=started.store_id,
            host=started.host,
            port=started.port,
            state=_state_on_arrival(state, server_id, known if same else None, started.standby),
            pid=started.pid,
            line_port=started.line_port,
            course_port=started.course_port,
        )
    )
    server = state.servers[server_id]
    relief.heard(state, server_id, started.usage, now)
    kind = "server.returned" if same else "server.registered"
    text = f"server {server_id} at {server.address}, pid {server.pid}, {server.state.name}"
    state.event(kind, text, now, server=server_id)
    recovery = state.operation_of(server=server_id)
    if not same and known is not None and recovery is not None and recovery.kind is Kind.RECOVERY:
        state.event("server.replaced", f"server {server_id} has a new process", now, server=server_id)
    for seal in state.seals.values():
        seal.asked.pop(server.member, None)
    for shard, configuration in state.shards.items():
        word = view.reports.get(shard)
        if configuration.primary == server.member and (word is None or word.role in NOT_SERVING):
            state.settled.discard(shard)  # another process led, which is gone
    _settle_reports(state, server)
    if not same:
        for configuration in state.shards.values():
            if server_id in configuration.preferred:
                state.fill_patience.pop(configuration.shard, None)
    form(state, now)
    for shard, configuration in list(state.shards.items()):
        if server_id in (*configuration.preferred, *(member.server_id for member in configuration.everyone)):
            review_shard(state, shard, now)
            if state.shards[shard].primary == server.member:
                request_fill(state, state.shards[shard], now)
    review_servers(state, now)
    return Admission(server_id, replaced=known is not None and not same)


def _id_of_store(state: CoordinatorState, store_id: bytes) -> int:
    return next((server.server_id for server in state.servers.values() if server.store_id == store_id), 0)


def _free_id(state: CoordinatorState) -> int:
    """The next id; when there is none, that of a failed server which nothing names any more."""
    highest = max(state.servers, default=0)
    if highest < SERVERS_MAX:
        return highest + 1
    named = _named(state)
    return next((i for i, s in sorted(state.servers.items()) if s.state is ServerState.FAILED and i not in named), 0)


def _named(state: CoordinatorState) -> set[int]:
    """Servers that some shard names."""
    named: set[int] = set()
    for configuration in state.shards.values():
        named.update(configuration.preferred)
        named.update(member.server_id for member in configuration.everyone)
    return named


def _state_on_arrival(state: CoordinatorState, server_id: int, known: Server | None, standby: bool) -> ServerState:
    if known is not None and known.state not in (ServerState.FAILED, ServerState.LEAVING):
        return known.state
    if standby and server_id not in _named(state):
        return ServerState.STANDBY
    return ServerState.ACTIVE


def _settle_reports(state: CoordinatorState, server: Server) -> list[int]:
    """Note which shards the server serves, in its own words. Returns those that this is news for."""
    news = []
    for report in state.view(server.server_id).reports.values():
        configuration = state.shards.get(report.shard)
        if configuration is None or configuration.primary != server.member or report.shard in state.settled:
            continue
        serves = report.role.name in ("PRIMARY", "SWITCHING")
        if serves and report.epoch >= state.primary_since.get(report.shard, 0) and report.shard not in state.seals:
            state.settled.add(report.shard)
            news.append(report.shard)
    return news


def heard(state: CoordinatorState, server_id: int, now: float) -> None:
    """A server was heard of: it lives, whatever was thought before."""
    server = state.servers[server_id]
    state.detector.heard(server_id, now)
    if server.state is ServerState.FAILED:
        revived = ServerState.ACTIVE
        if state.view(server_id).standby and server_id not in _named(state):
            revived = ServerState.STANDBY
        state.set_server(attrs.evolve(server, state=revived))
        state.successors.pop(server_id, None)
        state.reaped.pop(server.member, None)
        state.event("server.returned", f"server {server_id} is heard of again", now, server=server_id)
        review_all(state, now)


def settle_reports(state: CoordinatorState, server_id: int, now: float) -> None:
    """Look at what the server has just said of the shards that it is primary of."""
    for shard in _settle_reports(state, state.servers[server_id]):
        review_shard(state, shard, now)


# Failing and leaving.


def server_failed(state: CoordinatorState, server_id: int, reason: str, now: float, *, gone: bool) -> None:
    """Take one server for failed: see `servers_failed`."""
    servers_failed(state, {server_id: reason}, now, gone=gone)


def servers_failed(state: CoordinatorState, reasons: Mapping[int, str], now: float, *, gone: bool) -> None:
    """Take servers for failed, and fail their shards over. `gone`: their processes certainly run no more.

    All are marked before any shard is looked at: a shard that has lost all its copies at once keeps all of them named,
    so that whichever comes back is taken back.
    """
    failed = []
    for server_id, reason in reasons.items():
        server = state.servers.get(server_id)
        if server is not None and gone:
            state.reaped[server.member] = None
        if server is not None and server.state is not ServerState.FAILED:
            failed.append(server)
            _mark_failed(state, server, reason, now)
    for server in failed:
        for shard, configuration in list(state.shards.items()):
            if server.member in configuration.everyone:
                review_shard(state, shard, now)
        if state.settings.respawns and server.server_id <= max(state.settings.servers, state.settings.servers_max):
            text = f"server {server.server_id} is started again"
            state.event("server.replacing", text, now, server=server.server_id)
        state.step.failed.append((server.server_id, server.pid))


def _mark_failed(state: CoordinatorState, server: Server, reason: str, now: float) -> None:
    server_id = server.server_id
    state.set_server(attrs.evolve(server, state=ServerState.FAILED))
    state.detector.forget(server_id)
    view = state.view(server_id)
    view.failed_at = now
    view.reports = {}
    view.told = None
    view.usage = NO_USAGE
    state.shortage.servers.pop(server_id, None)
    state.successors.pop(server_id, None)
    kind = "server.left" if server.state is ServerState.LEAVING else "server.failed"
    state.event(kind, f"server {server_id}, pid {server.pid}: {reason}", now, server=server_id)
    named = [c for c in state.shards.values() if server.member in c.everyone or server_id in c.preferred]
    if named:
        _start_recovery(state, server.member, named, now)


def _start_recovery(state: CoordinatorState, member: Member, named: list[Configuration], now: float) -> None:
    shards = tuple(sorted(c.shard for c in named))
    primaries = tuple(sorted(c.shard for c in named if c.primary == member))
    running = state.operation_of(server=member.server_id)
    if running is not None and running.kind is Kind.RECOVERY:
        state.change_operation(
            attrs.evolve(
                running,
                shards=tuple(sorted({*running.shards, *shards})),
                primaries=tuple(sorted({*running.primaries, *primaries})),
                phase=Phase.ONGOING,
            )
        )
        return
    state.start_operation(
        Kind.RECOVERY,
        now,
        server=member.server_id,
        shards=shards,
        primaries=primaries,
        text=f"recovery of server {member.server_id}: {len(shards)} shards, primary of {len(primaries)}",
    )


def leave(state: CoordinatorState, server_id: int, now: float) -> None:
    """A server is being stopped in order: LEAVING."""
    server = state.servers[server_id]
    view = state.view(server_id)
    view.leaving_at, view.leaving_answered = now, False
    if server.state is not ServerState.LEAVING:
        state.set_server(attrs.evolve(server, state=ServerState.LEAVING))
        state.event("server.leaving", f"server {server_id} is being stopped", now, server=server_id)
        named = tuple(sorted(c.shard for c in state.shards.values() if server.member in c.members))
        if named:
            text = f"drain of server {server_id}: {len(named)} shards"
            state.start_operation(Kind.DRAIN, now, server=server_id, shards=named, text=text)
    review_all(state, now)


def _review_leaving(state: CoordinatorState, server: Server, now: float) -> None:
    view = state.view(server.server_id)
    if view.leaving_answered:
        return
    overdue = now - view.leaving_at >= LEAVING_SECONDS
    own = [c for c in state.shards.values() if server.member in c.everyone]
    kept = []
    for configuration in own:
        if server.member == configuration.primary or configuration.shard in state.seals:
            kept.append(configuration.shard)
            continue
        others = {member.server_id for member in configuration.members}
        filling = bool(configuration.learners) or any(
            state.ready_for_copies(preferred) and preferred not in others for preferred in configuration.preferred
        )
        if filling and not overdue:
            kept.append(configuration.shard)
        elif configuration.shard not in state.switches:
            drop(state, configuration, server.member, "is leaving", now)
    if kept and not overdue:
        return
    view.leaving_answered = True
    text = f"shards {', '.join(map(str, kept))} could not be handed over in time" if kept else ""
    state.step.departures.append((server.server_id, text))
    for operation in list(state.operations.values()):
        if operation.running and operation.kind is Kind.DRAIN and operation.server == server.server_id:
            state.end_operation(operation.id, text, now)


# Everything together.


def review_all(state: CoordinatorState, now: float) -> None:
    """Every rule, for every shard and server."""
    for shard in list(state.shards):
        review_shard(state, shard, now)
    review_servers(state, now)


def review_restless(state: CoordinatorState, now: float) -> None:
    """Every rule, for the shards that are not at rest, and for some of the others: each has its turn in SWEEP_TICKS.

    That one is not needed. It is for what this program may have overlooked: nothing stays wrong for long.
    """
    count = len(state.shards)
    state.swept += 1
    first, last = (turn * count // SWEEP_TICKS for turn in (state.swept % SWEEP_TICKS, state.swept % SWEEP_TICKS + 1))
    swept = [shard for shard in range(first, last) if shard in state.shards]
    for shard in sorted(state.restless.union(swept)):
        review_shard(state, shard, now)
    review_servers(state, now)


def review_servers(state: CoordinatorState, now: float) -> None:
    """Replace, move, and see how far the operations have come."""
    for server in list(state.servers.values()):
        if server.state is ServerState.LEAVING:
            _review_leaving(state, server, now)
    if state.restless or state.placed_at != state.changes:
        _review_placement(state, now)
    if state.shortage.uneven or state.shortage.helpless:
        relief.relieve(state, now)
    review_operations(state, now)


def _review_placement(state: CoordinatorState, now: float) -> None:
    """Replace and move. With all shards at rest, what follows depends on nothing but what `changes` counts."""
    changes = state.changes
    wanted = {server_id for c in state.shards.values() for server_id in c.preferred}
    for server_id in sorted(wanted):
        server = state.servers.get(server_id)
        if server is None or server.state in (ServerState.FAILED, ServerState.LEAVING):
            replace(state, server_id, now)
    rebalance(state, now)
    if not state.restless:
        state.placed_at = changes
