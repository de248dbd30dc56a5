"""Maps merge to the same whatever the order and number of the updates."""

from __future__ import annotations

from types import MappingProxyType

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.limits import SLOTS
from twistedkv.slots import slot_of, slot_ranges

SHARDS = 4


def store(number: int) -> bytes:
    return bytes([number]) * 16


def configuration(shard: int, epoch: int) -> Configuration:
    """The one configuration that this epoch of the shard names (I1)."""
    first, last = slot_ranges(SHARDS)[shard]
    primary, secondary = 1 + (shard + epoch) % 3, 1 + (shard + epoch + 1) % 3
    return Configuration(
        shard=shard,
        first_slot=first,
        last_slot=last,
        epoch=epoch,
        birth=1,
        primary=Member(primary, store(primary)),
        secondaries=(Member(secondary, store(secondary)),),
        learners=(),
        released=False,
        lost=False,
        preferred=(primary, secondary),
    )


def servers(version: int) -> MappingProxyType[int, Server]:
    """The one set of servers that this version of the map has."""
    state = [ServerState.ACTIVE, ServerState.FAILED][version % 2]
    return MappingProxyType(
        {1: Server(1, store(version % 256), "h", 1, state), 2 + version % 3: Server(2, b"", "h", 2, state)}
    )


def cluster_map(version: int, epochs: dict[int, int]) -> ClusterMap:
    shards = tuple(configuration(shard, epoch) for shard, epoch in sorted(epochs.items()))
    return ClusterMap("c", version, 2, 1, 200, servers(version), shards)


maps = st.builds(
    cluster_map, st.integers(0, 6), st.dictionaries(st.integers(0, SHARDS - 1), st.integers(1, 6), max_size=SHARDS)
)


@given(maps, maps)
def test_merging_is_commutative(a: ClusterMap, b: ClusterMap) -> None:
    assert a.merged(b) == b.merged(a)


@given(maps, maps, maps)
def test_merging_is_associative(a: ClusterMap, b: ClusterMap, c: ClusterMap) -> None:
    assert a.merged(b).merged(c) == a.merged(b.merged(c))


@given(maps, maps)
def test_merging_again_changes_nothing(a: ClusterMap, b: ClusterMap) -> None:
    assert a.merged(a) == a
    assert a.merged(b).merged(b) == a.merged(b)


@given(st.lists(maps, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_each_shard_ends_with_its_largest_epoch_in_any_order(many: list[ClusterMap], order: object) -> None:
    known = ClusterMap.empty("c")
    shuffled = list(many) * 2
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    for update in shuffled:
        known = known.merged(update)
    largest: dict[int, int] = {}
    for one in many:
        for shard in one.shards:
            largest[shard.shard] = max(largest.get(shard.shard, 0), shard.epoch)
    assert {shard.shard: shard.epoch for shard in known.shards} == largest
    assert known.version == max(one.version for one in many)


@given(maps)
def test_an_older_update_takes_nothing_back(a: ClusterMap) -> None:
    older = cluster_map(0, {shard.shard: shard.epoch - 1 for shard in a.shards})
    assert a.merged(older).shards == a.shards


def test_the_next_map_has_what_was_changed_and_the_next_version() -> None:
    before = cluster_map(3, {0: 1, 1: 1})
    new_server = Server(9, store(9), "h", 9, ServerState.STANDBY)
    after = before.changed(servers=[new_server], shards=[configuration(1, 2)])
    assert after.version == 4
    assert after.servers[9] is new_server
    assert [shard.epoch for shard in after.shards] == [1, 2]
    assert [shard.epoch for shard in before.shards] == [1, 1]
    assert 9 not in before.servers
    assert before.changed(version=77).version == 77


def test_a_map_is_immutable() -> None:
    whole = cluster_map(1, {0: 1})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        whole.version = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        whole.servers[1] = None  # type: ignore[index]


def test_the_slot_table_names_the_shard_that_has_the_slot() -> None:
    whole = cluster_map(1, dict.fromkeys(range(SHARDS), 1))
    table = whole.slot_table()
    assert len(table) == SLOTS
    for slot in [0, 4095, 4096, 8191, 8192, SLOTS - 1, slot_of(b"foo")]:
        assert slot in whole.shards[table[slot]].slots
    assert ClusterMap.empty().slot_table() == []


def test_a_member_is_found_only_as_long_as_its_server_has_its_data() -> None:
    whole = ClusterMap.empty().changed(servers=[Server(1, store(1), "10.0.0.1", 7401, ServerState.ACTIVE)])
    found = whole.server_of(Member(1, store(1)))
    assert found is not None
    assert (found.address, found.member) == ("10.0.0.1:7401", Member(1, store(1)))
    assert whole.server_of(Member(1, store(2))) is None
    assert whole.server_of(Member(2, store(1))) is None


def test_members_and_everyone() -> None:
    one = attrs.evolve(configuration(0, 1), learners=(Member(9, store(9)),))
    assert one.members == (one.primary, *one.secondaries)
    assert one.everyone == (*one.members, Member(9, store(9)))
    assert str(Member(9, store(9))) == "9/090909"
