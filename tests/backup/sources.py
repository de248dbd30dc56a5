"""A server core as what a backup is taken of: every request is answered at once, and the test may come in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.support.servers import ME, A, Desk, configuration
from twistedkv.clustermap import ClusterMap
from twistedkv.errors import Lapsed, Status
from twistedkv.messages.client import (
    BackupBegin,
    BackupBegun,
    BackupEnd,
    BackupEntries,
    BackupLog,
    BackupPage,
    BackupRecords,
    Delete,
    Execute,
    ExecuteMode,
    Put,
    Result,
)
from twistedkv.records import is_tombstone, record_expiry, record_value
from twistedkv.slots import slot_of, slot_ranges


class Source:
    """One server with all shards. Is a `twistedkv.backup.taking.Source`."""

    def __init__(self, shards: int = 3) -> None:
        self.desk = Desk()
        self.desk.adopt(
            *(configuration(3, ME, [A], shard=shard, slots=slots) for shard, slots in enumerate(slot_ranges(shards)))
        )
        self.desk.ack_all()
        self.number = 0
        self.before: Callable[[Any], object] = lambda request: None
        """Called with each request of a backup."""
        self.asked: list[Any] = []

    @property
    def cluster_map(self) -> ClusterMap:
        return self.desk.core.map

    def put(self, key: bytes, value: bytes, expiry: int = 0) -> None:
        self.number += 1
        if expiry:
            command = [b"SET", key, value, b"PXAT", b"%d" % expiry]
            slot = slot_of(key)
            self.ask(Execute(self.number, self.number, 0, slot, 2, ExecuteMode.SINGLE, [], [command]))
        else:
            self.ask(Put(self.number, self.number, 0, key, value))

    def delete(self, key: bytes) -> None:
        self.number += 1
        self.ask(Delete(self.number, self.number, 0, key))

    def state(self) -> dict[bytes, tuple[bytes, int]]:
        """All keys, with value and expiry."""
        return {
            key: (record_value(record), record_expiry(record))
            for key, record in self.everything()
            if not is_tombstone(record)
        }

    def everything(self) -> Iterator[tuple[bytes, bytes]]:
        for slot in range(16384):
            yield from self.desk.core.store.items(slot)

    def ask(self, request: Any) -> Any:
        asked = self.desk.ask(request)
        self.desk.ack_all()
        answer = self.desk.answer(asked)
        if isinstance(answer, Result) and answer.status == Status.LAPSED:
            raise Lapsed(answer.value.decode())
        return answer

    def _backup(self, request: Any) -> Any:
        self.before(request)
        self.asked.append(request)
        return self.ask(request)

    def backup_begin(self, slot: int) -> BackupBegun:
        return self._backup(BackupBegin(slot))

    def backup_records(self, slot: int, after: bytes, pin: int) -> BackupPage:
        return self._backup(BackupRecords(slot, after, pin, b""))

    def backup_log(self, slot: int, pin: int, after: int) -> BackupEntries:
        return self._backup(BackupLog(slot, pin, after))

    def backup_end(self, slot: int, pin: int) -> None:
        self._backup(BackupEnd(slot, pin))
