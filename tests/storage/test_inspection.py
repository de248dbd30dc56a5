"""What is done about a store whose process was killed by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.stores import close, open_durable, settle
from twistedkv.errors import StorageFailed
from twistedkv.records import make_record
from twistedkv.storage.inspection import CRASHED, examine, read_everything


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The directory of one that was closed."""
    store = open_durable(tmp_path)
    for number in range(100):
        store.put(1, b"%d" % number, make_record(number + 1, 0, bytes(number * 10)))
    store.save(0, b"state")
    settle(store)
    close(store)
    return tmp_path / "store"


def test_a_store_that_is_well_is_used_again(store: Path, tmp_path: Path) -> None:
    examine(store)
    examine(tmp_path / "never")
    (store / CRASHED).write_text("Fatal Python error: Segmentation fault")
    examine(store)
    assert not (store / CRASHED).exists()
    again = open_durable(tmp_path)
    assert again.keys == 100
    close(again)


def test_a_store_that_cannot_be_read_is_refused(store: Path) -> None:
    with (store / "data.mdb").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(8192, size, 4096):
            file.seek(page + 10)
            file.write(b"\xff\xff")
    examine(store)  # nobody was killed, so nobody looks
    (store / CRASHED).write_text("Fatal Python error: Bus error")
    with pytest.raises(StorageFailed, match="is damaged: reading it ends with"):
        examine(store)


def test_reading_everything(store: Path) -> None:
    read_everything(store)


def test_a_fault_is_written_down(store: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from twistedkv.storage.inspection import watch
watch(Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGBUS)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONFAULTHANDLER"}
    done = subprocess.run([sys.executable, "-c", script, store], env=environment, check=False)
    assert done.returncode == -signal.SIGBUS
    assert "Bus error" in (store / CRASHED).read_text()
