"""Runs a client's program: a process that does its part, asks for servers to be killed, and reports. See script.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from tests.clients.cluster import LineCluster

PROGRAM_SECONDS_MAX = 120.0


class ClientFailed(Exception):
    """A client did not do what it should. The text has what it said."""


def play(
    cluster: LineCluster, command: Sequence[str], environment: Mapping[str, str], said: Callable[[str], None]
) -> None:
    """Run the program with the ports of the cluster, and tell `said` what it did. Raises ClientFailed."""
    if shutil.which(command[0]) is None:
        raise ClientFailed(f"{command[0]} is not installed")
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*command, *map(str, cluster.line_ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | dict(environment),
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        overdue = threading.Timer(PROGRAM_SECONDS_MAX, process.kill)
        overdue.daemon = True
        overdue.start()
        last = ""
        try:
            for line in process.stdout:
                last = line.strip()
                word, _, rest = last.partition(" ")
                if word == "did":
                    said(rest)
                elif word == "kill":
                    pid = cluster.kill(int(rest))
                    cluster.healed(pid)
                    process.stdin.write("healed\n")
                    process.stdin.flush()
                elif word != "end":
                    said(f"? {last}")
            process.wait()
        except BrokenPipeError:
            process.wait()
        finally:
            overdue.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
            with suppress(BrokenPipeError):
                process.stdin.close()
        if process.returncode or last != "end":
            errors.seek(0)
            text = errors.read().decode("utf-8", "replace").strip()
            raise ClientFailed(f"exit code {process.returncode}, after {last!r}: {text[-4000:]}")
