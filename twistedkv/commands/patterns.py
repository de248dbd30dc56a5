"""Patterns of keys, as KEYS and SCAN have them, as regular expressions whose cost is bounded.

`*` is any run of bytes, `?` one byte, `[a-c]` one of some and `[^a]` one of all others; a backslash takes the meaning
from what follows. Each run between two stars is looked for once and then never moved (an atomic group): a pattern of
many stars costs its length times that of the key, and not a power of it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from twistedkv.limits import KEY_BYTES_MAX

EVERYTHING = b"*"

_NOTHING = re.compile(rb"(?!)")
_ALL = frozenset(range(256))


@lru_cache(maxsize=64)
def pattern_of(pattern: bytes) -> re.Pattern[bytes]:
    """The regular expression that matches, with `fullmatch`, what the pattern means."""
    runs = _runs_of(pattern)
    if sum(map(len, runs)) > KEY_BYTES_MAX or not pattern:
        return _NOTHING  # longer than any key
    first, *others = (b"".join(map(_written, run)) for run in runs)
    if not others:
        return re.compile(first, re.DOTALL)
    middle = b"".join(b"(?>.*?%b)" % run for run in others[:-1] if run)
    return re.compile(first + middle + b".*" + others[-1], re.DOTALL)


def _runs_of(pattern: bytes) -> list[list[frozenset[int]]]:
    """What stands between the stars: for each byte of a key the ones that match."""
    runs: list[list[frozenset[int]]] = [[]]
    index = 0
    while index < len(pattern):
        byte = pattern[index]
        if byte == ord("*"):
            if runs[-1] or len(runs) == 1:
                runs.append([])
        elif byte == ord("?"):
            runs[-1].append(_ALL)
        elif byte == ord("["):
            bytes_, index = _class_of(pattern, index + 1)
            runs[-1].append(bytes_)
        else:
            if byte == ord("\\") and index + 1 < len(pattern):
                index += 1
            runs[-1].append(frozenset((pattern[index],)))
        index += 1
    return runs


def _class_of(pattern: bytes, index: int) -> tuple[frozenset[int], int]:
    """The bytes of a class whose inside begins at `index`, and where that ends: at the latest with the pattern."""
    found: set[int] = set()
    inverted = pattern[index : index + 1] == b"^"
    index += inverted
    while index < len(pattern) and pattern[index] != ord("]"):
        if pattern[index] == ord("\\") and index + 1 < len(pattern):
            index += 1
            found.add(pattern[index])
        elif index + 2 < len(pattern) and pattern[index + 1] == ord("-"):
            # Bytes are signed numbers in this comparison, and may stand in either order.
            low, high = sorted((_signed(pattern[index]), _signed(pattern[index + 2])))
            found.update(number & 0xFF for number in range(low, high + 1))
            index += 2
        else:
            found.add(pattern[index])
        index += 1
    return (_ALL - found if inverted else frozenset(found)), index


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _written(bytes_: frozenset[int]) -> bytes:
    """One byte of a key as a regular expression."""
    if len(bytes_) == 256:
        return b"."
    if not bytes_:
        return b"(?!)"
    return b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(bytes_))
