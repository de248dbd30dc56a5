"""`twistedkv simulate` and `twistedkv check`: the cluster on simulated time, and what histories prove."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from twistedkv.simulation.run import Outcome


@click.command("check")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.pass_context
def check_command(ctx: click.Context, file: Any) -> None:
    """Check whether a history of operations is linearizable.

    That is, whether it can come from one store that does one thing at a time. FILE has an operation in each line, as
    JSON; `-` is standard input. Two checkers look at it: one takes the order from the versions in the answers, the
    other searches for an order by itself. Exit code 1 says that the history is wrong.

    \b
    Example:
      twistedkv simulate --seed 7 --history history.jsonl
      twistedkv check history.jsonl
    """
    from twistedkv.history.record import read_history
    from twistedkv.history.verdict import check

    verdict = check(read_history(file))
    click.echo(verdict.as_text())
    ctx.exit(0 if verdict.linearizable else 1)


@click.command("simulate")
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--seeds", default=1, show_default=True, help="How many, from the first on.")
@click.option("--seconds", default=20.0, show_default=True, help="Simulated seconds with faults.")
@click.option("--jobs", default=1, show_default=True, help="Processes that share the work.")
@click.option("--story", is_flag=True, help="Print what was done to the cluster.")
@click.option("--history", type=click.Path(path_type=Path), help="Write the history of the (last) seed to this file.")
@click.pass_context
def simulate_command(
    ctx: click.Context, seed: int, seeds: int, seconds: float, jobs: int, story: bool, history: Path | None
) -> None:
    """Run a whole cluster on simulated time, with faults, and check it.

    Coordinator, servers and clients are the real ones, in one process; clocks, network, crashes and pauses are
    simulated, and everything in a run is fixed by its seed. At the end faults stop, and within 60 simulated seconds
    all copies must be there again and equal. Exit code 1 says that something was wrong in some run.

    \b
    Example:
      twistedkv simulate --seeds 20
      twistedkv simulate --seed 7 --story
    """
    began = time.monotonic()
    totals: dict[str, float] = {}
    wrong = []
    for outcome in _outcomes(range(seed, seed + seeds), seconds, jobs):
        click.echo(
            f"seed {outcome.seed}: digest {outcome.digest}, {outcome.simulated_seconds:.0f} s, "
            f"{outcome.events} events, {outcome.acknowledged} operations acknowledged, {outcome.unknown} unknown, "
            f"{outcome.counts.get('shard.promoted', 0)} failovers, healed after {outcome.healed_after:.1f} s"
        )
        if outcome.problems:
            wrong.append(outcome.seed)
            click.echo("\n".join(f"  {problem}" for problem in outcome.problems))
        if story:
            click.echo("\n".join(f"{when:10.4f} {text}" for when, text in outcome.story))
        own = {"acknowledged": outcome.acknowledged, "unknown": outcome.unknown, "events": outcome.events}
        own |= {"simulated seconds": round(outcome.simulated_seconds), "undecided": outcome.undecided}
        for name, count in (own | outcome.counts).items():
            totals[name] = totals.get(name, 0) + count
        if history is not None and outcome.workload is not None:
            _write_history(history, outcome, seconds)
    took = time.monotonic() - began
    click.echo(f"{seeds} seeds in {took:.1f} s, {totals.get('acknowledged', 0) / took:.0f} operations/s")
    click.echo("\n".join(f"  {count:10.0f}  {name}" for name, count in sorted(totals.items())))
    if wrong:
        click.echo(f"WRONG: {len(wrong)} seeds: {', '.join(map(str, wrong))}")
        ctx.exit(1)


def _outcomes(seeds: range, seconds: float, jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        _be_quiet()
        from twistedkv.simulation.run import simulate

        yield from (simulate(seed, seconds) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=_be_quiet) as pool:
        yield from pool.map(_one, seeds, [seconds] * len(seeds))


def _one(seed: int, seconds: float) -> Outcome:
    from twistedkv.simulation.run import simulate

    outcome = simulate(seed, seconds)
    outcome.workload = None  # is large, and does not go through a pipe
    return outcome


def _be_quiet() -> None:
    """What is logged goes nowhere but to the simulation, which looks for errors in it."""
    from twisted.logger import globalLogBeginner

    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


def _write_history(path: Path, outcome: Outcome, seconds: float) -> None:
    import json

    from twistedkv.history.record import line_of

    assert outcome.workload is not None
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=os.path.dirname(__file__), capture_output=True, text=True, check=False
    ).stdout.strip()
    header = {"commit": commit, "seed": outcome.seed, "seconds": seconds, "python": sys.version.split()[0]}
    lines = [json.dumps(header), *map(line_of, outcome.workload.history.relevant)]
    path.write_text("\n".join(lines) + "\n")
