"""A throw-away cluster on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.frames import LoadError

READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0


@contextmanager
def local_cluster(options: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """Start `twistd twistedkv cluster` with these options on a free port; the coordinator's address.

    Raises LoadError with the end of its log when it does not get ready. Nothing of it is left afterwards.
    """
    base = Path(tempfile.mkdtemp(prefix="twistedkv-bench-"))
    ready, log = base / "ready.json", base / "cluster.log"
    twistd = Path(sys.executable).with_name("twistd")
    command = [str(twistd), "-n", "--pidfile=", "twistedkv", "cluster", "--port", "0", "--line-port", "0"]
    command += ["--base-dir", str(base / "data"), "--ready-file", str(ready), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=base)
    try:
        yield _wait_ready(process, ready, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(base, ignore_errors=True)


def _wait_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> tuple[str, int]:
    ends = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < ends and process.poll() is None:
        try:
            host, _, port = json.loads(ready.read_text("utf-8"))["address"].rpartition(":")
            return host, int(port)
        except (FileNotFoundError, json.JSONDecodeError):
            time.sleep(0.05)
    said = log.read_text("utf-8", "replace").splitlines()[-20:]
    raise LoadError("the cluster did not get ready; the end of its log:\n" + "\n".join(said))
