"""A client that stays with one server, whatever becomes of it: the hunt for stale reads.

It speaks the protocol to one address, asks nobody for a map and follows nobody's advice. Reads of the keys go out in a
steady stream, also while no answer comes: what a frozen server finds in its buffers when it wakes up is just what a
stale read would be made of. And one write at a time, which a deposed server must not acknowledge. All of it stands in
the same history as what the others do.

Each read is a process of its own, because many are under way at once. What the server refuses has certainly not been
done; what is never answered nobody knows.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from twistedkv.core.handshake import make_hello
from twistedkv.errors import Status
from twistedkv.history.record import Record
from twistedkv.messages.client import Get, Put, Result
from twistedkv.messages.hello import HelloReply, Role
from twistedkv.net.framed import Connection, dial, silence
from twistedkv.recording.history import History, version
from twistedkv.wire.client import decode_response, encode_request
from twistedkv.wire.frames import Frame, encode_frame

READ_SECONDS = 0.02
"""Between two reads."""
WRITE_SECONDS = 0.1
UNANSWERED_MAX = 1_000
"""No more reads are sent while so many are not answered."""

NOT_KNOWN = (Status.SUPERSEDED, Status.UNKNOWN_OUTCOME, Status.SERVER_FAILURE)
"""What does not say that a write had no effect."""


class Pinned:
    """One client of one server. `reactor` is IReactorTCP and IReactorTime."""

    def __init__(
        self, reactor: Any, history: History, host: str, port: int, keys: Sequence[str], writes: bool = True
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Of reads: asked; answered, refused; late: answered after more than a second. Of writes: written."""
        self._reactor = reactor
        self._history = history
        self._address = (host, port)
        self._keys = keys
        self._identity = os.urandom(16)
        self._session: _Session | None = None
        self._dialing: Deferred[Connection] | None = None
        self._asked: dict[int, Record] = {}
        """By request id."""
        self._writing = False
        self._writes = writes
        self._requests = 0
        self._numbers = 0
        self._reading = self._every(READ_SECONDS, self._read)
        self._changing = self._every(WRITE_SECONDS, self._write)
        self._dial()

    def _every(self, seconds: float, call: Callable[[], None]) -> LoopingCall:
        looping = LoopingCall(call)
        looping.clock = self._reactor
        silence(looping.start(seconds, now=False))
        return looping

    def stop(self) -> None:
        """Ask no more. What has not been answered stays open."""
        self._reading.stop()
        self._changing.stop()
        if self._dialing is not None:
            self._dialing.cancel()
        if self._session is not None:
            self._session.connection.abort()

    # The connection.

    def _dial(self) -> None:
        def connected(connection: Connection, reply: HelloReply) -> _Session:
            self._session = _Session(self, connection)
            return self._session

        def over(_: object) -> None:
            self._dialing = None

        hello = make_hello(Role.CLIENT, "", 0, self._identity)
        self._dialing = dial(self._reactor, *self._address, hello, connected)
        self._dialing.addBoth(over)

    def lost(self) -> None:
        """The connection is gone, and what was asked over it will not be answered."""
        self._session = None
        asked, self._asked = self._asked, {}
        for record in asked.values():
            self._end(record, "info")

    # Operations.

    def _read(self) -> None:
        if self._session is None:
            if self._dialing is None:
                self._dial()
        elif len(self._asked) < UNANSWERED_MAX:
            self.counts["asked"] += 1
            key = self._keys[self.counts["asked"] % len(self._keys)]
            self._ask(self._history.begin(self._history.new_process(), key, "read", []), Get(key.encode()))

    def _write(self) -> None:
        if self._session is not None and self._writes and not self._writing:
            self._writing = True
            self._numbers += 1
            key = self._keys[self._numbers % len(self._keys)]
            process = self._history.new_process()
            value = f"pinned-{process}"
            record = self._history.begin(process, key, "write", [value])
            self._ask(record, Put(self._numbers, self._numbers, 0, key.encode(), value.encode()))

    def _ask(self, record: Record, message: Get | Put) -> None:
        assert self._session is not None
        self._requests += 1
        self._asked[self._requests] = record
        message_type, body = encode_request(message)
        self._session.connection.send_bytes(encode_frame(message_type, body, self._requests))

    def answered(self, frame: Frame) -> None:
        """The server has said something."""
        message_type, _, request_id, body = frame
        result = decode_response(message_type, body)
        record = self._asked.pop(request_id)
        assert isinstance(result, Result)
        if result.status == Status.SUCCESS:
            record.value = result.value.decode() if record.f == "read" else record.args[0]
            record.version = version(result.version)
            self._end(record, "ok")
        elif record.f == "read" and result.status == Status.KEY_NOT_FOUND:
            self._end(record, "ok")
        else:
            self._end(record, "info" if result.status in NOT_KNOWN else "fail")

    def _end(self, record: Record, result: str) -> None:
        if record.f == "write":
            self._writing = False
        self._history.end(record, result)
        if record.f == "read":
            self.counts[{"ok": "answered", "fail": "refused"}.get(result, "open")] += 1
            self.counts["late"] += result != "info" and record.returned - record.call > 1_000_000_000
        elif result == "ok":
            self.counts["written"] += 1


class _Session:
    """The one connection."""

    def __init__(self, pinned: Pinned, connection: Connection) -> None:
        self._pinned = pinned
        self.connection = connection

    def frames_received(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._pinned.answered(frame)

    def connection_lost(self, reason: str) -> None:
        self._pinned.lost()
