"""Placement: even, spread, never two copies on one server, and as few moves as can be."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from twistedkv.core.placement import (
    copies_held,
    initial,
    primaries_held,
    rebalanced,
    replaced,
    resized,
    taken_over,
)


@given(st.integers(1, 9), st.integers(1, 60), st.integers(1, 4))
def test_the_initial_placement_is_even_and_spread(count: int, shards: int, copies: int) -> None:
    servers = list(range(11, 11 + count))
    placement = dict(enumerate(initial(servers, shards, copies)))
    assert all(len(set(p)) == len(p) == min(copies, count) for p in placement.values())
    primaries = [primaries_held(placement).get(server, 0) for server in servers]
    assert max(primaries) - min(primaries) <= 1
    held = [copies_held(placement).get(server, 0) for server in servers]
    assert max(held) - min(held) <= 1
    if shards % (count * max(1, count - 1)) == 0:
        for failed in servers:
            heirs = Counter(p[1] for p in placement.values() if p[0] == failed and len(p) > 1)
            assert not heirs or max(heirs.values()) - min(heirs.values()) <= min(copies, count) - 1
            assert copies == 1 or count == 1 or len(heirs) == count - 1


def test_the_default_cluster_spreads_each_servers_load_over_both_others() -> None:
    placement = initial([1, 2, 3], 12, 2)
    for failed in (1, 2, 3):
        assert Counter(p[1] for p in placement if p[0] == failed) == {i: 2 for i in (1, 2, 3) if i != failed}


def test_a_placement_needs_a_server() -> None:
    with pytest.raises(ValueError, match="at least one"):
        initial([], 3, 2)


def test_a_successor_takes_the_very_place() -> None:
    assert replaced((1, 2, 3), 2, 9) == (1, 9, 3)
    assert replaced((1, 2, 3), 2, 3) == (1, 3)
    assert replaced((1, 2), 7, 9) == (1, 2)


@given(st.integers(2, 8), st.integers(1, 40), st.integers(1, 3))
def test_survivors_take_over_evenly(count: int, shards: int, copies: int) -> None:
    servers = list(range(1, count + 1))
    placement = dict(enumerate(initial(servers, shards, copies)))
    failed = servers[0]
    survivors = servers[1:]
    changes = taken_over(placement, failed, survivors, copies)
    after = placement | changes
    assert set(changes) == {shard for shard, p in placement.items() if failed in p}
    for shard, preferred in after.items():
        assert failed not in preferred
        assert len(set(preferred)) == len(preferred)
        assert len(preferred) == min(copies, count - 1) or len(preferred) == min(copies, len(survivors))
        kept = [server for server in placement[shard] if server != failed]
        assert set(kept) <= set(preferred), "nothing is moved that need not be"
    if copies < count:
        held = [copies_held(after).get(server, 0) for server in survivors]
        assert max(held) - min(held) <= max(2, copies)


def test_nobody_is_left_to_take_over() -> None:
    assert taken_over({0: (1,)}, 1, [], 1) == {}
    assert taken_over({0: (1, 2)}, 1, [2], 2) == {0: (2,)}


def test_the_primarys_role_goes_to_the_holder_with_the_fewest() -> None:
    placement = {0: (1, 2, 3), 1: (2, 3, 4), 2: (2, 4, 3)}
    assert taken_over(placement, 1, [2, 3, 4], 3)[0] == (3, 2, 4)


@given(st.integers(1, 6), st.integers(1, 24), st.integers(1, 3), st.integers(1, 4))
def test_resizing_gives_each_shard_its_copies(count: int, shards: int, before: int, after: int) -> None:
    servers = list(range(1, count + 1))
    placement = dict(enumerate(initial(servers, shards, before)))
    new = placement | resized(placement, servers, after)
    for shard, preferred in new.items():
        assert len(set(preferred)) == len(preferred) == min(after, count)
        shorter = min(len(preferred), len(placement[shard]))
        assert preferred[:shorter] == placement[shard][:shorter]


@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 40), st.integers(1, 3))
def test_newcomers_get_their_share_with_the_fewest_moves(old: int, new: int, shards: int, copies: int) -> None:
    servers = list(range(1, old + 1))
    placement = dict(enumerate(initial(servers, shards, copies)))
    everybody = [*servers, *range(101, 101 + new)]
    changes = rebalanced(placement, everybody)
    after = placement | changes
    held = {server: copies_held(after).get(server, 0) for server in everybody}
    share = sum(held.values()) // len(everybody)
    moved = sum(len(set(after[s]) - set(placement[s])) for s in placement)
    assert all(len(set(p)) == len(p) for p in after.values())
    assert all(held[server] <= max(share, 0) for server in everybody if server > 100)
    assert moved == sum(held[server] for server in everybody if server > 100), "only newcomers are given anything"
    if copies <= old:
        assert all(held[server] >= share for server in everybody), "and they are given all that is due to them"
    assert rebalanced(after, everybody) == {} or moved == 0


def test_a_newcomer_gets_its_share_of_the_primaries() -> None:
    placement = dict(enumerate(initial([1, 2, 3], 12, 2)))
    after = placement | rebalanced(placement, [1, 2, 3, 4])
    assert primaries_held(after) == {1: 3, 2: 3, 3: 3, 4: 3}
    assert copies_held(after) == {1: 6, 2: 6, 3: 6, 4: 6}


def test_an_operators_choice_of_primaries_is_left_alone() -> None:
    placement = {0: (1, 2), 1: (1, 2), 2: (1, 2)}
    assert rebalanced(placement, [1, 2]) == {}
    assert rebalanced({}, []) == {}


def test_a_server_that_came_for_a_failed_one_gets_roles_when_that_one_is_back() -> None:
    """Three shards led by server 1, none by server 3, which took over copies and no roles; server 2 returns."""
    before = {0: (1, 3), 1: (1, 3), 2: (1, 3), 3: (1, 3)}
    after = before | rebalanced(before, [1, 2, 3])
    assert sorted(Counter(preferred[0] for preferred in after.values()).values()) == [1, 1, 2]
    assert set(Counter(server for preferred in after.values() for server in preferred).values()) <= {2, 3}
