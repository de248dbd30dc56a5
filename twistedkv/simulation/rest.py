"""A cluster at rest: everything whole, all copies equal, nothing pending."""

from __future__ import annotations

from typing import Any

from twistedkv.clustermap import Configuration
from twistedkv.core.dedup import DedupTable
from twistedkv.core.replica import Replica
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.records import is_tombstone, sequence_of
from twistedkv.simulation.cluster import Cluster


def differences(cluster: Cluster) -> list[str]:
    """Sentences that say what is not as it should be."""
    status = cluster.status()
    if not status:
        return ["the coordinator does not run"]
    found = []
    if not status["healthy"]:
        states = {shard["shard"]: shard["state"] for shard in status["shards"] if shard["state"] != "ok"}
        servers = {server["id"]: server["state"] for server in status["servers"] if server["state"] != "active"}
        found.append(f"the cluster is not healthy: shards {states}, servers {servers}, lost {status['lost']}")
    found += [
        f"operation {operation['id']} goes on: {operation['phase']}"
        for operation in status["operations"]
        if operation["state"] == "running"
    ]
    if not found:
        for configuration in cluster.configurations:
            found += _shard_differences(cluster, configuration)
    return found


def _shard_differences(cluster: Cluster, configuration: Configuration) -> list[str]:
    shard = configuration.shard
    found = []
    copies: list[tuple[str, Replica, dict[bytes, bytes]]] = []
    for member in configuration.members:
        core = cluster.core_of(member)
        replica = None if core is None else core.replicas.get(shard)
        name = f"shard {shard}, server {member.server_id}"
        if core is None or replica is None:
            return [f"{name}: there is no copy"]
        leads = member == configuration.primary
        role = ReplicaRole.PRIMARY if leads else ReplicaRole.SECONDARY
        if (replica.role, replica.epoch) != (role, configuration.epoch):
            found.append(f"{name}: is {replica.role.name} in epoch {replica.epoch}, not {configuration.epoch}")
        if replica.commit != sequence_of(replica.last):
            found.append(f"{name}: commit {replica.commit}, last {sequence_of(replica.last)}")
        if not replica.serving.idle:
            found.append(f"{name}: somebody waits")
        if leads and (replica.unsent or replica.log.bytes):
            found.append(f"{name}: the log is not empty")
        store: Any = core.store
        records = store.held(configuration.slots)
        if any(is_tombstone(record) for record in records.values()):
            found.append(f"{name}: a tombstone is left")
        copies.append((name, replica, records))
    first, replica, records = copies[0]
    for name, other, other_records in copies[1:]:
        if other.last != replica.last:
            found.append(f"{name} is at {other.last}, {first} at {replica.last}")
        if other_records != records:
            different = sorted(key for key in {*records, *other_records} if records.get(key) != other_records.get(key))
            found.append(f"{name} and {first} differ at {different[:3]}")
        if remembered(other.dedup) != remembered(replica.dedup):
            found.append(f"{name} and {first} remember different writes of clients")
    return found


def remembered(table: DedupTable) -> dict[bytes, Any]:
    """A dedup table, so that it can be compared."""
    sessions = table._sessions
    return {client: (session.oldest, session.last, dict(session.results)) for client, session in sessions.items()}
