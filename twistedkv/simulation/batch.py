"""Many runs, over several processes, and what they amount to."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from twisted.logger import globalLogBeginner

from twistedkv.simulation.coverage import BATCH_SEEDS_MIN, WANTED, missing
from twistedkv.simulation.run import Outcome, simulate

SLOWEST_TOLD = 5


def run_batch(seeds: Sequence[int], seconds: float, jobs: int) -> Iterator[Outcome]:
    """The outcomes, in the order of the seeds. With several jobs, those without problems come without their story and
    history, which are large."""
    if jobs == 1:
        be_quiet()
        yield from (_timed(seed, seconds) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=be_quiet) as pool:
        yield from pool.map(_light, seeds, [seconds] * len(seeds))


def _timed(seed: int, seconds: float) -> Outcome:
    began = time.perf_counter()
    outcome = simulate(seed, seconds)
    outcome.took_seconds = time.perf_counter() - began
    return outcome


def _light(seed: int, seconds: float) -> Outcome:
    outcome = _timed(seed, seconds)
    outcome.workload = None
    if not outcome.problems:
        outcome.story = []
    return outcome


def be_quiet() -> None:
    """For a process that does nothing else: what is logged goes nowhere but to the simulation, which looks for errors
    in it, and garbage is collected once after each run."""
    gc.freeze()
    gc.disable()
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


def digests_elsewhere(seeds: Sequence[int], seconds: float) -> dict[int, str]:
    """The digests of these seeds in another interpreter, in which hashes have another order."""
    program = (
        "import sys\n"
        "from twistedkv.simulation.batch import run_batch\n"
        "for outcome in run_batch([int(seed) for seed in sys.argv[2:]], float(sys.argv[1]), 1):\n"
        "    print(outcome.seed, outcome.digest)\n"
    )
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", program, str(seconds), *map(str, seeds)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": other},
        check=True,
    )
    return {int(seed): digest for seed, digest in (line.split() for line in done.stdout.splitlines())}


class Totals:
    """Of a batch."""

    def __init__(self) -> None:
        self.seeds = 0
        self.counts: dict[str, float] = {}
        self.wrong: list[int] = []
        self._slowest: list[tuple[float, int]] = []

    def add(self, outcome: Outcome) -> None:
        """One more run."""
        self.seeds += 1
        own: dict[str, float] = {
            "acknowledged": outcome.acknowledged,
            "events": outcome.events,
            "simulated seconds": outcome.simulated_seconds,
            "undecided": outcome.undecided,
        }
        for name, count in (own | outcome.counts).items():
            self.counts[name] = self.counts.get(name, 0) + count
        if outcome.problems:
            self.wrong.append(outcome.seed)
        self._slowest = sorted([*self._slowest, (outcome.took_seconds, outcome.seed)], reverse=True)[:SLOWEST_TOLD]

    @property
    def missing(self) -> list[str]:
        """What the batch should have seen and has not; nothing, if it is small."""
        return missing(self.counts) if self.seeds >= BATCH_SEEDS_MIN else []

    def lines(self, took_seconds: float) -> Iterator[str]:
        """For people."""
        for name, count in sorted(self.counts.items()):
            yield f"  {count:10.0f}  {name}"
        counts = self.counts
        yield (
            f"{self.seeds} seeds in {took_seconds:.1f} s: {counts['acknowledged']:.0f} operations acknowledged "
            f"({counts['acknowledged'] / took_seconds:.0f}/s), {counts.get('shard.promoted', 0):.0f} failovers, "
            f"{counts['simulated seconds']:.0f} simulated seconds"
        )
        yield "slowest: " + ", ".join(f"seed {seed} ({took:.1f} s)" for took, seed in self._slowest)
        not_seen = missing(counts)
        if not not_seen:
            yield "coverage: everything that a batch has to have seen was seen"
        elif self.missing:
            yield f"COVERAGE: the batch has not seen: {'; '.join(not_seen)}"
        else:
            seen = len(WANTED) - len(not_seen)
            yield f"coverage: {seen} of {len(WANTED)} things; {BATCH_SEEDS_MIN} seeds or more have to see all"
        if self.wrong:
            yield f"WRONG: {len(self.wrong)} seeds: {', '.join(map(str, self.wrong))}"
