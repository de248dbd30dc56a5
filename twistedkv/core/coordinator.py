"""What the coordinator knows, and what one step of it wants done.

The coordinator is level-triggered: nothing here says "recovery step 4 is next". Each event and each tick
looks at the stored map and at who lives, and makes the next configuration from them; so it does not matter
what was under way when a server, or the coordinator itself, died. What is kept besides the stored state
(`CoordinatorState.views`, `seals`, `switches`, ...) may be lost at any time and costs a little time then,
never data.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.core.detector import FailureDetector
from twistedkv.core.operations import OPERATIONS_KEPT, Event, Kind, Operation, Phase, Progress
from twistedkv.core.steps import Patience, Saved, Seal, Settings, Shortage, Step, Switch, View
from twistedkv.errors import TwistedKVError
from twistedkv.limits import EPOCH_MAX, MISSED_BEATS
from twistedkv.messages.coordinator import ShardReport


class EpochConflict(TwistedKVError):
    """A configuration was about to be made whose epoch is not above all that were used: an error in this
    program."""


class CoordinatorState:
    """The state, and the only ways to change it. The rules are in `recovery`, `membership` and `commands`."""

    def __init__(self, settings: Settings, saved: Saved, now: float) -> None:
        self.settings = settings
        self.heartbeat = settings.heartbeat_seconds
        self.wall_offset = 0.0
        """Wall clock minus `now`; for the times that people read, and for nothing else."""
        self.version = saved.map.version
        self.servers: dict[int, Server] = dict(saved.map.servers)
        self.shards: dict[int, Configuration] = {shard.shard: shard for shard in saved.map.shards}
        self.promised: dict[int, int] = dict(saved.promised)
        self.epoch_floor = saved.epoch_floor
        self.operations: dict[str, Operation] = {operation.id: operation for operation in saved.operations}
        self.progress: dict[str, Progress] = {}
        self._last_event = saved.last_event
        self._last_operation = saved.last_operation

        self.detector = FailureDetector(self.heartbeat, now)
        self.views: dict[int, View] = {}
        self.seals: dict[int, Seal] = {}
        self.switches: dict[int, Switch] = {}
        self.reaped: dict[Member, None] = {}
        """Members whose process certainly runs no more."""
        self.empty: set[tuple[int, Member]] = set()
        """Members that said, when sealed, that they hold no complete copy of the shard."""
        self.primary_since: dict[int, int] = {shard: c.epoch for shard, c in self.shards.items()}
        """The epoch since which the primary is primary, as far as this coordinator knows."""
        self.settled: set[int] = set()
        """Shards whose primary has served since then: it has waited out every older lease."""
        self.restless: set[int] = set(self.shards)
        """Shards that each tick has to look at. Invariant: of every other one, `recovery.at_rest` was true when it was
        looked at last, and nothing that its rules depend on has changed since."""
        self.changes = 0
        """How often a server, a shard or a connection has changed."""
        self.swept = 0
        """Ticks, for the sweep over all shards."""
        self.placed_at = -1
        """The value of `changes` at which the placement was looked at last, with nothing to do. -1: never."""
        self.stuck_since: dict[int, float] = {}
        self.fill_seen: dict[int, float] = {}
        self.fill_patience: dict[int, Patience] = {}
        self.switch_patience: dict[int, Patience] = {}
        self.removals: dict[tuple[int, Member], tuple[int, float]] = {}
        """Members that their primary has asked to remove: in which epoch, and since when."""
        self.shortage = Shortage()
        self.inherited = {server.store_id for server in self.servers.values()}
        """Servers of which it is not known what they were like before this coordinator was started."""
        self.successors: dict[int, int] = {}
        """Failed server to the standby that takes its places."""
        for server in self.servers.values():
            self.views[server.server_id] = View(failed_at=now)
            if server.state is not ServerState.FAILED:
                # Twice the usual time: it has to notice that the coordinator is back, and dial.
                self.detector.heard(server.server_id, now + MISSED_BEATS * self.heartbeat)
        self.step = Step()

    # Looking.

    @property
    def map(self) -> ClusterMap:
        """The whole map."""
        return self._map(self.shards)

    def _map(self, shards: Mapping[int, Configuration]) -> ClusterMap:
        settings = self.settings
        return ClusterMap(
            cluster=settings.cluster,
            version=self.version,
            copies=settings.copies,
            min_copies=settings.min_copies,
            heartbeat_ms=max(1, round(settings.heartbeat_seconds * 1000)),
            servers=MappingProxyType(dict(self.servers)),
            shards=tuple(shards[shard] for shard in sorted(shards)),
        )

    def view(self, server_id: int) -> View:
        """The view of a server, made if there is none."""
        return self.views.setdefault(server_id, View())

    def live(self, member: Member) -> bool:
        """Whether the member's process, with its data, is thought to live."""
        server = self.servers.get(member.server_id)
        return server is not None and server.store_id == member.store_id and server.state is not ServerState.FAILED

    def can_hold(self, shard: int, member: Member) -> bool:
        """Whether the member lives and has not said that it holds nothing."""
        return self.live(member) and (shard, member) not in self.empty

    def connected(self, server_id: int) -> bool:
        """Whether messages reach the server now."""
        view = self.views.get(server_id)
        return view is not None and view.connected

    def ready_for_copies(self, server_id: int) -> bool:
        """Whether the server is ACTIVE and connected: may be given copies and roles."""
        server = self.servers.get(server_id)
        return server is not None and server.state is ServerState.ACTIVE and self.connected(server_id)

    def size(self, shard: int) -> int:
        """About what a copy of the shard costs, as its members say. 0: nothing, or that is not known."""
        configuration = self.shards[shard]
        reports = [self.report(shard, member) for member in configuration.members]
        return max((report.bytes_stored for report in reports if report is not None), default=0)

    def may_be_filled(self, server_id: int, shard: int) -> bool:
        """Whether the server may be given a copy of this shard, which it is to have, at once."""
        if not self.ready_for_copies(server_id):
            return False
        view = self.view(server_id)
        if not (view.usage.memory_limit or view.usage.disk_limit):
            return True
        member = self.servers[server_id].member
        coming = sum(self.size(each.shard) for each in self.shards.values() if member in each.learners)
        return self.size(shard) + max(coming, view.given) <= view.usage.spare

    def report(self, shard: int, member: Member) -> ShardReport | None:
        """The member's last word on the shard."""
        view = self.views.get(member.server_id)
        return view.reports.get(shard) if view is not None and self.live(member) else None

    def operation_of(self, *, shard: int | None = None, server: int | None = None) -> Operation | None:
        """The running recovery (else any running operation) that is about the shard or the server."""
        found = None
        for operation in self.operations.values():
            if not operation.running:
                continue
            if (server is not None and operation.server == server) or (shard in operation.shards):
                if operation.kind is Kind.RECOVERY:
                    return operation
                found = found or operation
        return found

    # Changing.

    def next_epoch(self, shard: int) -> int:
        """An epoch that was never used for the shard: above every configuration, SEAL and report."""
        highest = max(self.promised.get(shard, 0), self.epoch_floor)
        configuration = self.shards.get(shard)
        if configuration is not None:
            highest = max(highest, configuration.epoch)
            for member in configuration.everyone:
                report = self.report(shard, member)
                if report is not None:
                    highest = max(highest, report.epoch)
        if highest >= EPOCH_MAX:
            raise EpochConflict(f"shard {shard} has used up all epochs")
        return highest + 1

    def promise(self, shard: int, epoch: int) -> None:
        """`epoch` is about to be used in a SEAL."""
        if epoch <= self.promised.get(shard, 0):
            raise EpochConflict(f"shard {shard}: epoch {epoch} was promised before")
        self.promised[shard] = epoch
        self.step.change.promised[shard] = epoch

    def set_shard(self, configuration: Configuration) -> None:
        """The shard's next configuration. Raises EpochConflict unless its epoch is above all used for
        another."""
        shard = configuration.shard
        old = self.shards.get(shard)
        floor = max(old.epoch if old is not None else 0, self.epoch_floor)
        if configuration.epoch <= floor or configuration.epoch < self.promised.get(shard, 0):
            raise EpochConflict(f"shard {shard}: epoch {configuration.epoch} is used already")
        change = self.step.change
        change.expected.setdefault(shard, old.epoch if old is not None and not change.born_anew else 0)
        change.shards[shard] = configuration
        self._map_changed()
        self.shards[shard] = configuration
        self.disturb(shard)
        self.promised[shard] = change.promised[shard] = configuration.epoch
        if old is None or old.primary != configuration.primary:
            self.primary_since[shard] = configuration.epoch
            self.settled.discard(shard)
        self.stuck_since.pop(shard, None)
        switch = self.switches.get(shard)
        if switch is not None:
            self.end_switch(shard, "" if configuration.primary.server_id == switch.target else "the shard changed")

    def set_server(self, server: Server) -> None:
        """A new or changed server."""
        if self.servers.get(server.server_id) != server:
            self.servers[server.server_id] = server
            self.step.change.servers[server.server_id] = server
            self._map_changed()
            self.disturb_all()

    def set_connected(self, server_id: int, connected: bool) -> None:
        """Messages reach the server from now on, or do not."""
        view = self.view(server_id)
        if view.connected is not connected:
            view.connected = connected
            self.disturb_all()

    def disturb(self, shard: int) -> None:
        """Something has changed for a shard: the next tick has to look at it."""
        self.changes += 1
        self.restless.add(shard)

    def disturb_all(self) -> None:
        """Something has changed that any shard may depend on."""
        self.changes += 1
        self.restless.update(self.shards)

    def _map_changed(self) -> None:
        if self.step.change.version is None:
            self.version += 1
            self.step.change.version = self.version

    def begin_anew(self) -> None:
        """Forget servers and shards, whose data are gone; epochs go on growing."""
        used = [c.epoch for c in self.shards.values()]
        self.epoch_floor = max([self.epoch_floor, *used, *self.promised.values()])
        for volatile in (self.seals, self.switches, self.views, self.fill_patience, self.switch_patience):
            volatile.clear()
        for server_id in self.servers:
            self.detector.forget(server_id)
        self.shortage = Shortage()
        self.servers.clear()
        self.shards.clear()
        self.restless.clear()
        self.changes += 1
        self.promised.clear()
        self.settled.clear()
        change = self.step.change
        for part in (change.servers, change.shards, change.expected, change.promised):
            part.clear()
        change.born_anew = True
        change.epoch_floor = self.epoch_floor
        self._map_changed()

    def send(self, server_id: int, message: Any) -> None:
        """To a server, once the change is stored."""
        self.step.sends.append((server_id, message))

    def end_switch(self, shard: int, error: str) -> None:
        """A switch is over."""
        switch = self.switches.pop(shard, None)
        if switch is not None:
            self.disturb(shard)
        if switch is not None and switch.operation is not None:
            self.end_operation(switch.operation, error)

    # Telling.

    def event(
        self,
        kind: str,
        text: str,
        now: float,
        *,
        shard: int | None = None,
        server: int | None = None,
        epoch: int | None = None,
        operation: str | None = None,
    ) -> None:
        """A line for the journal."""
        if operation is None and (shard is not None or server is not None):
            found = self.operation_of(shard=shard, server=server)
            operation = found.id if found is not None else None
        self._last_event += 1
        self.step.change.events.append(
            Event(self._last_event, now + self.wall_offset, kind, text, shard, epoch, server, operation)
        )

    def start_operation(
        self,
        kind: Kind,
        now: float,
        *,
        server: int | None = None,
        shards: tuple[int, ...] = (),
        primaries: tuple[int, ...] = (),
        text: str = "",
    ) -> Operation:
        """Begin an operation."""
        self._last_operation += 1
        operation = Operation(
            id=f"{kind}-{self._last_operation}",
            number=self._last_operation,
            kind=kind,
            server=server,
            shards=shards,
            primaries=primaries,
            phase=Phase.ONGOING,
            started=now + self.wall_offset,
        )
        self._put_operation(operation)
        self.step.change.last_operation = self._last_operation
        self.progress[operation.id] = Progress()
        self.event("operation.started", text or str(kind), now, server=server, operation=operation.id)
        return operation

    def set_phase(self, operation: Operation, phase: Phase, now: float, text: str = "") -> None:
        """An operation has come further, or has ended."""
        if operation.phase is phase:
            return
        ended = phase in (Phase.DONE, Phase.FAILED)
        self._put_operation(attrs.evolve(operation, phase=phase, ended=now + self.wall_offset if ended else None))
        kind = {Phase.DONE: "operation.done", Phase.FAILED: "operation.failed"}.get(phase, "operation.phase")
        self.event(kind, text or f"{operation.kind}: {phase}", now, server=operation.server, operation=operation.id)
        if ended:
            self.step.outcomes.append((operation.id, "" if phase is Phase.DONE else text or "it failed"))
            self._forget_old_operations()

    def end_operation(self, operation_id: str, error: str, now: float | None = None) -> None:
        """An operation has ended; `error` is empty when it did what it was for."""
        operation = self.operations.get(operation_id)
        if operation is not None and operation.running:
            self.set_phase(operation, Phase.FAILED if error else Phase.DONE, self._now if now is None else now, error)

    def change_operation(self, operation: Operation) -> None:
        """Another set of shards."""
        self._put_operation(operation)

    def _put_operation(self, operation: Operation) -> None:
        self.operations[operation.id] = operation
        self.step.change.operations[operation.id] = operation

    def _forget_old_operations(self) -> None:
        ended = [operation.id for operation in self.operations.values() if not operation.running]
        for operation_id in ended[: max(0, len(ended) - OPERATIONS_KEPT)]:
            del self.operations[operation_id]
            self.step.change.operations.pop(operation_id, None)
            self.step.change.forgotten.append(operation_id)
            self.progress.pop(operation_id, None)

    # Steps.

    _now = 0.0

    def begin(self, now: float) -> None:
        """A step begins."""
        self._now = now

    def take_step(self) -> Step:
        """What has come together since the last call."""
        step, self.step = self.step, Step()
        if step.change.version is not None:
            step.update = self.map if step.change.born_anew else self._map(step.change.shards)
        return step
