"""The workload of the original system over the line port and over the course port, while a server is killed.

`python -m tests.acceptance.ports`
"""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path

from tests.acceptance.report import Report, run
from tests.live.cluster import Cluster, free_port, send
from tests.support.course_client import CourseClient

BURST = 20
"""Lines that are sent at once to the line port."""
SECONDS_MAX = 60.0


def typed(port: int, lines: list[bytes]) -> tuple[int, list[bytes]]:
    """Send the lines of a workload as they are. How many were answered, and the errors among the answers."""
    answered = 0
    errors: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), SECONDS_MAX) as connection, connection.makefile("rb") as file:
        for first in range(0, len(lines), BURST):
            burst = lines[first : first + BURST]
            connection.sendall(b"\n".join(burst) + b"\n")
            for line in burst:
                answer = file.readline()
                if answer[:1] == b"$" and answer != b"$-1\r\n":
                    file.readline()
                if answer[:1] == b"-" or not answer:
                    errors.append(line + b": " + answer)
                answered += bool(answer)
    return answered, errors


def killed(cluster: Cluster, server: int, after: float) -> threading.Timer:
    """Kill a server in the middle."""
    timer = threading.Timer(after, send, (cluster.pids()[server], signal.SIGKILL))
    timer.start()
    return timer


def script(report: Report, directory: Path) -> None:
    workload = directory / "workload.txt"
    course = free_port()
    with Cluster(directory, course_port=course) as cluster:
        cluster.start_cluster()
        cluster.command("generate-workload", "-o", workload)
        lines = [line for line in workload.read_bytes().splitlines() if line.strip()]
        for generation in (2024, 2020, 2016):
            pids = cluster.pids()
            timer = killed(cluster, 2, 4.0)
            done = CourseClient("127.0.0.1", course, generation=generation).replay(lines)
            timer.join()
            cluster.healed(pids[2])
            text = f"course port, {generation}: {done.operations} operations, {done.checks_passed} checks passed"
            report.holds(done.good and done.operations == len(lines), text, (done.checks_failed, done.failed))
        port = cluster.client().refresh().servers[1].line_port
        pids = cluster.pids()
        timer = killed(cluster, 3, 1.0)
        answered, errors = typed(port, lines)
        timer.join()
        cluster.healed(pids[3])
        report.holds(
            answered == len(lines) and not errors, f"line port: {answered} lines, {len(errors)} errors", errors
        )


if __name__ == "__main__":
    run("the original workload over the line port and the course port", script)
