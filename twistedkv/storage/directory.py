"""The directory that LMDB is given: used by one process, and of a form in which LMDB cannot be killed by it.

LMDB reads its data file, and writes its lock file, through a map of memory: what the disk has not got there ends the
process with SIGBUS. So the data file has the length that it says, and the lock file has room of its own.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from struct import Struct

from twistedkv.errors import ConfigurationError, StorageFailed

LOCK_BYTES = 8192
"""Of lock.mdb, for as many readers as LMDB has unless it is told otherwise."""
_META_AT = 16
_META = Struct("<IIQQI92xQQ")
"""From the start of LMDB's pages 0 and 1, behind their head: magic, version, address, map size, page size (the first
field of two tables of 48 bytes), last page, transaction."""
_MAGIC = 0xBEEFC0DE
_PAGE_SIZES = [1 << bits for bits in range(9, 17)]


def lock_directory(path: Path) -> int:
    """The descriptor of a lock that one process can have. Raises ConfigurationError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(f"data-dir {path}: cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ConfigurationError(
            f"data-dir {path}: another server uses it: give each server a directory of its own, or end the other one"
        ) from None
    return lock


def lengthen(path: Path) -> None:
    """Give the file the length that it says it has: what is missing is then found damaged when it is read, while LMDB
    would be killed by SIGBUS. (A file that was never cut may end before pages that were given up as soon as they were
    taken; they are not read.) Raises StorageFailed when the file cannot be what it says."""
    if not path.exists():
        return
    with path.open("rb") as file:
        head = file.read(_META_AT + _META.size)
        if len(head) < _META_AT + _META.size:
            return  # empty, or for LMDB to refuse
        magic, _, _, _, psize, _, _ = _META.unpack_from(head, _META_AT)
        if magic != _MAGIC or psize not in _PAGE_SIZES:
            raise StorageFailed(f"{path} is damaged: it does not begin as a file of LMDB")
        file.seek(psize)
        metas = [_META.unpack_from(head, _META_AT)]
        other = file.read(_META_AT + _META.size)
        if len(other) == len(head) and other[_META_AT : _META_AT + 4] == head[_META_AT : _META_AT + 4]:
            metas.append(_META.unpack_from(other, _META_AT))
        length = file.seek(0, os.SEEK_END)
    _, _, _, map_bytes, _, last_page, _ = max(metas, key=lambda meta: meta[-1])
    needed = (last_page + 1) * psize
    if needed > map_bytes:
        raise StorageFailed(f"{path} is damaged: it says that it has more pages than it can have")
    if length < needed:
        os.truncate(path, needed)


def allocate(path: Path, size: int) -> None:
    """A file with room of its own: LMDB writes there through a map, and would be killed by SIGBUS on a full disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def sync_directories(path: Path) -> None:
    """Have the names of what was made outlive a power cut."""
    for directory in (path, path.parent):
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            continue  # it is not ours: whoever made it has seen to that
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
