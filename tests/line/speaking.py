"""Requests as bytes, in every way in which they may be written and cut."""

from __future__ import annotations

import itertools
from random import Random

from tests.support.redis_server import encode_request

_PLAIN = frozenset(range(0x21, 0x7F)) - frozenset(b"\"'\\*")
_BETWEEN = (b"\r\n", b"\n", b"*0\r\n", b"*-1\r\n", b"  \r\n", b"*-10\r\n")
"""What asks nothing and may stand between requests."""
_TINY_PIECES = 60


def written(random: Random, argv: list[bytes]) -> bytes:
    """A request as an array or as a line, now and then after something that asks nothing."""
    data = _line(random, argv) if random.randrange(3) == 0 else encode_request(argv)
    return random.choice(_BETWEEN) + data if random.randrange(20) == 0 else data


def _line(random: Random, argv: list[bytes]) -> bytes:
    words = [_word(random, one) for one in argv]
    blank = b" " if random.randrange(4) else random.choice((b"  ", b"\t", b" \t "))
    return blank.join(words) + random.choice((b"\r\n", b"\n"))


def _word(random: Random, argument: bytes) -> bytes:
    if argument and _PLAIN.issuperset(argument) and random.randrange(4):
        return argument
    if random.randrange(3) == 0 and b"\n" not in argument and b"\0" not in argument and b"\\" not in argument:
        return b"'" + argument.replace(b"'", b"\\'") + b"'"
    return b'"' + b"".join(_escaped(random, byte) for byte in argument) + b'"'


def _escaped(random: Random, byte: int) -> bytes:
    named = {10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b", 34: b'\\"', 92: b"\\\\"}.get(byte)
    if named is not None:
        return named
    if 0x20 <= byte < 0x7F and random.randrange(10):
        return bytes((byte,))
    return (b"\\x%02x" if random.randrange(2) else b"\\x%02X") % byte


def pieces(random: Random, data: bytes) -> list[bytes]:
    """The same bytes, cut at random: mostly not at all or now and then, sometimes into very small pieces."""
    chance = random.randrange(10)
    if chance < 4 or len(data) < 2:
        return [data]
    if chance == 4:
        start = random.randrange(len(data))
        cuts = list(range(start, min(start + _TINY_PIECES, len(data))))
    else:
        cuts = random.sample(range(1, len(data)), min(random.randrange(1, 6), len(data) - 1))
    edges = [0, *sorted(cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges) if end > begin]
