"""A cluster for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.line.scene import Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Three servers that serve."""
    made = Scene()
    yield made
    made.end()
