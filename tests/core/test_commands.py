"""Commands and status, as far as test_recovery does not have them."""

from __future__ import annotations

import json

import attrs
import pytest

from tests.support.planning import SETTINGS, World
from twistedkv.core import commands
from twistedkv.errors import InvalidRequest


def test_status_of_an_unformed_and_of_a_healthy_cluster_is_json() -> None:
    world = World()
    world.start(1)
    empty = commands.status(world.planner.state, world.now)
    assert not empty["healthy"]
    assert empty["shards"] == []
    assert empty["servers"][0]["state"] == "active"
    world.start(2), world.start(3)
    world.settle()
    status = json.loads(json.dumps(commands.status(world.planner.state, world.now)))
    assert status["healthy"]
    assert status["cluster"] == "test"
    assert [s["primaries"] for s in status["servers"]] == [2, 2, 2]
    assert [s["secondaries"] for s in status["servers"]] == [2, 2, 2]
    assert status["shards"][0] == {
        "shard": 0,
        "slots": [0, 2729],
        "epoch": 1,
        "primary": 1,
        "secondaries": [2],
        "learners": [],
        "preferred": [1, 2],
        "state": "ok",
        "bytes": 0,
        "last": 0,
        "commit": 0,
    }


def test_the_states_of_shards_have_names() -> None:
    world = World(attrs.evolve(SETTINGS, replace_after_seconds=1000.0))
    servers = world.form()
    c = world.configuration(0)
    world.kill(servers[0], reaped=True)
    states = {row["state"] for row in commands.status(world.planner.state, world.now)["shards"]}
    assert states == {"sealing", "degraded", "ok"}
    world.start(1)
    seen = set()
    for _ in range(20):
        for server in world.servers:
            world.deliver(server)
            world.beat(server)
        seen |= {row["state"] for row in commands.status(world.planner.state, world.now)["shards"]}
    assert "filling" in seen
    world.settle(2)
    _, step = world.planner.switch(c.shard, c.secondaries[0].server_id, world.now)
    world.do(step)
    assert commands.status(world.planner.state, world.now)["shards"][c.shard]["state"] == "switching"


@pytest.mark.parametrize("action", ["lost", "sealing", "switching", "filling"])
def test_a_switch_waits_for_what_is_under_way(action: str) -> None:
    world = World(attrs.evolve(SETTINGS, replace_after_seconds=1000.0))
    world.form()
    c = world.configuration(0)
    if action == "lost":
        for member in c.members:
            world.kill(next(s for s in world.servers if s.member == member), reaped=True)
    elif action == "sealing":
        world.kill(next(s for s in world.servers if s.member == c.primary), reaped=True)
    elif action == "switching":
        world.do(world.planner.switch(0, c.secondaries[0].server_id, world.now)[1])
    else:
        world.kill(next(s for s in world.servers if s.member == c.secondaries[0]), reaped=True)
        world.start(c.secondaries[0].server_id)
        while not world.configuration(0).learners:
            for server in world.servers:
                world.beat(server)
    with pytest.raises(InvalidRequest, match=r"LOST|failing over|being switched|being filled"):
        world.planner.switch(0, c.secondaries[0].server_id, world.now)


def test_a_switch_to_the_primary_makes_it_the_preferred_one() -> None:
    world = World()
    world.form()
    c = world.configuration(0)
    world.do(world.planner.switch(0, c.secondaries[0].server_id, world.now)[1])
    for server in world.servers:
        world.deliver(server)
    world.planner.state.shards[0] = attrs.evolve(world.configuration(0), preferred=c.preferred)
    operation, step = world.planner.switch(0, world.configuration(0).primary.server_id, world.now)
    assert operation is None
    assert step.change.shards[0].preferred[0] == world.configuration(0).primary.server_id


def test_the_loss_of_a_shard_that_is_coming_back_is_not_accepted() -> None:
    world = World(attrs.evolve(SETTINGS, copies=1))
    servers = world.form()
    servers[0].frozen = True
    world.settle(1.5)
    lost = [c.shard for c in world.planner.map.shards if c.lost]
    assert len(lost) == 2
    servers[0].frozen = False
    world.beat(servers[0])
    with pytest.raises(InvalidRequest, match="taken back"):
        world.planner.accept_loss(lost[0], world.now)
    accepted, _ = world.planner.accept_loss(None, world.now)
    assert accepted == []
    world.settle(1)
    assert commands.healthy(world.planner.state)


def test_accepting_a_loss_needs_a_shard_and_a_server() -> None:
    world = World(attrs.evolve(SETTINGS, copies=1, servers=1))
    world.form()
    with pytest.raises(InvalidRequest, match="there is no shard 99"):
        world.planner.accept_loss(99, world.now)
    world.kill(world.servers[0], reaped=True)
    with pytest.raises(InvalidRequest, match="start one first"):
        world.planner.accept_loss(None, world.now)


def test_the_map_as_json() -> None:
    world = World()
    world.form()
    plain = json.loads(json.dumps(commands.map_json(world.planner.map)))
    assert plain["version"] == world.planner.map.version
    assert plain["servers"][0]["state"] == "active"
    assert plain["shards"][0]["primary"] == {"server_id": 1, "store_id": world.servers[0].store_id.hex()}
