"""Sizes and marks as they are written, and as they are passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.service.config import server_options
from twistedkv.service.space import size, space_arguments
from twistedkv.watermarks import Eviction, Limits


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((0, 0), ("0", 0), (1000, 1000), ("512MB", 512_000_000), ("512mb", 512_000_000), ("512M", 512_000_000)),
        *(("2GiB", 2**31), ("2gib", 2**31), ("1.5KiB", 1536), (" 1 TB ", 10**12), ("64 KiB", 65536), ("7B", 7)),
    ],
)
def test_sizes(value: object, expected: int) -> None:
    assert size(value) == expected


@pytest.mark.parametrize("value", ["", "MB", "1iB", "-1", "1PB", "1e3", "12 apples", 1.5, True, None, -3, "9999999TB"])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="as in 512MB"):
        size(value)


@given(
    st.integers(0, 2**40), st.integers(0, 2**40), st.sampled_from(Eviction), st.sampled_from([(0.8, 0.95), (0.5, 1)])
)
def test_a_server_that_is_started_gets_the_limits_that_were_given(
    memory: int, disk: int, eviction: Eviction, marks: tuple[float, float]
) -> None:
    limits = Limits(memory or 1, disk, *marks, eviction=eviction)
    given = dict(argument.removeprefix("--").split("=") for argument in space_arguments(limits))
    assert server_options(given).limits == limits
