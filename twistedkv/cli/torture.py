"""`twistedkv torture`: clients and faults against a throw-away local cluster, and a verdict."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twistedkv.cli.arguments import json_option
from twistedkv.cli.output import is_terminal, json_line, message, print_json
from twistedkv.cli.session import InputFailure, NotDoneFailure

if TYPE_CHECKING:
    from twistedkv.torture.incidents import Incident
    from twistedkv.torture.plan import Settings
    from twistedkv.torture.report import Report
    from twistedkv.torture.run import Run

SEED_MAX = 1_000_000
LINE_SECONDS = 5.0
"""Between two lines about the progress, where there is no view."""

REPORT_NAME = "report.json"
TEXT_NAME = "report.txt"
PLOT_NAME = "plot.svg"
DRAWINGS_MAX = 5
"""Violations that are drawn."""


@click.command("torture")
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="How long.")
@click.option("--seed", type=int, help="Draw the faults and the clients' choices from this number (default: drawn).")
@click.option("--servers", type=click.IntRange(2, 32), default=3, show_default=True)
@click.option("--copies", type=click.IntRange(2, 8), default=2, show_default=True, help="Of each shard.")
@click.option("--shards", type=click.IntRange(1, 1024), default=12, show_default=True)
@click.option("--clients", type=click.IntRange(1, 64), default=4, show_default=True)
@click.option(
    "--pause",
    type=click.FloatRange(min=0.1),
    default=2.5,
    show_default=True,
    metavar="SECONDS",
    help="Mean time between two faults.",
)
@click.option("--faults", metavar="KIND,...", help="Which kinds of faults (default: all).")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where everything is kept (default: torture-SEED in this directory).",
)
@click.option("--no-view", is_flag=True, help="Print lines, also on a terminal.")
@click.option("--plan", "only_plan", is_flag=True, help="Print the faults that the seed gives, and do nothing.")
@json_option
@click.pass_context
def torture_command(
    ctx: click.Context,
    *,
    seconds: float,
    seed: int | None,
    servers: int,
    copies: int,
    shards: int,
    clients: int,
    pause: float,
    faults: str | None,
    report: Path | None,
    no_view: bool,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Kill and freeze a throw-away cluster under load, and prove that nothing was lost.

    Starts a coordinator and servers on this machine, which end with the command, however it ends. Clients read and
    write as fast as two processors allow, and note everything that they ask and are answered. Meanwhile, processes
    are killed and frozen:

    \b
      kill                a server (SIGKILL); the cluster replaces it
      kill-two            two servers, shortly one after the other; needs 3 copies
      freeze              a server, for 0.1 to 3 s (SIGSTOP)
      switch              another copy of a shard becomes its primary, as planned
      kill-coordinator    the coordinator; it is started again after 0.2 to 3 s
      freeze-coordinator  the coordinator, for 0.1 to 3 s

    A fault that would take the last healthy copy of a shard is skipped: of n copies, n - 1 may fail at a time. At the
    end the cluster has to heal, every key is read once more, its copies are compared, and two independent checkers
    look at the whole history. Exit code 0 says that everything was right, 1 that something was not.

    The seed decides which faults are tried at which time, and what each client draws. Time itself is real, so two runs
    with one seed are alike and not the same.

    In the report: plot.svg (throughput, waits and faults over time), history.jsonl (every operation, for `twistedkv
    check`), journal.jsonl (what the cluster did), report.txt and report.json, and the logs. Ctrl-C ends the faults
    early and goes on with the checks; a second one ends everything.

    \b
    Example:
      twistedkv torture
      twistedkv torture --seconds 300 --servers 5 --copies 3
      twistedkv torture --faults freeze,kill-coordinator --seed 7
    """
    from twistedkv.torture.plan import Settings, draw_faults

    drawn = seed is None
    settings = Settings(
        random.SystemRandom().randrange(SEED_MAX) if seed is None else seed,
        seconds,
        servers,
        copies,
        shards,
        clients,
        pause,
        _kinds(faults),
    )
    if copies > servers:
        raise InputFailure(f"{copies} copies need as many servers, and there are {servers}: see --servers")
    if faults and not settings.possible_kinds:
        raise InputFailure("kill-two needs 3 copies: see --copies")
    if only_plan:
        for fault in draw_faults(settings):
            click.echo(f"{fault.at:8.3f} s  {fault}")
        return
    directory = _directory(report, settings.seed)
    say: Callable[[str], None] = message if as_json else click.echo
    if drawn:
        say(f"seed {settings.seed} (again: --seed {settings.seed})")
    watched = is_terminal() and not no_view and not as_json
    with ExitStack() as at_the_end:
        show = partial(_watch, at_the_end) if watched else partial(_lines, say)
        run = _run(settings, directory, show)
    if not as_json:
        say(f"checking {len(run.records):,} operations")
    done = _report(run)
    document = done.as_json()
    (directory / REPORT_NAME).write_text(json_line(document) + "\n", encoding="utf-8")
    (directory / TEXT_NAME).write_text(done.as_text() + "\n", encoding="utf-8")
    (directory / PLOT_NAME).write_text(_plot(done, run), encoding="utf-8")
    drawings = _draw_violations(done, run)
    if as_json:
        print_json(document | {"report": str(directory)})
    else:
        files = ", ".join([*drawings, REPORT_NAME, "history.jsonl", "journal.jsonl", "logs"])
        say(f"\n{done.as_text()}\n\nreport: {directory / PLOT_NAME}, {files}")
    ctx.exit(0 if done.good else 1)


def _kinds(text: str | None) -> tuple[str, ...]:
    from twistedkv.torture.plan import KINDS

    if text is None:
        return tuple(KINDS)
    kinds = tuple(dict.fromkeys(kind.strip() for kind in text.split(",") if kind.strip()))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise InputFailure(f"--faults: {', '.join(unknown) or 'nothing'} is none of {', '.join(KINDS)}")
    return kinds


def _directory(wanted: Path | None, seed: int) -> Path:
    """Where the report goes: made now, and empty."""
    if wanted is not None:
        try:
            wanted.mkdir(parents=True, exist_ok=True)
            if any(wanted.iterdir()):
                raise InputFailure(f"--report: {wanted} is not empty")
        except OSError as error:
            raise InputFailure(f"--report: {wanted}: {error.strerror}") from error
        return wanted
    for number in range(1, 1000):
        path = Path(f"torture-{seed}" + (f"-{number}" if number > 1 else ""))
        try:
            path.mkdir()
        except FileExistsError:
            continue
        except OSError:
            break
        return path
    return Path(tempfile.mkdtemp(prefix=f"twistedkv-torture-{seed}-"))


def _run(settings: Settings, directory: Path, prepare: Callable[[Run], object]) -> Run:
    from twistedkv.errors import Unavailable
    from twistedkv.torture.process import Interrupted, run_here

    try:
        return run_here(settings, directory, prepare)
    except (OSError, Unavailable) as error:
        raise NotDoneFailure(str(error)) from error
    except Interrupted:
        message(f"ended without a verdict; what there is of the report is in {directory}")
        raise KeyboardInterrupt from None


def _watch(at_the_end: ExitStack, run: Run) -> None:
    """Show the dashboard while the run lasts. It is drawn in a thread, so that no client waits for that."""
    from rich.console import Console
    from rich.live import Live
    from twisted.internet.threads import deferToThread
    from twisted.python.failure import Failure

    from twistedkv.torture.view import Snapshot, dashboard, snapshot_of

    console = Console(highlight=False)
    live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
    drawing = False
    last: Snapshot | None = None

    def draw(snapshot: Snapshot) -> None:
        live.update(dashboard(snapshot, console.width, console.height), refresh=True)

    def drawn(outcome: object) -> None:
        nonlocal drawing
        drawing = False
        if isinstance(outcome, Failure):
            run.problems.append(f"the view failed: {outcome.getTraceback()}")

    def show(run: Run) -> None:
        nonlocal drawing, last
        last = snapshot_of(run)
        if not drawing:
            drawing = True
            deferToThread(draw, last).addBoth(drawn)

    def finish() -> None:
        if last is not None:
            draw(last)
        live.stop()

    live.start()
    at_the_end.callback(finish)
    run.shown = show


def _lines(say: Callable[[str], None], run: Run) -> None:
    """A line for each fault, and one now and then."""
    from twistedkv.torture.run import Phase
    from twistedkv.torture.view import incident_line, progress_line, snapshot_of

    lines = [0]
    phases = [Phase.TORTURE]

    def show(run: Run) -> None:
        now = run.now()
        if now >= (lines[0] + 1) * LINE_SECONDS or run.phase is not phases[0]:
            lines[0] = int(now / LINE_SECONDS)
            phases[0] = run.phase
            say(progress_line(snapshot_of(run)))

    def tell(run: Run, incident: Incident) -> None:
        say(incident_line(incident))

    run.shown, run.told = show, tell


def _report(run: Run) -> Report:
    from twistedkv.history.verdict import check
    from twistedkv.torture.report import Report

    began = time.monotonic()
    verdict = check(run.records)
    return Report(
        run.settings,
        run.ran_seconds,
        run.meter,
        run.faults.incidents,
        run.healed_after,
        run.keys_read,
        run.problems,
        verdict,
        time.monotonic() - began,
        run.interrupted,
    )


def _draw_violations(report: Report, run: Run) -> list[str]:
    """Draw what the checkers have found; the names of the files."""
    from twistedkv.history.drawing import draw_violation
    from twistedkv.history.record import Fault

    faults = [Fault(round(incident.began * 1e9), incident.text) for incident in report.done]
    names = []
    for number, violation in enumerate([*report.verdict.by_versions, *report.verdict.by_search][:DRAWINGS_MAX], 1):
        names.append(f"violation-{number}.svg")
        (run.directory / names[-1]).write_text(draw_violation(violation, run.records, faults), encoding="utf-8")
    return names


def _plot(report: Report, run: Run) -> str:
    from twistedkv.torture.plot import Plot, draw

    settings: Any = report.settings
    details = (
        f"twistedkv torture, seed {settings.seed}: {settings.servers} servers, {settings.copies} copies of "
        f"{settings.shards} shards, {settings.clients} clients, one machine"
    )
    end = run.ran_seconds + (run.healed_after or 0.0) + 0.5
    return draw(
        Plot(
            f"{report.headline}: {report.brief}",
            details,
            report.longest_text,
            report.good,
            end,
            run.ran_seconds,
            report.meter,
            report.incidents,
            settings.servers,
        )
    )
