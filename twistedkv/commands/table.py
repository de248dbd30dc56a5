"""All commands of the line port, and how one is found for what a client has sent."""

from __future__ import annotations

from twistedkv.commands import data_commands, own_commands, server_commands
from twistedkv.commands.arguments import text_of
from twistedkv.commands.command import Command, KeySpec, Run
from twistedkv.errors import CommandError
from twistedkv.limits import KEY_BYTES_MAX

__all__ = ["COMMANDS", "Command", "KeySpec", "Run", "check_keys", "keys_of", "lookup"]

COMMANDS: dict[bytes, Command] = {**data_commands.TABLE, **server_commands.TABLE, **own_commands.TABLE}
"""By upper-case name."""

_QUOTED_BYTES_MAX = 128
"""An error about an unknown command quotes so much of its name, and of its arguments."""


def lookup(argv: list[bytes], internal: bool = False) -> Command:
    """The command or subcommand that `argv` calls, with as many arguments as it takes, or CommandError.

    Commands that servers use among themselves are found only if `internal`.
    """
    command = COMMANDS.get(argv[0]) or COMMANDS.get(argv[0].upper())
    if command is None or (not internal and "internal" in command.flags):
        raise CommandError(_unknown(argv))
    if command.subcommands and len(argv) > 1:
        container = command
        found = container.subcommands.get(argv[1].upper())
        if found is None:
            raise CommandError(_unknown_subcommand(container, argv))
        command = found
    count, arity = len(argv), command.arity
    if count != arity and (arity >= 0 or count < -arity):
        if command.name.startswith(b"debug|"):  # which is no command with subcommands in Redis
            raise CommandError(_unknown_subcommand(COMMANDS[b"DEBUG"], argv))
        raise CommandError(f"ERR wrong number of arguments for '{command.name.decode()}' command")
    return command


def _unknown(argv: list[bytes]) -> str:
    quoted = b""
    for argument in argv[1:]:
        if len(quoted) >= _QUOTED_BYTES_MAX:
            break
        quoted += b"'%b' " % argument.partition(b"\0")[0][: _QUOTED_BYTES_MAX - len(quoted)]
    name = text_of(argv[0], _QUOTED_BYTES_MAX)
    return f"ERR unknown command '{name}', with args beginning with: {text_of(quoted)}"


def _unknown_subcommand(command: Command, argv: list[bytes]) -> str:
    quoted = text_of(argv[1], _QUOTED_BYTES_MAX)
    reason = " or wrong number of arguments for" if command.name == b"debug" else ""
    return f"ERR unknown subcommand{reason} '{quoted}'. Try {command.name.decode().upper()} HELP."


def keys_of(command: Command, argv: list[bytes]) -> list[bytes]:
    """The keys among the arguments of a command."""
    if not command.first:
        return []
    last = command.last
    return argv[command.first : len(argv) + last + 1 if last < 0 else last + 1 : command.step]


def check_keys(command: Command, argv: list[bytes]) -> None:
    """Raise CommandError unless every key has a length that keys may have."""
    first = command.first
    if not first:
        return
    if first == command.last and first < len(argv):
        if not 0 < len(argv[first]) <= KEY_BYTES_MAX:
            raise _bad_key(argv[first])
        return
    for key in keys_of(command, argv):
        if not 0 < len(key) <= KEY_BYTES_MAX:
            raise _bad_key(key)


def _bad_key(key: bytes) -> CommandError:
    return CommandError(f"ERR key of {len(key)} bytes: a key has 1 to {KEY_BYTES_MAX} bytes")
