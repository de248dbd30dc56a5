"""Errors of LMDB as those of this package."""

from __future__ import annotations

import errno
import os
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
_FULL_BYTES = 1 << 20
"""A disk with less has no room, as far as a write that failed can tell."""


def as_ours(error: Exception, path: Path) -> StorageFailed | DiskFull:
    """What to raise. Damage is noted in the directory, so that the next process does not begin with the same file.

    A write that the file system had room for a part of is EIO for LMDB. On a disk without room that is what it is taken
    for: nothing of the transaction is there, and all of it is written again when there is room.
    """
    number = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
    full = number in (errno.ENOSPC, errno.EDQUOT) or (number == errno.EIO and _bytes_available(path) < _FULL_BYTES)
    if full or isinstance(error, lmdb.MapFullError | lmdb.DiskError):
        return DiskFull(f"the disk has no room: {error}")
    if isinstance(error, _DAMAGE):
        with suppress(OSError):
            (path / DAMAGED).write_text(f"was found damaged: {error}\n", "utf-8")
    return StorageFailed(f"the disk failed: {error}")


def _bytes_available(path: Path) -> int:
    about = os.statvfs(path)
    return about.f_bavail * about.f_frsize
