"""Whether the store of a process that was killed by a signal can be read: asked in another process, before it is used.

LMDB trusts its file. Where a page was damaged, it says so, or ends the process that reads it: SIGBUS, SIGSEGV, or
SIGABRT when it notices that something cannot be. The next process would read the same page, and end as well; so Python
writes where it was hit into a file beside the data (`watch`), and whoever finds that there first has everything read in
a process that may be lost (`examine`). The file alone is no evidence against the data: any other module may have been
at fault, in all servers at once.

    python -m twistedkv.storage.inspection DIRECTORY
"""

from __future__ import annotations

import faulthandler
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from twisted.logger import Logger

from twistedkv.errors import StorageFailed

log = Logger()

CRASHED = "crashed"
"""Not empty if the process before was killed by its own doing."""
_WRITTEN_BYTES = 1 << 20


_written: list[IO[bytes]] = []
"""The file that is written when this process is killed, if any."""


def watch(directory: Path) -> None:
    """From now on a fatal signal is written down here, unless something else in this process wants to know of it."""
    if faulthandler.is_enabled() and not _written:
        return
    with suppress(OSError):  # what is wrong with the directory is said by whoever opens the store
        directory.mkdir(parents=True, exist_ok=True)
        _written.append((directory / CRASHED).open("wb"))
        faulthandler.enable(_written[-1])
    while len(_written) > 1:
        _written.pop(0).close()


def examine(directory: Path) -> None:
    """If the process before was killed by its own doing, read all that is there. Raises StorageFailed if that fails."""
    crashed = directory / CRASHED
    if not crashed.exists() or not crashed.stat().st_size:
        return
    log.warn("the process before this one was killed by a fault: reading all of {directory}", directory=directory)
    command = [sys.executable, "-m", __name__, str(directory)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise StorageFailed(f"data-dir {directory}: is damaged: reading it ends with {done.returncode}: {said}")
    crashed.unlink()


def read_everything(directory: Path) -> None:
    """Each byte of each table, and as much of the free pages as is used for some writing. Raises StorageFailed."""
    from twistedkv.storage.durable import DurableStore
    from twistedkv.storage.lmdb import LmdbDisk

    disk = LmdbDisk(directory)
    DurableStore(disk)
    disk.read_everything(_WRITTEN_BYTES)
    disk.close()


if __name__ == "__main__":
    read_everything(Path(sys.argv[1]))
