"""The failure detector: who has not been heard of for too long.

A suspicion is a hint and never more: safety rests on epochs and leases, so a wrong one costs a refill and no
data. Three kinds of evidence, from weak to certain: MISSED_BEATS heartbeats in a row are missing; the
connection broke and was not made again within LOST_CONNECTION_BEATS; the process was reaped (that one never
comes here, it needs no detecting).

A detector that was itself not running has heard nobody and must not judge anybody (I16): when a tick comes
late by more than STALL_BEATS, everybody counts as heard of just now.
"""

from __future__ import annotations

import attrs

from twistedkv.limits import MISSED_BEATS

LOST_CONNECTION_BEATS = 2
"""A server whose connection broke has so long to come back."""
STALL_BEATS = 2
"""A tick that is late by more than this means that the coordinator itself did not run."""
TICKS_PER_BEAT = 4
"""How often to look."""


@attrs.define
class _Watched:
    heard: float
    lost: float | None = None
    """When the connection broke; None while there is one."""


@attrs.frozen
class Silence:
    """A server that is to be taken for failed, and why, in words for the journal."""

    server_id: int
    reason: str


class FailureDetector:
    """Listens for `heartbeat_seconds`; `now` is monotonic seconds everywhere."""

    def __init__(self, heartbeat_seconds: float, now: float) -> None:
        self._heartbeat = heartbeat_seconds
        self._watched: dict[int, _Watched] = {}
        self._ticked = now

    @property
    def tick_seconds(self) -> float:
        """How often `tick` wants to be called."""
        return self._heartbeat / TICKS_PER_BEAT

    def heard(self, server_id: int, now: float) -> None:
        """A message came from the server: it lives. Begins to watch it if it was not watched."""
        watched = self._watched.get(server_id)
        if watched is None:
            self._watched[server_id] = _Watched(now)
        else:
            watched.heard, watched.lost = now, None

    def connection_lost(self, server_id: int, now: float) -> None:
        """Its connection broke. Has no effect on a server that is not watched."""
        watched = self._watched.get(server_id)
        if watched is not None and watched.lost is None:
            watched.lost = now

    def forget(self, server_id: int) -> None:
        """Watch it no more: it has failed, or gone."""
        self._watched.pop(server_id, None)

    def since_heard(self, server_id: int, now: float) -> float | None:
        """Seconds since the last message; None for a server that is not watched."""
        watched = self._watched.get(server_id)
        return None if watched is None else max(0.0, now - watched.heard)

    def tick(self, now: float) -> list[Silence]:
        """Who has failed since the last tick. They are not watched any more."""
        late = now - self._ticked - self.tick_seconds
        self._ticked = now
        if late > STALL_BEATS * self._heartbeat:
            for watched in self._watched.values():
                watched.heard = now
                if watched.lost is not None:
                    watched.lost = now
            return []
        silences = []
        for server_id, watched in self._watched.items():
            silent = now - watched.heard
            if silent >= MISSED_BEATS * self._heartbeat:
                silences.append(Silence(server_id, f"{MISSED_BEATS} heartbeats missed ({silent:.2f} s)"))
            elif watched.lost is not None and now - watched.lost >= LOST_CONNECTION_BEATS * self._heartbeat:
                silences.append(Silence(server_id, f"its connection was lost {now - watched.lost:.2f} s ago"))
        for silence in silences:
            self.forget(silence.server_id)
        return silences
