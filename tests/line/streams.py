"""Random requests for the comparison of whole connections with Redis: those of `tests.commands.streams`, those that
only a connection answers, and transactions.

Keys that one command needs in one shard, and all keys of transactions, have one hash tag; the others are of all shards.
What is known to differ is not drawn: `docs/line-protocol.md` lists it.
"""

from __future__ import annotations

from random import Random

import attrs

from tests.commands import streams
from tests.commands.streams import integer, value
from twistedkv.commands.table import COMMANDS, Command, lookup
from twistedkv.errors import CommandError

TAG = b"{tag}"
TAGGED = [TAG + key for key in streams.KEYS]
KEYS = [*streams.KEYS, *TAGGED]

STATE = [[b"MGET", *KEYS], *([b"PEXPIRETIME", key] for key in KEYS)]
"""Requests for all that is stored."""

WHOLE = frozenset((b"rename", b"renamenx", b"copy", b"msetnx", b"lcs"))
"""Their keys have to be of one shard."""
_OUTSIDE_TRANSACTIONS = frozenset(
    (b"DBSIZE", b"KEYS", b"SCAN", b"RANDOMKEY", b"FLUSHALL", b"FLUSHDB", b"WAIT", b"DEBUG", b"HELLO")
)

_VERSIONS = [b"2", b"3", b"2", b"3", b"1", b"4", b"0", b"-3", b"03", b"3.0", b"", b"x", b"9223372036854775808", b"+2"]
_NAMES = [b"me", b"", b"a b", b"a\nb", b"\xff", b"x" * 70, b"it's", b"n\x00n", b"~!"]
_INDEXES = [b"0", b"0", b"0", b"1", b"16", b"-1", b"x", b"", b"00", b"4294967296", b"9223372036854775808"]


def _mixed_case(random: Random, word: bytes) -> bytes:
    if random.randrange(4):
        return word
    return bytes(byte ^ 0x20 if chr(byte).isalpha() and random.randrange(2) else byte for byte in word)


def _greeting(random: Random) -> list[bytes]:
    """HELLO"""
    if random.randrange(4) == 0:
        return []
    found = [random.choice(_VERSIONS)]
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        found += random.choice(
            (
                [b"AUTH", b"default", value(random)],
                [b"auth", b"nobody", b"x"],
                [b"SETNAME", random.choice(_NAMES)],
                [random.choice((b"AUTH", b"SETNAME", b"FOO", b"", b"fo\r\no", b"fo\x00o"))],
            )
        )
    return found


def _client(random: Random) -> list[bytes]:
    return random.choice(
        (
            [b"SETNAME", random.choice(_NAMES)],
            [b"SETNAME", random.choice(_NAMES)],
            [b"GETNAME"],
            [b"GETNAME"],
            [b"ID"],
            [b"INFO"],
            [b"LIST"],
            [b"LIST", b"TYPE", random.choice((b"normal", b"PUBSUB", b"master", b"foo", b"fo\r\no"))],
            [b"LIST", b"ID", random.choice((b"1", b"x", b"0", b"-1")), random.choice((b"99999", b"x", b""))],
            [b"LIST", random.choice((b"FOO", b"TYPE", b"ID"))],
            [b"NO-EVICT", random.choice((b"on", b"OFF", b"foo", b""))],
            [b"HELP"],
        )
    )


def _command(random: Random) -> list[bytes]:
    name = random.choice((*streams.DATA_COMMANDS, b"nothing", b"client|id", b"ping", b"memory|usage", b"object|freq"))
    return random.choice(
        (
            [b"COUNT"],
            [b"INFO", name],
            [b"GETKEYS", *_some_data(random)],
            [b"GETKEYSANDFLAGS", *_some_data(random)],
            [b"LIST", b"FILTERBY", random.choice((b"MODULE", b"FOO")), b"x"],
            [b"LIST", random.choice((b"FILTERBY", b"x"))],
            [b"DOCS", b"nothing"],
        )
    )


def _some_data(random: Random) -> list[bytes]:
    return [one if one else b"x" for one in streams.commands(random)[-1]]


def _connection_request(random: Random) -> list[bytes]:
    """A request that is of no key."""
    name = random.choice(
        (
            *(b"PING", b"PING", b"ECHO", b"HELLO", b"HELLO", b"AUTH", b"SELECT", b"SELECT", b"CLIENT", b"CLIENT"),
            *(b"CLIENT", b"COMMAND", b"COMMAND", b"TIME", b"ROLE", b"LOLWUT", b"INFO", b"CONFIG", b"SLOWLOG"),
            *(b"LATENCY", b"MEMORY", b"DEBUG", b"WAIT", b"DBSIZE", b"UNWATCH", b"OBJECT"),
        )
    )
    arguments: list[bytes] = []
    match name:
        case b"PING" | b"ECHO":
            arguments = [value(random) for _ in range(random.randrange(4))]
        case b"HELLO":
            arguments = _greeting(random)
        case b"AUTH":
            arguments = [random.choice((b"default", b"x", b"")) for _ in range(random.randrange(5))]
        case b"SELECT":
            arguments = [random.choice(_INDEXES)]
        case b"CLIENT":
            arguments = _client(random)
        case b"COMMAND":
            arguments = _command(random)
        case b"LOLWUT":
            arguments = random.choice(([], [b"VERSION", b"5", b"1", b"1"], [b"VERSION", b"x"], [b"VERSION"]))
        case b"INFO":
            arguments = random.choice(([], [b"server"], [b"nothing"], [b"memory", b"CPU"]))
        case b"CONFIG":
            arguments = random.choice(([b"GET", b"save"], [b"GET", b"nothing"], [b"RESETSTAT"], [b"GET"], [b"HELP"]))
        case b"SLOWLOG":
            arguments = random.choice(([b"GET"], [b"GET", integer(random)], [b"LEN"], [b"RESET"], [b"GET", b"1", b"2"]))
        case b"LATENCY":
            arguments = random.choice(([b"LATEST"], [b"HISTORY", b"x"], [b"RESET"], [b"RESET", b"x"], [b"DOCTOR"]))
        case b"MEMORY":
            arguments = random.choice(([b"DOCTOR"], [b"STATS"], [b"USAGE"]))
        case b"DEBUG":
            arguments = [b"SLEEP", b"0"]
        case b"WAIT":
            arguments = [random.choice((b"0", b"0", b"x", b"-1")), random.choice((b"0", b"1", b"-1", b"x", b""))]
        case b"OBJECT":
            arguments = [b"HELP"]
    return [name, *arguments]


@attrs.define
class Stream:
    """What one client asks, as far as what comes next depends on it."""

    random: Random
    in_transaction: bool = False
    ended: bool = False
    """It has sent QUIT."""

    def requests(self) -> list[list[bytes]]:
        """The next request, with others that belong to it."""
        random = self.random
        chance = random.randrange(100)
        if self.in_transaction:
            found = self._inside(chance)
        elif chance < 68:
            found = self._data(streams.commands(random))
        elif chance < 84:
            found = [_connection_request(random)]
        elif chance < 97:
            found = self._transaction(random)
        else:
            found = [random.choice(([b"FLUSHALL"], [b"flushdb", b"ASYNC"], [b"FLUSHALL", b"x"], [b"RESET"]))]
        if found[-1][0].upper() == b"DBSIZE":
            found.insert(0, [b"EXISTS", *KEYS])  # Redis counts keys that have expired as long as nobody asks for them
        for argv in found:
            argv[0] = _mixed_case(random, argv[0])
            self._note(argv)
        return found

    def watch_and_begin(self) -> tuple[list[list[bytes]], list[list[bytes]]]:
        """A transaction in two parts, for somebody else to change keys in between."""
        keys = self.random.sample(TAGGED, self.random.randrange(1, 4))
        return [[b"WATCH", *keys]], [[b"MULTI"], *_allowed(self._tagged(streams.commands(self.random))), [b"EXEC"]]

    def quit(self) -> list[list[bytes]]:
        """The last request, with others behind it that nobody answers."""
        self.ended = True
        return [[_mixed_case(self.random, b"QUIT")]]

    def _note(self, argv: list[bytes]) -> None:
        name = argv[0].upper()
        if name == b"MULTI" and len(argv) == 1:
            self.in_transaction = True
        elif name == b"EXEC" or (name in (b"DISCARD", b"RESET") and len(argv) == 1):
            self.in_transaction = False

    def _transaction(self, random: Random) -> list[list[bytes]]:
        """The beginning of one, or what has no place outside."""
        chance = random.randrange(10)
        if chance == 0:
            return [[random.choice((b"EXEC", b"DISCARD", b"UNWATCH")), *([b"x"] * (random.randrange(4) == 0))]]
        if chance == 1:
            return self._watch(random.sample(TAGGED, random.randrange(4)))
        return [[b"MULTI"]] if random.randrange(20) else [[b"MULTI", b"x"]]

    def _watch(self, keys: list[bytes]) -> list[list[bytes]]:
        """Watch keys that are there: that one came and went in between is seen by Redis only."""
        stored = [[b"MSET", *(word for key in keys for word in (key, b"5"))]] if keys else []
        return [*stored, [b"WATCH", *keys]]

    def _inside(self, chance: int) -> list[list[bytes]]:
        random = self.random
        if chance < 66:
            found = self._tagged(streams.commands(random))
        elif chance < 76:
            found = [_connection_request(random)]
        elif chance < 80:
            found = [[random.choice((b"MULTI", b"DISCARD", b"EXEC")), b"x"]] if random.randrange(4) else [[b"FOO"]]
        elif chance < 84:
            found = [random.choice(([b"MULTI"], [b"WATCH", *TAGGED[:2]], [b"WATCH"], [b"UNWATCH"]))]
        else:
            found = [random.choice(([b"EXEC"], [b"EXEC"], [b"EXEC"], [b"DISCARD"], [b"RESET"]))]
        return _allowed(found)

    def _data(self, requests: list[list[bytes]]) -> list[list[bytes]]:
        return self._tagged(requests) if self.random.randrange(2) else [self._spread(argv) for argv in requests]

    def _tagged(self, requests: list[list[bytes]]) -> list[list[bytes]]:
        """The same with the tag before every key."""
        found = []
        for argv in requests:
            changed = list(argv)
            for place in _places(argv):
                changed[place] = TAG + argv[place]
            found.append(changed)
        return found

    def _spread(self, argv: list[bytes]) -> list[bytes]:
        """The same, but for keys that have to be of one shard."""
        places = _places(argv)
        if len(places) > 1 and _named(argv).name in WHOLE:
            (argv,) = self._tagged([argv])
        return argv


def _allowed(requests: list[list[bytes]]) -> list[list[bytes]]:
    """Those that may be part of a transaction."""
    return [argv for argv in requests if argv[0].upper() not in _OUTSIDE_TRANSACTIONS] or [[b"PING"]]


def _named(argv: list[bytes]) -> Command:
    command = COMMANDS[argv[0].upper()]
    return command.subcommands.get(argv[1].upper(), command) if command.subcommands and len(argv) > 1 else command


def _places(argv: list[bytes]) -> list[int]:
    """Where the keys of a request stand; nowhere, if it is none that can be executed."""
    try:
        command = lookup(argv)
    except CommandError:
        return []
    if not command.first:
        return []
    end = len(argv) + command.last + 1 if command.last < 0 else command.last + 1
    return list(range(command.first, min(end, len(argv)), command.step))


BROKEN = [
    *(b"*x\r\n", b"*1x\r\n", b"*-\r\n", b"* 1\r\n", b"*+1\r\n", b"*01\r\n", b"*1 \r\n", b"*\r\n", b"*99999999999\r\n"),
    *(b"*9223372036854775808\r\n", b"*1\r\n+PING\r\n", b"*1\r\n:1\r\n", b"*1\r\n\r\n", b"*1\r\nPING\r\n"),
    *(b"*2\r\n$3\r\nGET\r\n*1\r\n", b"*1\r\n$x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$ 4\r\n", b"*1\r\n$04\r\nPING\r\n"),
    *(b"*1\r\n$\r\n", b"*1\r\n$99999999999\r\n", b"*1\r\n$8388609\r\n", b"*1\r\n\xff\r\n"),
    *(b'"unbalanced\r\n', b"set a 'b\r\n", b'get "a"b\r\n', b"get 'a'b\n", b'"\\"\n', b"'\\'\n", b'get "\\x4\n'),
]
"""Ends of a stream that are no request, with the line end that shows it."""
