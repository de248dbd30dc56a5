"""Columns: many byte strings as one, for what is made of many keys or records.

size  field
4     how many
4     size of each; 0xFFFFFFFF if they differ
4 n   the size of each, if they differ
      the strings, behind each other

Both ways are a few calls into C for the whole column, whatever its length: a loop over its strings would cost more than
everything else that is done with them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, chain, pairwise, starmap
from struct import Struct, iter_unpack, pack, unpack_from

from twistedkv.errors import ProtocolError

_HEAD = Struct(">II")
COLUMN_HEAD_BYTES = _HEAD.size
STRING_HEAD_BYTES = 4
"""What a string takes at most besides itself."""
_DIFFERENT = 0xFFFFFFFF


def column_bytes(strings: Collection[bytes]) -> int:
    """How many bytes the column of these strings has at most."""
    return COLUMN_HEAD_BYTES + STRING_HEAD_BYTES * len(strings) + sum(map(len, strings))


def encode_column(strings: Sequence[bytes]) -> bytes:
    """The column of these strings."""
    sizes = list(map(len, strings))
    count = len(sizes)
    if not count:
        return _HEAD.pack(0, 0)
    if sizes.count(sizes[0]) == count:
        return _HEAD.pack(count, sizes[0]) + b"".join(strings)
    return _HEAD.pack(count, _DIFFERENT) + pack(f">{count}I", *sizes) + b"".join(strings)


def decode_column(data: bytes, start: int, least: int, most: int, count_max: int) -> tuple[list[bytes], int]:
    """The strings of the column at `start`, each of `least` to `most` bytes, and where it ends.

    Raises ProtocolError when it is cut short, or has more or other strings than it may.
    """
    begin = start + COLUMN_HEAD_BYTES
    if begin > len(data):
        raise ProtocolError("a column is cut short")
    count, size = _HEAD.unpack_from(data, start)
    if count > count_max:
        raise ProtocolError(f"a column has at most {count_max} strings here, {count} were announced")
    if not count:
        if size:
            raise ProtocolError("a column of no strings has no size of them")
        return [], begin
    if size != _DIFFERENT:
        if not least <= size <= most:
            raise ProtocolError(f"the strings of a column have {least} to {most} bytes here, not {size}")
        end = begin + count * size
        if end > len(data):
            raise ProtocolError("a column is cut short")
        if not size:
            return [b""] * count, end
        return list(chain.from_iterable(iter_unpack(f"{size}s", memoryview(data)[begin:end]))), end
    first = begin + STRING_HEAD_BYTES * count
    if first > len(data):
        raise ProtocolError("a column is cut short")
    sizes = unpack_from(f">{count}I", data, begin)
    if not (least <= min(sizes) and max(sizes) <= most):
        raise ProtocolError(
            f"the strings of a column have {least} to {most} bytes here, not {min(sizes)} to {max(sizes)}"
        )
    if sizes.count(sizes[0]) == count:
        raise ProtocolError("a column tells sizes that do not differ")
    places = list(accumulate(sizes, initial=first))
    if places[-1] > len(data):
        raise ProtocolError("a column is cut short")
    return list(map(data.__getitem__, starmap(slice, pairwise(places)))), places[-1]
