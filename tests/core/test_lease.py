"""The times of a shard stand in the order that the lease argument needs."""

import pytest

from twistedkv.core.lease import Timing
from twistedkv.limits import CLOCK_RATE_ERROR_MAX, PARKED_SECONDS_MAX


@pytest.mark.parametrize("heartbeat", [0.05, 0.2, 1.0, 5.0])
def test_a_lease_has_run_out_before_the_promise_even_by_the_worst_clocks(heartbeat):
    """The primary's clock may be slow by the error, the secondary's fast."""
    timing = Timing.of(heartbeat)
    assert timing.lease / (1 - CLOCK_RATE_ERROR_MAX) <= timing.grace / (1 + CLOCK_RATE_ERROR_MAX)
    assert 0 < timing.heartbeat < timing.lease < timing.grace
    assert timing.lease >= 2 * heartbeat, "one late beat must not cost the lease"


def test_parked_requests_outlast_the_wait_for_the_old_lease():
    """A request that came first in a failover is still there when the new primary serves."""
    assert Timing.of(0.2).parked == PARKED_SECONDS_MAX
    for heartbeat in (0.2, 1.0, 5.0):
        assert Timing.of(heartbeat).parked > Timing.of(heartbeat).grace


def test_all_times_grow_with_the_heartbeat():
    short, long = Timing.of(0.1), Timing.of(10.0)
    for name in ("heartbeat", "lease", "grace", "peer_silence", "switch"):
        assert getattr(long, name) == pytest.approx(100 * getattr(short, name))
