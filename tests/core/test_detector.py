"""The failure detector: missed beats, broken connections, and its own stalls."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from twistedkv.core.detector import FailureDetector, Silence

H = 0.2


def watching(*servers: int) -> FailureDetector:
    detector = FailureDetector(H, 0.0)
    for server in servers:
        detector.heard(server, 0.0)
    return detector


def ticked(detector: FailureDetector, start: float, end: float) -> list[tuple[float, Silence]]:
    """Tick as often as one should, and say when who failed."""
    found = []
    for i in range(round(start / (H / 4)) + 1, round(end / (H / 4)) + 1):
        found += [(i * H / 4, silence) for silence in detector.tick(i * H / 4)]
    return found


def test_five_missed_beats_are_a_failure_and_four_are_not() -> None:
    found = ticked(watching(1), 0, 3)
    assert [(round(when, 3), silence.server_id) for when, silence in found] == [(1.0, 1)]
    assert "5 heartbeats missed" in found[0][1].reason


def test_a_beat_resets_the_count() -> None:
    detector = watching(1)
    assert ticked(detector, 0, 0.9) == []
    detector.heard(1, 0.9)
    assert ticked(detector, 0.9, 1.85) == []
    assert len(ticked(detector, 1.85, 2.0)) == 1


def test_a_failed_server_is_reported_once_and_watched_again_when_it_is_heard() -> None:
    detector = watching(1)
    assert len(ticked(detector, 0, 5)) == 1
    assert detector.since_heard(1, 5.0) is None
    detector.heard(1, 5.0)
    assert detector.since_heard(1, 5.5) == pytest.approx(0.5)
    assert len(ticked(detector, 5, 7)) == 1


def test_a_lost_connection_counts_as_missed_beats_unless_it_is_made_again() -> None:
    detector = watching(1, 2)
    ticked(detector, 0, 0.2)
    detector.connection_lost(1, 0.2)
    detector.connection_lost(2, 0.2)
    assert ticked(detector, 0.2, 0.45) == []
    detector.heard(2, 0.45)
    found = ticked(detector, 0.45, 1.2)
    assert [(round(when, 3), silence.server_id) for when, silence in found] == [(0.6, 1)]
    assert "connection" in found[0][1].reason


def test_who_is_not_watched_cannot_fail() -> None:
    detector = watching(1)
    detector.forget(1)
    detector.connection_lost(1, 0.1)
    assert ticked(detector, 0, 3) == []


@pytest.mark.parametrize("stall", [0.5, 1.0, 60.0, 86400.0])
def test_after_a_stall_of_its_own_it_judges_nobody(stall: float) -> None:
    detector = watching(1, 2)
    ticked(detector, 0, 0.3)
    detector.connection_lost(2, 0.3)
    late = 0.3 + stall
    assert detector.tick(late) == []
    for i in range(1, 7):
        assert detector.tick(late + i * H / 4) == []
    assert {s.server_id for i in range(7, 30) for s in detector.tick(late + i * H / 4)} == {1, 2}


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from("hlft"), st.floats(0, 0.3)), max_size=60))
def test_nobody_is_failed_who_was_heard_of_within_the_time(events: list[tuple[int, str, float]]) -> None:
    detector = FailureDetector(H, 0.0)
    now = 0.0
    heard: dict[int, float] = {}
    lost: set[int] = set()
    for server, event, pause in events:
        now += pause
        if event == "h":
            detector.heard(server, now)
            heard[server] = now
            lost.discard(server)
        elif event == "l":
            detector.connection_lost(server, now)
            lost.add(server)
        elif event == "f":
            detector.forget(server)
            heard.pop(server, None)
        for silence in detector.tick(now):
            limit = 2 * H if silence.server_id in lost else 5 * H
            assert now - heard.pop(silence.server_id) >= limit - 1e-9
