"""A run while it is going on: as a small dashboard on a terminal, or line by line. Pure: a Snapshot goes in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from twistedkv.torture.incidents import COORDINATOR, Incident, milliseconds_text, target_name
from twistedkv.torture.meter import BIN_SECONDS
from twistedkv.torture.plan import Settings
from twistedkv.torture.report import cause_of

if TYPE_CHECKING:
    from twistedkv.torture.run import Run

BARS = " ▁▂▃▄▅▆▇█"
LABEL_COLUMNS = 14
FIGURE_COLUMNS = 8
WAIT_MIN = 0.001
WAIT_MAX = 3.0
"""Ends of the scale of waits, which is logarithmic; seconds."""

LETTERS = {
    "kill": "K",
    "kill-two": "K",
    "freeze": "F",
    "switch": "S",
    "kill-coordinator": "C",
    "freeze-coordinator": "c",
}
_STYLES = {"K": "bold red", "F": "bold cyan", "S": "magenta", "C": "bold yellow", "c": "yellow"}
_STATES = {
    "alive": "green",
    "frozen": "bold cyan",
    "killed": "bold red",
    "being replaced": "bold red",
    "being filled": "yellow",
}


@attrs.frozen
class Process:
    """A row of the dashboard."""

    name: str
    state: str
    pid: int
    primaries: int | None = None
    """Of how many shards it is primary, secondary, or a copy that is being filled; None for the coordinator."""
    secondaries: int | None = None
    learners: int | None = None
    keys: int | None = None


@attrs.frozen
class Snapshot:
    """What is known of a run at one moment."""

    settings: Settings
    phase: str
    now: float
    """Seconds since the clients began."""
    left: float
    """Seconds with faults that are still to come; 0 when they are over."""
    reads: int
    writes: int
    unknown: int
    not_done: int
    rate: float
    """Answered operations a second, in the last second."""
    rates: Sequence[int]
    """Answered operations, by bin."""
    waits: Sequence[float]
    """Longest waits in seconds, by bin."""
    wait_now: float
    longest: float
    cause: str
    """Why the longest wait was so long."""
    processes: Sequence[Process]
    incidents: Sequence[Incident]


def snapshot_of(run: Run) -> Snapshot:
    """That of now."""
    meter, now = run.meter, run.now()
    left = run.settings.seconds - now if run.phase.name == "TORTURE" else 0.0
    return Snapshot(
        run.settings,
        run.phase.value,
        now,
        max(0.0, left),
        meter.total_reads,
        meter.total_writes,
        meter.total_unknown,
        meter.total_not_done,
        meter.rate(now),
        [reads + writes for reads, writes in zip(meter.reads, meter.writes, strict=True)],
        list(meter.waits),
        meter.waiting_now(now),
        meter.longest.seconds,
        cause_of(meter.longest, run.faults.incidents),
        _processes(run),
        list(run.faults.incidents),
    )


def _processes(run: Run) -> list[Process]:
    state_of = run.faults.state_of
    pid, state = run.cluster.coordinator_pid, state_of(COORDINATOR) or "alive"
    rows = [Process("coordinator", "starting" if state == "killed" and pid else state, pid)]
    for server_id, server in run.look.servers.items() if run.look is not None else ():
        state = {"killed": "being replaced"}.get(state_of(server_id), state_of(server_id))
        if not state:
            known = "alive" if server["state"] == "active" else server["state"]
            state = "being filled" if server["learners"] else known
        rows.append(
            Process(
                target_name(server_id),
                state,
                server["pid"],
                server["primaries"],
                server["secondaries"],
                server["learners"],
                server["keys"],
            )
        )
    return rows


def dashboard(snapshot: Snapshot, columns: int, rows: int) -> RenderableType:
    """The whole view, for a terminal of this size."""
    settings = snapshot.settings
    head = Text(f"twistedkv torture, seed {settings.seed}", style="bold")
    shape = f"{settings.servers} servers, {settings.copies} copies of {settings.shards} shards"
    head.append(f"   {shape}", style="not bold dim")
    left = f", {snapshot.left:.0f} s left" if snapshot.left else ""
    width = max(10, columns - LABEL_COLUMNS - FIGURE_COLUMNS - 2)
    counts = Text(f"{snapshot.reads + snapshot.writes:,} operations", style="bold")
    counts.append(
        f": {snapshot.reads:,} reads, {snapshot.writes:,} writes, {snapshot.unknown} of unknown outcome",
        style="not bold",
    )
    cause = f" ({snapshot.cause})" if snapshot.cause else ""
    waits = Text(f"longest wait {milliseconds_text(snapshot.longest)}{cause}")
    parts: list[RenderableType] = [
        head,
        Text(f"{snapshot.phase}{left}", style="green"),
        _curve("operations/s", _rate_bars(snapshot, width), f"{snapshot.rate:,.0f}", "blue"),
        _curve("longest wait", _wait_bars(snapshot, width), milliseconds_text(snapshot.wait_now), "yellow"),
        Text.assemble(" " * LABEL_COLUMNS, _letters(snapshot, width)),
        counts,
        waits,
        "",
        _table(snapshot.processes),
        "",
    ]
    used = len(parts) - 1 + len(snapshot.processes) + 2
    return Group(*parts, *_last_incidents(snapshot.incidents, rows - used - 1))


def _curve(label: str, bars: str, figure: str, style: str) -> Text:
    return Text.assemble(f"{label:<{LABEL_COLUMNS}}", (bars, style), f"  {figure:>{FIGURE_COLUMNS}}")


def _bins_per_column(snapshot: Snapshot, width: int) -> int:
    seconds = max(snapshot.settings.seconds, snapshot.now)
    return max(1, math.ceil(seconds / BIN_SECONDS / width))


def _rate_bars(snapshot: Snapshot, width: int) -> str:
    count = _bins_per_column(snapshot, width)
    # The bin of now is not full yet.
    rates = snapshot.rates[: int(snapshot.now / BIN_SECONDS)]
    columns = [rates[start : start + count] for start in range(0, len(rates), count)]
    sums = [sum(column) / len(column) for column in columns]
    most = max(sums, default=0) or 1
    return _padded((_bar(value / most) for value in sums), width)


def _wait_bars(snapshot: Snapshot, width: int) -> str:
    count = _bins_per_column(snapshot, width)
    waits = [max(snapshot.waits[start : start + count]) for start in range(0, len(snapshot.waits), count)]
    span = math.log(WAIT_MAX / WAIT_MIN)
    return _padded((_bar(math.log(max(wait, WAIT_MIN) / WAIT_MIN) / span) for wait in waits), width)


def _bar(share: float) -> str:
    return BARS[min(len(BARS) - 1, max(0, math.ceil(share * (len(BARS) - 1))))]


def _padded(bars: object, width: int) -> str:
    return "".join(bars)[:width].ljust(width)  # type: ignore[arg-type]


def _letters(snapshot: Snapshot, width: int) -> Text:
    """The faults, below the curves."""
    count = _bins_per_column(snapshot, width)
    text = Text(" " * width)
    for incident in snapshot.incidents:
        column = int(incident.began / BIN_SECONDS) // count
        if not incident.skipped and column < width:
            letter = LETTERS[incident.fault.kind]
            text = Text.assemble(text[:column], (letter, _STYLES[letter]), text[column + 1 :])
    return text


def _table(processes: Sequence[Process]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in ("Process", "State", "Pid", "Primary", "Secondary", "Filling", "Keys"):
        table.add_column(title, justify="left" if title in ("Process", "State") else "right", no_wrap=True)
    table.columns[1].min_width = max(map(len, _STATES))
    for process in processes:
        roles = (process.primaries, process.secondaries, process.learners, process.keys)
        table.add_row(
            process.name,
            Text(process.state, style=_STATES.get(process.state, "yellow")),
            str(process.pid or "-"),
            *("" if role is None else f"{role:,}" for role in roles),
        )
    return table


def _last_incidents(incidents: Sequence[Incident], lines: int) -> list[Text]:
    done = sum(1 for incident in incidents if not incident.skipped)
    text = Text(f"{done} faults", style="bold")
    text.append(f", {len(incidents) - done} skipped", style="not bold")
    text.append("   K kill, F freeze, S switch, C c the coordinator", style="not bold dim")
    text.no_wrap, text.overflow = True, "ellipsis"
    shown = incidents[-max(1, lines - 1) :]
    return [text, *(_incident_line(incident) for incident in shown)]


def _incident_line(incident: Incident) -> Text:
    line = Text(f"{incident.began:6.1f} s  ", style="dim", no_wrap=True, overflow="ellipsis")
    if incident.skipped:
        return line.append(incident.as_text(), style="dim")
    letter = LETTERS[incident.fault.kind]
    line.append(incident.text, style=f"not dim {_STYLES[letter]}")
    if incident.result:
        return line.append(f": {incident.result}", style="not dim")
    return line.append(" ...", style="not dim")


def progress_line(snapshot: Snapshot) -> str:
    """For a run that is not watched on a terminal."""
    return (
        f"{snapshot.now:6.1f} s  {snapshot.reads + snapshot.writes:,} operations, {snapshot.rate:,.0f}/s, "
        f"{snapshot.unknown} unknown; longest wait {milliseconds_text(snapshot.longest)}; {snapshot.phase}"
    )


def incident_line(incident: Incident) -> str:
    """The same for a fault of which it is known what became of it."""
    return f"{incident.began:6.1f} s  {incident.as_text()}"
