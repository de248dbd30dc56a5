"""How full a server may become, and how full it is, in words that everybody uses.

Two marks stand below the limit of a server's memory, and of its disk. Past the low one the coordinator gives the server
no new copies, and moves some away; past the high one no write that grows is begun. What lies between the high mark and
the limit is for what was begun before.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import attrs

from twistedkv.errors import ConfigurationError

LOW_MARK = 0.8
HIGH_MARK = 0.95
"""Both as parts of the limit."""


class Level(IntEnum):
    """How full a server is."""

    OK = 0
    """It has room."""
    LOW = 1
    """Past its low mark: it is to hold less."""
    HIGH = 2
    """Past its high mark: nothing may grow."""


class Eviction(StrEnum):
    """What a full server removes by itself, so that it can store something else."""

    NONE = "none"
    LRU = "lru"
    """Keys that were neither read nor written for long."""
    TTL = "ttl"
    """Keys that will expire, the soonest first."""


@attrs.frozen
class Limits:
    """What one server may use. 0 bytes: no limit. Raises ConfigurationError when the marks are in no order."""

    memory_bytes: int = 0
    disk_bytes: int = 0
    low: float = LOW_MARK
    high: float = HIGH_MARK
    eviction: Eviction = Eviction.NONE

    def __attrs_post_init__(self) -> None:
        if not 0 < self.low < self.high <= 1:
            raise ConfigurationError(
                "low-watermark and high-watermark: expected parts of the limit, the low one below the high one, "
                f"got {self.low:g} and {self.high:g}"
            )


NO_LIMITS = Limits()
