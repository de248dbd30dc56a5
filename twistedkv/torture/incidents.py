"""What became of the faults: done or skipped, to whom, until when, and what clients saw of it."""

from __future__ import annotations

from math import inf
from typing import Any

import attrs

from twistedkv.torture.plan import Fault

COORDINATOR = 0
"""Stands for the coordinator where server ids stand."""


def milliseconds_text(seconds: float) -> str:
    """A wait for people: `24 ms`, `0.97 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


@attrs.define
class Mark:
    """One process that is out of service for a while."""

    target: int
    """Server id, or COORDINATOR."""
    kind: str
    """`killed` or `frozen`."""
    pid: int
    began: float
    """Seconds after the clients began, as all times here."""
    ended: float | None = None
    """When it went on, or another one had taken its place."""
    replaced: bool = False
    """Whether another process has its place now."""

    @property
    def name(self) -> str:
        """Who it is."""
        return target_name(self.target)


def target_name(target: int) -> str:
    """`server 2`, or `coordinator`."""
    return f"server {target}" if target else "coordinator"


@attrs.define
class Incident:
    """A fault whose time has come."""

    fault: Fault
    began: float
    text: str
    """What was done: `server 2 killed`; what was to be done, if it was skipped."""
    skipped: str = ""
    """Why it was not done; empty if it was."""
    marks: list[Mark] = attrs.Factory(list)
    working: bool = False
    """Something of it is still to be done."""
    result: str = ""
    """What came of it; empty as long as that is not known."""
    over: float | None = None
    """When the cluster was whole again."""
    longest_wait: float = 0.0
    """Of any operation meanwhile, in seconds."""
    answered: int = 0
    """Operations that were answered meanwhile."""

    @property
    def open(self) -> bool:
        """Whether it is not known yet what comes of it."""
        return not self.result and not self.skipped

    @property
    def service_again(self) -> float:
        """When everybody went on or was replaced; the end of time as long as that has not come."""
        ends = [inf if mark.ended is None else mark.ended for mark in self.marks]
        return max(ends, default=inf if self.over is None else self.over)

    def as_text(self) -> str:
        """In one line."""
        if self.skipped:
            return f"{self.text}: skipped, {self.skipped}"
        return f"{self.text}: {self.result or 'its end was not seen'}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "number": self.fault.number,
            "kind": self.fault.kind,
            "began": round(self.began, 3),
            "text": self.text,
            "skipped": self.skipped or None,
            "result": self.result or None,
            "over": None if self.over is None else round(self.over, 3),
            "longest_wait_seconds": round(self.longest_wait, 4),
            "answered": self.answered,
            "marks": [attrs.asdict(mark) for mark in self.marks],
        }

    def describe(self) -> str:
        """What came of it, when it is over."""
        assert self.over is not None
        wait = f"longest wait {milliseconds_text(self.longest_wait)}"
        ended = max((mark.ended or self.over) for mark in self.marks)
        length = f"{ended - self.began:.1f} s"
        if self.marks[0].target == COORDINATOR:
            back = f"back after {length}, " if self.marks[0].kind == "killed" else ""
            return f"{back}{self.answered:,} operations meanwhile"
        if any(mark.replaced for mark in self.marks):
            return f"replaced after {length}, {wait}"
        return f"went on, {wait}"
