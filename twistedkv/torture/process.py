"""A run in this process: the global reactor, its log, and Ctrl-C.

The first Ctrl-C ends the faults early, and the run comes to its verdict; the second ends everything at once.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import LogLevel, globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

from twistedkv.clock import use_monotonic_clock
from twistedkv.torture.plan import Settings
from twistedkv.torture.run import Run

LOG_NAME = "torture.log"


class Interrupted(Exception):
    """Somebody wants it to end at once."""


def run_here(settings: Settings, directory: Path, prepare: Callable[[Run], object]) -> Run:
    """Execute a run; `prepare(run)` is called before it begins. Can be called once in a process.

    Raises OSError or Unavailable when the cluster could not be started, Interrupted after the second Ctrl-C or a
    SIGTERM. Whatever happens, no process is left.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed

    use_monotonic_clock(reactor)
    with open(directory / LOG_NAME, "w", encoding="utf-8") as log:
        run = Run(reactor, settings, directory)
        observers: list[Any] = [textFileLogObserver(log), lambda event: _note_error(run, event)]
        globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False)
        prepare(run)
        outcome: list[Any] = []
        _interruptible(reactor, run)
        reactor.addSystemEventTrigger("before", "shutdown", run.cluster.end)

        def begin() -> None:
            done: Deferred[Any] = ensureDeferred(run.execute())
            done.addBoth(outcome.append)
            done.addBoth(lambda _: reactor.stop() if reactor.running else None)

        reactor.callWhenRunning(begin)
        reactor.run()
    if not outcome:
        raise Interrupted
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return run


def _interruptible(reactor: Any, run: Run) -> None:
    signals = 0

    def interrupt(number: int, frame: object) -> None:
        nonlocal signals
        signals += 1
        if signals <= 2:
            reactor.callFromThread(run.interrupt if signals == 1 else reactor.stop)

    # Twisted has set its own when the reactor runs.
    reactor.callWhenRunning(signal.signal, signal.SIGINT, interrupt)


def _note_error(run: Run, event: dict[str, Any]) -> None:
    """An error that a client or this program has logged is a defect."""
    if event.get("log_level") not in (LogLevel.error, LogLevel.critical):
        return
    failure = event.get("log_failure")
    text = str(event.get("log_format") or "")
    with contextlib.suppress(Exception):
        text = text.format(**event)
    run.problems.append(f"an error was logged: {text}" + ("" if failure is None else f"\n{failure.getTraceback()}"))
