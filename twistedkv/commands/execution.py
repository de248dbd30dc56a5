"""Execution of one command on the keys of a shard."""

from __future__ import annotations

from twistedkv.commands.keyspace import Keyspace
from twistedkv.commands.table import check_keys, lookup
from twistedkv.errors import CommandError
from twistedkv.resp import replies


def execute(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """The whole reply to a command, in version 2 or 3 of the protocol. One that fails has changed nothing."""
    try:
        command = lookup(argv, internal=True)
        if command.run is None:
            raise CommandError(f"ERR '{command.name.decode()}' is not executed by a shard")
        check_keys(command, argv)
        return command.run(keyspace, argv, protocol)
    except CommandError as error:
        return replies.error(str(error))
