"""The definition itself, tried for every order: what both checkers have to agree with on small histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twistedkv.history.record import Record

State = tuple[Any, Any, Any]
"""Value, its version, and the highest version so far."""

HIDDEN = "hidden"
"""A version that nobody has seen."""


def is_linearizable(records: Sequence[Record], versions: bool) -> bool:
    """Whether some order, with some of those of unknown outcome, explains all answers; with versions, those too."""
    relevant = [r for r in records if r.result != "fail" or r.mismatch]
    relevant = [r for r in relevant if not (r.f == "read" and r.result == "info")]
    made = {r.version for r in relevant if r.result == "ok" and r.f != "read"}
    orphans = {v for r in relevant for v in (r.version, r.expected) if v is not None and v not in made}
    return _goes_on(relevant, (None, None, (0, 0)), sorted(orphans) if versions else None)


def _goes_on(remaining: list[Record], state: State, orphans: list[Any] | None) -> bool:
    if all(r.result == "info" for r in remaining):
        return True
    for record in remaining:
        if any(other.returned < record.call for other in remaining):
            continue
        others = [other for other in remaining if other is not record]
        followers = _by_value(record, state) if orphans is None else _by_version(record, state, orphans)
        if any(_goes_on(others, after, orphans) for after in followers):
            return True
    return False


def _by_value(record: Record, state: State) -> list[State]:
    value = state[0]
    f, known = record.f, record.result == "ok"
    if f == "read":
        right, after = value == record.value, value
    elif f == "write":
        right, after = True, record.args[0]
    elif f == "delete":
        right, after = not known or record.value == (value is not None), None
    elif f == "incr":
        right = not isinstance(value, str)
        after = (value or 0) + record.args[0] if right else None
        right = right and (not known or record.value == after)
    elif record.mismatch:
        right, after = (value is None) == (record.version is None), value
        right = right and (isinstance(value, int) or value != record.args[0])
    else:
        right, after = value == record.args[0], record.args[1]
    return [(after, None, None)] if right else []


def _by_version(record: Record, state: State, orphans: list[Any]) -> list[State]:
    value, version, highest = state
    if record.mismatch and version == record.expected:
        return []
    if record.mismatch or record.f == "read":
        right = _by_value(record, state) and (version == record.version)
        return [state] if right else []
    if record.f == "cas" and version != record.expected:
        return []
    if record.result == "ok" and record.version is None:  # a deletion of nothing
        return [state] if value is None and record.f == "delete" else []
    after = []
    for [made, _, _] in _by_value(record, state):
        versions = [record.version] if record.result == "ok" else [HIDDEN, *orphans]
        for each in versions:
            if each == HIDDEN:
                after.append((made, None if made is None else HIDDEN, highest))
            elif each > highest:
                after.append((made, None if made is None else each, each))
    return after
