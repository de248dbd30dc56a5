"""The cluster map and what it is made of, on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.support.strategies import of_layout
from tests.wire.examples import CONFIGURATION as EXAMPLE
from tests.wire.examples import STORE_A
from twistedkv.clustermap import ClusterMap, Server, ServerState
from twistedkv.errors import ProtocolError
from twistedkv.limits import FRAME_BYTES_MAX, SERVERS_MAX, SHARDS_MAX
from twistedkv.slots import slot_ranges
from twistedkv.wire.shared import CLUSTER_MAP, CONFIGURATION, SERVER


@given(of_layout(CLUSTER_MAP))
def test_a_map_that_was_decoded_is_immutable_like_the_first(cluster_map: ClusterMap) -> None:
    decoded = CLUSTER_MAP.decode(CLUSTER_MAP.encode(cluster_map))
    assert decoded == cluster_map
    assert type(decoded.shards) is tuple
    with pytest.raises(TypeError):
        decoded.servers[1] = None  # type: ignore[index]


def test_a_decoded_configuration_can_be_a_key() -> None:
    decoded = CONFIGURATION.decode(CONFIGURATION.encode(EXAMPLE))
    assert {decoded: 1}[EXAMPLE] == 1


def test_an_unknown_state_of_a_server_is_refused() -> None:
    body = bytearray(SERVER.encode(Server(1, STORE_A, "h", 1, ServerState.ACTIVE)))
    body[-9] = 99
    with pytest.raises(ProtocolError, match="ServerState"):
        SERVER.decode(bytes(body))


def test_the_largest_map_fits_in_a_frame() -> None:
    import attrs

    shards = [
        attrs.evolve(EXAMPLE, shard=shard, first_slot=first, last_slot=last, secondaries=(EXAMPLE.primary,) * 7)
        for shard, (first, last) in enumerate(slot_ranges(SHARDS_MAX))
    ]
    servers = [
        Server(number, STORE_A, "a" * 255, 65535, ServerState.ACTIVE, 2**32 - 1, 65535, 65535)
        for number in range(1, SERVERS_MAX + 1)
    ]
    whole = ClusterMap.empty("x" * 64).changed(servers=servers, shards=shards)
    assert len(CLUSTER_MAP.encode(whole)) <= FRAME_BYTES_MAX
