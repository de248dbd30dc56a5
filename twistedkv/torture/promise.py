"""How much the cluster has promised to withstand: of n copies of a shard n - 1 may fail, and not more.

So a server is taken out of service only if each shard that it holds has another copy that is well. Pure: what the
coordinator has answered goes in.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

SILENT_BEATS = 3
"""A server of which so many heartbeats were missed is not well."""


@attrs.frozen
class Look:
    """The coordinator's answers to `status` and `map`, one right after the other."""

    status: dict[str, Any]
    map: dict[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether every shard has all its copies, and its primary where it should be."""
        return bool(self.status["healthy"])

    @property
    def servers(self) -> dict[int, dict[str, Any]]:
        """By id, what `status` says of them."""
        return {server["id"]: server for server in self.status["servers"]}

    def pid(self, server_id: int) -> int:
        """Of a server that serves; 0 for one that does not."""
        server = self.servers.get(server_id)
        return server["pid"] if server is not None and server["state"] == "active" else 0


def objection(look: Look, victims: Collection[int], unwell: Collection[int]) -> str:
    """Why these servers must not be taken out of service now; empty if they may.

    `unwell` are servers that are known to be in trouble, whatever the coordinator says.
    """
    beat = look.status["heartbeat_seconds"]
    stores = {}
    for server_id, server in look.servers.items():
        silent = server["last_beat_seconds"]
        if server["state"] == "active" and silent is not None and silent < SILENT_BEATS * beat:
            stores[server_id] = server["store"]
    for victim in victims:
        if victim not in stores:
            return f"server {victim} is not there"
        if victim in unwell:
            return f"server {victim} has not recovered yet"
    for shard in look.map["shards"]:
        members = [shard["primary"], *shard["secondaries"]]
        everyone = {member["server_id"] for member in (*members, *shard["learners"])}
        if shard["lost"] or (
            not everyone.isdisjoint(victims)
            and not any(_counts(member, stores) for member in members if member["server_id"] not in {*victims, *unwell})
        ):
            return f"shard {shard['shard']} has no other healthy copy"
    return ""


def _counts(member: dict[str, Any], stores: dict[int, str]) -> bool:
    """Whether the process that holds the copy is the one that runs."""
    return bool(stores.get(member["server_id"]) == member["store_id"])
