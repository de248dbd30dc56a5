"""The options that say how full a server may become: what they are, and how a coordinator passes them on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twistedkv.errors import ConfigurationError
from twistedkv.watermarks import HIGH_MARK, LOW_MARK, Eviction, Limits

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE_MAX = 2**60


def size(value: Any) -> int:
    """Bytes, of a whole number or of a text such as 512MB or 2GiB. Raises ValueError, which says what is expected."""
    expected = "a size as in 512MB, 2GiB or 1000000, or 0"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or (found[3] and not found[2]):
        raise ValueError(expected)
    number: int = round(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()])
    if number > _SIZE_MAX:
        raise ValueError(expected)
    return number


def _part(value: Any) -> float:
    expected = "a part of the limit, more than 0 and at most 1"
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(expected) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(expected)
    return float(value)


def _eviction(value: Any) -> Eviction:
    try:
        return Eviction(value)
    except ValueError:
        raise ValueError("none, lru or ttl") from None


SPACE_KNOBS: tuple[tuple[str, Callable[[Any], Any], str], ...] = (
    (
        "memory-limit",
        size,
        "bytes that a server may store in memory, as in 512MB or 2GiB [0: no limit]",
    ),
    ("disk-limit", size, "the same for its disk [0: what the disk has]"),
    ("low-watermark", _part, f"part of a limit past which a server is given no new copies [{LOW_MARK:g}]"),
    ("high-watermark", _part, f"part of a limit past which writes that grow are refused [{HIGH_MARK:g}]"),
    ("eviction", _eviction, "what a full server removes to go on: none, lru or ttl [none]"),
)
"""Name, how its value is read, help."""


def take_limits(values: dict[str, Any]) -> None:
    """Put `limits` in the place of the options that they consist of. Raises ConfigurationError."""
    given = {
        field: values.pop(name)
        for name, field in (
            ("memory_limit", "memory_bytes"),
            ("disk_limit", "disk_bytes"),
            ("low_watermark", "low"),
            ("high_watermark", "high"),
            ("eviction", "eviction"),
        )
        if name in values
    }
    limits = Limits(**given)
    if limits.eviction is not Eviction.NONE and not (limits.memory_bytes or limits.disk_bytes):
        raise ConfigurationError(f"eviction: {limits.eviction} needs a memory-limit or a disk-limit")
    if given:
        values["limits"] = limits


def space_arguments(limits: Limits) -> list[str]:
    """The flags with which a server is started that is to have these limits."""
    return [
        f"--memory-limit={limits.memory_bytes}",
        f"--disk-limit={limits.disk_bytes}",
        f"--low-watermark={limits.low:g}",
        f"--high-watermark={limits.high:g}",
        f"--eviction={limits.eviction}",
    ]
