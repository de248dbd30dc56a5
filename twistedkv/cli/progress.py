"""A progress bar on standard error, for what takes long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

UPDATE_SECONDS = 0.1
"""Between two looks at the bar; in between an advance costs next to nothing."""


class Progress(Protocol):
    """Something that shows how far a thing is."""

    def advance(self, amount: float, count: int) -> None:
        """So much more of the total is done; `count` is the number of records until now."""


class NoProgress:
    """Shows nothing."""

    def advance(self, amount: float, count: int) -> None:
        """Nothing."""


@contextmanager
def progress_bar(title: str, total: float | None, *, shown: bool) -> Iterator[Progress]:
    """A bar while the context lasts, with records, records/s and, if the total is known, the time left."""
    if not shown:
        yield NoProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, records=0, rate=0.0)
        started = time.monotonic()

        class Bar:
            def __init__(self) -> None:
                self._done = 0.0
                self._next = started

            def advance(self, amount: float, count: int) -> None:
                self._done += amount
                now = time.monotonic()
                if now >= self._next:
                    self._next = now + UPDATE_SECONDS
                    rate = count / max(now - started, 0.001)
                    progress.update(task, completed=self._done, records=count, rate=rate)

        yield Bar()
