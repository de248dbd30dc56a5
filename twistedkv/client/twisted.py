"""The client for Twisted programs: a method for each operation, answered by a Deferred.

    client = Client("127.0.0.1:7400")
    version = await client.put(b"key", b"value")

All times are those of the reactor given. A reactor that schedules by the wall clock moves deadlines when the clock is
set; `twistedkv.clock.use_monotonic_clock` prevents that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, fail

from twistedkv.client import gather
from twistedkv.client.arguments import (
    check_deadline,
    check_delta,
    check_key,
    check_value,
    check_version,
)
from twistedkv.client.backup import ask
from twistedkv.client.changes import Change, apply
from twistedkv.client.journal import Following, admin
from twistedkv.client.operations import Operation
from twistedkv.client.results import CopyCheck, Incremented, Value
from twistedkv.client.rim import Rim
from twistedkv.clustermap import ClusterMap
from twistedkv.errors import InvalidRequest
from twistedkv.messages.client import (
    BackupBegin,
    BackupBegun,
    BackupEnd,
    BackupEntries,
    BackupLog,
    BackupPage,
    BackupRecords,
    BackupRequest,
    ScanItem,
    ScanPage,
)
from twistedkv.slots import slot_of
from twistedkv.wire.client import CAS, DELETE, GET, INCR, PUT

T = TypeVar("T")


class Answer(Deferred[T]):
    """The end of one operation. Cancelling it ends the operation here; a write may have been executed."""

    operation: Operation


class Client(Rim):
    """A client of one cluster.

    coordinator  `HOST:PORT` of the coordinator, or several of them
    reactor      IReactorTime and IReactorTCP; None: the global one
    deadline     seconds after which a call ends with an error, unless the call says otherwise
    cluster      name of the cluster meant; empty: any

    Methods return Deferreds, which can be awaited. Calls may be made at once: they wait for the connection. They fail
    with NotDone (or one of its kinds) when the operation certainly had no effect, OutcomeUnknown when a write may have
    been executed, InvalidRequest when an argument is outside its bounds. Keys and values are bytes.
    """

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # One key.

    def get(self, key: bytes, *, deadline: float | None = None) -> Deferred[Value | None]:
        """The value and version of `key`, or None."""
        return self._start(GET, key, b"", 0, deadline)

    def put(self, key: bytes, value: bytes, *, deadline: float | None = None) -> Deferred[int]:
        """Store `value`. Its version."""
        return self._start(PUT, key, value, 0, deadline)

    def delete(self, key: bytes, *, deadline: float | None = None) -> Deferred[int | None]:
        """Remove `key`. The version of the deletion, or None if there was nothing to remove."""
        return self._start(DELETE, key, b"", 0, deadline)

    def cas(self, key: bytes, value: bytes, expected: int, *, deadline: float | None = None) -> Deferred[int]:
        """Store `value` if the key's version is `expected` (0: if there is no such key). The new version.

        Fails with VersionMismatch, which carries the version found.
        """
        return self._start(CAS, key, value, expected, deadline)

    def incr(self, key: bytes, delta: int = 1, *, deadline: float | None = None) -> Deferred[Incremented]:
        """Add `delta` to a decimal integer of 64 bits; no key counts as 0. Fails with NotAnInteger."""
        return self._start(INCR, key, b"", delta, deadline)

    # Many.

    def mget(self, keys: Iterable[bytes], *, deadline: float | None = None) -> Deferred[dict[bytes, Value | None]]:
        """`get` of each key. Fails with PartialFailure when some could not be read."""
        return self._run(lambda: gather.mget(self, keys, self.deadline_at(deadline)))

    def mput(self, mapping: Mapping[bytes, bytes], *, deadline: float | None = None) -> Deferred[dict[bytes, int]]:
        """`put` of each key, side by side: atomic for each key and not for all. The versions.

        Fails with PartialFailure when some were not stored.
        """
        return self._run(lambda: gather.mput(self, mapping, self.deadline_at(deadline)))

    def verify(
        self, key: bytes, value: bytes | None, server: int | None = None, *, deadline: float | None = None
    ) -> Deferred[list[CopyCheck]]:
        """What each copy of the key holds (or that of `server`), compared with `value` (None: with nothing).

        Needs no primary, and sees what is not committed.
        """
        return self._run(lambda: ensureDeferred(gather.verify(self, key, value, server, self.deadline_at(deadline))))

    def scan(self, prefix: bytes = b"", *, values: bool = False, page: int = 1000) -> AsyncIterator[ScanItem]:
        """All keys with the prefix, by slot, and by key within a slot. For `async for`.

        What was there during the whole scan is listed once; what was stored or removed meanwhile, perhaps.
        """
        return gather.scan(self, prefix, values, page)

    def scan_page(
        self,
        slot: int = 0,
        after: bytes = b"",
        prefix: bytes = b"",
        values: bool = False,
        page: int = 1000,
        *,
        deadline: float | None = None,
    ) -> Deferred[ScanPage]:
        """At most `page` keys from slot `slot` on, in it after the key `after`. Where to go on is in the answer.

        The end is reached when `next_slot` is limits.SLOTS. A page may be empty before that.
        """
        return self._run(lambda: gather.scan_page(self, slot, after, prefix, values, page, self.deadline_at(deadline)))

    # Backups: see twistedkv.core.backup, and twistedkv.backup for whole ones.

    def apply(self, changes: Mapping[bytes, Change], *, deadline: float | None = None) -> Deferred[None]:
        """Store each key, to expire at a moment, or delete it: atomic for each key. Not for more than fits into memory.

        Fails with PartialFailure when some were not changed.
        """
        return self._run(lambda: ensureDeferred(apply(self, changes, self.deadline_at(deadline))))

    def backup_begin(self, slot: int, *, deadline: float | None = None) -> Deferred[BackupBegun]:
        """Have the log of the slot's shard kept, for a while."""
        return self._backup(BackupBegin(slot), deadline)

    def backup_records(
        self, slot: int, after: bytes = b"", pin: int = 0, prefix: bytes = b"", *, deadline: float | None = None
    ) -> Deferred[BackupPage]:
        """Records of the slot's shard, as they are, from that slot on and in it after the key `after`."""
        return self._backup(BackupRecords(slot, after, pin, prefix), deadline)

    def backup_log(self, slot: int, pin: int, after: int, *, deadline: float | None = None) -> Deferred[BackupEntries]:
        """Updates of the shard after a sequence, as log entries. Fails with Lapsed."""
        return self._backup(BackupLog(slot, pin, after), deadline)

    def backup_end(self, slot: int, pin: int, *, deadline: float | None = None) -> Deferred[None]:
        """The log need not be kept any more."""
        return self._backup(BackupEnd(slot, pin), deadline).addCallback(lambda _: None)

    def _backup(self, request: BackupRequest, deadline: float | None) -> Deferred[Any]:
        return self._run(lambda: ask(self, request, self.deadline_at(deadline)))

    # The cluster.

    @property
    def cluster_map(self) -> ClusterMap:
        """The newest map known. Its version is 0 before there is one."""
        return self.router.map

    def refresh(self, *, deadline: float | None = None) -> Deferred[ClusterMap]:
        """Ask for the cluster map. That is hardly ever needed: new maps come by themselves."""
        return self._run(lambda: gather.refresh(self, self.deadline_at(deadline)))

    def noop(self, server: int | None = None, *, deadline: float | None = None) -> Deferred[None]:
        """Have a server (None: any) answer."""
        return self._run(lambda: ensureDeferred(gather.noop(self, server, self.deadline_at(deadline))))

    def admin(self, command: str, *, deadline: float | None = None, **arguments: Any) -> Deferred[dict[str, Any]]:
        """Give the coordinator a command. Fails with OperationError, whose text is the coordinator's."""
        return self._run(lambda: ensureDeferred(admin(self, command, arguments, self.deadline_at(deadline))))

    def admin_follow(self, callback: Callable[[dict[str, Any]], object], *, after: int = 0) -> Following:
        """Have `callback(event)` called for each event of the journal with a number above `after`, also later ones.

        Goes on when the coordinator was away. `stop()` of what is returned ends it.
        """
        return Following(self, callback, after)

    # Within.

    def check(self, kind: int, key: bytes, value: bytes, argument: int, deadline: float | None) -> None:
        """Raise InvalidRequest unless these are good arguments for a single-key operation."""
        check_key(key)
        if kind in (PUT, CAS):
            check_value(value)
        if kind == CAS:
            check_version(argument)
        elif kind == INCR:
            check_delta(argument)
        if deadline is not None:
            check_deadline(deadline)

    def _start(self, kind: int, key: bytes, value: bytes, argument: int, deadline: float | None) -> Deferred[Any]:
        try:
            self.check(kind, key, value, argument, deadline)
        except InvalidRequest as wrong:
            return fail(wrong)
        answer: Answer[Any] = Answer(self._cancelled)
        ends = self._reactor.seconds() + (self.deadline if deadline is None else deadline)
        answer.operation = operation = Operation(kind, key, slot_of(key), ends, answer, value, argument)
        self.begin(operation)
        return answer

    def _cancelled(self, answer: Deferred[Any]) -> None:
        self.cancel(answer.operation)  # type: ignore[attr-defined]

    def _run(self, start: Callable[[], Deferred[T]]) -> Deferred[T]:
        try:
            return start()
        except InvalidRequest as wrong:
            return fail(wrong)
