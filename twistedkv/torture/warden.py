"""A process that holds the processes of a torture cluster, so that none of them outlives the torture.

The coordinator has to be killed and started again while its servers go on, so servers are nobody's children for a while
and no bond of `service.parent` would do. The kernel gives orphans to the nearest ancestor that asks for them (Linux: a
child subreaper); that is this process. It lives as long as its standard input, which ends with the torture, however
that ends; then it kills whatever it has for children, and what it inherits by that, until nothing is left. A frozen
process dies too. The coordinator itself dies with this process, and the torture asks for orphans as well: so nothing is
left either when this process is the one that is killed.

Standard input: a line for each time that the coordinator is to be started. Standard output: `started PID` for that,
`ended PID` for every process that has ended. The command is in the arguments.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from twistedkv.service.parent import PARENT_VARIABLE

_PR_SET_CHILD_SUBREAPER = 36
START = b"start\n"


def adopt_orphans() -> None:
    """Have the kernel give processes to this one whose parents end, if they descend from it. Raises OSError."""
    if not sys.platform.startswith("linux"):
        raise OSError("this needs Linux, where orphaned processes can be adopted by the one that has to end them")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def children() -> list[int]:
    """All children of this process."""
    own = os.getpid()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == own:
                    found.append(int(entry.name))
    return found


def end_children() -> None:
    """Kill all children, those who become our children by that, and so on; wait for their ends."""
    while True:
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            _say(f"ended {pid}")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: the end of standard input is coming
        os.write(1, line.encode() + b"\n")


def _start(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TWISTEDKV_FAIL"}
    environment[PARENT_VARIABLE] = str(os.getpid())
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, env=environment)
    process.returncode = 0  # its end is seen by _reap
    _say(f"started {process.pid}")


def hold(command: list[str]) -> None:
    """Start the command as often as standard input asks for it; end all when standard input ends."""
    adopt_orphans()
    with contextlib.suppress(OSError):
        os.setsid()  # Ctrl-C is for the torture, which comes to an end in order
    wakened, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wakened, False)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        while True:
            readable = select.select([0, wakened], [], [])[0]
            if wakened in readable:
                os.read(wakened, 4096)
            _reap()
            if 0 in readable:
                data = os.read(0, 4096)
                if not data:
                    return
                for _ in range(data.count(START)):
                    _start(command)
    finally:
        end_children()


if __name__ == "__main__":
    hold(sys.argv[1:])
