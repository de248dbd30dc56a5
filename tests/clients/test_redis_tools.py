"""redis-cli and redis-benchmark on a real cluster: the part of `make clients` that is quick and needs no packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import redis_tools
from tests.clients.cluster import LineCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineCluster]:
    """One for all tests of this module."""
    redis_tools.require_tools()
    directory: Path = tmp_path_factory.mktemp("clients")
    with LineCluster(directory) as started:
        started.begin()
        yield started


@pytest.fixture
def empty(cluster: LineCluster) -> LineCluster:
    """Without the keys of the test before."""
    redis_tools.cli(cluster, "FLUSHALL")
    return cluster


def ignored(what: str) -> None:
    """Nobody listens."""


def test_redis_cli_is_answered_as_it_expects(empty: LineCluster) -> None:
    redis_tools.one_by_one(empty, ignored)
    redis_tools.typed(empty, ignored)
    redis_tools.about_cluster(empty, ignored)


def test_redis_cli_loads_and_walks_over_all_keys(empty: LineCluster) -> None:
    redis_tools.loads(empty, ignored, 2_000)


def test_redis_cli_goes_on_when_servers_are_killed(empty: LineCluster) -> None:
    redis_tools.goes_on(empty, ignored)


def test_redis_benchmark_measures(empty: LineCluster) -> None:
    redis_tools.measures(empty, ignored, 500, "-P", "16")
    redis_tools.measures(empty, ignored, 500, "--cluster")


def test_redis_benchmark_notices_nothing_of_another_server_that_is_killed(empty: LineCluster) -> None:
    redis_tools.measures_through_kill(empty, ignored, 25_000)
