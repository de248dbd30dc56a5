"""A process that is bound to its parent ends with it, also when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=sys.stdout,
                         env={**os.environ, "TWISTEDKV_PARENT": sys.argv[2] or str(os.getpid())})
time.sleep(60)
"""
CHILD = """
import os, time
from twistedkv.service.parent import bind_to_parent
bind_to_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie has)."""
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl and /proc")
@pytest.mark.parametrize("stopped", [False, True])
def test_the_child_of_a_killed_parent_is_killed(stopped: bool) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, ""], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if stopped:
        os.kill(child, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    assert gone(child)
    parent.stdout.close()


def test_one_whose_parent_is_gone_already_does_not_begin() -> None:
    """It finds another parent than the one that it was told of."""
    environment = {**os.environ, "TWISTEDKV_PARENT": str(os.getppid())}
    ended = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    assert ended.stdout == ""


def test_where_the_kernel_does_not_help_the_end_of_standard_input_does() -> None:
    """As `twistd twistedkv server --die-with-parent` is on other systems than Linux."""
    program = """
from types import SimpleNamespace
from twisted.internet import reactor
from twistedkv.service import parent
parent.sys = SimpleNamespace(platform="darwin")
from twistedkv.service.config import ServerOptions
from twistedkv.tap import _server
server = _server(reactor, ServerOptions(coordinator=("127.0.0.1", 1), die_with_parent=True))
server.startService()
reactor.callWhenRunning(lambda: print("runs", flush=True))
reactor.run()
print("ended")
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "runs\n"
    child.stdin.close()
    assert child.stdout.readline() == "ended\n"
    assert child.wait(60) == 0
    child.stdout.close()
