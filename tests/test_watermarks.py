"""Limits and marks, as they are given."""

from __future__ import annotations

import pytest

from twistedkv.errors import ConfigurationError
from twistedkv.watermarks import NO_LIMITS, Eviction, Level, Limits


def test_levels_are_in_order_and_nothing_is_limited_unless_told():
    assert Level.OK < Level.LOW < Level.HIGH
    assert (NO_LIMITS.memory_bytes, NO_LIMITS.disk_bytes, NO_LIMITS.eviction) == (0, 0, Eviction.NONE)


@pytest.mark.parametrize(("low", "high"), [(0, 0.5), (0.5, 0.5), (0.9, 0.8), (0.8, 1.01), (-1, 0.5)])
def test_marks_in_no_order_are_refused(low: float, high: float):
    with pytest.raises(ConfigurationError, match="the low one below the high one"):
        Limits(low=low, high=high)
