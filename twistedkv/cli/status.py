"""Commands that look at the cluster: status, map."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from twistedkv.cli.arguments import json_option
from twistedkv.cli.output import is_terminal, json_line, print_json, seconds_text
from twistedkv.cli.session import Negative, Session, connection_options, pass_session
from twistedkv.errors import NotDone

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WATCH_SECONDS = 0.25
"""Between two looks of --watch."""
WATCH_DEADLINE_SECONDS = 1.0
"""After so long without an answer --watch says so."""
PIPE_COLUMNS = 120
"""Width of what is printed into a file or a pipe."""


@click.command("status")
@click.option("--watch", is_flag=True, help="Show it four times a second, until Ctrl-C.")
@click.option("--check", is_flag=True, help="Exit code 1 unless the cluster is healthy.")
@json_option
@connection_options()
@pass_session
def status_command(session: Session, *, watch: bool, check: bool, as_json: bool) -> None:
    """Show servers, shards and running recoveries.

    For each server its state, address, process, time since its last heartbeat, of how many shards it is primary
    (Prim), secondary (Sec) or a copy being filled (Fill), and what it holds. For each running operation its
    phase, progress, rate and time left. For each shard its slots, epoch, copies (server ids) and number of
    updates.

    \b
    A shard is
      ok         with all its copies, and the primary where it should be
      degraded   with fewer copies
      filling    while a copy is being made
      sealing    while a new primary is chosen
      switching  while its primary moves
      LOST       when no copy is left

    The cluster is healthy when all shards are ok.

    \b
    Example:
      twistedkv status
      twistedkv status --watch
      twistedkv status --json | jq '.servers[] | {id, pid}'
    """
    if watch:
        _watch(session, as_json)
        return
    status = session.ask("status")
    if as_json:
        print_json(status)
    else:
        from twistedkv.cli.tables import status_view

        console().print(status_view(status))
    if check and not status["healthy"]:
        raise Negative("the cluster is not healthy: see `twistedkv status`")


@click.command("map")
@json_option
@connection_options()
@pass_session
def map_command(session: Session, *, as_json: bool) -> None:
    """Show which servers hold each shard.

    This is what clients route by: for each shard its slots (of 16384; `CRC16(key) mod 16384`), the epoch of its
    configuration, its primary and where that listens, and the ids of the servers that hold or fill other copies.
    "Wanted" are the servers that should hold the copies when all is well, the primary's first.

    \b
    Example:
      twistedkv map
      twistedkv map --json | jq '.shards[] | select(.lost)'
    """
    from twistedkv.cli.tables import map_json, map_view

    client = session.client
    client.refresh(deadline=session.connect_seconds)
    if as_json:
        print_json(map_json(client.cluster_map))
    else:
        console().print(map_view(client.cluster_map))


def console() -> Console:
    """Where tables go: colours and the terminal's width on a terminal, plain and wide enough elsewhere."""
    from rich.console import Console

    return Console(highlight=False) if is_terminal() else Console(highlight=False, width=PIPE_COLUMNS)


def _watch(session: Session, as_json: bool) -> None:
    if as_json or not is_terminal():
        _watch_in_lines(session, as_json)
        return
    from rich.live import Live

    out = console()
    with Live(console=out, auto_refresh=False, vertical_overflow="ellipsis") as live:
        last: dict[str, Any] | None = None
        answered = time.monotonic()
        while True:
            try:
                last = session.ask("status", None if last is None else WATCH_DEADLINE_SECONDS)
                answered = time.monotonic()
            except NotDone:
                if last is None:
                    raise
            live.update(_view(last, time.monotonic() - answered), refresh=True)
            time.sleep(WATCH_SECONDS)


def _view(status: dict[str, Any], silent_seconds: float) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from twistedkv.cli.tables import status_view

    if silent_seconds < 2 * WATCH_SECONDS:
        return status_view(status)
    text = f"The coordinator has not answered for {seconds_text(silent_seconds)}. Reads and writes go on without it."
    return Group(Text(text, style="bold red"), status_view(status))


def _watch_in_lines(session: Session, as_json: bool) -> None:
    """For pipes: a status whenever it differs from the last one, apart from what always changes."""
    from twistedkv.cli.tables import status_view

    shown = ""
    while True:
        status = session.ask("status")
        same_each_time = {name: part for name, part in status.items() if name != "coordinator"}
        servers = [{**server, "last_beat_seconds": None} for server in status["servers"]]
        fingerprint = json.dumps({**same_each_time, "servers": servers}, sort_keys=True)
        if fingerprint != shown:
            shown = fingerprint
            if as_json:
                click.echo(json_line(status))
            else:
                console().print(status_view(status))
        time.sleep(WATCH_SECONDS)
