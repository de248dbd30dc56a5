"""What the acceptance scripts share: a directory, a line for each thing measured, and a verdict."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class Report:
    """Prints as it goes, and remembers whether everything held."""

    def __init__(self, title: str) -> None:
        self.failed = 0
        self._began = time.monotonic()
        print(f"== {title}", flush=True)

    def measured(self, text: str) -> None:
        """Something to know."""
        print(f"   {time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def holds(self, condition: object, text: str, otherwise: object = "") -> None:
        """Something that has to be so."""
        if not condition:
            self.failed += 1
        print(f"   {time.monotonic() - self._began:6.1f} s  {'ok  ' if condition else 'FAIL'} {text}", flush=True)
        if not condition and otherwise:
            print(f"             {otherwise}", flush=True)

    def below(self, value: float, limit: float, text: str) -> None:
        """A figure in milliseconds, and what it has to be below."""
        self.holds(value < limit, f"{text}: {value:.1f} ms, to be below {limit:.0f} ms")


def spread(values: Sequence[float]) -> str:
    """Median and maximum."""
    ordered = sorted(values)
    return f"median {ordered[len(ordered) // 2]:.1f} ms, longest {ordered[-1]:.1f} ms, of {len(ordered)}"


def run(title: str, script: Callable[[Report, Path], None]) -> None:
    """Run a script in a temporary directory and end the program with its verdict."""
    report = Report(title)
    with tempfile.TemporaryDirectory(prefix="twistedkv-") as directory:
        try:
            script(report, Path(directory))
        except AssertionError as error:
            report.holds(False, "the script came to its end", error)
    print(f"== {title}: {'FAILED' if report.failed else 'holds'}\n", flush=True)
    sys.exit(1 if report.failed else 0)
