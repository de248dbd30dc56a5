"""Errors of LMDB as those of this package."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path
from struct import error as StructError

import lmdb

from twistedkv.errors import DiskFull, StorageFailed

DAMAGED = "damaged"
"""This file is beside the data when they were found damaged, and says why."""
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PageFullError,
    lmdb.CursorFullError,
    lmdb.ProblemError,
)
DAMAGE_AT_OPENING = (
    *_DAMAGE,
    lmdb.InvalidError,
    lmdb.PanicError,
    lmdb.BadTxnError,
    lmdb.BadDbiError,
    lmdb.BadValsizeError,
    lmdb.IncompatibleError,
    lmdb.NotFoundError,
    ValueError,
    StructError,
)


def as_ours(error: Exception, path: Path) -> StorageFailed | DiskFull:
    """What to raise. Damage is noted in the directory, so that the next process does not begin with the same file."""
    number = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
    if isinstance(error, lmdb.MapFullError | lmdb.DiskError) or number in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"the disk has no room: {error}")
    if isinstance(error, _DAMAGE):
        with suppress(OSError):
            (path / DAMAGED).write_text(f"was found damaged: {error}\n", "utf-8")
    return StorageFailed(f"the disk failed: {error}")
