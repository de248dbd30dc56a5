"""Executed once: what a shard remembers of the writes of its clients (I12).

Goal: a write that is sent again, after a lost connection or over a failover, gets the result of its first execution and
is not executed a second time.

Each client numbers its writes to a shard; the shard keeps, for each client, the results from the client's oldest
unfinished number on (the client says which that is in every write, and will never ask for one below it). The table is
part of the replicated state: each log entry carries client, number and `oldest`, so every member has the same table at
the same place of the log, and learners get it streamed.

Two bounds keep it small. A client has at most WRITE_WINDOW numbers between its oldest and its newest unfinished write.
A shard remembers SESSIONS_MAX clients; past that it forgets those whose last write lies furthest back *in the log*: by
position and never by a clock, so all members forget alike. What is forgotten is not executed again on suspicion: the
table keeps the position of the newest entry that it ever forgot, its *horizon*, and a retried write names the newest
version of the shard that its client had seen before it first sent it, `since`. An execution could only be later than
`since`; if the horizon is later too, it may have been forgotten, and the answer is UNKNOWN_OUTCOME.

Refused designs: leases for sessions (a clock decides about safety), a fixed number of results (a fast client pushes out
a slow one's), remembering refusals such as a CAS mismatch (they have no effect, so executing them again is no second
execution).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import takewhile
from struct import Struct, error

from twistedkv.errors import ProtocolError
from twistedkv.limits import SESSIONS_MAX

Remembered = int | tuple[int, bytes]
"""Version of the update; with the reply, if the client was told more than the version."""

_SESSION_HEAD = Struct(">16sQQI")
_RESULT = Struct(">QQI")
_RESULT_VALUE = Struct(">Q")


class Lookup(Enum):
    """What the table says of a write it has no result of."""

    NEW = "new"
    """Was certainly not executed."""
    FORGOTTEN = "forgotten"
    """May have been executed; no longer known."""


class _Session:
    """One client's results. `oldest`: nothing below is kept. `last`: log position of its newest write."""

    __slots__ = ("last", "newest", "oldest", "results")

    def __init__(self) -> None:
        self.results: dict[int, Remembered] = {}
        """Invariant: in the order of their numbers, and none is below `oldest`."""
        self.newest = 0
        self.oldest = 0
        self.last = 0


class DedupTable:
    """Results of recent writes, by client and number."""

    def __init__(self, sessions_max: int = SESSIONS_MAX) -> None:
        self._sessions: dict[bytes, _Session] = {}
        self._sessions_max = sessions_max
        self.horizon = 0
        """Sequence of the newest update of which a result has been forgotten unasked."""

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, client: bytes, number: int, since: int, retried: bool) -> Remembered | Lookup:
        """The result of a write if it was executed, else whether it is new. `since` is a sequence."""
        session = self._sessions.get(client)
        if session is not None:
            remembered = session.results.get(number)
            if remembered is not None:
                return remembered
            if number < session.oldest:
                return Lookup.FORGOTTEN
        if retried and self.horizon > since:
            return Lookup.FORGOTTEN
        return Lookup.NEW

    def remember(self, client: bytes, number: int, oldest: int, sequence: int, result: Remembered) -> None:
        """Keep the result of the update at `sequence`, and drop what the client has finished."""
        session = self._sessions.get(client)
        if session is None:
            session = self._sessions[client] = _Session()
            if len(self._sessions) > self._sessions_max:
                self._forget_silent()
        session.last = sequence
        if number < session.oldest:
            return  # a learner was streamed what came later in the log: there the client had finished this one
        results = session.results
        results[number] = result
        if number > session.newest:
            session.newest = number
        else:  # it was overtaken by a later write, which is rare
            results = session.results = {n: results[n] for n in sorted(results)}
        if oldest > session.oldest:
            session.oldest = oldest
            for done in list(takewhile(oldest.__gt__, results)):
                del results[done]

    def clear(self) -> None:
        """Forget everything, as one who never knew."""
        self._sessions.clear()
        self.horizon = 0

    def _forget_silent(self) -> None:
        by_age = sorted(self._sessions.items(), key=lambda item: item[1].last)
        # One tenth at a time, so that the sort is paid once in many new clients. The newest session has last == 0
        # until its first result is kept, which is what `remember` is about to do: leave it.
        for client, session in by_age[1 : 1 + max(1, self._sessions_max // 10)]:
            self.horizon = max(self.horizon, session.last)
            del self._sessions[client]

    # Streaming to a learner.

    def pack(self, bytes_max: int) -> Iterator[bytes]:
        """The whole table in pieces for `merge`. Each begins with the horizon.

        A piece has about `bytes_max`, or a single result that is larger: replies may be as large as values, and a
        client may have many of them.
        """
        parts: list[bytes] = []
        size = 0
        for client, session in list(self._sessions.items()):
            for run in _runs(list(session.results.items()), bytes_max):
                packed = [
                    part
                    for number, version, reply in run
                    for part in (_RESULT.pack(number, version, len(reply)), reply)
                ]
                more = _SESSION_HEAD.size + sum(map(len, packed))
                if size and size + more > bytes_max:
                    yield b"".join((_RESULT_VALUE.pack(self.horizon), *parts))
                    parts, size = [], 0
                parts.append(_SESSION_HEAD.pack(client, session.oldest, session.last, len(run)))
                parts += packed
                size += more
        yield b"".join((_RESULT_VALUE.pack(self.horizon), *parts))

    def merge(self, piece: bytes) -> None:
        """Add what a piece says; what is known already stays. Raises ProtocolError when the piece is malformed."""
        named: dict[bytes, _Session] = {}
        try:
            self.horizon = max(self.horizon, _RESULT_VALUE.unpack_from(piece)[0])
            offset = _RESULT_VALUE.size
            while offset < len(piece):
                client, oldest, last, count = _SESSION_HEAD.unpack_from(piece, offset)
                offset += _SESSION_HEAD.size
                session = self._sessions.get(client)
                if session is None:
                    session = self._sessions[client] = _Session()
                named[client] = session
                session.oldest = max(session.oldest, oldest)
                session.last = max(session.last, last)
                for _ in range(count):
                    number, version, length = _RESULT.unpack_from(piece, offset)
                    offset += _RESULT.size
                    reply = piece[offset : offset + length]
                    offset += length
                    if offset > len(piece):
                        raise ProtocolError("a piece of the dedup table is cut short")
                    if number >= session.oldest:
                        session.results.setdefault(number, (version, reply) if length else version)
        except error as wrong:
            raise ProtocolError("a piece of the dedup table is cut short") from wrong
        finally:
            # Live results may have come before streamed ones: restore the order. Once for each client, however often a
            # piece names it.
            for session in named.values():
                session.results = {n: session.results[n] for n in sorted(session.results) if n >= session.oldest}
                session.newest = max(session.newest, max(session.results, default=0))


def _runs(items: list[tuple[int, Remembered]], bytes_max: int) -> Iterator[list[tuple[int, int, bytes]]]:
    """Results as (number, version, reply), in runs of about `bytes_max`; one empty run if there are none."""
    run: list[tuple[int, int, bytes]] = []
    size = 0
    for number, result in items:
        version, reply = (result, b"") if isinstance(result, int) else result
        more = _RESULT.size + len(reply)
        if run and size + more > bytes_max:
            yield run
            run, size = [], 0
        run.append((number, version, reply))
        size += more
    yield run
