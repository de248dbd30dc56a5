"""`twistedkv simulate`: the cluster on simulated time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from twistedkv.simulation.run import Outcome


@click.command("simulate")
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--seeds", default=1, show_default=True, help="How many, from the first on.")
@click.option("--seconds", default=20.0, show_default=True, help="Simulated seconds with faults.")
@click.option("--jobs", default=1, show_default=True, help="Processes that share the work.")
@click.option("--twice", default=0, show_default=True, help="Run so many of the seeds again, and compare the digests.")
@click.option("--quiet", is_flag=True, help="No line for a seed in which nothing was wrong.")
@click.option("--story", is_flag=True, help="Print what was done to the cluster.")
@click.option("--minimize", is_flag=True, help="Leave out as many faults as possible while the seed still fails.")
@click.option("--history", type=click.Path(path_type=Path), help="Write the history of the (last) seed to this file.")
@click.pass_context
def simulate_command(
    ctx: click.Context,
    seed: int,
    seeds: int,
    seconds: float,
    jobs: int,
    twice: int,
    quiet: bool,
    story: bool,
    minimize: bool,
    history: Path | None,
) -> None:
    """Run a whole cluster on simulated time, with faults, and check it.

    Coordinator, servers and clients are the real ones, in one process; clocks, network, crashes and pauses are
    simulated, and everything in a run is fixed by its seed. At the end faults stop, and within 60 simulated seconds
    all copies must be there again and equal. Exit code 1 says that something was wrong in some run, or that a batch of
    a hundred seeds or more has not seen all that it should have seen.

    \b
    Example:
      twistedkv simulate --seeds 20
      twistedkv simulate --seed 7 --story
      twistedkv simulate --seed 7 --minimize
    """
    from twistedkv.simulation.batch import Totals, digests_elsewhere, run_batch

    if minimize:
        ctx.exit(_minimize(seed, seconds))
    began = time.monotonic()
    chosen = range(seed, seed + seeds)
    totals = Totals()
    digests = {}
    for outcome in run_batch(chosen, seconds, jobs if history is None and not story else 1):
        totals.add(outcome)
        digests[outcome.seed] = outcome.digest
        if outcome.problems or not quiet:
            click.echo(outcome.as_text())
        if outcome.problems:
            click.echo("\n".join(f"  {problem}" for problem in outcome.problems))
        if story:
            click.echo(_story(outcome))
        if history is not None and outcome.workload is not None:
            _write_history(history, outcome, seconds)
    click.echo("\n".join(totals.lines(time.monotonic() - began)))
    again = digests_elsewhere(chosen[:twice], seconds) if twice else {}
    differing = [seed for seed, digest in again.items() if digests[seed] != digest]
    if again:
        names = ", ".join(map(str, differing))
        click.echo(f"NOT THE SAME AGAIN: seeds {names}" if differing else f"{len(again)} seeds run again are the same")
    if totals.wrong:
        click.echo(
            f"to see what happened: twistedkv simulate --seconds {seconds:g} --seed {totals.wrong[0]} --minimize"
        )
    ctx.exit(1 if totals.wrong or totals.missing or differing else 0)


def _minimize(seed: int, seconds: float) -> int:
    from twistedkv.simulation.batch import be_quiet
    from twistedkv.simulation.shrinking import minimize

    be_quiet()
    smaller = minimize(seed, seconds, lambda text: click.echo(text, err=True))
    if smaller is None:
        click.echo(f"seed {seed}: nothing is wrong, so there is nothing to make smaller")
        return 0
    click.echo(
        f"seed {seed} fails with {len(smaller.faults)} of its {smaller.faults_before} faults, "
        f"in {smaller.seconds:.1f} s ({smaller.runs} runs):"
    )
    click.echo("\n".join(f"  {fault}" for fault in smaller.faults))
    click.echo("what happened:")
    click.echo(_story(smaller.outcome))
    click.echo("what was wrong:")
    click.echo("\n".join(f"  {problem}" for problem in smaller.outcome.problems))
    return 1


def _story(outcome: Outcome) -> str:
    return "\n".join(f"{when:10.4f} {text}" for when, text in outcome.story)


def _write_history(path: Path, outcome: Outcome, seconds: float) -> None:
    from twistedkv.history.record import Fault, Header, header_line, line_of

    assert outcome.workload is not None
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=os.path.dirname(__file__), capture_output=True, text=True, check=False
    ).stdout.strip()
    faults = tuple(Fault(round(when * 1e9), text) for when, text in outcome.story)
    other = {"seconds": seconds, "python": sys.version.split()[0]}
    header = Header(commit or None, outcome.seed, outcome.configuration, faults, other)
    lines = [header_line(header), *map(line_of, outcome.workload.history.relevant)]
    path.write_text("\n".join(lines) + "\n")
