"""The plan: the seed decides it, and it keeps within its bounds."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.history.record import header_line
from twistedkv.torture.plan import (
    AWAY_SECONDS,
    CALM_SECONDS,
    FREEZE_SECONDS,
    GAP_SECONDS,
    KINDS,
    Settings,
    draw_faults,
    lane_chance,
)
from twistedkv.torture.traffic import header_of

LENGTHS = {
    "kill-two": GAP_SECONDS,
    "freeze": FREEZE_SECONDS,
    "kill-coordinator": AWAY_SECONDS,
    "freeze-coordinator": FREEZE_SECONDS,
}

some_settings = st.builds(
    Settings,
    seed=st.integers(0, 1_000_000),
    seconds=st.floats(1, 300),
    servers=st.integers(2, 9),
    copies=st.integers(2, 5),
    shards=st.integers(1, 40),
    pause=st.floats(0.1, 10),
    kinds=st.lists(st.sampled_from(list(KINDS)), unique=True, min_size=1).map(tuple),
)


@given(some_settings)
def test_the_same_settings_give_the_same_faults(settings: Settings) -> None:
    assert draw_faults(settings) == draw_faults(attrs.evolve(settings))


@given(some_settings)
def test_faults_are_in_order_within_the_time_and_of_the_chosen_kinds(settings: Settings) -> None:
    faults = draw_faults(settings)
    times = [fault.at for fault in faults]
    assert times == sorted(times)
    assert all(CALM_SECONDS <= at <= settings.seconds for at in times)
    assert [fault.number for fault in faults] == list(range(1, len(faults) + 1))
    assert {fault.kind for fault in faults} <= set(settings.kinds)
    for fault in faults:
        low, high = LENGTHS.get(fault.kind, (0, 0))
        assert low <= fault.seconds <= high
        assert (0 < fault.server <= settings.servers) == (fault.kind in ("kill", "kill-two", "freeze"))
        assert (0 <= fault.shard < settings.shards) == (fault.kind == "switch")
        if fault.kind == "kill-two":
            assert settings.copies >= 3
            assert fault.second not in (0, fault.server)
        else:
            assert fault.second == 0


def test_another_seed_gives_other_faults_and_all_kinds_are_drawn() -> None:
    plans = [draw_faults(Settings(seed, seconds=600, servers=5, copies=3)) for seed in range(5)]
    assert len({tuple(plan) for plan in plans}) == 5
    assert {fault.kind for fault in plans[0]} == set(KINDS)
    mean = 598 / (sum(map(len, plans)) / 5)
    assert 2 < mean < 3, "2.5 s is what was asked for"


def test_what_is_left_out_does_not_happen() -> None:
    assert {fault.kind for fault in draw_faults(Settings(1, seconds=300, kinds=("switch", "freeze")))} == {
        "switch",
        "freeze",
    }
    assert draw_faults(Settings(1, seconds=300, kinds=("kill-two",))) == []


def test_every_lane_has_a_stream_of_its_own() -> None:
    draws = [[lane_chance(Settings(seed), lane).random() for _ in range(3)] for seed in (1, 2) for lane in (1, 2)]
    assert len({tuple(draw) for draw in draws}) == 4
    assert draws[0] == [lane_chance(Settings(1), 1).random(), *draws[0][1:]]


def test_a_history_says_what_was_planned() -> None:
    settings = Settings(7, seconds=20)
    line = header_line(header_of(settings, draw_faults(settings)))
    assert '"seed":7' in line
    for fault in draw_faults(settings):
        assert f"planned: {fault}" in line
