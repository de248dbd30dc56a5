"""Telling people and scripts that the cluster can be used."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from twistedkv.service.config import DEFAULT_LINE_PORT
from twistedkv.service.knobs import DEFAULT_PORT

LINES_SHOWN = 5
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"


def write_ready_file(path: Path, address: str) -> None:
    """{"address": ..., "pid": ...}, complete or not there at all. Raises OSError."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"address": address, "pid": os.getpid()}) + "\n")
    part.replace(path)


def program() -> str:
    """The command line tool of this installation, as it can be typed here: its path, if it is not on PATH."""
    beside = Path(sys.executable).parent / "twistedkv"
    found = shutil.which("twistedkv")
    if not beside.exists() or (found is not None and Path(found).resolve() == beside.resolve()):
        return "twistedkv"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))


def command_line(address: str) -> str:
    """How to call the command line tool for the coordinator at this address."""
    return program() if address == DEFAULT_ADDRESS else f"{program()} --coordinator {address}"


def announcement(address: str, lines: Sequence[tuple[str, int]] = (), storage: str = "") -> str:
    """What `cluster` prints when it is ready: one line, and commands to try.

    lines    (host, port) of the line ports
    storage  which engine runs, and what a power cut costs
    """
    command = command_line(address)
    text = (
        f"ready: the cluster is formed, coordinator at {address}. Try, in another terminal:\n"
        f"  {command} put greeting hello\n"
        f"  {command} get greeting\n"
        f"  {command} status\n"
    )
    if lines:
        host, port = lines[0]
        ports = ", ".join(str(port) for _, port in lines[:LINES_SHOWN]) + (" ..." if len(lines) > LINES_SHOWN else "")
        text += f"or telnet, redis-cli and what speaks to Redis, at {host}, ports {ports}:\n"
        text += f"  {program()} shell --line {host}:{port}\n" if port != DEFAULT_LINE_PORT else f"  {program()} shell\n"
    if storage:
        text += f"Data are kept in {storage}.\n"
    return text


def announce(address: str, lines: Sequence[tuple[str, int]], storage: str) -> None:
    """Print that on the real standard output, which twistd has replaced by its log."""
    stream = sys.__stdout__
    if stream is None:
        return
    try:
        stream.write(announcement(address, lines, storage))
        stream.flush()
    except (OSError, ValueError):
        pass  # closed, as a daemon's is
