"""The command line: `twistedkv COMMAND ...`.

A command's module is imported when the command is run or its own help asked for, so that `twistedkv --help`
and a single `twistedkv get` start quickly. That is why the first line of each command's help stands here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from twistedkv import __version__
from twistedkv.cli.session import Session, connection_options, failure_of
from twistedkv.errors import TwistedKVError

_SECTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Keys": {
        "get": ("data", "Print the value of a key."),
        "put": ("data", "Store a value."),
        "delete": ("data", "Remove a key."),
        "cas": ("data", "Store a value if the key has not changed since it was read."),
        "incr": ("data", "Add to an integer and print the sum."),
        "verify": ("data", "Compare what each copy holds for a key with a value, and print each copy's verdict."),
        "scan": ("many", "List keys, in the order of their slots."),
        "mget": ("many", "Print the values of several keys."),
        "mput": ("many", "Store several keys at once."),
        "shell": ("shell", "Talk to the line port, a line at a time."),
    },
    "Cluster": {
        "status": ("status", "Show servers, shards and running recoveries."),
        "map": ("status", "Show which servers hold each shard."),
        "journal": ("journal", "Show what has happened in the cluster."),
        "switch": ("admin", "Make a server the primary of a shard."),
        "dump": ("admin", "Make a server write what it holds to files, and print their names."),
        "admin": ("admin", "Decisions that only an operator can make."),
    },
    "Files": {
        "backup": ("backup", "Copy the whole cluster into a directory while it serves, or verify such a copy."),
        "restore": ("backup", "Store a backup in a cluster, of whatever size."),
        "export": ("bulk", "Write all records to a file, as text."),
        "import": ("bulk", "Store all records of a file, as `export` writes it."),
        "load": ("bulk", "Another name of `import`."),
        "replay": ("replay", "Run the operations and checks of a workload file."),
        "generate-workload": ("replay", "Write a workload file."),
    },
    "Proof": {
        "torture": ("torture", "Kill and freeze a throw-away cluster under load, and prove that nothing was lost."),
        "simulate": ("simulate", "Run a whole cluster on simulated time, with faults, and check it."),
        "check": ("check", "Check whether a history of operations is linearizable."),
    },
}
COMMANDS: Mapping[str, tuple[str, str]] = {
    name: place for commands in _SECTIONS.values() for name, place in commands.items()
}
"""By name: the module in twistedkv.cli, and the first line of the help."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class LazyGroup(click.Group):
    """A group that imports a command when it is needed, and turns the package's errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"twistedkv.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_") + "_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, without importing any of them."""
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run; errors of the package end in one sentence on standard error and an exit code."""
        try:
            return super().invoke(ctx)
        except TwistedKVError as error:
            raise failure_of(error, ctx.obj) from error
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes:
  0  done
  1  done, and the answer is negative: no such key, a value that differs, a failed check
  2  wrong usage or input; nothing was sent
  3  not done: it certainly had no effect
  4  outcome unknown: a write was executed once or not at all; read the key to find out

\b
Examples:
  twistedkv put greeting hello
  twistedkv --coordinator db1:7400 get greeting
  twistedkv status --watch""",
)
@click.version_option(version=__version__, prog_name="twistedkv")
@click.pass_context
@connection_options(defaults=True)
def main(ctx: click.Context, coordinator: str, deadline: float | None) -> None:
    """Client of a twistedkv cluster, a replicated key-value store that heals itself.

    A cluster is started with `make run` or `twistd -n twistedkv cluster`. Keys have 1 to 500 bytes, values up
    to 8 MiB.
    """
    # Tests put a function in obj that opens a client in memory.
    ctx.obj = Session(coordinator, deadline, open_client=ctx.obj)
    ctx.call_on_close(ctx.obj.close)
    for stream in (sys.stdout, sys.stderr):
        # A key that is not UTF-8 in a message must not end in a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
