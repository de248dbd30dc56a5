"""What becomes of good bytes: bits that flip, ends that are missing, parts that come twice or from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.fuzz.scripts import SEATS_MAX, Deed, Step, data_of

_BOUNDARIES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_PLACES = st.integers(0, 1 << 16)

Mutation = tuple[str, int, int]
"""(kind, place, a number that the kind uses as it likes)."""

mutations: st.SearchStrategy[Mutation] = st.tuples(
    st.sampled_from(("flip", "set", "cut", "remove", "repeat", "splice", "number")), _PLACES, _PLACES
)


def mutate(data: bytes, mutation: Mutation, other: bytes) -> bytes:
    """One change. `other` is where spliced parts come from."""
    kind, place, number = mutation
    if not data:
        return other[: number % 16]
    at = place % len(data)
    size = 1 + number % 16
    match kind:
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << number % 8]) + data[at + 1 :]
        case "set":
            return data[:at] + bytes([number % 256]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "remove":
            return data[:at] + data[at + size :]
        case "repeat":
            return data[: at + size] + data[at:]
        case "splice":
            start = number % (len(other) + 1)
            return data[:at] + other[start : start + 1 + place % 32] + data[at:]
    width = (1, 2, 4, 8)[place % 4]
    value = _BOUNDARIES[number % len(_BOUNDARIES)] & (1 << 8 * width) - 1
    return data[:at] + value.to_bytes(width, "big") + data[at + width :]


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds with up to four changes."""

    def changed(drawn: tuple[bytes, bytes, list[Mutation]]) -> bytes:
        data, other, changes = drawn
        for change in changes:
            data = mutate(data, change, other)
        return data

    seed = st.sampled_from(seeds)
    return st.tuples(seed, seed, st.lists(mutations, min_size=1, max_size=4)).map(changed)


def anything(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Any bytes, or a seed with changes: mostly these, because most other bytes are refused at once."""
    return st.one_of(mutated(seeds), mutated(seeds), mutated(seeds), st.binary(max_size=64))


_byte = st.one_of(st.integers(0, 255), st.sampled_from((0x00, 0x01, 0x7F, 0xFF)))
_changes = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 7), _byte), max_size=2).map(
    lambda changes: bytes(number for change in changes for number in change)
)
_phrase = st.builds(lambda which, changes: bytes([which]) + changes, st.integers(0, 255), _changes)

steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Step, st.integers(0, SEATS_MAX - 1), st.just(Deed.PHRASE), _phrase),
    st.builds(Step, st.integers(0, SEATS_MAX - 1), st.sampled_from(Deed), _phrase),
    st.builds(Step, st.integers(0, SEATS_MAX - 1), st.sampled_from((Deed.SAY, Deed.FRAME)), st.binary(max_size=40)),
)
"""One step of a script: mostly something that belongs there, now and then changed a little."""

scripts: st.SearchStrategy[bytes] = st.lists(steps, max_size=10).map(data_of)
