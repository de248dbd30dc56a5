"""The clients of a run: their lanes, and the history that is written to a file while it is being made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import IO, Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.python.failure import Failure

from twistedkv import __version__
from twistedkv.client.twisted import Client
from twistedkv.history.record import Fault as PlannedFault
from twistedkv.history.record import Header, Record, Version, line_of
from twistedkv.recording.history import History
from twistedkv.recording.lanes import Lane, read_all
from twistedkv.torture.meter import Meter
from twistedkv.torture.plan import HABITS, Fault, Settings, configuration_of, lane_chance

_T = TypeVar("_T")

CLIENT_DEADLINE_SECONDS = 10.0


def header_of(settings: Settings, faults: Sequence[Fault]) -> Header:
    """The first line of a history: what made it, and what was planned."""
    return Header(
        seed=settings.seed,
        configuration=configuration_of(settings),
        faults=tuple(PlannedFault(round(fault.at * 1e9), f"planned: {fault}") for fault in faults),
        other={"twistedkv": __version__, "python": sys.version.split()[0]},
    )


class WrittenHistory(History):
    """A history that is measured, and written to a stream: each operation when it ends.

    It is complete after `finish` only: until then the operations that are under way are missing.
    """

    def __init__(self, now: Callable[[], float], meter: Meter, stream: IO[str]) -> None:
        super().__init__(lambda: round(now() * 1e9), self._write)
        self._seconds = now
        self._meter = meter
        self._stream = stream
        self._open: dict[int, Record] = {}
        self._measured = True

    def begin(self, process: int, key: str, f: str, args: list[Any], expected: Version | None = None) -> Record:
        """See History."""
        record = super().begin(process, key, f, args, expected)
        self._open[record.op] = record
        if self._measured:
            self._meter.began(record.op, record.call / 1e9)
        return record

    def _write(self, record: Record) -> None:
        del self._open[record.op]
        if self._measured:
            result = "ok" if record.mismatch else record.result
            self._meter.ended(record.op, self._seconds(), reads=record.f == "read", result=result)
        self._keep(record)

    def _keep(self, record: Record) -> None:
        if record.f != "read" or record.result == "ok":  # a read without an answer says nothing
            self._stream.write(line_of(record) + "\n")

    def stop_measuring(self) -> None:
        """The lanes have ended: what comes now is no load."""
        if self._measured:
            self._measured = False
            self._meter.finish(self._seconds())

    def flush(self) -> None:
        """Have what has ended in the file."""
        self._stream.flush()

    def finish(self) -> None:
        """Write what has not ended: nobody knows its outcome."""
        self.stop_measuring()
        for record in self._open.values():
            self._keep(record)
        self._open.clear()
        self._stream.flush()


class Traffic:
    """All clients. `now()` is seconds since they began."""

    def __init__(self, reactor: Any, address: str, settings: Settings, history: History) -> None:
        self._reactor = reactor
        self._settings = settings
        self._history = history
        self._address = address
        self._lanes: list[Deferred[None]] = []
        self.clients: list[Client] = []
        self.stopping = False
        self.problems: list[str] = []
        """Errors of the clients."""

    def start(self) -> None:
        """Let them begin."""
        for _ in range(self._settings.clients):
            client = Client(self._address, reactor=self._reactor, deadline=CLIENT_DEADLINE_SECONDS)
            self.clients.append(client)
            for _ in range(HABITS.lanes):
                chance = lane_chance(self._settings, len(self._lanes) + 1)
                lane = Lane(self._history, HABITS, client, self._reactor, chance, lambda: self.stopping)
                self._lanes.append(ensureDeferred(lane.run()).addErrback(self._failed))

    def stop(self) -> Deferred[Any]:
        """No new operations. Fires when all have ended, which they do within their deadlines."""
        self.stopping = True
        return DeferredList(self._lanes)

    def close(self) -> Deferred[Any]:
        """Close the clients' connections."""
        return DeferredList([client.close() for client in self.clients])

    def _failed(self, failure: Failure) -> None:
        self.problems.append(f"a client failed: {failure.getTraceback()}")

    # At the end.

    async def read_every_key(self) -> list[Record]:
        """Read each key that was ever used once more: these reads."""
        first = len(self._history.records)
        await self._share(self._history.keys(), lambda client, keys: read_all(client, self._history, keys))
        return self._history.records[first:]

    async def compare_copies(self, reads: Sequence[Record], copies: int) -> None:
        """Ask all copies of each key that was read what they hold. What differs is a problem."""

        async def compare(client: Client, own: list[Record]) -> None:
            for read in own:
                expected = None if read.value is None else str(read.value).encode()
                found = await client.verify(read.key.encode(), expected)
                if len(found) != copies:
                    self.problems.append(f"key {read.key} has {len(found)} copies in place of {copies}")
                for copy in found:
                    if not copy.matches:
                        self.problems.append(
                            f"key {read.key}: server {copy.server} ({copy.role}) holds {copy.value!r}, "
                            f"and {expected!r} was read"
                        )

        await self._share(reads, compare)

    async def _share(
        self, things: Sequence[_T], work: Callable[[Client, list[_T]], Coroutine[Deferred[Any], Any, None]]
    ) -> None:
        """Have all clients work on a part each, as many at a time as there are lanes."""
        workers = [client for client in self.clients for _ in range(HABITS.lanes)]
        parts = [list(things[i :: len(workers)]) for i in range(len(workers))]
        await DeferredList(
            [
                ensureDeferred(work(client, part)).addErrback(self._failed)
                for client, part in zip(workers, parts, strict=True)
            ]
        )
