"""The coordinator's mind as one object: events and `now` in, a `Step` out. See `core.coordinator` for how to
do a step."""

from __future__ import annotations

from typing import Any

from twistedkv.clustermap import ClusterMap, ServerState
from twistedkv.core import commands, failover, membership, recovery, relief, repair
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.membership import Admission
from twistedkv.core.operations import Operation
from twistedkv.core.steps import Saved, Settings, Step
from twistedkv.messages.coordinator import Heartbeat, Leaving, Noticed, Sealed, Started


class Planner:
    """Pure: no clock, no network, no disk. After an exception it must be made anew from what is stored."""

    def __init__(self, settings: Settings, saved: Saved, now: float) -> None:
        self.state = CoordinatorState(settings, saved, now)

    @property
    def map(self) -> ClusterMap:
        """The whole map, as it is after the last step."""
        return self.state.map

    @property
    def tick_seconds(self) -> float:
        """How often `tick` wants to be called."""
        return self.state.detector.tick_seconds

    # What happens at the start.

    def started(self, now: float, *, children_gone: bool, anew: bool, text: str = "") -> Step:
        """The coordinator has been started with what was stored.

        `children_gone`: every server of the stored map has certainly ended, with the previous coordinator.
        `anew`: begin with an empty cluster, of the data that they had.
        """
        state = self._begin(now)
        state.event("coordinator.started", text or "the coordinator was started", now)
        if anew and (state.shards or state.servers):
            state.begin_anew()
            for operation in list(state.operations.values()):
                state.end_operation(operation.id, "a new, empty cluster was begun", now)
            text = f"a new, empty cluster is begun; epochs go on after {state.epoch_floor}"
            state.event("cluster.reborn", text, now)
        elif children_gone:
            reasons = dict.fromkeys(sorted(state.servers), "it ended with the previous coordinator")
            membership.servers_failed(state, reasons, now, gone=True)
        membership.review_all(state, now)
        return state.take_step()

    # Servers.

    def register(self, started: Started, now: float) -> tuple[Admission, Step]:
        """A server has introduced itself."""
        state = self._begin(now)
        admission = membership.register(state, started, now)
        return admission, state.take_step()

    def messages(self, server_id: int, messages: list[Any], now: float) -> Step:
        """A registered server has sent something: all of it makes one step. What is not for the planner is ignored."""
        state = self._begin(now)
        if server_id not in state.servers:
            return state.take_step()
        membership.heard(state, server_id, now)
        for message in messages:
            if isinstance(message, Heartbeat):
                self._heartbeat(server_id, message, now)
            elif isinstance(message, Leaving):
                membership.leave(state, server_id, now)
            elif isinstance(message, Sealed):
                failover.sealed(state, server_id, message, now)
                self._follow(message.shard, now)
            elif isinstance(message, Noticed):
                state.event("shard.noticed", message.text, now, shard=message.shard, server=server_id)
            elif type(message) in repair.CONSEQUENCES:
                repair.CONSEQUENCES[type(message)](state, server_id, message, now)
                self._follow(message.shard, now)
        return state.take_step()

    def _heartbeat(self, server_id: int, beat: Heartbeat, now: float) -> None:
        """What the server says of its shards. Costs little when nothing has changed."""
        state = self.state
        if state.servers[server_id].store_id != beat.store_id:
            return
        view = state.view(server_id)
        view.keys, view.bytes_stored, view.given = beat.keys, beat.bytes_stored, 0
        if beat.usage is not view.usage:
            relief.heard(state, server_id, beat.usage, now)
        before = view.reports
        told = beat.reports is view.told and not beat.fills
        if told and not (state.restless and state.restless.intersection(before)):
            return  # nothing but the numbers of updates has changed, and they are in `before` already
        view.told = beat.reports
        view.reports = {report.shard: report for report in beat.reports}
        membership.settle_reports(state, server_id, now)
        for shard, report in view.reports.items():
            old = before.get(shard)
            if shard in state.shards and (old is None or (old.epoch, old.role) != (report.epoch, report.role)):
                recovery.review_shard(state, shard, now)
        for shard in before.keys() - view.reports.keys():
            if shard in state.shards:
                state.disturb(shard)
        for fill in beat.fills:
            state.fill_seen[fill.shard] = now
        if beat.fills:
            for operation in state.operations.values():
                progress = state.progress.get(operation.id) if operation.running else None
                if progress is not None:
                    progress.report([fill for fill in beat.fills if fill.shard in operation.shards], now)

    def connection_lost(self, server_id: int, now: float) -> Step:
        """The server's connection broke, and it has no other."""
        state = self._begin(now)
        server = state.servers.get(server_id)
        if server is not None:
            state.set_connected(server_id, False)
            if server.state is ServerState.LEAVING:
                membership.server_failed(state, server_id, "it has left", now, gone=False)
                membership.review_servers(state, now)
            else:
                state.detector.connection_lost(server_id, now)
        return state.take_step()

    def process_ended(self, server_id: int, pid: int, reason: str, now: float) -> Step:
        """A process that this coordinator started was reaped: certain, and at once."""
        state = self._begin(now)
        server = state.servers.get(server_id)
        if server is not None and server.pid == pid:
            state.set_connected(server_id, False)
            membership.server_failed(state, server_id, reason, now, gone=True)
            membership.review_servers(state, now)
        return state.take_step()

    def switch_failed(self, server_id: int, shard: int, *, epoch: int, reason: str, now: float) -> Step:
        """A primary has refused to step down."""
        state = self._begin(now)
        repair.switch_failed(state, server_id, shard, epoch=epoch, reason=reason, now=now)
        self._follow(shard, now)
        return state.take_step()

    def tick(self, now: float) -> Step:
        """Time has passed: a quarter of a heartbeat, usually."""
        state = self._begin(now)
        silences = {silence.server_id: silence.reason for silence in state.detector.tick(now)}
        if silences:
            membership.servers_failed(state, silences, now, gone=False)
        membership.review_restless(state, now)
        return state.take_step()

    # Operators.

    def switch(self, shard: int, server_id: int, now: float) -> tuple[Operation | None, Step]:
        """See `commands.switch`."""
        state = self._begin(now)
        operation = commands.switch(state, shard, server_id, now)
        return operation, state.take_step()

    def accept_loss(self, shard: int | None, now: float) -> tuple[list[int], Step]:
        """See `commands.accept_loss`."""
        state = self._begin(now)
        accepted = commands.accept_loss(state, shard, now)
        return accepted, state.take_step()

    def note(self, kind: str, text: str, now: float, *, server: int | None = None) -> Step:
        """An event that only the journal is interested in."""
        state = self._begin(now)
        state.event(kind, text, now, server=server)
        return state.take_step()

    def _begin(self, now: float) -> CoordinatorState:
        self.state.begin(now)
        return self.state

    def _follow(self, shard: int, now: float) -> None:
        """An answer about a shard has come: do what follows from it."""
        if shard in self.state.shards:
            recovery.review_shard(self.state, shard, now)
            membership.review_servers(self.state, now)
