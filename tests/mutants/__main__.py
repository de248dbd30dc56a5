"""`make mutants`: is every mutant caught by its directed test, and by how many random seeds?

    python -m tests.mutants                       each by its directed test
    python -m tests.mutants no_lease no_wait      only these
    python -m tests.mutants --search 300          and how many seeds of the simulation it takes, up to 300

Each mutant lives in a process of its own. A directed test has to pass without it, and to fail with it: to fail, not to
break in some other way.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutants.mutation import Mutant
from tests.mutants.rules import MUTANTS
from twistedkv.simulation.batch import be_quiet
from twistedkv.simulation.run import simulate

ROOT = Path(__file__).resolve().parent.parent.parent
PASSED, FAILED = int(pytest.ExitCode.OK), int(pytest.ExitCode.TESTS_FAILED)
BROKE = 99
SECONDS = 20.0


def in_a_process(run: Callable[[], int]) -> int:
    """What `run()` returns, in a process that then ends: 0 to 98."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = BROKE
        try:
            status = run()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_tests(names: list[str], mutant: Mutant | None) -> tuple[int, str]:
    """Exit code of pytest for these tests, and what it has printed."""
    with tempfile.TemporaryFile() as output:

        def run() -> int:
            if mutant is not None:
                mutant.apply()
            os.dup2(output.fileno(), 1)
            return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *(f"{ROOT}/tests/{name}" for name in names)]))

        code = in_a_process(run)
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def search(mutant: Mutant, seeds: int) -> int:
    """How many seeds it takes until the simulation catches it; 0 if it does not within so many."""
    report, told = os.pipe()

    def run() -> int:
        mutant.apply()
        be_quiet()
        for seed in range(1, seeds + 1):
            outcome = simulate(seed, SECONDS)
            if outcome.problems:
                os.write(told, f"{seed} {outcome.problems[0].splitlines()[0]}".encode()[:500])
                break
        return 0

    if in_a_process(run) != 0:
        os.write(told, b"0 the search broke")
    os.close(told)
    said = os.read(report, 1000).decode("utf-8", "replace")
    os.close(report)
    number, _, problem = said.partition(" ")
    if problem:
        print(f"       {problem[:110]}")
    return int(number or 0)


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--search", type=int, default=0, metavar="SEEDS")
    options = parser.parse_args()
    unknown = set(options.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    began = time.monotonic()
    code, output = run_tests(sorted({mutant.directed for mutant in chosen}), None)
    if code != PASSED:
        print(f"the directed tests fail without a mutant:\n{output}")
        return 1
    escaped = []
    for mutant in chosen:
        code, output = run_tests([mutant.directed], mutant)
        caught = code == FAILED
        if not caught:
            escaped.append(mutant.name)
            print(output)
        verdict = "caught" if caught else "ESCAPED" if code == PASSED else f"BROKE ({code})"
        print(f"{mutant.invariant:4} {mutant.name:34} {verdict:8} {mutant.directed.rpartition('::')[2]}", flush=True)
        if options.search:
            seeds = search(mutant, options.search)
            print(
                f"       {f'seed {seeds} catches it' if seeds else f'not caught by {options.search} seeds'}", flush=True
            )
    print(f"{len(chosen) - len(escaped)} of {len(chosen)} mutants caught, in {time.monotonic() - began:.0f} s")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
