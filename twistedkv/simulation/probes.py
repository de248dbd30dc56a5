"""Counters of what makes a run worth something: refusals, waits, retries that are recognised.

They are put around methods of the core for the time of a run, so that production pays nothing for them. `coverage` says
what a batch has to have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from twistedkv.core.dedup import DedupTable, Lookup
from twistedkv.core.leading import Leading
from twistedkv.core.operations import Kind
from twistedkv.core.replica import Replica
from twistedkv.core.room import Room
from twistedkv.core.serving import Serving
from twistedkv.errors import StorageFailed
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.simulation.around import followed
from twistedkv.simulation.process import Process


@contextmanager
def counting(counts: dict[str, int]) -> Iterator[None]:
    """Count into `counts`."""

    def add(what: str) -> None:
        counts[what] = counts.get(what, 0) + 1

    def refused(result: Any, *_: Any) -> None:
        add(f"refused: {result.refusal.name}")

    def found(result: Any, table: Any, client: Any, number: Any, since: Any, retried: bool) -> None:
        if retried and not isinstance(result, Lookup):
            add("retry recognised")
        elif result is Lookup.FORGOTTEN:
            add("retry forgotten")

    def tried(result: Any, leading: Any, now: float) -> None:
        replica = leading._replica
        configuration = replica.configuration
        if replica.role is ReplicaRole.RECONCILING and now < replica.promise_until and not configuration.released:
            add("grace waited out")

    def answered(result: Any, serving: Any, *_: Any) -> None:
        if serving._held:
            add("read without a lease")

    def exited(result: Any, process: Process, how: str, **_: Any) -> None:
        planner = process.program.planner if process.name == "coordinator" and how != "ended" else None
        if planner is None:
            return
        state = planner.state
        for operation in state.operations.values():
            if operation.running and operation.kind is Kind.RECOVERY:
                add(f"coordinator ended in {operation.phase}")
        if state.seals:
            add("coordinator ended while sealing")
        if any(configuration.learners for configuration in state.shards.values()):
            add("coordinator ended while filling")
        if state.switches:
            add("coordinator ended while switching")

    def looked_for_room(result: str, *_: Any) -> None:
        if result:
            add("no room")

    def storage_failed(result: Any, *_: Any) -> None:
        add("looked at: I15")

    def superseded(result: Any, *_: Any) -> None:
        add("primary superseded")

    with ExitStack() as stack:
        for kind, name, count in (
            (Replica, "_refuse", refused),
            (Replica, "superseded", superseded),
            (DedupTable, "find", found),
            (Leading, "_try_to_serve", tried),
            (Serving, "_answer_read", answered),
            (Room, "missing", looked_for_room),
            (Process, "_exit", exited),
            (StorageFailed, "__init__", storage_failed),
        ):
            stack.enter_context(followed(kind, name, count))
        yield
