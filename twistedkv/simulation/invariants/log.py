"""All updates of all copies as one tree: each version has one update, and one predecessor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from twistedkv.core import replica as replica_module
from twistedkv.core.replica import Replica
from twistedkv.core.serving import Serving
from twistedkv.records import sequence_of
from twistedkv.simulation.around import replaced
from twistedkv.simulation.invariants.watch import Watch

Update = tuple[int, bytes, bytes]
"""(version before, key, record)."""


class LogChecks:
    """I4 (logs of members are prefixes of one another: they are paths from the same root) and I12."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._updates: dict[tuple[int, int], Update] = {}
        """By shard and version."""
        self._executed: dict[tuple[int, bytes, int], list[int]] = {}
        """By shard, client and number: at which versions."""
        self._applying: Replica | None = None

    @contextmanager
    def around(self) -> Iterator[None]:
        """For the time of a run."""
        with ExitStack() as stack:
            stack.enter_context(replaced(Serving, "_update", self._around_update))
            stack.enter_context(replaced(Replica, "_apply", self._around_apply))
            stack.enter_context(replaced(replica_module, "decode_entries", self._around_decode))
            yield

    def _around_update(self, original: Any) -> Any:
        def update(serving: Serving, mailbox: Any, request_id: int, slot: int, request: Any, *more: Any) -> None:
            replica = serving.replica
            before = replica.last
            original(serving, mailbox, request_id, slot, request, *more)
            if replica.last == before:
                return  # there was no room for it
            record = replica.store.get(slot, request.key)
            assert record is not None
            self._executed_once(replica, mailbox.client, request.number, before)
            self._same(replica, replica.last, (before, request.key, record))

        return update

    def _around_apply(self, original: Any) -> Any:
        def apply(replica: Replica, *args: Any) -> None:
            self._applying = replica
            try:
                original(replica, *args)
            finally:
                self._applying = None

        return apply

    def _around_decode(self, original: Any) -> Any:
        def decode(*args: Any) -> Iterator[Any]:
            replica = self._applying
            before = 0 if replica is None else replica.last
            for entry in original(*args):
                if replica is not None:
                    version = int.from_bytes(entry[2][:8], "big")
                    if sequence_of(version) == sequence_of(before) + 1:
                        self._same(replica, version, (before, entry[1], entry[2]))
                        before = version
                yield entry

        return decode

    def _same(self, replica: Replica, version: int, update: Update) -> None:
        known = self._updates.setdefault((replica.shard, version), update)
        if self._watch.broken("I4", known == update):
            self._watch.wrong(
                "I4",
                f"{Watch.name(replica)}: version {version} is {update[1:]} after {update[0]} here, "
                f"and {known[1:]} after {known[0]} elsewhere",
            )

    def _executed_once(self, replica: Replica, client: bytes, number: int, before: int) -> None:
        versions = self._executed.setdefault((replica.shard, client, number), [])
        for version in versions:
            # It may be executed again if the first time was never committed: then it is not in this log.
            if self._watch.broken("I12", not self._follows(replica.shard, before, version)):
                self._watch.wrong(
                    "I12",
                    f"{Watch.name(replica)}: write {number} of client {client.hex()} is executed as {replica.last}, "
                    f"and was as {version}",
                )
        versions.append(replica.last)

    def _follows(self, shard: int, version: int, earlier: int) -> bool:
        """Whether a version has the earlier one behind it."""
        while sequence_of(version) > sequence_of(earlier):
            update = self._updates.get((shard, version))
            if update is None:
                return False
            version = update[0]
        return version == earlier
