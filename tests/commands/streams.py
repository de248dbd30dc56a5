"""Random commands for the comparison with Redis: few keys, all commands and options, many wrong arguments.

Times are far ahead or past, and those counted from now are never drawn twice, so that a clock which differs by some
milliseconds changes no decision.
"""

from __future__ import annotations

from random import Random

from twistedkv.commands.table import COMMANDS, Command

KEYS = [b"a", b"b", b"counter", b"{tag}1", b"{tag}2", b"with space", b"\x00\xff\r\n", b"k[1]*", b"Key:7", b"\x7f\x80"]

_INTEGERS = [
    *(b"0", b"1", b"-1", b"7", b"10", b"100", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806"),
    *(b"9223372036854775808", b"-9223372036854775809", b"2147483648", b"4294967296", b"18446744073709551616"),
]
_NO_INTEGERS = [
    b"",
    b" 1",
    b"1 ",
    b"+1",
    b"01",
    b"-0",
    b"1_0",
    b"0x10",
    b"1.0",
    b"1e3",
    b"-",
    b"--1",
    b"1\x00",
    b"\xd9\xa1",
]
_FLOATS = [
    *(b"0.1", b"-0.1", b"1.5", b"3.0e3", b"5.0e-3", b".5", b"5.", b"-.5e-2", b"+2.25", b"1e17", b"1e-17", b"1e-18"),
    *(
        b"123456789.123456789",
        b"0.30000000000000004",
        b"1e308",
        b"-1e308",
        b"1e4931",
        b"1e4932",
        b"-1e4932",
        b"2e-4950",
    ),
    *(b"1e-4960", b"0x1p3", b"0x1.8p-1", b"-0x.8", b"0X1P-16445", b"0x1p-16446", b"-0.0", b"0e99999999999999999999"),
    *(b"99999999999999999999999999", b"0.000000000000000005", b"0.000000000000000015", b"18446744073709551617"),
    *(
        b"36893488147419103233",
        b"36893488147419103235",
        b"1e2000",
        b"-1e2000",
        b"1.18973149535723176508575932662800702e4932",
    ),
]
_NO_FLOATS = [
    *(b"", b" 1", b"1 ", b"nan", b"-nan", b"inf", b"-inf", b"Infinity", b"infinit", b"1e", b"e1", b".", b"0x", b"0x1p"),
    *(b"1,5", b"1_0.5", b"--1", b"1e+-1", b"1e99999999999", b"1\x00", b"\xff", b"0x.p1", b"9" * 5_200, b"nan(1)"),
]
_WORDS = [
    b"NX",
    b"XX",
    b"GET",
    b"EX",
    b"PX",
    b"EXAT",
    b"PXAT",
    b"KEEPTTL",
    b"PERSIST",
    b"GT",
    b"LT",
    b"FOO",
    b"",
    b"N",
    b"nx\x00x",
]
_PATTERNS = [
    *(
        b"*",
        b"a",
        b"?",
        b"??",
        b"*a*",
        b"k*",
        b"K*",
        b"*[0-9]",
        b"[a-c]",
        b"[^a]",
        b"[^a]*",
        b"k\\[1\\]\\*",
        b"k[[]1]*",
    ),
    *(
        b"{tag}*",
        b"*{*}*",
        b"[",
        b"[a",
        b"[a-",
        b"[c-a]",
        b"[^",
        b"[]",
        b"[^]",
        b"[]a]",
        b"\\",
        b"a\\",
        b"[\\]a]",
        b"[a\\",
    ),
    *(
        b"**",
        b"*?*?*",
        b"",
        b"*\xff*",
        b"[\x00-\xff]*",
        b"[\x7f-\x80]*",
        b"?[\x80-\x7f]",
        b"*[1-2]*",
        b"[a-]",
        b"[-a]*",
    ),
    *(b"*t*a*g*1", b"*a*a*a*a*a*b", b"with\\ space", b"with ?????", b"[a-c-e]", b"[ab\x00]*", b"*]*"),
]
_UNKNOWN = [
    b"FOO",
    b"",
    b"GE",
    b"GETT",
    b"fo\x00o",
    b"fo\r\no",
    b"F\xffO",
    b"x" * 200,
    b"GET key",
    b"SET|",
    b"object|encoding",
]
_FAR_SECONDS = [4_102_444_800, 5_000_000_000, 7_258_118_400]


def integer(random: Random) -> bytes:
    """An integer, or now and then something that nearly is one."""
    chance = random.randrange(10)
    if chance == 0:
        return random.choice(_NO_INTEGERS)
    if chance < 4:
        return random.choice(_INTEGERS)
    return b"%d" % random.randrange(-20, 21)


def number(random: Random) -> bytes:
    """The same for numbers with decimals."""
    chance = random.randrange(12)
    if chance == 0:
        return random.choice(_NO_FLOATS)
    if chance < 4:
        return random.choice(_FLOATS)
    if chance < 6:
        return b"%de%d" % (random.randrange(-(10**20), 10**20), random.randrange(-40, 20))
    return b"%.*f" % (random.randrange(20), random.uniform(-1000, 1000))


def value(random: Random) -> bytes:
    """A value: text, bytes, a number."""
    chance = random.randrange(8)
    if chance < 2:
        return integer(random)
    if chance == 2:
        return number(random)
    if chance == 3:
        return random.randbytes(random.choice((0, 1, 2, 10, 43, 44, 45, 100)))
    return random.choice((b"", b"value", b"hello world", b"mynewtext", b"ohmytext", b"\r\n$-1\r\n", b"x" * 60))


def _relative(random: Random, unit: int) -> bytes:
    if random.randrange(5) == 0:
        return integer_of_time(random)
    return b"%d" % random.randrange(10**8 // unit, 10**15 // unit)


def _absolute(random: Random, unit: int) -> bytes:
    if random.randrange(5) == 0:
        return integer_of_time(random)
    if random.randrange(5) == 0:
        return b"%d" % random.randrange(1, 10**9 * 1000 // unit)
    return b"%d" % (random.choice(_FAR_SECONDS) * 1000 // unit)


def integer_of_time(random: Random) -> bytes:
    """A time that is none, or so far off that nothing depends on the clock."""
    return random.choice((*_NO_INTEGERS, b"0", b"-1", b"-100", *_INTEGERS[6:]))


def _time_option(random: Random) -> list[bytes]:
    name, unit = random.choice(((b"EX", 1000), (b"PX", 1), (b"EXAT", 1000), (b"PXAT", 1)))
    drawn = _absolute(random, unit) if name.endswith(b"AT") else _relative(random, unit)
    return [name, drawn]


def _options(random: Random, words: list[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for _ in range(random.choice((0, 0, 1, 1, 1, 2, 3))):
        chance = random.randrange(20)
        if chance == 0:
            found.append(random.choice(_WORDS))
        elif chance < 8:
            found += _time_option(random)
        else:
            found.append(random.choice(words))
    return [one.lower() if random.randrange(8) == 0 else one for one in found]


def _arguments(random: Random, name: bytes) -> list[bytes]:
    """Arguments that suit a command, more or less."""
    key = random.choice(KEYS)
    match name:
        case b"SET":
            return [key, value(random), *_options(random, [b"NX", b"XX", b"GET", b"KEEPTTL"])]
        case b"GETEX":
            return [key, *_options(random, [b"PERSIST"])]
        case b"GETSET" | b"SETNX" | b"APPEND":
            return [key, value(random)]
        case b"SETEX":
            return [key, _relative(random, 1000), value(random)]
        case b"PSETEX":
            return [key, _relative(random, 1), value(random)]
        case b"MSET" | b"MSETNX":
            return [one for _ in range(random.randrange(1, 4)) for one in (random.choice(KEYS), value(random))]
        case b"MGET" | b"DEL" | b"UNLINK" | b"EXISTS" | b"TOUCH":
            return [random.choice(KEYS) for _ in range(random.choice((1, 1, 1, 2, 3)))]
        case b"GETRANGE" | b"SUBSTR":
            return [key, integer(random), integer(random)]
        case b"SETRANGE":
            offset = integer(random) if random.randrange(3) else b"%d" % random.choice((0, 3, 50, 8_388_608))
            return [key, b"" if random.randrange(4) == 0 else offset, value(random)]
        case b"INCRBY" | b"DECRBY":
            return [key, integer(random)]
        case b"INCRBYFLOAT":
            return [key, number(random)]
        case b"EXPIRE" | b"PEXPIRE" | b"EXPIREAT" | b"PEXPIREAT":
            unit = 1 if name.startswith(b"P") else 1000
            drawn = _absolute(random, unit) if name.endswith(b"AT") else _relative(random, unit)
            words = [b"NX", b"XX", b"GT", b"LT", b"nx", b"gt"]
            return [key, drawn, *(random.choice(words) for _ in range(random.choice((0, 0, 1, 1, 2))))]
        case b"RENAME" | b"RENAMENX":
            return [key, random.choice(KEYS)]
        case b"COPY":
            options = ([], [], [b"REPLACE"], [b"DB", b"0"], [b"db", integer(random), b"replace"], [b"DB"], [b"FOO"])
            return [key, random.choice(KEYS), *random.choice(options)]
        case b"LCS":
            options = [b"LEN", b"IDX", b"WITHMATCHLEN", b"MINMATCHLEN"]
            found = [random.choice(options) for _ in range(random.randrange(4))]
            return [key, random.choice(KEYS), *found, *([integer(random)] if found[-1:] == [b"MINMATCHLEN"] else [])]
        case b"KEYS":
            return [random.choice(_PATTERNS)]
        case b"SCAN":
            return _scan(random)
        case b"OBJECT":
            return [random.choice((b"ENCODING", b"refcount", b"FREQ", b"IDLETIME")), key]
        case b"MEMORY":
            samples = random.choice(([], [], [b"SAMPLES", integer(random)], [b"SAMPLES"], [b"FOO", b"1"]))
            return [b"USAGE", key, *samples]
        case b"RANDOMKEY" | b"DBSIZE":
            return []
    return [key]


def _scan(random: Random) -> list[bytes]:
    """One that gets all keys at once, or one that is wrong: the cursors in between differ."""
    cursor = random.choice(
        (b"0", b"0", b"0", b"00", b"+0", b"-0", b"", b" 0", b"x", b"1x", b"-", b"18446744073709551616")
    )
    found = [b"COUNT", b"1000"]
    for _ in range(random.randrange(3)):
        found += random.choice(
            (
                [b"MATCH", random.choice(_PATTERNS)],
                [b"TYPE", random.choice((b"string", b"STRING", b"hash", b""))],
                [b"COUNT", random.choice((b"0", b"-1", b"5000", b"x", b"9223372036854775807"))],
                [random.choice((b"FOO", b"MATCH", b"COUNT"))],
            )
        )
    return [cursor, *found]


DATA_COMMANDS = sorted(
    name
    for name, command in COMMANDS.items()
    if command.group in ("string", "generic", "server")
    and (command.run or any(one.run for one in command.subcommands.values()))
)
"""What Redis has too and a shard executes."""

_COUNTED = [
    command
    for one in COMMANDS.values()
    if one.group != "twistedkv" and one.name != b"exec"
    for command in (one, *one.subcommands.values())
    if command.name != b"client|setinfo" and (command.arity > 0 or -command.arity > 1 + command.name.count(b"|"))
]
"""Commands that can be called with a wrong number of arguments, and get Redis' usual error then."""


def wrong_count(random: Random) -> list[bytes]:
    """A command with too few or too many arguments."""
    command: Command = random.choice(_COUNTED)
    words = command.name.split(b"|")
    missing = abs(command.arity) - len(words)
    few = missing > 0 and (command.arity < 0 or random.randrange(2) == 0)
    return [*words, *(random.choice(KEYS) for _ in range(random.randrange(missing) if few else missing + 1))]


def commands(random: Random) -> list[list[bytes]]:
    """The next command, with others before it where the comparison needs them."""
    chance = random.randrange(100)
    if chance == 0:
        return [[random.choice(_UNKNOWN), *(value(random) for _ in range(random.randrange(5)))]]
    if chance == 1:
        return [wrong_count(random)]
    if chance == 2:
        container = random.choice((b"OBJECT", b"client", b"Memory", b"SLOWLOG", b"CONFIG", b"latency", b"DEBUG"))
        return [[container, random.choice((b"FOO", b"", b"x" * 150, b"fo\r\no\r\n", b"fo\x00o"))]]
    name = random.choice(DATA_COMMANDS)
    argv = [name.lower() if random.randrange(8) == 0 else name, *_arguments(random, name)]
    if random.randrange(50) == 0:
        argv = argv[: random.randrange(1, len(argv) + 1)]
        if name == b"SCAN" and len(argv) == 2:
            argv.append(b"COUNT")  # without a count both would end their page somewhere else
    elif random.randrange(50) == 0:
        argv.append(random.choice(KEYS))
    # Redis counts and measures keys that have expired as long as nobody has asked for them.
    return [[b"EXISTS", *KEYS], argv] if name in (b"DBSIZE", b"MEMORY") else [argv]
