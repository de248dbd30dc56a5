"""Which failpoint a step of the coordinator passes, and who plays which role there. For tests only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from twistedkv.clustermap import ServerState
from twistedkv.core.coordinator import CoordinatorState
from twistedkv.core.operations import Event, Kind
from twistedkv.core.steps import Change, Saved, Step
from twistedkv.failpoints import Failpoints
from twistedkv.mapstore.interface import JOURNAL_PAGE, MapStore, SpawnedProcess

_POINTS = {
    ("server.failed", "before"): "recovery.detected",
    ("shard.sealed", "stored"): "recovery.epoch_stored",
    ("shard.sealed", "done"): "recovery.sealed",
    ("shard.promoted", "stored"): "recovery.promoted_stored",
    ("shard.promoted", "done"): "recovery.promoted",
    ("server.replacing", "done"): "recovery.replacing",
    ("server.replaced", "done"): "recovery.replaced",
    ("learner.added", "done"): "recovery.filling",
    ("learner.completed", "before"): "recovery.filled",
    ("learner.completed", "done"): "recovery.member",
    ("switch.started", "done"): "recovery.switching",
    ("switch.done", "before"): "recovery.relinquished",
    ("switch.done", "done"): "recovery.switched",
}
"""(event, moment of the step) to the name of the failpoint."""

_NEWCOMER_EVENTS = ("learner.added", "learner.completed", "switch.started", "switch.done")


def pass_failpoints(failpoints: Failpoints, state: CoordinatorState, step: Step, moment: str) -> None:
    """Tell the failpoints which of them this step passes at this moment: before, stored or done."""
    for event in step.change.events:
        name = _POINTS.get((event.event, moment))
        if name is not None and failpoints.wants(name):
            roles = _roles(state, event)
            if roles:
                failpoints.passed(name, {role: state.servers[i].pid for role, i in roles.items() if i in state.servers})


def _roles(state: CoordinatorState, event: Event) -> dict[str, int]:
    """Server ids by role; empty if the event is not part of a recovery."""
    operation = state.operations.get(event.operation or "")
    if operation is None and event.event == "server.failed":
        operation = state.operation_of(server=event.server)  # begun after the event, in the same step
    if operation is not None and operation.kind is not Kind.RECOVERY:
        return {}
    if operation is None and event.event != "server.failed":
        return {}
    failed = operation.server if operation is not None else event.server
    if failed is None:
        return {}
    roles = {"S_a": failed}
    server = state.servers.get(failed)
    if event.event in _NEWCOMER_EVENTS and event.server is not None:
        roles["S_aa"] = event.server
    elif failed in state.successors:
        roles["S_aa"] = state.successors[failed]
    elif server is not None and server.state is not ServerState.FAILED:
        roles["S_aa"] = failed
    taken = {failed, roles.get("S_aa", failed)}
    own = operation.shards if operation is not None else ()
    primaries = operation.primaries if operation is not None else ()
    partner = _holder(state, [event.shard] if event.shard is not None else list(primaries or own), taken)
    if partner:
        roles["S_b"] = partner
        taken.add(partner)
    source = _holder(state, [shard for shard in own if shard not in primaries] + list(own), taken)
    if source:
        roles["S_c"] = source
        taken.add(source)
    for server in state.servers.values():
        if server.state is ServerState.ACTIVE and server.server_id not in taken:
            roles["other"] = server.server_id
            break
    return roles


def _holder(state: CoordinatorState, shards: list[int], taken: set[int]) -> int:
    """A live member of one of these shards that plays no role yet, a primary if possible; 0 if there is none."""
    for shard in shards:
        configuration = state.shards.get(shard)
        if configuration is not None:
            for member in configuration.members:
                if member.server_id not in taken and state.live(member):
                    return member.server_id
    return 0


def passing_store(open_store: Callable[[], MapStore], failpoints: Failpoints) -> Callable[[], MapStore]:
    """Open the store so that each of its durable steps passes two failpoints, one before it and one after."""

    def opened() -> MapStore:
        with _around(failpoints, "open"):
            store = open_store()
        return _PassingMapStore(store, failpoints)

    return opened


@contextmanager
def _around(failpoints: Failpoints, step: str) -> Iterator[None]:
    failpoints.passed_durable(f"mapstore.before_{step}")
    yield
    failpoints.passed_durable(f"mapstore.after_{step}")


class _PassingMapStore:
    """See `mapstore.interface.MapStore`."""

    def __init__(self, store: MapStore, failpoints: Failpoints) -> None:
        self._store = store
        self._failpoints = failpoints
        self.identity = store.identity
        self.generation = store.generation
        self.load: Callable[[], Saved] = store.load
        self.stopped_in_order: Callable[[], bool] = store.stopped_in_order
        self.heartbeat_ms: Callable[[], int] = store.heartbeat_ms
        self.processes: Callable[[], list[SpawnedProcess]] = store.processes
        self.close: Callable[[], None] = store.close

    def journal(self, after: int, limit: int = JOURNAL_PAGE) -> list[Event]:
        return self._store.journal(after, limit)

    def apply(self, change: Change) -> None:
        with _around(self._failpoints, "apply"):
            self._store.apply(change)

    def set_stopped_in_order(self, stopped: bool) -> None:
        with _around(self._failpoints, "note"):
            self._store.set_stopped_in_order(stopped)

    def set_heartbeat_ms(self, milliseconds: int) -> None:
        with _around(self._failpoints, "note"):
            self._store.set_heartbeat_ms(milliseconds)

    def record_processes(self, processes: Iterable[SpawnedProcess]) -> None:
        with _around(self._failpoints, "note"):
            self._store.record_processes(processes)
