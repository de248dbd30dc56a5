"""The longest common subsequence of two values."""

from __future__ import annotations

from twistedkv.commands.arguments import SYNTAX, integer_of, word_of
from twistedkv.commands.keyspace import Keyspace
from twistedkv.errors import CommandError
from twistedkv.resp.replies import array, bulk, integer, mapping

CELLS_MAX = 500_000
"""The product of the lengths, which the cost grows with: all others wait meanwhile. (Redis has 2,097,152 for values of
at most 8 MiB.)
"""
TOO_LONG = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"


def lcs(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]"""
    length_only = ranges = with_lengths = False
    least = 0
    left, right = keyspace.get(argv[1]) or b"", keyspace.get(argv[2]) or b""
    index = 3
    while index < len(argv):
        word = word_of(argv[index])
        if word == b"IDX":
            ranges = True
        elif word == b"LEN":
            length_only = True
        elif word == b"WITHMATCHLEN":
            with_lengths = True
        elif word == b"MINMATCHLEN" and index + 1 < len(argv):
            index += 1
            least = max(integer_of(argv[index]), 0)
        else:
            raise CommandError(SYNTAX)
        index += 1
    if ranges and length_only:
        raise CommandError("ERR If you want both the length and indexes, please just use IDX.")
    if len(left) * len(right) > CELLS_MAX:
        raise CommandError(TOO_LONG)
    rows = _lengths(left, right)
    if length_only:
        return integer(rows[-1][-1])
    common, matches = _walk(left, right, rows)
    if not ranges:
        return bulk(common)
    found = [_match(match, with_lengths) for match in matches if match[1] - match[0] + 1 >= least]
    return mapping({b"matches": array(found), b"len": integer(len(common))}, protocol)


def _match(match: tuple[int, int, int, int], with_length: bool) -> bytes:
    low, high, other_low, other_high = match
    parts = [array([integer(low), integer(high)]), array([integer(other_low), integer(other_high)])]
    return array([*parts, integer(high - low + 1)] if with_length else parts)


def _lengths(left: bytes, right: bytes) -> list[list[int]]:
    """For each pair of beginnings, by their lengths, the length of their longest common subsequence."""
    before = [0] * (len(right) + 1)
    rows = [before]
    for byte in left:
        row = [0]
        last = 0
        for index, other in enumerate(right):
            last = before[index] + 1 if byte == other else max(before[index + 1], last)
            row.append(last)
        rows.append(row)
        before = row
    return rows


def _walk(left: bytes, right: bytes, rows: list[list[int]]) -> tuple[bytes, list[tuple[int, int, int, int]]]:
    """The subsequence, and from the end on the pairs of ranges that it consists of, as first and last index of each."""
    common = bytearray()
    matches: list[tuple[int, int, int, int]] = []
    i, j = len(left), len(right)
    while i and j:
        if left[i - 1] == right[j - 1]:
            i, j = i - 1, j - 1
            common.append(left[i])
            if matches and matches[-1][0] == i + 1 and matches[-1][2] == j + 1:
                matches[-1] = (i, matches[-1][1], j, matches[-1][3])
            else:
                matches.append((i, i, j, j))
        elif rows[i - 1][j] > rows[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return bytes(reversed(common)), matches
