"""The client for programs that do not run a reactor: the same methods as `twistedkv.client.Client`, with plain results.

    with Client("127.0.0.1:7400") as client:
        version = client.put(b"key", b"value")

All clients of a process share one reactor of their own, never the global one, in one daemon thread that starts with the
first client. A call hands its operation to that thread and waits on a lock; calls that come close together wake the
reactor once. Clients can be used by any number of threads.

After a fork the child has neither the thread nor the connections: each client begins anew there, under a new client id
(the parent goes on numbering its writes under the old one). The parent's sockets are left alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedkv.client.arguments import check_deadline, check_scan, parse_addresses
from twistedkv.client.changes import Change
from twistedkv.client.journal import Following
from twistedkv.client.operations import Operation
from twistedkv.client.reactorthread import ALIVE_SECONDS, ReactorThread, Wait, shared
from twistedkv.client.results import CopyCheck, Incremented, PartialFailure, Value
from twistedkv.client.twisted import Client as AsyncClient
from twistedkv.clustermap import ClusterMap
from twistedkv.errors import OperationError, Unavailable
from twistedkv.limits import DEADLINE_SECONDS, SLOTS
from twistedkv.messages.client import BackupBegun, BackupEntries, BackupPage, ScanItem, ScanPage
from twistedkv.slots import slot_of
from twistedkv.wire.client import CAS, DELETE, GET, INCR, PUT

__all__ = ["Client", "CopyCheck", "Incremented", "PartialFailure", "ScanItem", "Value"]

log = Logger()
T = TypeVar("T")


class Client:
    """A client of one cluster: see `twistedkv.client.Client`. Methods return results instead of Deferreds.

    The first call waits for the connection; making a client does not. Every method raises NotDone (or one of its
    kinds), OutcomeUnknown or InvalidRequest as described there, within its deadline.
    """

    def __init__(
        self,
        coordinator: str | Sequence[str] = "127.0.0.1:7400",
        *,
        deadline: float = DEADLINE_SECONDS,
        cluster: str = "",
    ) -> None:
        parse_addresses(coordinator)
        check_deadline(deadline)
        self.deadline = deadline
        self._make: Callable[[Any], AsyncClient] = lambda reactor: AsyncClient(
            coordinator, reactor=reactor, deadline=deadline, cluster=cluster
        )
        self._thread: ReactorThread | None = None
        self._client: AsyncClient | None = None
        self._lock = threading.Lock()
        self._closed = False
        shared.clients.add(self)
        self._ready()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    # One key.

    def get(self, key: bytes, *, deadline: float | None = None) -> Value | None:
        """The value and version of `key`, or None."""
        value: Value | None = self._one(GET, key, b"", 0, deadline)
        return value

    def put(self, key: bytes, value: bytes, *, deadline: float | None = None) -> int:
        """Store `value`. Its version."""
        version: int = self._one(PUT, key, value, 0, deadline)
        return version

    def delete(self, key: bytes, *, deadline: float | None = None) -> int | None:
        """Remove `key`. The version of the deletion, or None if there was nothing to remove."""
        version: int | None = self._one(DELETE, key, b"", 0, deadline)
        return version

    def cas(self, key: bytes, value: bytes, expected: int, *, deadline: float | None = None) -> int:
        """Store `value` if the key's version is `expected` (0: if there is no such key). The new version.

        Raises VersionMismatch, which carries the version found.
        """
        version: int = self._one(CAS, key, value, expected, deadline)
        return version

    def incr(self, key: bytes, delta: int = 1, *, deadline: float | None = None) -> Incremented:
        """Add `delta` to a decimal integer of 64 bits; no key counts as 0. Raises NotAnInteger."""
        incremented: Incremented = self._one(INCR, key, b"", delta, deadline)
        return incremented

    # Many.

    def mget(self, keys: Iterable[bytes], *, deadline: float | None = None) -> dict[bytes, Value | None]:
        """`get` of each key. Raises PartialFailure when some could not be read."""
        wanted = list(keys)
        return self._run(lambda client: client.mget(wanted, deadline=deadline))

    def mput(self, mapping: Mapping[bytes, bytes], *, deadline: float | None = None) -> dict[bytes, int]:
        """`put` of each key, side by side: atomic for each key and not for all. The versions.

        Raises PartialFailure when some were not stored.
        """
        pairs = dict(mapping)
        return self._run(lambda client: client.mput(pairs, deadline=deadline))

    def verify(
        self, key: bytes, value: bytes | None, server: int | None = None, *, deadline: float | None = None
    ) -> list[CopyCheck]:
        """What each copy of the key holds (or that of `server`), compared with `value` (None: with nothing)."""
        return self._run(lambda client: client.verify(key, value, server, deadline=deadline))

    def scan(self, prefix: bytes = b"", *, values: bool = False, page: int = 1000) -> Iterator[ScanItem]:
        """All keys with the prefix, by slot, and by key within a slot. The next page is asked for when it is needed."""
        check_scan(prefix, page)
        slot, after = 0, b""
        while slot < SLOTS:
            found = self.scan_page(slot, after, prefix, values, page)
            yield from found.items
            slot, after = found.next_slot, found.next_after

    def scan_page(
        self,
        slot: int = 0,
        after: bytes = b"",
        prefix: bytes = b"",
        values: bool = False,
        page: int = 1000,
        *,
        deadline: float | None = None,
    ) -> ScanPage:
        """At most `page` keys from slot `slot` on, in it after the key `after`. Where to go on is in the answer."""
        return self._run(lambda client: client.scan_page(slot, after, prefix, values, page, deadline=deadline))

    # Backups: see twistedkv.core.backup, and twistedkv.backup for whole ones.

    def apply(self, changes: Mapping[bytes, Change], *, deadline: float | None = None) -> None:
        """Store each key, to expire at a moment, or delete it. Raises PartialFailure when some were not changed."""
        every = dict(changes)
        self._run(lambda client: client.apply(every, deadline=deadline))

    def backup_begin(self, slot: int, *, deadline: float | None = None) -> BackupBegun:
        """Have the log of the slot's shard kept."""
        return self._run(lambda client: client.backup_begin(slot, deadline=deadline))

    def backup_records(
        self, slot: int, after: bytes = b"", pin: int = 0, prefix: bytes = b"", *, deadline: float | None = None
    ) -> BackupPage:
        """Records of the slot's shard, as they are, from that slot on and in it after the key `after`."""
        return self._run(lambda client: client.backup_records(slot, after, pin, prefix, deadline=deadline))

    def backup_log(self, slot: int, pin: int, after: int, *, deadline: float | None = None) -> BackupEntries:
        """Updates of the shard after a sequence, as log entries. Raises Lapsed."""
        return self._run(lambda client: client.backup_log(slot, pin, after, deadline=deadline))

    def backup_end(self, slot: int, pin: int, *, deadline: float | None = None) -> None:
        """The log need not be kept any more."""
        self._run(lambda client: client.backup_end(slot, pin, deadline=deadline))

    # The cluster.

    @property
    def cluster_map(self) -> ClusterMap:
        """The newest map known. Its version is 0 before there is one."""
        self._ready()
        return ClusterMap.empty() if self._client is None else self._client.cluster_map

    def refresh(self, *, deadline: float | None = None) -> ClusterMap:
        """Ask for the cluster map, and wait for it."""
        return self._run(lambda client: client.refresh(deadline=deadline))

    def noop(self, server: int | None = None, *, deadline: float | None = None) -> None:
        """Have a server (None: any) answer."""
        self._run(lambda client: client.noop(server, deadline=deadline))

    def admin(self, command: str, *, deadline: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Give the coordinator a command. Raises OperationError, whose text is the coordinator's."""
        return self._run(lambda client: client.admin(command, deadline=deadline, **arguments))

    def admin_follow(self, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """The events of the journal with a number above `after`, one by one, without end: waits for later ones."""
        events: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        followed: list[Following] = []

        def failed(failure: Failure) -> None:
            events.put(failure.value or Unavailable("the journal ended"))

        def follow(client: AsyncClient) -> Deferred[None]:
            following = client.admin_follow(events.put, after=after)
            following.done.addErrback(failed)
            followed.append(following)
            started: Deferred[None] = Deferred()
            started.callback(None)
            return started

        self._run(follow)
        thread = self._ready()[0]
        try:
            while True:
                try:
                    event = events.get(timeout=ALIVE_SECONDS)
                except queue.Empty:
                    if thread.thread.is_alive():
                        continue
                    raise Unavailable("the client's reactor thread has ended") from None
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            thread.call(followed[0].stop)

    def close(self) -> None:
        """End everything outstanding, close the connections. Later calls raise Unavailable."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread, client = self._thread, self._client
        if thread is None or client is None or not thread.thread.is_alive():
            return
        wait = Wait()
        thread.call(lambda: client.close().addCallbacks(wait.callback, wait.errback))
        wait.result(thread.thread)

    # Within.

    def after_fork(self) -> None:
        """In the child: begin anew with the next call."""
        self._lock = threading.Lock()
        if self._client is not None:
            shared.abandoned.append(self._client)
        self._thread = self._client = None

    def _ready(self) -> tuple[ReactorThread, AsyncClient]:
        """The thread and the client in it, made anew in a forked child. Raises Unavailable when closed."""
        thread, client = self._thread, self._client
        if thread is None or client is None:
            return self._begin()
        if self._closed:
            raise Unavailable("the client was closed")
        if threading.get_ident() == thread.thread.ident:
            raise RuntimeError(
                "a blocking client was used in the reactor's own thread, which would wait for itself for ever: "
                "use twistedkv.client.Client there"
            )
        return thread, client

    def _begin(self) -> tuple[ReactorThread, AsyncClient]:
        with self._lock:
            if self._closed:
                raise Unavailable("the client was closed")
            if self._thread is not None and self._client is not None:
                return self._thread, self._client
            thread = shared.thread()
            wait = Wait()

            def make() -> None:
                try:
                    wait.callback(self._make(thread.reactor))
                except Exception as error:
                    wait.errback(error)

            thread.call(make)
            client: AsyncClient = wait.result(thread.thread)
            self._client, self._thread = client, thread
            return thread, client

    def _one(self, kind: int, key: bytes, value: bytes, argument: int, deadline: float | None) -> Any:
        """One operation on one key: handed over without a Deferred."""
        thread, client = self._ready()
        client.check(kind, key, value, argument, deadline)
        wait = Wait()
        ends = client.seconds() + (self.deadline if deadline is None else deadline)
        operation = Operation(kind, key, slot_of(key), ends, wait, value, argument)

        def begin() -> None:
            client.begin(operation)
            client.flush()

        thread.call(begin)
        try:
            return wait.result(thread.thread)
        except BaseException:
            if operation.waiter is not None:  # interrupted
                thread.call(lambda: client.cancel(operation))
            raise

    def _run(self, start: Callable[[AsyncClient], Deferred[T]]) -> T:
        """Anything else: call `start` in the reactor's thread and wait for its Deferred."""
        thread, client = self._ready()
        wait = Wait()
        started: list[Deferred[T]] = []

        def begin() -> None:
            try:
                deferred = start(client)
            except Exception as error:
                wait.errback(error)
                return
            started.append(deferred)
            deferred.addCallbacks(wait.callback, wait.errback)

        def cancel() -> None:
            for deferred in started:
                deferred.cancel()

        thread.call(begin)
        try:
            result: T = wait.result(thread.thread)
        except OperationError:
            raise
        except BaseException:  # most likely interrupted
            thread.call(cancel)
            raise
        return result
