"""Commands for the tests of single modules: one line each, words set off by spaces."""

from __future__ import annotations

from tests.support.keyspace import DictKeyspace
from twistedkv.commands.execution import execute


def call(keyspace: DictKeyspace, line: str | list[bytes], protocol: int = 2) -> bytes:
    """The reply to one command."""
    return execute(keyspace, line.encode().split(b" ") if isinstance(line, str) else line, protocol)


def calls(keyspace: DictKeyspace, lines: str) -> list[bytes]:
    """The replies to commands set off by semicolons and spaces."""
    return [call(keyspace, line) for line in lines.split("; ")]
