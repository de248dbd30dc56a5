"""System calls that fail when they should not: strace, on one process that runs already."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from tests.live.cluster import wait_for


def missing() -> str:
    """Why nothing can be traced here, in a sentence with the command that changes it; empty if it can."""
    if shutil.which("strace") is None:
        return "a tool is missing: apt-get install -y strace"
    done = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace ({done.stderr.strip()}): run it as root" if done.returncode else ""


class Tracing:
    """`inject` is strace's, as in "fdatasync:error=EIO:when=3+". Ends with the process that is traced."""

    def __init__(self, pid: int, inject: str, log: Path) -> None:
        self._pid = pid
        self._log = log
        self._command = ["strace", "-f", "-p", str(pid), "-o", str(log), "-e", f"inject={inject}"]
        self._said = log.with_suffix(".err")

    def __enter__(self) -> Tracing:
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=said)
        wait_for("strace is attached", self._attached, 20)
        return self

    def _attached(self) -> bool:
        if self._process.poll() is not None:
            said = self._said.read_text()
            assert " attached" in said, said
            return True  # and the call has been made to fail, and the process has ended, already
        statuses = Path(f"/proc/{self._pid}/task").glob("*/status")
        return all("\nTracerPid:\t0\n" not in status.read_text() for status in statuses)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._process.kill()  # it may not have been told of the end of the one it traces, and then waits for ever
        self._process.wait()

    def injected(self) -> list[str]:
        """The calls that were made to fail."""
        return [line for line in self._log.read_text("utf-8", "replace").split(os.linesep) if "(INJECTED)" in line]
