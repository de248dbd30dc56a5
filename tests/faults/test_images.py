"""Disks of our own lose in a power cut what was not synced, and nothing else; in a process of its own, because that
leaves the host's mounts."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.faults.images import Image, missing

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77


def _write(path: Path, content: bytes, *, sync: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.pwrite(descriptor, content, 0)
    if sync:
        os.fsync(descriptor)
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    os.close(descriptor)


def main() -> int:
    """What is lost, and what is not."""
    why_not = missing()
    if why_not:
        print(why_not)
        return SKIPPED
    with tempfile.TemporaryDirectory() as name, Image(Path(name), "disk", megabytes=16) as image:
        pages = [bytes([65 + page]) * 4096 for page in range(16)]
        changed = [page.lower() for page in pages]
        _write(image.path / "synced", b"yes", sync=True)
        _write(image.path / "pages", b"".join(pages), sync=True)
        _write(image.path / "pages", b"".join(changed), sync=False)
        _write(image.path / "lost", b"no", sync=False)
        image.leak(image.path / "pages", random.Random(1), 0.5)
        image.copy()
        _write(image.path / "synced", b"too late", sync=True)
        assert (image.path / "lost").read_bytes() == b"no"
        image.restore()
        assert (image.path / "synced").read_bytes() == b"yes"
        assert not (image.path / "lost").exists() or not (image.path / "lost").read_bytes()
        content = (image.path / "pages").read_bytes()
        found = [content[at : at + 4096] for at in range(0, len(content), 4096)]
        assert all(page in both for page, both in zip(found, zip(pages, changed, strict=True), strict=True))
        early = sum(map(changed.__contains__, found))
        assert 8 == image.half_kept <= early, f"{early} were written early"
        image.copy()
        image.restore()
        assert (image.path / "synced").read_bytes() == b"yes"
    assert not Path(name).exists()
    return 0


def test_power_cuts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_images"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode == SKIPPED and os.environ.get("CI") != "true":
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
