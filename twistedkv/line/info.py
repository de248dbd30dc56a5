"""INFO: what this server is and does, in the sections and under the names that tools read."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Callable

from twistedkv.line.clusterview import node_id
from twistedkv.line.desk import Desk
from twistedkv.messages.coordinator import ReplicaRole
from twistedkv.service.freed import resident_bytes
from twistedkv.watermarks import Eviction

REDIS_VERSION = "7.0.15"
"""Whose commands and replies these are."""
_ALL = (b"all", b"everything", b"default")
_POLICIES = {Eviction.NONE: "noeviction", Eviction.LRU: "allkeys-lru", Eviction.TTL: "volatile-ttl"}
_Fields = dict[str, object]


def sections(desk: Desk, wanted: list[bytes]) -> bytes:
    """The sections that are named (none: all), each with its title."""
    names = [each.lower() for each in wanted]
    chosen = list(_SECTIONS) if not names or any(name in _ALL for name in names) else names
    texts = []
    for name in dict.fromkeys(chosen):
        fields = _SECTIONS.get(name)
        if fields is not None:
            lines = [f"# {_TITLES.get(name, name.decode().capitalize())}"]
            lines += [f"{key}:{value}" for key, value in fields(desk).items()]
            texts.append("\r\n".join(lines) + "\r\n")
    return "\r\n".join(texts).encode()


def _server(desk: Desk) -> _Fields:
    server = desk.server
    up = int(desk.now() - desk.started_at)
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "cluster",
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "arch_bits": 64 if sys.maxsize > 2**32 else 32,
        "multiplexing_api": type(server.reactor).__name__,
        "process_id": server.pid,
        "run_id": "" if server.core is None else node_id(server.core.me).decode(),
        "tcp_port": server.line_port,
        "server_time_usec": desk.wall() * 1000,
        "uptime_in_seconds": up,
        "uptime_in_days": up // 86400,
        "twistedkv_server": server.server_id,
        "twistedkv_cluster": desk.map.cluster,
        "twistedkv_map_version": desk.map.version,
    }


def _clients(desk: Desk) -> _Fields:
    return {
        "connected_clients": len(desk.conversations),
        "cluster_connections": 0,
        "maxclients": desk.connections_max,
        "blocked_clients": sum(each.held_up for each in desk.conversations.values()),
    }


def _memory(desk: Desk) -> _Fields:
    core = desk.server.core
    stored = 0 if core is None else core.store.bytes_stored
    used = 0 if core is None else core.space.memory.used
    limit = desk.server.options.limits.memory_bytes
    return {
        "used_memory": used,
        "used_memory_human": _human(used),
        "used_memory_rss": resident_bytes(),
        "used_memory_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "used_memory_dataset": stored,
        "maxmemory": limit,
        "maxmemory_human": _human(limit),
        "maxmemory_policy": policy_of(desk),
        "twistedkv_space": "ok" if core is None else core.space.level.name.lower(),
        "twistedkv_disk_used": 0 if core is None else core.space.disk.used,
        "twistedkv_disk_limit": 0 if core is None else core.space.disk.limit,
    }


def policy_of(desk: Desk) -> str:
    """What is removed when memory is full, as Redis calls it."""
    return _POLICIES[desk.server.options.limits.eviction]


def _persistence(desk: Desk) -> _Fields:
    core = desk.server.core
    return {
        "loading": 0,
        "twistedkv_engine": desk.server.options.engine,
        "twistedkv_durability": desk.server.options.durability if desk.server.options.engine != "memory" else "none",
        "async_loading": 0,
        "twistedkv_scrubbed_slots": 0 if core is None else core.scrub.slots,
        "twistedkv_mended_keys": 0 if core is None else core.scrub.mended,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
    }


def _stats(desk: Desk) -> _Fields:
    return {
        "total_connections_received": desk.connections,
        "total_commands_processed": desk.commands,
        "instantaneous_ops_per_sec": desk.commands_each_second,
        "rejected_connections": desk.rejected,
        "expired_keys": 0,
        "evicted_keys": 0 if desk.server.core is None else desk.server.core.space.evicted,
        "keyspace_hits": 0,
        "keyspace_misses": 0,
    }


def _replication(desk: Desk) -> _Fields:
    core = desk.server.core
    replicas = [] if core is None else list(core.replicas.values())
    return {
        "role": "master",
        "connected_slaves": 0,
        "master_replid": "0" * 40 if core is None else node_id(core.me).decode(),
        "master_repl_offset": sum(replica.sequence for replica in replicas if replica.role is ReplicaRole.PRIMARY),
        "twistedkv_primary_of": sum(replica.role is ReplicaRole.PRIMARY for replica in replicas),
        "twistedkv_secondary_of": sum(replica.role is ReplicaRole.SECONDARY for replica in replicas),
        "twistedkv_copies": desk.map.copies,
    }


def _cpu(desk: Desk) -> _Fields:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"used_cpu_sys": f"{used.ru_stime:.6f}", "used_cpu_user": f"{used.ru_utime:.6f}"}


def _cluster(desk: Desk) -> _Fields:
    return {"cluster_enabled": 1}


def _keyspace(desk: Desk) -> _Fields:
    """Of the shards of which this server is primary. What is asked for every few seconds must not hold it up, so the
    keys of a durable store are reckoned; DBSIZE counts them."""
    core = desk.server.core
    replicas = [] if core is None else [r for r in core.replicas.values() if r.role is ReplicaRole.PRIMARY]
    slots = [replica.configuration.slots for replica in replicas if replica.configuration is not None]
    held = sum(map(core.store.reckon, slots)) if core is not None else 0
    keys = max(0, held - sum(replica.deletions.buried() for replica in replicas))
    expires = sum(len(replica.expiries) for replica in replicas)
    return {"db0": f"keys={keys},expires={expires},avg_ttl=0"} if keys else {}


_SECTIONS: dict[bytes, Callable[[Desk], _Fields]] = {
    b"server": _server,
    b"clients": _clients,
    b"memory": _memory,
    b"persistence": _persistence,
    b"stats": _stats,
    b"replication": _replication,
    b"cpu": _cpu,
    b"cluster": _cluster,
    b"keyspace": _keyspace,
}
_TITLES = {b"cpu": "CPU"}


def _human(size: float) -> str:
    for unit in "BKMG":
        if size < 1024 or unit == "G":
            return f"{size:.2f}{unit}" if unit != "B" else f"{size:.0f}B"
        size /= 1024
    return ""
