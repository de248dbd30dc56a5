"""Telling people and scripts that the cluster can be used."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from twistedkv.service.config import DEFAULT_PORT

DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"


def write_ready_file(path: Path, address: str) -> None:
    """{"address": ..., "pid": ...}, complete or not there at all. Raises OSError."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"address": address, "pid": os.getpid()}) + "\n")
    part.replace(path)


def command_line(address: str) -> str:
    """How to call the command line tool for the coordinator at this address."""
    return "twistedkv" if address == DEFAULT_ADDRESS else f"twistedkv --coordinator {address}"


def announcement(address: str) -> str:
    """What `cluster` prints when it is ready: one line, and three commands to try."""
    command = command_line(address)
    return (
        f"ready: the cluster is formed, coordinator at {address}. Try, in another terminal:\n"
        f"  {command} put greeting hello\n"
        f"  {command} get greeting\n"
        f"  {command} status\n"
    )


def announce(address: str) -> None:
    """Print that on the real standard output, which twistd has replaced by its log."""
    stream = sys.__stdout__
    if stream is None:
        return
    try:
        stream.write(announcement(address))
        stream.flush()
    except (OSError, ValueError):
        pass  # closed, as a daemon's is
