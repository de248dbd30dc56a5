"""Workload files: the original system's format for operations and checks, read, written and generated.

One operation a line: `{0|G|P|V|C} "<key>" ["<value>" [<count>]]`

    0  NOOP: asks a server for a sign of life           G  GET: reads the key, whatever it holds
    P  PUT: stores the value, which is not empty         C  checked GET: the key must hold the value
    V  VERIFY: every copy of the key must hold the value

The value `" "` in C and V says that the key must not exist. `count` repeats the operation. 0 and G ignore the
value, which is there only so that a count can follow. Empty lines are skipped. There are no escapes: keys and
values hold no quotes. Pure: no files, no clock, no network.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable, Iterator
from enum import Enum

import attrs

from twistedkv.errors import InvalidRequest
from twistedkv.limits import KEY_BYTES_MAX

LINE_CHARACTERS_MAX = 2048
"""Without the end of the line."""
LINE_BYTES_MAX = 4 * LINE_CHARACTERS_MAX
"""A character has four bytes at most: of a longer line a reader need not look at the rest."""
COUNT_MAX = 1_000_000_000
ABSENT = b" "
"""The value that says, in a check, that the key must not exist."""

OPERATIONS_DEFAULT = 21_000
PUT_PERCENT_DEFAULT = 5.0
SEED_DEFAULT = 1

_LINE = re.compile(r'([0GPVC])\s+"([^"]*)"(?:\s+"([^"]*)"(?:\s+([0-9]{1,10}))?)?')
_ALPHABET = string.ascii_letters + string.digits


class WorkloadError(InvalidRequest):
    """A line is not an operation; the text says why. `line` is its number, from 1, or 0 if it has none."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line


class Verb(Enum):
    """What an operation does, by its letter."""

    NOOP = "0"
    GET = "G"
    PUT = "P"
    VERIFY = "V"
    CHECK = "C"


CHECKS = frozenset({Verb.VERIFY, Verb.CHECK})


@attrs.frozen
class Operation:
    """One line of a workload."""

    verb: Verb
    key: bytes
    value: bytes | None = None
    """As written, for P, C and V; None for 0 and G."""
    count: int = 1
    """How often to do it, 1 or more."""

    @property
    def expected(self) -> bytes | None:
        """What a check must find; None: that the key does not exist."""
        return None if self.value == ABSENT else self.value


def parse_line(line: bytes, number: int = 0) -> Operation | None:
    """The operation in a line, with or without its line end; None for an empty line.

    Raises WorkloadError with the line `number`.
    """
    text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
    if len(text) > LINE_CHARACTERS_MAX:
        raise WorkloadError(f"a line has at most {LINE_CHARACTERS_MAX} characters", number)
    text = text.strip()
    if "\n" in text:
        raise WorkloadError("keys and values hold no line ends", number)
    if not text:
        return None
    match = _LINE.fullmatch(text)
    if match is None:
        raise WorkloadError(_what_is_wrong(text), number)
    verb = Verb(match[1])
    key = _bytes(match[2])
    value = None if match[3] is None else _bytes(match[3])
    count = int(match[4] or 1)
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise WorkloadError(f"a key has 1 to {KEY_BYTES_MAX} bytes, this one has {len(key)}", number)
    if not 1 <= count <= COUNT_MAX:
        raise WorkloadError(f"a count is 1 to {COUNT_MAX}, not {count}", number)
    if verb in (Verb.NOOP, Verb.GET):
        value = None
    elif not value:
        raise WorkloadError(f'{verb.value} needs a value, which is not empty: {verb.value} "key" "value"', number)
    return Operation(verb, key, value, count)


def parse_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, Operation]]:
    """The operations of a file with their line numbers, from 1. WorkloadError at the first wrong one."""
    for number, line in enumerate(lines, start=1):
        operation = parse_line(line, number)
        if operation is not None:
            yield number, operation


def format_operation(operation: Operation) -> bytes:
    """The line of an operation, without line end. Raises WorkloadError for what the format cannot say."""
    key, value = _text(operation.key), operation.value
    line = f'{operation.verb.value} "{key}"'
    if value is not None:
        line += f' "{_text(value)}"'
    if operation.count != 1:
        line += f" {operation.count}" if value is not None else f' " " {operation.count}'
    encoded = _bytes(line)
    if parse_line(encoded) != operation:
        raise WorkloadError(f"a workload file cannot say {operation}")
    return encoded


def generate(
    operations: int = OPERATIONS_DEFAULT,
    put_percent: float = PUT_PERCENT_DEFAULT,
    keys: int | None = None,
    seed: int = SEED_DEFAULT,
) -> Iterator[Operation]:
    """A workload of PUT and VERIFY in which each VERIFY expects the value of the latest PUT before it.

    The same arguments give the same workload. Keys are `key_<n>_<10 random>`, values
    `value_<n>_<100 random>`.

    Args:
        operations: how many, 1 or more.
        put_percent: share of PUTs, more than 0 to 100; there is at least one, and it comes first.
        keys: how many different keys; by default two thirds of the PUTs, so that a third of them overwrite.
        seed: of the random numbers.

    Raises InvalidRequest at the first step if the arguments contradict each other.
    """
    if operations < 1 or not 0 < put_percent <= 100:
        raise InvalidRequest("a workload has 1 operation or more, and more than 0 to 100 percent PUT")
    puts = max(1, round(operations * put_percent / 100))
    if keys is None:
        keys = max(1, round(puts * 2 / 3))
    if not 1 <= keys <= puts:
        raise InvalidRequest(f"{puts} PUT operations can make 1 to {puts} keys, not {keys}")
    rng = random.Random(seed)
    put_places = {0, *rng.sample(range(1, operations), puts - 1)}
    # Which of the PUTs bring a new key; the first one has to.
    new_keys = {0, *rng.sample(range(1, puts), keys - 1)}
    names: list[bytes] = []
    values: list[bytes] = []
    done = 0
    for place in range(operations):
        if place not in put_places:
            chosen = rng.randrange(len(names))
            yield Operation(Verb.VERIFY, names[chosen], values[chosen])
            continue
        value = b"value_%d_%s" % (done, _random_text(rng, 100))
        if done in new_keys:
            chosen = len(names)
            names.append(b"key_%d_%s" % (chosen, _random_text(rng, 10)))
            values.append(value)
        else:
            chosen = rng.randrange(len(names))
            values[chosen] = value
        done += 1
        yield Operation(Verb.PUT, names[chosen], value)


def _random_text(rng: random.Random, length: int) -> bytes:
    return "".join(rng.choices(_ALPHABET, k=length)).encode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _what_is_wrong(text: str) -> str:
    verb, rest = text[0], text[1:]
    if verb not in "0GPVC" or (rest and not rest[0].isspace()):
        word = text.split(maxsplit=1)[0]
        return f"begins with {word[:20]!r}, but an operation begins with 0, G, P, V or C and a space"
    rest = rest.strip()
    if not rest.startswith('"'):
        return f'expected a key in double quotes after {verb}: {verb} "key"'
    if rest.count('"') % 2:
        return "a double quote is missing (keys and values are quoted and hold no quotes themselves)"
    if rest.count('"') > 4:
        return "an operation has one key and at most one value (which hold no quotes themselves)"
    return 'expected "key", then perhaps "value", then perhaps a count in digits, with spaces between them'
