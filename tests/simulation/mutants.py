"""The protocol with one rule taken away: each has to be caught by the simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from twistedkv.core import failover
from twistedkv.core.dedup import DedupTable, Lookup
from twistedkv.core.leading import Leading
from twistedkv.core.replica import Replica
from twistedkv.core.serving import Serving
from twistedkv.messages.coordinator import ReplicaRole


def no_dedup(patch: pytest.MonkeyPatch) -> None:
    """I12: a write that is sent again is executed again."""
    patch.setattr(DedupTable, "find", lambda self, client, number, since, retried: Lookup.NEW)


def no_lease(patch: pytest.MonkeyPatch) -> None:
    """I7: a primary reads without a lease."""
    advance = Leading.advance

    def forever(self: Any, now: float) -> None:
        advance(self, now)
        self._replica.lease_until = float("inf")

    patch.setattr(Leading, "advance", forever)


def no_wait(patch: pytest.MonkeyPatch) -> None:
    """I8: a new primary serves although the old one may still have a lease."""
    original = Leading._try_to_serve

    def at_once(self: Any, now: float) -> None:
        self._replica.promise_until = 0.0
        original(self, now)

    patch.setattr(Leading, "_try_to_serve", at_once)


def acknowledge_at_once(patch: pytest.MonkeyPatch) -> None:
    """I3: a write is answered before the other copies have it."""
    original = Serving._update

    def early(self: Any, *args: Any) -> None:
        original(self, *args)
        _, _, mailbox, _, frame = self._waiting.pop()
        self._outbox.answer(mailbox, frame)

    patch.setattr(Serving, "_update", early)


def promote_the_shortest(patch: pytest.MonkeyPatch) -> None:
    """I5: the new primary is the one that holds least."""
    patch.setattr(
        failover,
        "max",
        lambda items, key=None, default=0: min(items, key=key) if key else max(items, default=default),
        raising=False,
    )


def read_uncommitted(patch: pytest.MonkeyPatch) -> None:
    """I13: reads see what is not committed."""

    def at_once(self: Any, mailbox: Any, request_id: int, sequence: int, frame: bytes) -> None:
        self._outbox.answer(mailbox, frame)

    patch.setattr(Serving, "_answer_read", at_once)


def no_seal(patch: pytest.MonkeyPatch) -> None:
    """I14, I2: a sealed copy goes on as before."""
    original = Replica.seal

    def answered(self: Any, epoch: int, now: float) -> Any:
        role, before = self.role, self.epoch
        sealed = attrs.evolve(original(self, epoch, now))
        if before < epoch and role is ReplicaRole.SECONDARY:
            self.role, self.epoch = role, before
        return sealed

    patch.setattr(Replica, "seal", answered)


def no_reconciliation(patch: pytest.MonkeyPatch) -> None:
    """I6: a new primary takes for granted that the others have what it has."""
    original = Leading._try_to_serve

    def at_once(self: Any, now: float) -> None:
        for follower in self.counted:
            follower.acked = self._replica.sequence
        self._replica.commit = self._replica.sequence
        original(self, now)

    patch.setattr(Leading, "_try_to_serve", at_once)


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    mutant.__name__: mutant
    for mutant in (
        no_dedup, no_lease, no_wait, acknowledge_at_once, promote_the_shortest, read_uncommitted, no_seal,
        no_reconciliation,
    )
}  # fmt: skip
