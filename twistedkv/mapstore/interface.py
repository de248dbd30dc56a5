"""What a map store is: the one place where the coordinator's decisions are kept, before anybody hears of them.

Every implementation passes the tests in tests/mapstore/. Each opening takes the next *generation*; a store that has
been opened again elsewhere refuses everything of the older one with `Superseded`, whatever that one believes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import attrs

from twistedkv.core.operations import Event
from twistedkv.core.steps import Change, Saved

JOURNAL_ROWS_MAX = 100_000
"""Older events are dropped."""
JOURNAL_PAGE = 1_000


@attrs.frozen
class SpawnedProcess:
    """A server process that a coordinator has started on this host."""

    server_id: int
    pid: int
    start_time: int
    """As the kernel counts it (`/proc/PID/stat`, field 22): with the pid, names one process for ever."""
    boot: str
    """Id of the boot; a pid means nothing in another one."""


class MapStore(Protocol):
    """Blocking: a change is small, and nothing else of the coordinator may go on before it is stored."""

    identity: bytes
    """16 bytes, given when the store was made."""
    generation: int
    """Of this opening."""

    def load(self) -> Saved:
        """All that is stored, but for the journal."""

    def apply(self, change: Change) -> None:
        """Store a change, all of it or nothing; it is stable when this returns.

        Raises Superseded when another coordinator has opened the store, or the shard's epoch in it is not the one that
        the change expects; OSError or another exception when it could not be stored.
        """

    def journal(self, after: int, limit: int = JOURNAL_PAGE) -> list[Event]:
        """Events with numbers above `after`, in order."""

    def stopped_in_order(self) -> bool:
        """Whether the previous coordinator said `stopping` before it ended."""

    def set_stopped_in_order(self, stopped: bool) -> None:
        """To be set at the end of an orderly stop, and taken back at the start."""

    def heartbeat_ms(self) -> int:
        """The heartbeat that the running servers were told, in milliseconds; 0: none were yet."""

    def set_heartbeat_ms(self, milliseconds: int) -> None:
        """To be set before any server is told."""

    def processes(self) -> list[SpawnedProcess]:
        """What `record_processes` was told."""

    def record_processes(self, processes: Iterable[SpawnedProcess]) -> None:
        """The spawned processes, in place of those recorded before."""

    def close(self) -> None:
        """Use it no more."""
