"""The cluster map in the terms of Redis Cluster."""

from __future__ import annotations

from types import MappingProxyType

import attrs

from tests.line.scene import plain
from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.line import clusterview
from twistedkv.resp.answers import AnswerDecoder

ONE, TWO, THREE = (Member(n, bytes([n]) * 16) for n in (1, 2, 3))


def server(member: Member, state: ServerState = ServerState.ACTIVE, line_port: int | None = None) -> Server:
    port = 7378 + member.server_id if line_port is None else line_port
    return Server(member.server_id, member.store_id, "10.0.0.1", 1, state, line_port=port)


def shard(number: int, first: int, last: int, primary: Member, *, lost: bool = False) -> Configuration:
    return Configuration(number, first, last, 5 + number, 1, primary, (THREE,), (), False, lost, ())


def a_map(*servers: Server) -> ClusterMap:
    shards = (
        shard(0, 0, 99, ONE),
        shard(1, 100, 199, ONE),
        shard(2, 200, 8191, TWO),
        shard(3, 8192, 16383, ONE),
    )
    return ClusterMap("c", 7, 2, 1, 200, MappingProxyType({each.server_id: each for each in servers}), shards)


WHOLE = a_map(server(ONE), server(TWO), server(THREE))


def read(reply: bytes) -> object:
    (answer,) = AnswerDecoder().feed(reply)
    return plain(answer)


def test_neighbouring_shards_of_a_server_are_one_range() -> None:
    ranges = clusterview.ranges_of(WHOLE)
    assert [(first, last, each.server_id) for first, last, each in ranges] == [
        (0, 199, 1),
        (200, 8191, 2),
        (8192, 16383, 1),
    ]


def test_slots() -> None:
    first = read(clusterview.slots(WHOLE))[0]  # type: ignore[index]
    name = b"00000001" + b"01" * 16
    assert first == [0, 199, [b"10.0.0.1", 7379, name, []]]
    assert len(name) == 40


def test_what_is_not_served_is_shown_where_it_was() -> None:
    failed = a_map(server(ONE), server(TWO, ServerState.FAILED), server(THREE))
    assert clusterview.slots(failed) == clusterview.slots(WHOLE)
    info = clusterview.info(failed, ONE).decode()
    assert "cluster_state:fail\r\n" in info
    assert "cluster_slots_fail:7992\r\n" in info
    serving = [failed.servers[1], failed.servers[3]]
    words = [line.split() for line in clusterview.nodes(failed, serving, ONE).decode().splitlines()]
    assert [(word[2], word[7]) for word in words] == [
        ("myself,master", "connected"),
        ("master,fail", "disconnected"),
        ("master", "connected"),
    ]
    assert words[1][8:] == ["200-8191"]
    nodes = [each[b"nodes"][0] for each in read(clusterview.shards(failed, serving, 3))]  # type: ignore[attr-defined]
    assert [node[b"health"] for node in nodes] == [b"online", b"fail", b"online"]


def test_no_gap_is_made_by_what_is_lost_or_comes_back_without_its_data() -> None:
    without_port = a_map(server(ONE, line_port=0), server(TWO), server(THREE))
    assert [each.server_id for _, _, each in clusterview.ranges_of(without_port)] == [2]
    lost = attrs.evolve(WHOLE, shards=(*WHOLE.shards[:3], shard(3, 8192, 16383, ONE, lost=True)))
    assert clusterview.slots(lost) == clusterview.slots(WHOLE)
    assert "cluster_slots_fail:8192\r\n" in clusterview.info(lost, ONE).decode()
    another = a_map(attrs.evolve(server(ONE), store_id=b"x" * 16), server(TWO), server(THREE))
    assert [each.server_id for _, _, each in clusterview.ranges_of(another)] == [1, 2, 1]
    assert "cluster_slots_ok:7992\r\n" in clusterview.info(another, TWO).decode()


def test_nodes() -> None:
    lines = clusterview.nodes(WHOLE, WHOLE.servers.values(), TWO).decode().splitlines()
    words = [line.split() for line in lines]
    assert words[0][1:] == ["10.0.0.1:7379@17379", "master", "-", "0", "0", "8", "connected", "0-199", "8192-16383"]
    assert words[1][2] == "myself,master"
    assert words[2][8:] == []


def test_info() -> None:
    info = dict(line.split(":") for line in clusterview.info(WHOLE, ONE).decode().split())
    assert (info["cluster_state"], info["cluster_size"], info["cluster_known_nodes"]) == ("ok", "2", "3")
    assert (info["cluster_current_epoch"], info["cluster_my_epoch"]) == ("8", "8")
    assert clusterview.info(ClusterMap.empty(), None).startswith(b"cluster_enabled:1\r\ncluster_state:fail\r\n")


def test_shards() -> None:
    one, two, three = read(clusterview.shards(WHOLE, WHOLE.servers.values(), 3))  # type: ignore[misc]
    assert one[b"slots"] == [0, 199, 8192, 16383]
    assert one[b"nodes"][0][b"role"] == b"master"
    assert (two[b"slots"], three[b"slots"]) == ([200, 8191], [])
