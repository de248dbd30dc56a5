"""What a run has shown, for people and for programs."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs

from twistedkv.history.verdict import Verdict
from twistedkv.torture.incidents import Incident, milliseconds_text
from twistedkv.torture.meter import Meter, Wait
from twistedkv.torture.plan import KINDS, Settings

PROBLEMS_SHOWN = 10
CAUSES_MAX = 2
COLUMNS = 80
LABEL_COLUMNS = 14


@attrs.frozen
class Report:
    """The end of a run."""

    settings: Settings
    ran_seconds: float
    meter: Meter
    incidents: list[Incident]
    healed_after: float | None
    """Seconds after the faults until the cluster was whole; None: it was not."""
    keys_read: int
    problems: list[str]
    verdict: Verdict
    checked_seconds: float
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return self.verdict.linearizable and not self.problems

    @property
    def done(self) -> list[Incident]:
        """Faults that were not skipped."""
        return [incident for incident in self.incidents if not incident.skipped]

    @property
    def conclusion(self) -> str:
        """In one sentence."""
        if not self.verdict.linearizable:
            return "WRONG: what the cluster has answered contradicts itself."
        if self.problems:
            return "WRONG: the answers are right, but not everything was as it should be."
        return "Nothing acknowledged was lost, no read was stale, nothing was executed twice."

    @property
    def brief(self) -> str:
        """In a few words."""
        return "nothing lost, no stale read" if self.good else "WRONG"

    @property
    def headline(self) -> str:
        """Operations and faults."""
        faults = "1 fault" if len(self.done) == 1 else f"{len(self.done)} faults"
        return f"{self.verdict.operations:,} operations, {faults}"

    def as_text(self) -> str:
        """For people."""
        meter = self.meter
        rate = meter.answered / self.ran_seconds if self.ran_seconds else 0.0
        skipped = len(self.incidents) - len(self.done)
        kinds = Counter(incident.fault.kind for incident in self.done)
        counts = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind])
        checked = f"{self.verdict.operations:,} operations"
        healed = "no" if self.healed_after is None else f"{self.healed_after:.1f} s after the end of the faults"
        lines = [
            _line("operations", f"{meter.answered:,} answered in {self.ran_seconds:.1f} s, {rate:,.0f}/s"),
            _line("", f"{meter.total_reads:,} reads, {meter.total_writes:,} writes"),
            _line("", f"{meter.total_unknown:,} of unknown outcome, {meter.total_not_done:,} not done"),
            _line(
                "faults", f"{len(self.done)} done, {skipped} skipped: more than the promise allows would have failed"
            ),
            *([_line("", counts)] if counts else []),
            _line("longest wait", self.longest_text),
            _line("healed", healed),
            _line("read again", f"{self.keys_read:,} keys, with a comparison of all their copies"),
            _line("checked", f"{checked} by two checkers, in {self.checked_seconds:.1f} s"),
        ]
        if not self.verdict.linearizable or self.verdict.undecided:
            lines += ["", self.verdict.as_text()]
        if self.problems:
            lines += ["", *self.problems[:PROBLEMS_SHOWN]]
            if len(self.problems) > PROBLEMS_SHOWN:
                lines.append(f"and {len(self.problems) - PROBLEMS_SHOWN:,} more of that kind")
        return "\n".join([*lines, "", f"{self.headline}.", self.conclusion])

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        meter = self.meter
        return {
            "seed": self.settings.seed,
            "good": self.good,
            "linearizable": self.verdict.linearizable,
            "conclusion": self.conclusion,
            "interrupted": self.interrupted,
            "seconds": round(self.ran_seconds, 3),
            "operations": self.verdict.operations,
            "reads": meter.total_reads,
            "writes": meter.total_writes,
            "unknown": meter.total_unknown,
            "not_done": meter.total_not_done,
            "faults": len(self.done),
            "faults_skipped": len(self.incidents) - len(self.done),
            "longest_wait_seconds": round(meter.longest.seconds, 4),
            "longest_wait_cause": cause_of(meter.longest, self.incidents),
            "healed_after_seconds": None if self.healed_after is None else round(self.healed_after, 3),
            "keys_read": self.keys_read,
            "checked_seconds": round(self.checked_seconds, 3),
            "undecided": list(self.verdict.undecided),
            "problems": self.problems,
            "violations": self.verdict.as_text() if not self.verdict.linearizable else None,
            "incidents": [incident.as_json() for incident in self.incidents],
        }

    @property
    def longest_text(self) -> str:
        """The longest wait, and the fault that it comes from."""
        cause = cause_of(self.meter.longest, self.incidents)
        text = milliseconds_text(self.meter.longest.seconds)
        return f"{text} ({cause})" if cause else text


def _line(label: str, text: str) -> str:
    """Of the summary; what is too long for a terminal goes on below."""
    return textwrap.fill(
        text, COLUMNS, initial_indent=f"{label:<{LABEL_COLUMNS}}", subsequent_indent=" " * LABEL_COLUMNS
    )


def cause_of(wait: Wait, incidents: Sequence[Incident]) -> str:
    """The faults behind a wait: of those that were going on then, the two that began closest to it. Empty for none."""
    if not wait.seconds:
        return ""
    going_on = [
        incident
        for incident in incidents
        if not incident.skipped and incident.began <= wait.ended and incident.service_again >= wait.began
    ]
    closest = sorted(going_on, key=lambda incident: abs(incident.began - wait.began))[:CAUSES_MAX]
    return ", ".join(incident.text for incident in sorted(closest, key=lambda incident: incident.began))
