"""The same commands to a keyspace and to a real Redis, and the replies beside each other."""

from __future__ import annotations

import re
import time
from random import Random

import attrs

from tests.commands.streams import KEYS, commands
from tests.support.keyspace import DictKeyspace
from tests.support.redis_server import RedisConnection
from twistedkv.commands.execution import execute
from twistedkv.commands.similarity import TOO_LONG

CLOCK_SECONDS_MAX = 20
"""Times left may differ by so much: the keyspace's clock stands still while Redis' goes on."""

_TIMES = {b"TTL": 1, b"EXPIRETIME": 1, b"PTTL": 1000, b"PEXPIRETIME": 1000}
_UNORDERED = {b"KEYS", b"SCAN"}
_NIL = (b"$-1\r\n", b"_\r\n")


def equal(argv: list[bytes], ours: bytes, theirs: bytes) -> bool:
    """Whether two replies to a command are the same, as far as they can be."""
    if ours == theirs:
        return True
    name = argv[0].upper()
    if name == b"LCS" and TOO_LONG.encode() in ours:
        return theirs[:1] != b"-"
    if b"-" in (ours[:1], theirs[:1]) and name != b"OBJECT":
        return False
    if name in _TIMES and ours[:1] == theirs[:1] == b":":
        left, right = int(ours[1:]), int(theirs[1:])
        return min(left, right) > 0 and abs(left - right) <= CLOCK_SECONDS_MAX * _TIMES[name]
    if name in _UNORDERED:
        return sorted(re.split(rb"\$\d+\r\n", ours)) == sorted(re.split(rb"\$\d+\r\n", theirs))
    if name == b"OBJECT":
        known = argv[1].upper() in (b"ENCODING", b"REFCOUNT", b"IDLETIME")
        return known and theirs[:1] in b"$:" and ours not in _NIL and theirs not in _NIL
    if name == b"RANDOMKEY" or (name == b"MEMORY" and argv[1].upper() == b"USAGE"):
        return ours[:1] == theirs[:1] and ours not in _NIL and theirs not in _NIL
    return False


@attrs.define
class Difference:
    """A command that was answered differently, and those before it in its run."""

    argv: list[bytes]
    ours: bytes
    theirs: bytes
    before: list[list[bytes]]

    def describe(self) -> str:
        """For a person."""
        lines = [f"    {argv}" for argv in self.before[-30:]]
        return "\n".join([*lines, f"{self.argv}", f"  ours:  {self.ours[:300]!r}", f"  Redis: {self.theirs[:300]!r}"])


@attrs.define
class Comparison:
    """Goes on with one keyspace and one database of Redis, which are the same at the beginning: empty."""

    connection: RedisConnection
    protocol: int
    keyspace: DictKeyspace = attrs.Factory(DictKeyspace)
    compared: int = 0
    errors: int = 0
    """Of those compared, the ones whose reply was an error."""
    tolerated: int = 0
    """Of those compared, the ones whose replies are not the same bytes."""

    def begin(self) -> None:
        """Choose the protocol, and remove all keys."""
        hello, flushed = self.connection.run([[b"HELLO", b"%d" % self.protocol], [b"FLUSHALL"]])
        assert hello[:1] in b"%*"
        assert flushed == b"+OK\r\n"
        self.keyspace.entries.clear()

    def run(self, batch: list[list[bytes]]) -> Difference | None:
        """Compare some commands that are sent at once; the first difference, if there is one."""
        self.keyspace.now = time.time_ns() // 1_000_000
        answers = self.connection.run(batch)
        for index, (argv, theirs) in enumerate(zip(batch, answers, strict=True)):
            changes = self.keyspace.updates
            ours = execute(self.keyspace, argv, self.protocol)
            self.compared += 1
            if ours != theirs:
                self.tolerated += 1
                if not equal(argv, ours, theirs):
                    return Difference(argv, ours, theirs, batch[:index])
            if ours[:1] == b"-":
                self.errors += 1
                if changes != self.keyspace.updates:
                    return Difference(argv, b"(an error after a change)", theirs, batch[:index])
        return None

    def state(self) -> list[list[bytes]]:
        """Commands that ask for all that is stored."""
        return [[b"MGET", *KEYS], *([b"PEXPIRETIME", key] for key in KEYS)]


def drawn(random: Random, count: int) -> list[list[bytes]]:
    """So many random commands, or a few more."""
    batch: list[list[bytes]] = []
    while len(batch) < count:
        batch += commands(random)
    return batch
