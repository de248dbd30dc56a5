"""What the witness checker says of what is wrong: for each kind a sentence, the operations, and the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twistedkv.history.record import Record, Version
from twistedkv.history.violation import Violation, shown, version_text, violation
from twistedkv.history.walk import UNSEEN, Place, fits


def without_version(record: Record) -> Violation:
    """Something was read or made, and the answer does not say at which version."""
    text = "a value was read without a version" if record.f == "read" else "a write was acknowledged without a version"
    return violation(text, "{0} was answered with success, so its answer has to name a version.", record)


def two_writes_at_a_version(first: Record | None, second: Record) -> Violation:
    """Two writes were acknowledged with one version."""
    why = (
        "{0} and {1} were both told that they made version {version}. A version is given once: at most one of the two "
        "can be in the store."
    )
    return violation("two writes have the same version", why, first, second, version=version_text(second.version))


def two_values_at_a_version(write: Record | None, read: Record, reads: Sequence[Record]) -> Violation:
    """What was found at a version is not what was made there."""
    version = version_text(read.version)
    if write is not None and write.f == "delete":
        why = "{0} deleted the key at version {version}, and {1} found a value with that version."
        return violation("the version of a deletion was found as that of a value", why, write, read, version=version)
    if write is None:
        write = next((other for other in reads if other.version == read.version), None)
    why = "{1} read {value} at version {version}, and {0} says that this version is another value. A version names one "
    why += "value for ever."
    return violation("two values have the same version", why, write, read, version=version, value=shown(read.value))


def expected_another_value(write: Record | None, cas: Record) -> Violation:
    """The old value and the expected version of a cas do not belong together."""
    why = (
        "{1} names {old} as the value of version {version}, which its process must have been told. But {0} made "
        "another value with that version."
    )
    old, version = shown(cas.args[0]), version_text(cas.expected)
    return violation("two values have the same version", why, write, cas, old=old, version=version)


def mismatch_that_was_none(cas: Record) -> Violation:
    """A cas failed although it found what it expected."""
    if cas.expected is None:
        text, why = "a cas that wanted no key failed, and found none", "{0} wanted that there is no key, and found none"
    else:
        text = "a cas failed although it found the version that it expected"
        if cas.version != cas.expected:
            text = "a cas failed although it found the value that it expected"
        why = f"{{0}} expected version {version_text(cas.expected)}, and what it found is that"
    return violation(text, why + ": it had to be done.", cas)


def nobody_wrote(read: Record, records: Sequence[Record]) -> Violation:
    """A version or a value was found that no operation can have made."""
    version = version_text(read.version)
    if read.mismatch:
        why = "No write was acknowledged with version {version}, and none of unknown outcome can have made it."
        return violation("a version was found that nobody made", why, read, version=version)
    value = shown(read.value)
    writers = [r for r in records if r.f in ("write", "cas") and r.args[-1] == read.value]
    if not writers:
        why = "No operation in the history wrote {value}, or made version {version}."
        text = "a value was read that nobody wrote"
        return violation(text, why, read, value=value, version=version)
    write = writers[0]
    if write.result == "fail":
        text = "a value was read whose write had failed"
        why = "{0} was told that it certainly had no effect. {1} read what it would have written."
    elif write.result == "ok":
        text = "a value was read at another version than that of its write"
        why = f"{{0}} wrote {{value}} at version {version_text(write.version)}, {{1}} found it at {{version}}. "
        why += "Each value is written once: this one was written twice, or by nobody that the history knows."
    else:
        text = "a value was read at two versions"
        why = "{0} is the only one that wrote {value}, and may have done it once. {1} found it with version {version}, "
        why += "and {2} with another one: it was done twice."
    other = next((r for r in records if r.f == "read" and r.value == read.value and r.version != read.version), None)
    known = [write, read] if other is None else [write, read, other]
    return violation(text, why, *known, value=value, version=version)


# Time.


def against_time(places: Sequence[Place], records: Sequence[Record]) -> Violation:
    """Something of the last place had ended before something of it or of an earlier one was called."""
    found: dict[Version | None, list[Record]] = {}
    for record in records:
        if record.version is not None:
            found.setdefault(record.version, []).append(record)
    last = places[-1]
    early = min(_of(last, found), key=lambda record: record.returned)
    candidates = [(record, place) for place in places[:-1] for record in _of(place, found)]
    candidates += [(last.write, last)] if last.write is not None else []
    late, place = max(candidates, key=lambda candidate: candidate[0].call)
    old, new = version_text(place.version), version_text(last.version)
    if place is last:
        text = "a value was read before its write was called"
        why = "{0} had ended before {1} was called, so it cannot have read what {1} wrote."
        return violation(text, why, early, late)
    if late is place.write:
        text = "a write has an older version than what was known before it began"
        why = "{0} had ended before {1} was called, so {1} has to get a newer version than {new}. It got {old}."
        return violation(text, why, early, late, last.write or early, old=old, new=new)
    why = "{0} had ended before {1} was called, so {1} has to find version {new} or a newer one. It found {old}"
    why += ", which {2} had made: " if place.write is not None else ": "
    if early is last.write:
        text = "a stale read: what it returned had been replaced before it began"
        why += "what {0} did is lost, or was lost for a while."
    else:
        text = "a stale read: a newer version had been read before"
        why += "what {0} read" + (", which {3} had made," if last.write is not None else "")
        why += " is lost, or was lost for a while."
    return violation(text, why, early, late, place.write or late, last.write or early, old=old, new=new)


def _of(place: Place, found: Mapping[Version | None, Sequence[Record]]) -> list[Record]:
    """The write and the reads of a place."""
    written = [] if place.write is None else [place.write]
    return written + [record for record in found.get(place.version, ()) if record is not place.write]


# What an operation says of the one before.


def not_found(missed: Record, places: Sequence[Place], unknown: Sequence[Record]) -> Violation:
    """There was something all the time, and it was not found."""
    ended = [i for i, place in enumerate(places) if place.ended < missed.call]
    at = ended[-1] if ended else 0
    while at + 1 < len(places) and places[at].value is None:
        at += 1
    write = places[at].write
    deletion = next((p.write for p in places[at + 1 :] if p.value is None), None)
    text = "a key was not found although it was there all the time"
    why = "{0} found nothing. But {1} had made version {version}, "
    why += "and the next deletion, {2}, came too late." if deletion is not None else "and no deletion came after it."
    if ended and places[at].ended < missed.call:
        why = why.replace("{1} had made", "before it began it was known that {1} had made")
    deletions = sum(record.f == "delete" for record in unknown)
    if deletions:
        why += " Deletions of unknown outcome ({deletions}) do not explain it together with everything else."
    known = [missed, write] if deletion is None else [missed, write, deletion]
    return violation(text, why, *known, version=version_text(places[at].version), deletions=deletions)


def does_not_fit(place: Place, before: Place, records: Sequence[Record]) -> Violation:
    """A write was done that cannot have been done right after the one before."""
    write = place.write
    if write is None:
        read = next(r for r in records if r.version == place.version)
        if place.value is UNSEEN:
            return nobody_wrote(read, records)
        why = "{0} read {value}. Right before, {before}, and no additions of unknown outcome explain the difference."
        text = f"the sum is wrong by {_difference(place.value, 0, before.value)}"
        return violation(text, why, read, before.write, value=place.value, before=_state(before))
    if fits(place, before, before.value, True):
        return _came_back(write, before, records)
    state, version = _state(before), version_text(write.expected)
    if write.f == "cas":
        text = "a cas was done although the key had another version"
        why = "{0} was to be done only if there was "
        why += "nothing. " if write.expected is None else "version {version}. "
        why += "Its own version is {own}, and right before that {state}"
        if before.write is not None:
            why += ", which was made by {1}"
            if write.expected is not None and write.expected < before.version:
                why += ": that update is lost"
        known = [write, before.write or write]
        if write.result == "info":
            known.append(next((r for r in records if r.version == place.version), write))
            why += ". {2} shows that it was done"
        own = version_text(place.version)
        return violation(text, why + ".", *known, version=version, own=own, state=state)
    if write.f == "delete":
        why = "{0} was told that it removed something. But right before that {state}, and nobody can have written then."
        text = "a deletion removed something where there was nothing"
        return violation(text, why, write, before.write or write, state=state)
    delta = write.args[0]
    if not isinstance(place.value, int) or not isinstance(before.value, int | None):
        why = "{0} made {value} by adding to a key when {state}."
        return violation("a sum is not a number", why, write, before.write or write, value=place.value, state=state)
    missing = _difference(place.value, delta, before.value)
    why = "{0} added {delta} and was told {value}, so the sum before it was {base}. But right before that {state}. "
    why += "Something was added that nobody asked for, or twice" if missing > 0 else "An addition is lost"
    unknown = sum(record.f == "incr" and record.result == "info" for record in records)
    why += f"; additions of unknown outcome ({unknown}) do not explain it." if unknown else "."
    return violation(
        f"the sum is wrong by {missing}", why, write, before.write or write, delta=delta, value=place.value,
        base=place.value - delta, state=state,
    )  # fmt: skip


def _came_back(write: Record, before: Place, records: Sequence[Record]) -> Violation:
    """A write fits to the one before, but only if what was found in between is forgotten."""
    nothing = [r for r in records if r.version is None and r.result != "info" and r.returned < write.call]
    nothing = [r for r in nothing if r.f in ("read", "delete") or r.mismatch]
    gone = max(nothing, key=lambda record: record.returned, default=None)
    why = "{0} went on from what was there before: {state}. "
    why += "But {2} found nothing then, and what is gone does not come back. " if gone is not None else ""
    why += "No choice among the operations of unknown outcome explains both."
    text = "no choice of what happened to the operations of unknown outcome explains the answers"
    known = [write, before.write or write] + ([gone] if gone is not None else [])
    return violation(text, why, *known, state=_state(before))


def _difference(value: object, delta: int, before: object) -> int:
    assert isinstance(value, int)
    return value - delta - (before if isinstance(before, int) else 0)


def _state(place: Place) -> str:
    """`the key held "a", version 1.1`."""
    if place.value is None:
        return "there was nothing" + (f" (deleted at version {version_text(place.version)})" if place.write else "")
    value = "something" if place.value is UNSEEN else shown(place.value)
    return f"the key held {value}, version {version_text(place.version)}"
