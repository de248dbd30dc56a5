"""Hypothesis strategies made from the layouts of the wire: a new message is tested without being named."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from twistedkv.limits import EPOCH_MAX, SHARDS_MAX, SLOTS
from twistedkv.wire.fields import (
    Bytes,
    Column,
    Enumerated,
    Family,
    Field,
    Fixed,
    Flag,
    Layout,
    Many,
    Number,
    Rest,
    Text,
)
from twistedkv.wire.shared import CONFIGURATION, SERVER

_TEXT_CHARACTERS = st.characters(exclude_categories=("Cs",))
_BYTES_TRIED_MAX = 80
_ITEMS_TRIED_MAX = 3
_EPOCHS = st.integers(0, EPOCH_MAX)


def of_field(field: Field) -> st.SearchStrategy[Any]:
    """Values that `field` can carry: mostly small ones, and its bounds."""
    match field:
        case Number():
            signed = field._struct.format[1:].islower()
            bits = 8 * field._struct.size
            least = -(1 << bits - 1) if signed else 0
            return st.integers(least, least + (1 << bits) - 1)
        case Flag():
            return st.booleans()
        case Enumerated():
            return st.sampled_from(list(field._kind))  # type: ignore[call-overload]
        case Fixed():
            return st.binary(min_size=field._size, max_size=field._size)
        case Bytes():
            return st.binary(max_size=min(field._most, _BYTES_TRIED_MAX))
        case Text():
            most = min(field._bytes._most, _BYTES_TRIED_MAX) // 4  # at most 4 bytes a character
            return st.text(_TEXT_CHARACTERS, max_size=most)
        case Rest():
            return st.binary(max_size=_BYTES_TRIED_MAX)
        case Column():
            least, most, count_max = field._bounds
            strings = st.binary(min_size=least, max_size=min(most, _BYTES_TRIED_MAX))
            return st.lists(strings, max_size=min(count_max, _ITEMS_TRIED_MAX))
        case Many():
            return st.lists(of_field(field._item), max_size=min(field._most, _ITEMS_TRIED_MAX))
        case Layout():
            return of_layout(field)
        case _ if type(field).__name__ == "_Servers":
            servers = st.lists(of_layout(SERVER), max_size=_ITEMS_TRIED_MAX, unique_by=lambda s: s.server_id)
            return servers.map(lambda many: MappingProxyType({server.server_id: server for server in many}))
    raise TypeError(f"no strategy is known for {field!r}")


def of_layout(layout: Layout[Any]) -> st.SearchStrategy[Any]:
    """Instances of the layout's class."""
    if layout is CONFIGURATION:
        return _configurations()
    return st.builds(layout.kind, **{name: of_field(field) for name, field in layout.fields})


def _configurations() -> st.SearchStrategy[Any]:
    """Configurations within the bounds that are not those of their fields."""
    fields = {name: of_field(field) for name, field in CONFIGURATION.fields}
    fields |= {"shard": st.integers(0, SHARDS_MAX - 1), "epoch": _EPOCHS, "birth": _EPOCHS}
    slots = st.lists(st.integers(0, SLOTS - 1), min_size=2, max_size=2).map(sorted)
    del fields["first_slot"], fields["last_slot"]
    return st.builds(
        lambda slots, **rest: CONFIGURATION.kind(first_slot=slots[0], last_slot=slots[1], **rest), slots, **fields
    )


def of_family(family: Family) -> st.SearchStrategy[Any]:
    """Messages of a family, each kind as often as the others."""
    return st.one_of([of_layout(layout) for layout in family.layouts.values()])
