"""Counters of what makes a run worth something: refusals, waits, retries that are recognised.

They are put around methods of the core for the time of a run, so that production pays nothing for them. A batch of runs
that has not seen each of them has proved little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from twistedkv.core.dedup import DedupTable, Lookup
from twistedkv.core.leading import Leading
from twistedkv.core.replica import Replica
from twistedkv.core.serving import Serving
from twistedkv.messages.coordinator import ReplicaRole

WANTED = (
    "refused: OLD_EPOCH",
    "refused: GAP",
    "refused: NOT_A_MEMBER",
    "read without a lease",
    "retry recognised",
    "grace waited out",
    "primary superseded",
    "shard.sealed",
    "shard.promoted",
    "learner.completed",
    "learner.discarded",
    "switch.done",
    "server.returned",
    "unknown outcome",
    "coordinator started again",
)
"""What a large batch has to have seen."""


@contextmanager
def _around(kind: type, name: str, count: Callable[..., None]) -> Iterator[None]:
    original = getattr(kind, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        count(result, *args)
        return result

    setattr(kind, name, counted)
    try:
        yield
    finally:
        setattr(kind, name, original)


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

    def superseded(result: Any, *_: Any) -> None:
        add("primary superseded")

    with ExitStack() as stack:
        for kind, name, count in (
            (Replica, "_refuse", refused),
            (Replica, "superseded", superseded),
            (DedupTable, "find", found),
            (Leading, "_try_to_serve", tried),
            (Serving, "_answer_read", answered),
        ):
            stack.enter_context(_around(kind, name, count))
        yield
