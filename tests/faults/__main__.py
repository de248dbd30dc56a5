"""Faults on real processes: every standing scenario, as a table.

    python -m tests.faults                                      all of them, about three minutes
    python -m tests.faults kill-primary freeze-primary          some of them
    python -m tests.faults --times 10 --seed 7                  each ten times, with seeds 7 to 16
    python -m tests.faults --keep-history histories             the histories are kept, for `twistedkv check`
    python -m tests.faults --list                               what there is

Each records the history of its clients, has both checkers judge it, asks every copy what it holds, and measures how
long it takes until all is whole again. What a failed one leaves, histories and logs, is kept in any case.

Those that cut the network need namespaces and nftables, those that cut the power file systems on loop devices, others
strace or libfaketime. Where these are missing they are skipped, with the reason; with CI=true in the environment that
is a failure.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.acceptance.report import Report
from tests.faults import clocks, images, network, tracing
from tests.faults.scenarios import SCENARIOS
from tests.faults.scene import Figures
from tests.faults.stage import Scenario, Stage, named
from tests.live.cluster import PATIENCE_SECONDS

SCENARIO_SECONDS_MAX = 240
MISSING = {"network": network.missing, "disks": images.missing, "tracing": tracing.missing, "clocks": clocks.missing}
"""What a scenario may need, and what says why it is not here, if it is not."""
HEADINGS = ("scenario", "result", "faults", "operations", "unknown", "stall", "whole after", "seconds")


@attrs.frozen
class Outcome:
    """How one run went."""

    scenario: Scenario
    result: str
    """ok, FAIL or skipped."""
    figures: Figures
    seconds: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        figures = self.figures
        if self.result == "skipped":
            return self.scenario.name, "skipped", *[""] * (len(HEADINGS) - 2)
        longest = f"{max(figures.recoveries):.2f} s" if figures.recoveries else "-"
        return (
            self.scenario.name,
            self.result,
            str(figures.faults),
            f"{figures.operations:,}",
            str(figures.unknown),
            f"{figures.stall_seconds * 1000:,.0f} ms",
            longest,
            f"{self.seconds:.0f}",
        )


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """AssertionError after so many seconds; SIGTERM ends the program in order."""

    def over(number: int, frame: object) -> None:
        raise AssertionError(f"not over after {seconds} s")

    def ended(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGALRM, over), signal.signal(signal.SIGTERM, ended)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before[0])
        signal.signal(signal.SIGTERM, before[1])


def play(scenario: Scenario, seed: int, keep: Path | None, *, short: bool = False) -> Outcome:
    """One scenario, once. A short one is not asked how long its recoveries take."""
    began = time.monotonic()
    report = Report(f"{scenario.name}, seed {seed}: {scenario.about}")
    with tempfile.TemporaryDirectory(prefix="twistedkv-faults-") as name:
        directory = Path(name)
        stage = Stage(scenario.name, report, directory, seed, directory / "kept")
        if short:
            stage.recovery_seconds_max = PATIENCE_SECONDS
        try:
            with _limited(SCENARIO_SECONDS_MAX):
                scenario.run(stage, **(scenario.short if short else {}))
        except AssertionError as error:
            report.holds(False, "the scenario came to its end", error)
        except Exception:
            report.holds(False, "the scenario came to its end", traceback.format_exc())
        if report.failed or keep is not None:
            kept = keep or Path(tempfile.mkdtemp(prefix="twistedkv-faults-failed-"))
            (directory / "kept").mkdir(exist_ok=True)  # nothing, if it failed before it began
            shutil.copytree(directory / "kept", kept / f"{scenario.name}-{seed}", dirs_exist_ok=True)
            report.measured(f"histories and logs are in {kept / f'{scenario.name}-{seed}'}")
    return Outcome(scenario, "FAIL" if report.failed else "ok", stage.figures, time.monotonic() - began)


def table(outcomes: Sequence[Outcome]) -> str:
    """All runs, and what they come to."""
    rows = [HEADINGS, *(outcome.cells for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    results = [outcome.result for outcome in outcomes]
    lines.append(
        f"{len(outcomes)} runs: {results.count('ok')} ok, {results.count('FAIL')} failed, "
        f"{results.count('skipped')} skipped; {sum(o.figures.operations for o in outcomes):,} operations, "
        f"{sum(o.figures.faults for o in outcomes)} faults, {sum(o.seconds for o in outcomes):.0f} s"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="which ones [all]")
    parser.add_argument("--times", type=int, default=1, help="how often each [1]")
    parser.add_argument("--seed", type=int, help="of the first round; the next has the next one [by chance]")
    parser.add_argument("--keep-history", type=Path, metavar="DIR", help="where all histories and logs are kept")
    parser.add_argument("--short", action="store_true", help="as short as in `make test`")
    parser.add_argument("--list", action="store_true", help="say what there is")
    options = parser.parse_args(arguments)
    try:
        chosen = named(SCENARIOS, options.names)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        for scenario in chosen:
            print(f"{scenario.name:30} {scenario.about}")
        return 0
    why_not = {
        need: missing() if any(need in scenario.needs for scenario in chosen) else ""
        for need, missing in MISSING.items()
    }
    seed = random.SystemRandom().randrange(1, 1_000_000) if options.seed is None else options.seed
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        for time_number in range(options.times):
            for scenario in chosen:
                reasons = [why_not[need] for need in scenario.needs if why_not[need]]
                if reasons:
                    result = "FAIL" if os.environ.get("CI") == "true" else "skipped"
                    print(f"== {scenario.name}: {result}: {'; '.join(reasons)}\n", flush=True)
                    outcomes.append(Outcome(scenario, result, Figures(), 0.0))
                    continue
                outcomes.append(play(scenario, seed + time_number, options.keep_history, short=options.short))
                print(f"== {scenario.name}: {outcomes[-1].result}\n", flush=True)
    except KeyboardInterrupt:
        interrupted = True
    print(table(outcomes))
    failed = [outcome for outcome in outcomes if outcome.result == "FAIL"]
    if failed:
        print(f"again: python -m tests.faults --seed {seed} {' '.join(sorted({o.scenario.name for o in failed}))}")
    return 130 if interrupted else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
