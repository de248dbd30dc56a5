"""What a command sees of the store: the keys of one shard, at one place of its log."""

from __future__ import annotations

from typing import Protocol


class Keyspace(Protocol):
    """The keys of one shard, while one request is executed.

    What is stored or removed is seen by what comes later in the request, and becomes one update of the shard when the
    request ends. Keys that have expired are not there. A command that fails raises CommandError *before* its first
    change.
    """

    now: int
    """Milliseconds of the wall clock since 1970, the same during the whole request."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None when there is no such key."""

    def expiry(self, key: bytes) -> int:
        """When the key expires, in milliseconds since 1970; 0 when it does not, or is not there."""

    def version(self, key: bytes) -> int:
        """The version of the update that stored the key; 0 when there is no such key."""

    def put(self, key: bytes, value: bytes, expiry: int = 0) -> None:
        """Store a value, to expire at `expiry` (milliseconds since 1970, 0: never). What was there is gone."""

    def delete(self, key: bytes) -> None:
        """Remove a key, if it is there."""

    def count(self) -> int:
        """How many keys the shard has."""

    def slot_count(self, slot: int) -> int:
        """How many keys the slot has."""

    def slot_keys(self, slot: int, most: int) -> list[bytes]:
        """At most so many keys of a slot."""

    def page(self, cursor: int, least: int) -> tuple[list[bytes], int]:
        """About `least` keys (all of one place of the cursor belong together) from `cursor` on, and where to go on.

        The cursor that follows the shard's last key is the first one of the next slot after the shard, or 0 after the
        last slot of all.
        """
