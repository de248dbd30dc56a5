"""What scripts are made of."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.stages import End, Stage

SCRIPTS: list[Callable[[Stage], None]] = []


def script(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """It is one of those to be compared."""
    SCRIPTS.append(play)
    return play


def lose(end: End) -> None:
    end.do("loseConnection")


def abort(end: End) -> None:
    end.do("abortConnection")


def fail(end: End) -> None:
    raise ZeroDivisionError
