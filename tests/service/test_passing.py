"""Who plays which role when a failpoint is passed."""

from __future__ import annotations

import attrs
import pytest
from twisted.logger import globalLogPublisher

from tests.support.planning import SETTINGS, World
from twistedkv.failpoints import ACTIONS, Failpoint, Failpoints
from twistedkv.service.passing import pass_failpoints


@pytest.mark.parametrize("target", ["S_b", "S_c"])
@pytest.mark.parametrize(
    ("name", "moment"),
    [("recovery.detected", "before"), ("recovery.epoch_stored", "stored"), ("recovery.sealed", "done")],
)
def test_from_the_first_step_on_there_are_those_who_hold_the_other_copies(name: str, moment: str, target: str) -> None:
    world = World(attrs.evolve(SETTINGS, servers=4, copies=2))
    servers = world.form()
    world.settle()
    killed: list[tuple[int, int]] = []
    failpoints = Failpoints(Failpoint(name, "kill", target), kill=lambda pid, number: killed.append((pid, number)))
    victim = servers[0]
    step = world.planner.process_ended(1, victim.pid, "killed", world.now)
    pass_failpoints(failpoints, world.planner.state, step, moment)
    assert [number for _, number in killed] == [ACTIONS["kill"]]
    assert killed[0][0] in {server.pid for server in servers[1:]}
    assert not failpoints.armed


def test_a_coordinator_that_kills_itself_says_so_before() -> None:
    said: list[str] = []

    def observe(event: dict[str, object]) -> None:
        said.append(str(event.get("log_format")))

    seen: list[int] = []
    globalLogPublisher.addObserver(observe)
    try:
        point = Failpoint("recovery.sealed", "kill", "coordinator")
        Failpoints(point, kill=lambda pid, number: seen.append(len(said))).passed("recovery.sealed", {})
    finally:
        globalLogPublisher.removeObserver(observe)
    assert (seen, len(said)) == ([1], 1)
