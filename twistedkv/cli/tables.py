"""The coordinator's answers as tables for people. Pure: JSON documents in, things that rich can print out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from twistedkv.cli.output import bytes_text, seconds_text
from twistedkv.clustermap import ClusterMap
from twistedkv.records import sequence_of

Json = Mapping[str, Any]

_SERVER_STYLES = {"active": "green", "standby": "cyan", "failed": "bold red", "leaving": "yellow"}
_SHARD_STYLES = {"ok": "green", "lost": "bold red"}
_STYLE_OF_THE_REST = "yellow"
_SPACE_STYLES = {"low": "yellow", "high": "bold red"}
_BAR_COLUMNS = 16


def server_name(server_id: int | None) -> str:
    """`server_2`; a dash for none."""
    return "-" if server_id is None else f"server_{server_id}"


def status_view(status: Json) -> RenderableType:
    """All of `status`: a headline, what is lost, servers, operations that run, shards."""
    parts: list[RenderableType] = [_headline(status)]
    parts.extend(_lost_lines(status))
    parts.extend(Text(f"{shortage['text']}.", style="bold yellow") for shortage in status.get("shortages", ()))
    if status["servers"]:
        parts.append(servers_table(status["servers"]))
        parts.append(_engines_line(status["servers"]))
    running = [operation for operation in status["operations"] if operation["state"] == "running"]
    if running:
        parts.append(operations_table(running))
    if status["shards"]:
        parts.append(shards_table(status["shards"]))
    else:
        parts.append(Text("The cluster has not been formed yet: it waits for its servers.", style="yellow"))
    return Group(*spaced(parts))


def _engines_line(servers: Iterable[Json]) -> Text:
    """Which engines there are, and what a power cut costs."""
    engines = sorted({server.get("engine") or "unknown" for server in servers})
    return Text("Data are kept in " + "; some in ".join(engines) + ".")


def spaced(parts: Iterable[RenderableType]) -> list[RenderableType]:
    """Things with an empty line between them."""
    return [line for part in parts for line in ("", part)][1:]


def servers_table(servers: Iterable[Json]) -> Table:
    """One line for each server."""
    servers = list(servers)
    disks = any(server.get("disk_limit") for server in servers)
    titles = ("Server", "State", "Address", "Line", "Pid", "Beat", "Prim", "Sec", "Fill", "Keys", "Memory")
    table = _table(*titles, *(("Disk",) if disks else ()))
    for column in table.columns[3:]:
        column.justify = "right"
    for server in servers:
        beat = server["last_beat_seconds"]
        table.add_row(
            server_name(server["id"]),
            Text(server["state"], style=_SERVER_STYLES.get(server["state"], "")),
            escape(server["address"]),
            str(server["line_port"] or "-"),
            str(server["pid"] or "-"),
            "-" if beat is None else f"{beat:.1f} s",
            str(server["primaries"]),
            str(server["secondaries"]),
            str(server["learners"]),
            f"{server['keys']:,}",
            _memory(server),
            *((_of_limit(server["disk_used"], server["disk_limit"], server["space"]),) if disks else ()),
        )
    return table


def _memory(server: Json) -> Text:
    limit = server.get("memory_limit")
    if not limit:
        on_disk = server.get("disk_limit")
        return Text(bytes_text(server["memory_used"] if on_disk else server["bytes"]))
    return _of_limit(server["memory_used"], limit, server["space"])


def _of_limit(used: int, limit: int, level: str) -> Text:
    """What is used of what may be, and, if that is much, that it is."""
    if not limit:
        return Text("-")
    said = f"{bytes_text(used)} of {bytes_text(limit)}"
    return Text(said if level == "ok" else f"{said} {level.upper()}", style=_SPACE_STYLES.get(level, ""))


def shards_table(shards: Iterable[Json]) -> Table:
    """One line for each shard. The copies are server ids."""
    table = _table("Shard", "Slots", "Epoch", "Primary", "Secondaries", "Learners", "State", "Updates")
    table.columns[0].justify = table.columns[2].justify = table.columns[7].justify = "right"
    for shard in shards:
        state = shard["state"]
        table.add_row(
            str(shard["shard"]),
            "{}-{}".format(*shard["slots"]),
            str(shard["epoch"]),
            server_name(shard["primary"]),
            _ids(shard["secondaries"]),
            _ids(shard["learners"]),
            Text("LOST" if state == "lost" else state, style=_SHARD_STYLES.get(state, _STYLE_OF_THE_REST)),
            f"{sequence_of(shard['last']):,}",
        )
    return table


def operations_table(operations: Iterable[Json]) -> Table:
    """One line for each operation, with a bar as far as its size is known."""
    table = _table("Operation", "Server", "Phase", "Progress", "Records", "Rate", "Left")
    table.columns[4].justify = table.columns[5].justify = table.columns[6].justify = "right"
    for operation in operations:
        done, total = operation["records"], operation["records_total"]
        table.add_row(
            escape(str(operation["id"])),
            server_name(operation["server"]),
            operation["phase"],
            ProgressBar(total=max(total, 1), completed=done, width=_BAR_COLUMNS) if total else "",
            f"{done:,}/{total:,}" if total else f"{done:,}",
            f"{bytes_text(operation['rate_bytes_per_second'])}/s",
            seconds_text(operation["seconds_left"]),
        )
    return table


def map_view(cluster_map: ClusterMap) -> RenderableType:
    """The cluster map: which servers should hold and do hold each shard."""
    table = _table("Shard", "Slots", "Epoch", "Primary", "Address", "Secondaries", "Learners", "Wanted")
    table.columns[0].justify = table.columns[2].justify = "right"
    for shard in cluster_map.shards:
        server = cluster_map.server_of(shard.primary)
        table.add_row(
            str(shard.shard),
            f"{shard.first_slot}-{shard.last_slot}",
            str(shard.epoch),
            server_name(shard.primary.server_id),
            Text("LOST", style="bold red") if shard.lost else escape(server.address) if server else "-",
            _ids(member.server_id for member in shard.secondaries),
            _ids(member.server_id for member in shard.learners),
            _ids(shard.preferred),
        )
    cluster = f"cluster {cluster_map.cluster}, " if cluster_map.cluster else ""
    headline = Text(f"{cluster}map version {cluster_map.version}, {cluster_map.copies} copies")
    return Group(*spaced([headline, table]))


def map_json(cluster_map: ClusterMap) -> dict[str, Any]:
    """The cluster map for programs, named as in `status`."""
    return {
        "cluster": cluster_map.cluster,
        "map_version": cluster_map.version,
        "copies": cluster_map.copies,
        "min_copies": cluster_map.min_copies,
        "heartbeat_seconds": cluster_map.heartbeat_ms / 1000,
        "servers": [
            {
                "id": server.server_id,
                "state": server.state.name.lower(),
                "address": server.address,
                "pid": server.pid,
                "store": server.store_id.hex(),
            }
            for server in cluster_map.servers.values()
        ],
        "shards": [
            {
                "shard": shard.shard,
                "slots": [shard.first_slot, shard.last_slot],
                "epoch": shard.epoch,
                "primary": shard.primary.server_id,
                "secondaries": [member.server_id for member in shard.secondaries],
                "learners": [member.server_id for member in shard.learners],
                "preferred": list(shard.preferred),
                "lost": shard.lost,
            }
            for shard in cluster_map.shards
        ],
    }


def event_line(event: Json) -> str:
    """A line of the journal as plain text: number, local time, event, what happened, in which epoch and operation.

    The text names servers and shards itself; the fields are for programs.
    """
    where = [f"epoch {event['epoch']}"] if event.get("epoch") is not None else []
    where.extend([str(event["operation"])] if event.get("operation") else [])
    place = f" ({', '.join(where)})" if where else ""
    return f"{event['number']:>6}  {_local_time(event['time'])}  {event['event']:<19}  {event['text']}{place}"


def _headline(status: Json) -> Text:
    coordinator = status["coordinator"]
    healthy = Text("healthy", style="bold green") if status["healthy"] else Text("not healthy", style="bold yellow")
    if status["lost"]:
        healthy = Text("DATA LOST", style="bold red")
    name = f"Cluster {status['cluster']}: " if status["cluster"] else "Cluster: "
    return Text.assemble(
        name,
        healthy,
        f", {status['copies']} copies, map version {status['map_version']}\n"
        f"Coordinator {coordinator['address']}, pid {coordinator['pid']}, "
        f"up {seconds_text(coordinator['uptime_seconds'])}, heartbeat {status['heartbeat_seconds']:g} s",
    )


def _lost_lines(status: Json) -> list[Text]:
    lost = status["lost"]
    if not lost:
        return []
    if len(lost) == 1:
        what, them, returns, argument = f"Shard {lost[0]} is LOST", "it", "It is", str(lost[0])
    else:
        what, them, returns, argument = f"Shards {', '.join(map(str, lost))} are LOST", "them", "They are", "SHARD|all"
    text = (
        f"{what}: no server that held a copy is left. {returns} taken back if one returns with its data.\n"
        f"To make {them} empty and usable: twistedkv admin accept-loss {argument}"
    )
    return [Text(text, style="bold red")]


def _local_time(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone().isoformat(" ", timespec="milliseconds")[:23]


def _ids(ids: Iterable[int]) -> str:
    return " ".join(map(str, ids)) or "-"


def _table(*titles: str) -> Table:
    """Columns stand one character apart; only addresses are broken where the width does not suffice."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title != "Address")
    return table
