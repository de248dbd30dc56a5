"""Fixtures of the command line's tests."""

import pytest

from tests.cli.fakes import FakeClient


@pytest.fixture
def client() -> FakeClient:
    """A client of an empty cluster."""
    return FakeClient()
