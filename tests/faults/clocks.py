"""The wall clock steps: keys expire by it, and nothing else looks at it.

libfaketime gives a process another wall clock, by a file that says by how much it is off; the monotonic clock stays.
"""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path

from tests.faults.scene import SUSPICION_SECONDS, Scene
from tests.faults.stage import Stage
from tests.live.cluster import send, wait_for

LIBRARIES = ("/usr/lib", "/usr/local/lib")
STEPS_SECONDS = (2_000, -3_600, 50_000, 0)


def library() -> Path | None:
    """Where libfaketime is."""
    found = (path for root in LIBRARIES for path in sorted(Path(root).glob("**/faketime/libfaketime.so.1")))
    return next(found, None)


def missing() -> str:
    """Why no clock can be made to step, in a sentence with the command that changes it; empty if it can."""
    return "" if library() else "a tool is missing: apt-get install -y faketime"


def _step(clock: Path, seconds: int) -> None:
    new = clock.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.replace(clock)


class _Line:
    """A client of the line port."""

    def __init__(self, scene: Scene) -> None:
        server = scene.cluster.status()["servers"][0]
        host = server["address"].rpartition(":")[0]
        self._socket = socket.create_connection((host, server["line_port"]), 10)
        self._file = self._socket.makefile("rwb")

    def ask(self, *words: object) -> str:
        """A command; its answer, of one line."""
        self._file.write(" ".join(map(str, words)).encode() + b"\r\n")
        self._file.flush()
        line = self._file.readline().decode().rstrip()
        if line.startswith("$") and line != "$-1":
            line = self._file.readline().decode().rstrip()
        return line

    def close(self) -> None:
        """Go."""
        self._file.close()
        self._socket.close()


def _judge(scene: Scene, since: int) -> None:
    """A busy machine may have had somebody suspected, after the usual time; a step of hours must not."""
    failed = [event["text"] for event in scene.journal(since) if event["event"] == "server.failed"]
    silences = [float(found) for text in failed for found in re.findall(r"([0-9.]+) s", text)]
    scene.report.holds(
        all(SUSPICION_SECONDS <= silence < SUSPICION_SECONDS + 10 for silence in silences),
        f"{len(failed)} servers were suspected, because they were silent for so long",
        failed,
    )


def clock_steps(stage: Stage) -> None:
    """All wall clocks step by hours, forth and back: leases and data are as before, and keys expire by them."""
    clock = stage.directory / "clock"
    _step(clock, 0)
    fakes = {
        "LD_PRELOAD": library(),
        "FAKETIME_TIMESTAMP_FILE": clock,
        "FAKETIME_CACHE_DURATION": 1,
        "FAKETIME_DONT_FAKE_MONOTONIC": 1,
    }
    before = ["env", *(f"{name}={value}" for name, value in fakes.items())]
    with stage.scene(server_flags=("--engine=lmdb",), before=before) as scene:
        report = scene.report
        scene.load()
        line = _Line(scene)
        asked = [line.ask("SET", "soon", "v", "EX", 1_000), line.ask("SET", "late", "v", "EX", 100_000)]
        report.holds([*asked, line.ask("SET", "never", "v")] == ["+OK"] * 3, "three keys are set", asked)
        since, known = scene.last_event(), 0
        for seconds in STEPS_SECONDS:
            scene.fault(f"all wall clocks are {seconds:+d} s off")
            _step(clock, seconds)
            left = 100_000 - seconds
            wait_for("the clocks have stepped", lambda left=left: left - 60 < int(line.ask("TTL", "late")[1:]) <= left)
            known = known or seconds >= 1_000
            wait_for("and keys expire", lambda known=known: (line.ask("EXISTS", "soon") == ":0") == known)
            scene.work()
        line.close()
        _judge(scene, since)
        daemons = [scene.coordinator, *scene.daemons.values()]
        scene.fault("every process is killed")
        for daemon in daemons:
            send(daemon.pid, signal.SIGKILL)
        for daemon in daemons:
            daemon.wait()
        _step(clock, 50_000)
        began = scene.start_coordinator()
        for server in list(scene.daemons):
            began = time.monotonic()
            scene.start_server(server)
        scene.recovered(began, more_seconds=10.0, after="the last return")
        line = _Line(scene)
        left = int(line.ask("TTL", "late")[1:])
        report.holds(49_900 < left <= 50_000, f"after the restart it expires when it was to: in {left} s")
        _step(clock, 200_000)
        wait_for("it expires", lambda: line.ask("EXISTS", "late") == ":0")
        report.holds(line.ask("GET", "never") == "v" and line.ask("EXISTS", "soon") == ":0", "the others are as before")
        line.close()
        scene.work()
        scene.finish(operations=500, faults=len(STEPS_SECONDS) + 1)
