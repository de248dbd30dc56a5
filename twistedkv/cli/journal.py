"""The event journal: journal."""

from __future__ import annotations

from typing import Any

import click

from twistedkv.cli.arguments import json_option
from twistedkv.cli.output import json_line
from twistedkv.cli.session import Session, connection_options, pass_session


@click.command("journal")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only events numbered above N.")
@click.option(
    "--follow",
    is_flag=True,
    help="Go on printing new events as they come, until Ctrl-C.",
)
@json_option
@connection_options()
@pass_session
def journal_command(session: Session, *, after: int, follow: bool, as_json: bool) -> None:
    """Show what has happened in the cluster.

    One event a line: its number, the local time, the event, what happened, its epoch and operation. With --json one
    object a line, with the time in UTC. The journal survives the coordinator's
    restart, and so does --follow.

    \b
    Example:
      twistedkv journal --follow
      twistedkv journal --json | jq 'select(.event == "shard.promoted")'
    """
    from twistedkv.cli.tables import event_line

    def show(event: dict[str, Any]) -> None:
        click.echo(json_line(event) if as_json else event_line(event))

    while events := session.ask("journal", after=after)["events"]:
        for event in events:
            show(event)
            after = max(after, event["number"])
    if follow:
        for event in session.client.admin_follow(after=after):
            show(event)
