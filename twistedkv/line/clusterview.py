"""CLUSTER: the cluster map in the terms of Redis Cluster, for clients that go to the owner of a key themselves.

A server of ours is primary of some shards and secondary of others, which a node of Redis Cluster cannot be. So every
server is shown as a master with the slots of which it is primary, and copies are not shown as replicas: no client may
take a server for only that. How many copies there are is told by `twistedkv status`.

Slots that nobody serves for the moment are shown where they were last. Redis does the same, and clients refuse a list
of slots that has gaps, as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable

from twistedkv.clustermap import ClusterMap, Configuration, Member, Server, ServerState
from twistedkv.limits import SLOTS
from twistedkv.resp import replies

_BUS_OFFSET = 10_000


def node_id(member: Member) -> bytes:
    """The name of a server with its data, of 40 hexadecimal digits."""
    return f"{member.server_id:08x}{member.store_id.hex()}".encode()


def served(cluster_map: ClusterMap, shard: Configuration) -> Server | None:
    """The server that has the shard, if that is known to live."""
    server = cluster_map.server_of(shard.primary)
    if server is None or shard.lost or server.state is ServerState.FAILED or not server.line_port:
        return None
    return server


def ranges_of(cluster_map: ClusterMap) -> list[tuple[int, int, Server]]:
    """(first slot, last slot, server) of all slots, neighbours of one server together."""
    ranges: list[tuple[int, int, Server]] = []
    for shard in cluster_map.shards:
        server = cluster_map.servers.get(shard.primary.server_id)
        if server is None or not server.line_port:
            continue
        if ranges and ranges[-1][2] == server and ranges[-1][1] + 1 == shard.first_slot:
            ranges[-1] = (ranges[-1][0], shard.last_slot, server)
        else:
            ranges.append((shard.first_slot, shard.last_slot, server))
    return ranges


def _with_owners(servers: Iterable[Server], ranges: list[tuple[int, int, Server]]) -> list[Server]:
    """These servers and those of the ranges, by id."""
    found = {server.server_id: server for server in (*servers, *(server for _, _, server in ranges))}
    return [found[server_id] for server_id in sorted(found)]


def slots(cluster_map: ClusterMap) -> bytes:
    """CLUSTER SLOTS"""
    return replies.array(
        [
            replies.array(
                [
                    replies.integer(first),
                    replies.integer(last),
                    replies.array(
                        [
                            replies.bulk(server.host.encode()),
                            replies.integer(server.line_port),
                            replies.bulk(node_id(server.member)),
                            replies.EMPTY_ARRAY,
                        ]
                    ),
                ]
            )
            for first, last, server in ranges_of(cluster_map)
        ]
    )


def shards(cluster_map: ClusterMap, servers: Iterable[Server], protocol: int) -> bytes:
    """CLUSTER SHARDS: of each server its slots."""
    ranges = ranges_of(cluster_map)
    found = []
    for server in _with_owners(servers, ranges):
        own = [replies.integer(slot) for first, last, each in ranges if each == server for slot in (first, last)]
        node = {
            b"id": replies.bulk(node_id(server.member)),
            b"port": replies.integer(server.line_port),
            b"ip": replies.bulk(server.host.encode()),
            b"endpoint": replies.bulk(server.host.encode()),
            b"role": replies.bulk(b"master"),
            b"replication-offset": replies.integer(0),
            b"health": replies.bulk(b"fail" if server.state is ServerState.FAILED else b"online"),
        }
        pairs = {b"slots": replies.array(own), b"nodes": replies.array([replies.mapping(node, protocol)])}
        found.append(replies.mapping(pairs, protocol))
    return replies.array(found)


def nodes(cluster_map: ClusterMap, servers: Iterable[Server], me: Member | None) -> bytes:
    """The lines of CLUSTER NODES."""
    ranges = ranges_of(cluster_map)
    lines = []
    for server in _with_owners(servers, ranges):
        failed = server.state is ServerState.FAILED
        epochs = [shard.epoch for shard in cluster_map.shards if shard.primary == server.member]
        own = [str(first) if first == last else f"{first}-{last}" for first, last, each in ranges if each == server]
        flags = "myself,master" if server.member == me else "master,fail" if failed else "master"
        bus = min(server.line_port + _BUS_OFFSET, 65535)
        address = f"{server.host}:{server.line_port}@{bus}"
        words = [
            node_id(server.member).decode(),
            address,
            flags,
            "-",
            "0",
            "0",
            str(max(epochs, default=0)),
            "disconnected" if failed else "connected",
        ]
        lines.append(" ".join([*words, *own]) + "\n")
    return "".join(lines).encode()


def info(cluster_map: ClusterMap, me: Member | None) -> bytes:
    """The lines of CLUSTER INFO."""
    assigned = sum(len(shard.slots) for shard in cluster_map.shards)
    served_shards = [shard for shard in cluster_map.shards if served(cluster_map, shard) is not None]
    served_slots = sum(len(shard.slots) for shard in served_shards)
    primaries = {shard.primary for shard in served_shards}
    epochs = [shard.epoch for shard in cluster_map.shards]
    own = [shard.epoch for shard in cluster_map.shards if shard.primary == me]
    fields = {
        "cluster_enabled": 1,
        "cluster_state": "ok" if served_slots == SLOTS else "fail",
        "cluster_slots_assigned": assigned,
        "cluster_slots_ok": served_slots,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": assigned - served_slots,
        "cluster_known_nodes": len(cluster_map.servers),
        "cluster_size": len(primaries),
        "cluster_current_epoch": max(epochs, default=0),
        "cluster_my_epoch": max(own, default=0),
        "cluster_stats_messages_sent": 0,
        "cluster_stats_messages_received": 0,
        "total_cluster_links_buffer_limit_exceeded": 0,
    }
    return "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()
