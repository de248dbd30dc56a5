"""Commands that change the cluster or make it do something: switch, dump, admin."""

from __future__ import annotations

import sys

import click

from twistedkv.cli.arguments import json_option, server_id
from twistedkv.cli.output import amount, is_terminal, message, print_json
from twistedkv.cli.session import Session, connection_options, pass_session

ALL = "all"


@click.command("switch")
@click.argument("shard", type=click.IntRange(min=0))
@click.argument("server", type=server_id, metavar="SERVER")
@json_option
@connection_options()
@pass_session
def switch_command(session: Session, *, shard: int, server: int, as_json: bool) -> None:
    """Make a server the primary of a shard.

    SHARD is a number as `twistedkv status` shows it, SERVER is 2 or server_2. No request fails: those that come
    during the switch wait, for some milliseconds. The command ends when the switch is complete. The server is
    wanted as the primary from then on, also after it has failed and returned.

    \b
    Example:
      twistedkv switch 3 server_2
    """
    done = session.command("switch", shard=shard, server=server)
    if as_json:
        print_json(done)
    else:
        click.echo(
            f"server_{done['server']} is the primary of shard {done['shard']} "
            f"(epoch {done['epoch']}, {done['milliseconds']:.1f} ms)"
        )


@click.command("dump")
@click.argument("server", type=server_id, metavar="SERVER")
@json_option
@connection_options()
@pass_session
def dump_command(session: Session, *, server: int, as_json: bool) -> None:
    """Make a server write what it holds to files, and print their names.

    SERVER is 2 or server_2. It writes server_2.primary with the shards of which it is the primary, and
    server_2.secondary with the others, into its directory on its machine.

    \b
    Example:
      twistedkv dump server_2
    """
    done = session.command("dump", server=server)
    if as_json:
        print_json(done)
    else:
        for file in done["files"]:
            click.echo(file)


@click.group("admin", context_settings={"help_option_names": ["-h", "--help"]})
def admin_command() -> None:
    """Decisions that only an operator can make."""


@admin_command.command("accept-loss")
@click.argument("shard", metavar="SHARD|all")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@connection_options()
@pass_session
def accept_loss_command(session: Session, *, shard: str, yes: bool, as_json: bool) -> None:
    """Make a lost shard empty and usable again; what it held is gone.

    A shard is LOST when no server that held a copy of it is left (`twistedkv status` names it). As long as this
    command has not been given, a server that returns with its data is taken back and nothing is lost.

    \b
    Example:
      twistedkv admin accept-loss 3
      twistedkv admin accept-loss all --yes
    """
    if shard != ALL and not (shard.isascii() and shard.isdigit()):
        raise click.UsageError(f"{shard!r} is not a shard: give its number, or {ALL}.")
    if not yes:
        what = "all lost shards" if shard == ALL else f"shard {shard}"
        if not is_terminal(sys.stdin):
            raise click.UsageError(f"This gives the data of {what} up for good: confirm it with --yes.")
        click.confirm(f"Give the data of {what} up for good?", abort=True, err=True)
    number: int | str = ALL if shard == ALL else int(shard)
    done = session.command("accept-loss", shard=number)
    if as_json:
        print_json(done)
    elif done["shards"]:
        click.echo(f"{amount(len(done['shards']), 'shard')} made empty: {', '.join(map(str, done['shards']))}")
    else:
        message("no shard is lost")
