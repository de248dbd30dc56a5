"""The clock runs on, and a reactor can be made to go by it."""

from __future__ import annotations

from types import SimpleNamespace

from twistedkv import clock


def test_it_never_goes_back() -> None:
    seen = [clock.now() for _ in range(100)]
    assert seen == sorted(seen)


def test_a_reactor_goes_by_it() -> None:
    reactor = SimpleNamespace(seconds=lambda: 0.0)
    clock.use_monotonic_clock(reactor)
    assert reactor.seconds is clock.now
