"""What a coordinator answers, for the tests of what is made of it."""

from __future__ import annotations

from typing import Any

from twistedkv.records import version_of


def server(server_id: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": server_id,
        "state": "active",
        "address": f"127.0.0.1:{7400 + server_id}",
        "line_port": 7378 + server_id,
        "pid": 4000 + server_id,
        "store": "ab" * 16,
        "last_beat_seconds": 0.123,
        "primaries": 4,
        "secondaries": 4,
        "learners": 0,
        "keys": 20_513,
        "bytes": 12_345_678,
        **changes,
    }


def shard(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "shard": number,
        "slots": [number * 1366, number * 1366 + 1365],
        "epoch": 3,
        "primary": 1,
        "secondaries": [2],
        "learners": [],
        "preferred": [1, 2],
        "state": "ok",
        "last": version_of(3, 5123),
        "commit": version_of(3, 5123),
        **changes,
    }


def operation(**changes: Any) -> dict[str, Any]:
    return {
        "id": "recovery-1",
        "kind": "recovery",
        "server": 3,
        "shards": [1, 2],
        "phase": "USE_SECONDARY",
        "state": "running",
        "started": "2024-05-01T12:00:00.000Z",
        "ended": None,
        "records": 5_000,
        "records_total": 20_000,
        "bytes": 1_000_000,
        "rate_bytes_per_second": 5_242_880,
        "seconds_left": 2.5,
        **changes,
    }


def status(**changes: Any) -> dict[str, Any]:
    return {
        "cluster": "twistedkv",
        "map_version": 42,
        "copies": 2,
        "min_copies": 1,
        "heartbeat_seconds": 0.2,
        "coordinator": {"address": "127.0.0.1:7400", "pid": 4000, "generation": 1, "uptime_seconds": 185.2},
        "healthy": True,
        "servers": [server(1), server(2), server(3)],
        "shards": [shard(i) for i in range(12)],
        "lost": [],
        "operations": [],
        **changes,
    }


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "number": number,
        "time": "2024-05-01T12:00:00.125Z",
        "event": "shard.promoted",
        "text": "shard 0: server 2 is primary",
        "shard": 0,
        "epoch": 5,
        "server": 2,
        "operation": "recovery-1",
        **changes,
    }
