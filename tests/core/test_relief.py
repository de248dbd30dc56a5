"""Servers that are short of space, and what the coordinator does about it."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.planning import SETTINGS, H, ModelServer, World
from twistedkv.clustermap import ServerState
from twistedkv.core.commands import healthy, status
from twistedkv.core.placement import copies_held
from twistedkv.core.relief import SPAWN_SECONDS
from twistedkv.messages.coordinator import Usage
from twistedkv.watermarks import Level

MIB = 1 << 20


def world(servers: int = 3, *, size: int = MIB, limit: int = 10 * MIB, **settings: object) -> World:
    """A cluster of which each shard has so many bytes, and each server so much space. 6 shards, 2 copies."""
    made = World(attrs.evolve(SETTINGS, servers=servers, **settings))
    for shard in range(made.settings.shards):
        made.sizes[shard] = size
    for server in made.form(servers):
        server.limit = limit
    made.settle(1)
    return made


def held(world: World, server_id: int) -> list[int]:
    """Shards of which the server is to have a copy."""
    return [c.shard for c in world.planner.state.shards.values() if server_id in c.preferred]


def moves(world: World) -> list[str]:
    return [text for text in world.events("operation.started") if text.startswith("move")]


def server(world: World, server_id: int) -> ModelServer:
    found = [each for each in world.servers if each.server_id == server_id and each.alive]
    return found[-1]


def whole(world: World) -> bool:
    return healthy(world.planner.state)


def test_a_server_past_its_low_mark_is_relieved_and_the_journal_says_so():
    each = world()
    server(each, 1).more = 4 * MIB + MIB // 2 - 100
    each.settle(6)
    assert len(held(each, 1)) == 3, "one copy of a tenth of the limit was enough"
    assert whole(each)
    assert each.events("space.low") == ["server 1 is past its low mark: 8,912,796 of 10,485,760 bytes of memory"]
    [move] = moves(each)
    assert move == "move of shard 0, 1,048,576 bytes, to server 3: server 1 is past its low mark"
    assert each.events("space.ok") == ["server 1 has room again: 7,864,220 of 10,485,760 bytes of memory"]
    each.settle(10)
    assert len(moves(each)) == 1, "it is not moved back, though the numbers of copies are not even"


def test_the_smallest_copy_that_is_enough_is_moved():
    each = world(limit=20 * MIB)
    for shard, size in enumerate((5, 4, 3, 2, 1, 1)):
        each.sizes[shard] = size * MIB
    each.settle(2)
    mine = held(each, 1)
    own = sum(each.sizes[shard] for shard in mine)
    server(each, 1).more = 16 * MIB + MIB // 2 - own  # to 75 %: 1.5 MiB too much
    each.settle(6)
    [gone] = set(mine) - set(held(each, 1))
    assert each.sizes[gone] == min(each.sizes[shard] for shard in mine if each.sizes[shard] > 1.5 * MIB)


def test_one_copy_is_moved_at_a_time_until_there_is_room():
    each = world()
    server(each, 1).more = 6 * MIB
    most = 0
    for _ in range(80):
        each.settle(H)
        running = [o for o in each.planner.state.operations.values() if o.running]
        most = max(most, len(running))
        assert len(running) <= 1
    assert most == 1
    assert len(held(each, 1)) == 1
    assert whole(each)
    assert sum(copies_held({c.shard: c.preferred for c in each.planner.state.shards.values()}).values()) == 12


def test_a_server_that_is_full_is_given_nothing():
    each = world(4)
    third = server(each, 3)
    third.more = 20 * MIB
    each.settle(H * 2)
    before = set(held(each, 3))
    each.kill(server(each, 4), reaped=True)
    each.settle(8)
    assert set(held(each, 3)) <= before
    assert third.limit and not held(each, 4)


def test_a_move_never_takes_the_taker_past_its_low_mark():
    each = world()
    server(each, 1).more = 5 * MIB
    server(each, 2).more = server(each, 3).more = 3 * MIB + MIB // 2
    each.settle(8)
    assert moves(each) == []
    [shortage] = status(each.planner.state, each.now)["shortages"]
    assert shortage["server"] == 1
    assert shortage["text"].endswith("add a server, raise the limit, or delete something")
    assert each.events("space.helpless") == [shortage["text"]]
    server(each, 1).more = 0
    each.settle(1)
    assert status(each.planner.state, each.now)["shortages"] == []


def test_a_standby_helps():
    each = world()
    standby = each.start(4, standby=True)
    standby.limit = 10 * MIB
    for server_id in (1, 2, 3):
        server(each, server_id).more = 4 * MIB + MIB // 2 - 100
    each.settle(10)
    assert each.events("space.standby")[0].startswith("standby server 4 becomes active: server")
    assert each.state_of(4) is ServerState.ACTIVE
    assert len(held(each, 4)) == 3, "its share, as any newcomer's"
    assert whole(each)
    assert not each.planner.state.shortage.servers


def test_a_server_is_started_when_that_is_allowed_and_no_more_than_that():
    each = world(respawns=True, servers_max=4)
    for server_id in (1, 2, 3):
        server(each, server_id).more = 4 * MIB + MIB // 2 - 100
    each.settle(2)
    assert [step.spawn for step in each.steps if step.spawn] == [[4]]
    assert each.events("space.server")[0].startswith("server 4 is started: server")
    each.start(4).limit = 10 * MIB
    each.settle(10)
    assert len(held(each, 4)) == 3
    for one in each.servers:
        one.more = 8 * MIB
    each.settle(10)
    assert [step.spawn for step in each.steps if step.spawn] == [[4]]
    assert each.events("space.helpless")


def test_a_server_that_was_started_and_does_not_come_is_given_up():
    each = world(respawns=True, servers_max=4)
    for server_id in (1, 2, 3):
        server(each, server_id).more = 4 * MIB + MIB // 2 - 100
    each.settle(2)
    each.now += SPAWN_SECONDS
    each.settle(2)
    assert [step.spawn for step in each.steps if step.spawn] == [[4], [4]]


def test_without_permission_none_is_started():
    each = world()
    for server_id in (1, 2, 3):
        server(each, server_id).more = 8 * MIB
    each.settle(2)
    assert not any(step.spawn for step in each.steps)
    texts = each.events("space.helpless")
    assert any("refuses writes that grow" in text for text in texts)


def test_a_cache_is_full_and_nobody_minds(monkeypatch: pytest.MonkeyPatch):
    each = world(respawns=True, servers_max=5)
    standby = each.start(4, standby=True)
    usage = Usage(memory=96, memory_limit=100, room=-21, spare=-1, level=Level.HIGH, evicts=True)
    monkeypatch.setattr(ModelServer, "usage", lambda one: usage)
    each.settle(3)
    assert standby.server_id == 4 and each.state_of(4) is ServerState.STANDBY
    assert not any(step.spawn for step in each.steps)
    assert each.events("space.helpless") == []
    assert whole(each)
    told = len(each.store.journal(0, 10**6))
    for level in (Level.LOW, Level.HIGH, Level.LOW):
        usage = attrs.evolve(usage, level=level)
        each.settle(1)
    assert len(each.store.journal(0, 10**6)) == told, "that it passes its mark again and again is nothing to tell"


def test_a_copy_that_there_is_no_room_for_is_moved_elsewhere():
    """The server has lost what it held, and something else has taken its space."""
    each = world(4)
    old = server(each, 1)
    each.kill(old, reaped=True)
    new = each.start(1, connect=False)
    new.limit, new.more = 10 * MIB, 9 * MIB + MIB * 3 // 4
    each.connect(new)
    each.beat(new)
    each.settle(20)
    assert whole(each)
    assert held(each, 1) == []


def test_what_is_missing_is_filled_also_past_the_low_mark_but_not_past_the_high_one():
    each = world(2, shards=4)
    old = server(each, 1)
    each.kill(old, reaped=True)
    new = each.start(1, connect=False)
    new.limit, new.more = 10 * MIB, 5 * MIB
    each.connect(new)
    each.beat(new)
    each.settle(5)
    assert whole(each), "4 copies of 1 MiB end at 9 of 10 MiB"
    each.kill(new, reaped=True)
    other = each.start(1, connect=False)
    other.limit, other.more = 10 * MIB, 7 * MIB
    each.connect(other)
    each.beat(other)
    each.settle(5)
    assert not whole(each)
    assert [other.copy(shard).complete for shard in range(4)].count(True) == 2
    other.more = 0
    each.settle(5)
    assert whole(each)


def test_levels_are_learned_again_by_a_coordinator_that_is_restarted():
    each = world()
    server(each, 1).more = 5 * MIB
    server(each, 2).more = server(each, 3).more = 3 * MIB + MIB // 2
    each.settle(2)
    each.restart_coordinator()
    each.settle(3)
    assert list(each.planner.state.shortage.servers) == [1]
    assert len(each.events("space.low")) == 2


CHANGES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 60)), min_size=1, max_size=6)
SIZES = st.lists(st.integers(0, 20), min_size=6, max_size=6)


@settings(max_examples=30, phases=[Phase.explicit, Phase.generate])  # to make an example smaller takes minutes
@given(CHANGES, SIZES)
def test_whatever_is_stored_the_moves_come_to_an_end(changes: list[tuple[int, int]], sizes: list[int]):
    each = world()
    for shard, size in enumerate(sizes):
        each.sizes[shard] = size * MIB // 10
    for server_id, tenths in changes:
        server(each, server_id).more = tenths * MIB // 10
        each.settle(1)
    each.settle(40)
    before = len(moves(each))
    each.settle(20)
    assert len(moves(each)) == before
    assert whole(each)
    for one in each.servers:
        assert one.usage().memory == one.more + sum(each.sizes[shard] for shard in held(each, one.server_id))
