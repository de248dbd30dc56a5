"""The view: everything that somebody wants to know, in 80 columns and 24 lines."""

from __future__ import annotations

import attrs
import pytest
from rich.console import Console

from twistedkv.torture.incidents import Incident
from twistedkv.torture.plan import Fault, Settings
from twistedkv.torture.view import Process, Snapshot, dashboard, incident_line, progress_line


def incident(number: int, began: float, result: str = "replaced after 0.9 s, longest wait 24 ms") -> Incident:
    return Incident(Fault(number, began, "kill", server=2), began, "server 2 killed", result=result)


SNAPSHOT = Snapshot(
    settings=Settings(4711, seconds=60.0),
    phase="clients and faults",
    now=30.0,
    left=30.0,
    reads=31_000,
    writes=29_000,
    unknown=3,
    not_done=0,
    rate=1987.4,
    rates=[200] * 150 + [0] * 10 + [200] * 140,
    waits=[0.004] * 150 + [0.97] * 10 + [0.004] * 140,
    wait_now=0.0021,
    longest=0.97,
    cause="server 2 frozen for 2.1 s",
    processes=[
        Process("coordinator", "alive", 100),
        Process("server 1", "alive", 101, 4, 4, 0, 1234),
        Process("server 2", "being replaced", 102, 0, 0, 4, 0),
        Process("server 3", "frozen", 103, 8, 0, 0, 1230),
    ],
    incidents=[incident(1, 5.0), incident(2, 15.2, ""), Incident(Fault(3, 16.0, "freeze"), 16.0, "freeze server 1")],
)


def rendered(snapshot: Snapshot, columns: int = 80, rows: int = 24) -> list[str]:
    console = Console(width=columns, height=rows, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(dashboard(snapshot, columns, rows))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_everything_is_there() -> None:
    lines = rendered(SNAPSHOT)
    assert lines[:2] == [
        "twistedkv torture, seed 4711   3 servers, 2 copies of 12 shards",
        "clients and faults, 30 s left",
    ]
    text = "\n".join(lines)
    assert "60,000 operations: 31,000 reads, 29,000 writes, 3 of unknown outcome" in text
    assert "longest wait 0.97 s (server 2 frozen for 2.1 s)" in text
    assert "1,987" in lines[2]
    assert lines[3].endswith("2 ms")
    [server] = [line for line in lines if line.startswith("server 2")]
    assert server.split() == ["server", "2", "being", "replaced", "102", "0", "0", "4", "0"]
    assert "   5.0 s  server 2 killed: replaced after 0.9 s, longest wait 24 ms" in lines
    assert "  15.2 s  server 2 killed ..." in lines


def test_the_curves_show_the_stall_where_it_was_and_the_faults_below_it() -> None:
    lines = rendered(SNAPSHOT)
    rates, waits, letters = lines[2][14:], lines[3][14:], lines[4][14:]
    column = 150 // 11  # 600 bins in 56 columns
    assert rates[column] < rates[column - 1] == "█"
    assert waits[column] == "▇" and waits[column - 1] < "▄"
    assert letters[50 // 11] == "K"
    assert letters.count("K") == 2


@pytest.mark.parametrize("columns, rows, incidents", [(80, 24, 50), (80, 24, 0), (120, 50, 200), (60, 20, 10)])
def test_it_fits(columns: int, rows: int, incidents: int) -> None:
    many = [incident(number, 0.1 * number) for number in range(incidents)]
    lines = rendered(attrs.evolve(SNAPSHOT, incidents=many), columns, rows)
    assert max(map(len, lines)) <= columns
    if columns >= 80:
        assert len(lines) < rows
    if incidents >= 50:
        assert len(lines) == rows - 1, "as many faults as there is place for"
        assert lines[-1].startswith(f"{0.1 * (incidents - 1):6.1f} s"), "the last of them"


def test_at_the_beginning_there_is_nothing_to_divide_by() -> None:
    empty = attrs.evolve(SNAPSHOT, now=0.0, rates=[], waits=[], incidents=[], processes=[], longest=0.0, cause="")
    assert "0 faults, 0 skipped" in "\n".join(rendered(empty))


def test_afterwards_the_phase_is_named() -> None:
    late = attrs.evolve(SNAPSHOT, left=0.0, phase="every key is read once more", now=64.0)
    assert rendered(late)[1] == "every key is read once more"


def test_lines_for_who_is_no_terminal() -> None:
    assert progress_line(SNAPSHOT) == (
        "  30.0 s  60,000 operations, 1,987/s, 3 unknown; longest wait 0.97 s; clients and faults"
    )
    assert incident_line(incident(1, 5.0)) == ("   5.0 s  server 2 killed: replaced after 0.9 s, longest wait 24 ms")
    skipped = Incident(Fault(2, 6.0, "kill", server=1), 6.0, "kill server 1", skipped="the coordinator is away")
    assert incident_line(skipped) == "   6.0 s  kill server 1: skipped, the coordinator is away"
