"""The search of Wing and Gong, with Lowe's improvements: is there any order that explains the answers?

For each key by itself, without trusting versions: a cas compares values (all written values differ, sums may come
again), and of a mismatch only counts whether there was something, and that it was another value. The candidates for the
next operation are those that were called before the first of the others returned; pairs of (done so far, state) that
have been tried are remembered. An operation whose outcome is not known may come at any time after its call, or never.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from twistedkv.history.record import FOREVER, Record, by_key
from twistedkv.history.violation import Violation, shown, violation

STEPS_MAX = 2_000_000
"""Of one key; then nothing is known."""

_IMPOSSIBLE = object()


def apply(state: Any, record: Record) -> Any:
    """The state of the key after an operation, or _IMPOSSIBLE if its answer can not have come from this state."""
    f, known = record.f, record.result == "ok"
    if f == "read":
        return state if state == record.value else _IMPOSSIBLE
    if f == "write":
        return record.args[0]
    if f == "delete":
        if known and (record.version is not None) != (state is not None):
            return _IMPOSSIBLE
        return None
    if f == "cas":
        matches = state == record.args[0]
        if record.mismatch:
            differs = not matches or isinstance(state, int)
            return state if differs and (record.version is None) == (state is None) else _IMPOSSIBLE
        if matches:
            return record.args[1]
        return _IMPOSSIBLE if known else state
    base = 0 if state is None else state
    if not isinstance(base, int):
        return _IMPOSSIBLE
    total = base + int(record.args[0])
    return _IMPOSSIBLE if known and total != record.value else total


def check_by_search(records: Iterable[Record], steps_max: int = STEPS_MAX) -> tuple[list[Violation], list[str]]:
    """(violations, keys of which nothing is known because the search took too long)."""
    violations, unknown = [], []
    for key, own in by_key(records).items():
        relevant = [r for r in own if r.result != "fail" or r.mismatch]
        relevant = [r for r in relevant if not (r.f == "read" and r.result == "info")]
        found, stuck = _search(relevant, steps_max)
        if found is None:
            unknown.append(key)
        elif not found:
            violations.append(_violation(relevant, stuck))
    return violations, unknown


@attrs.define
class _Stuck:
    """Where the search got furthest."""

    done: int = -1
    """Of the operations whose outcome is known."""
    state: Any = None
    candidates: list[Record] = attrs.Factory(list)


def _violation(records: Sequence[Record], stuck: _Stuck) -> Violation:
    known = sum(record.returned != FOREVER for record in records)
    writers = [r for r in records if r.f in ("write", "cas") and r.args[-1] == stuck.state and stuck.state is not None]
    candidates = [record for record in stuck.candidates if record.returned != FOREVER]
    holds = f"the key holds {shown(stuck.state)}" if stuck.state is not None else "the key does not exist"
    names = [f"{{{number}}}" for number in range(len(candidates))]
    if len(candidates) < len(stuck.candidates):
        names.append("an operation of unknown outcome")
    why = (
        "In no order can more than {done} of the {known} operations of known outcome have been answered as they were. "
        "After these {holds}, and the next one has to be " + " or ".join(names) + ". There is no way on from there."
    )
    text = "no order of the operations explains the answers"
    return violation(text, why, *candidates, *writers[:1], done=stuck.done, known=known, holds=holds)


def _search(records: list[Record], steps_max: int) -> tuple[bool | None, _Stuck]:
    """Whether there is an order; None if that took too long."""
    count = len(records)
    needed = sum(1 << i for i, record in enumerate(records) if record.returned != FOREVER)
    tried: set[tuple[int, Any]] = set()
    stack: list[tuple[int, Any, int]] = [(0, None, 0)]
    """(bits of the operations that are done, state, all operations before this one are done)."""
    stuck = _Stuck()
    steps = 0
    while stack:
        done, state, first = stack.pop()
        if done & needed == needed:
            return True, stuck
        steps += 1
        if steps > steps_max:
            return None, stuck
        while first < count and done >> first & 1:
            first += 1
        limit = FOREVER
        candidates = []
        for i in range(first, count):
            record = records[i]
            if record.call > limit:
                break
            if not done >> i & 1:
                candidates.append(i)
                limit = min(limit, record.returned)
        progress = (done & needed).bit_count()
        if progress > stuck.done:
            stuck = _Stuck(progress, state, [records[i] for i in candidates])
        # Unknown outcomes last: they are pushed first.
        candidates.sort(key=lambda i: (records[i].returned != FOREVER, -records[i].returned))
        for i in candidates:
            record = records[i]
            if record.call > limit:
                continue
            after = apply(state, record)
            if after is _IMPOSSIBLE or (record.returned == FOREVER and after == state):
                continue
            key = (done | 1 << i, after)
            if key not in tried:
                tried.add(key)
                stack.append((done | 1 << i, after, first))
    return False, stuck
