"""Replication under random schedules: nothing acknowledged is lost, nothing is read stale, nothing is done twice."""

from collections import Counter

import pytest

from tests.support.cores import CoreCluster

STEPS = 1500


def run(seed: int, copies: int, servers: int) -> CoreCluster:
    """One random run, checked to its end."""
    cluster = CoreCluster(seed, servers=servers, copies=copies)
    cluster.connect()
    for _ in range(STEPS):
        if cluster.random.random() < 0.02:
            cluster.fault()
        cluster.step()
    cluster.settle()
    cluster.check_equal()
    return cluster


@pytest.mark.parametrize(("copies", "servers"), [(2, 4), (3, 5)])
def test_random_schedules(copies: int, servers: int) -> None:
    """And the schedules are not empty of what matters."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        try:
            seen.update(run(seed, copies, servers).seen)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {copies} copies: {error}") from error
    wanted = ["failover", "filled", "switch", "retry", "SUPERSEDED", "WRONG_SERVER", "kill", "freeze", "refused"]
    for what in (*wanted, "transaction", "pair", "expired", "twins", "twin read", "glance"):
        assert seen[what], f"no schedule had any: {what} (seen: {dict(seen)})"
