"""A cluster for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.line.desks import Client, World
from tests.line.scene import Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Three servers that serve."""
    made = Scene()
    yield made
    made.end()


@pytest.fixture
def world() -> World:
    """Clients of shards that answer when the test says so."""
    return World()


@pytest.fixture
def client(world: World) -> Client:
    """One of them."""
    return world.connect()
