"""Disks of our own: ext4 in a file, on a loop device, in a mount namespace that nobody else sees.

A *power cut* is a copy of that file, made without a sync while all that writes is stopped: what only the kernel's cache
of the file system knew is not in the copy, and what was synced is. The copy is then mounted in place of the original.
The kernel writes its cache back in an order of its own; so before a copy some pages may be chosen by chance and pushed
out of the cache (`leak`), as if it had got so far with them.

The calling process moves into a new mount namespace (`leave_the_mounts`); all that it starts sees its mounts, and they
and their loop devices end with the last process there, even if we are killed.

Needs root, loop devices, `mkfs.ext4` and `mount`. `missing()` says what is not there.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

PACKAGES = {"mkfs.ext4": "e2fsprogs", "mount": "mount", "umount": "mount"}
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SYNC_FILE_RANGE_NOW = 1 | 2 | 4
"""Wait for what is being written, write, wait for that: no metadata, no flush of the disk."""
_SYSTEM_PATH = ":/usr/sbin:/sbin"
_PAGE_BYTES = 4096
_COPIES_MAX = 50

_left: list[bool] = []


def missing() -> str:
    """Why there can be no such disk here, in a sentence with the command that changes it; empty if there can."""
    path = os.environ.get("PATH", "") + _SYSTEM_PATH
    packages = sorted({package for tool, package in PACKAGES.items() if shutil.which(tool, path=path) is None})
    if packages:
        return f"a tool is missing: apt-get install -y {' '.join(packages)}"
    try:
        leave_the_mounts()
        with tempfile.TemporaryDirectory(prefix="twistedkv-image-") as name, Image(Path(name), "try", megabytes=8):
            pass
    except (OSError, AssertionError) as error:
        return f"no file system in a file can be mounted ({error}): run it as root, with loop devices"
    return ""


def leave_the_mounts() -> None:
    """Have mounts of our own from now on, for all that this thread starts. Raises OSError."""
    if _left:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.unshare(CLONE_NEWNS) == 0 and libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0
    if not done:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    _left.append(True)
    os.environ["PATH"] = os.environ.get("PATH", "") + _SYSTEM_PATH


def _run(*command: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.strip()}"


class Image:
    """A file system of so many megabytes, mounted at `path`. As a context manager it is taken down at the end."""

    def __init__(self, directory: Path, name: str, *, megabytes: int) -> None:
        self.path = directory / name
        self._file = directory / f"{name}.ext4"
        self._copy = directory / f"{name}.copy"
        self._bytes = megabytes << 20
        self.half_kept = 0
        """Pages that were pushed out of the cache."""

    def __enter__(self) -> Image:
        leave_the_mounts()
        self.path.mkdir(parents=True)
        with self._file.open("wb") as file:
            file.truncate(self._bytes)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", self._file)
        self._mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        _run("umount", "--lazy", self.path)

    def _mount(self) -> None:
        _run("mount", "-o", "loop", self._file, self.path)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        device = next(line.split()[0] for line in reversed(mounts) if f" {self.path} " in line)
        self._statistics = Path("/sys/block", Path(device).name, "stat")

    def _written(self) -> tuple[str, str]:
        """Sectors written to the device so far, and requests that are under way."""
        fields = self._statistics.read_text().split()
        return fields[6], fields[8]

    def leak(self, file: Path, chance: random.Random, share: float) -> None:
        """Write this share of a file's pages to the disk, now."""
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(file, os.O_RDWR)
        try:
            pages = os.fstat(descriptor).st_size // _PAGE_BYTES
            for page in chance.sample(range(pages), int(pages * share)):
                start = ctypes.c_int64(page * _PAGE_BYTES)
                libc.sync_file_range(descriptor, start, ctypes.c_int64(_PAGE_BYTES), SYNC_FILE_RANGE_NOW)
                self.half_kept += 1
        finally:
            os.close(descriptor)

    def copy(self) -> None:
        """What would be there if the power were cut now. All that writes has been stopped; the kernel has not, so the
        copy is made again when something was written meanwhile."""
        for _ in range(_COPIES_MAX):
            before = self._written()
            _run("cp", "--sparse=always", self._file, self._copy)
            if before == self._written() and before[1] == "0":
                return
            time.sleep(0.01)
        raise AssertionError(f"{self._file} is written all the time")

    def restore(self) -> None:
        """Be as the copy. Nothing uses it any more."""
        _run("umount", self.path)
        self._copy.replace(self._file)
        self._mount()
