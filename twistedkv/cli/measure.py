"""How long operations took, and for how long nothing came through. Pure: the times are arguments, in seconds."""

from __future__ import annotations

from array import array
from typing import Any

import attrs


@attrs.frozen
class Summary:
    """What a Meter has seen."""

    operations: int
    seconds: float
    operations_per_second: float
    p50_ms: float
    p99_ms: float
    longest_operation_ms: float
    longest_gap_ms: float
    """The longest time in which no operation was completed, the beginning and the end included."""

    @property
    def longest_stall_ms(self) -> float:
        """The longer of the two: what a user has noticed of a failure."""
        return max(self.longest_operation_ms, self.longest_gap_ms)

    def as_json(self) -> dict[str, Any]:
        """For programs; times in ms, rounded to a microsecond."""
        return {
            "operations": self.operations,
            "seconds": round(self.seconds, 6),
            "operations_per_second": round(self.operations_per_second, 1),
            "latency_ms": {"p50": round(self.p50_ms, 3), "p99": round(self.p99_ms, 3)},
            "longest_stall_ms": round(self.longest_stall_ms, 3),
            "longest_operation_ms": round(self.longest_operation_ms, 3),
            "longest_gap_ms": round(self.longest_gap_ms, 3),
        }


class Meter:
    """Collects the durations of operations, 8 bytes for each."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._last_completed = now
        self._latencies = array("d")
        self._longest_gap = 0.0

    def completed(self, began: float, now: float) -> None:
        """An operation that began then is complete now."""
        self._latencies.append(now - began)
        self._longest_gap = max(self._longest_gap, now - self._last_completed)
        self._last_completed = now

    def resumed(self, now: float) -> None:
        """What lies between the last operation and now was a wait for the user, and no stall."""
        self._last_completed = now

    def summary(self, now: float) -> Summary:
        """All of it, as of now."""
        latencies = sorted(self._latencies)
        seconds = now - self._started
        return Summary(
            operations=len(latencies),
            seconds=seconds,
            operations_per_second=len(latencies) / seconds if seconds > 0 else 0.0,
            p50_ms=1000 * percentile(latencies, 50),
            p99_ms=1000 * percentile(latencies, 99),
            longest_operation_ms=1000 * (latencies[-1] if latencies else 0.0),
            longest_gap_ms=1000 * max(self._longest_gap, now - self._last_completed),
        )


def percentile(ordered: list[float], percent: float) -> float:
    """The smallest element that is not exceeded by `percent` of all; 0 if there are none."""
    if not ordered:
        return 0.0
    place = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(place) - 1)]
