"""What has come in a turn for one shard, and who waits for it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from twistedkv.client.lanes import Lane
from twistedkv.client.operations import Waiter
from twistedkv.errors import OutOfSpace
from twistedkv.line.failures import reply_of
from twistedkv.line.reply import RunReply
from twistedkv.messages.client import Execute, ExecuteMode, PutMany
from twistedkv.resp.answers import split
from twistedkv.resp.replies import OK


class Batch:
    """Commands of this turn for one shard, and who waits for each. A `Waiter` for all of them.

    As long as all are SETs without options, which they nearly always are, keys and values are kept as two columns.
    """

    __slots__ = ("_refused", "commands", "keys", "lane", "protocol", "size", "slot", "values", "waiters", "writes")

    def __init__(self, lane: Lane, slot: int, refused: Callable[[], None] = lambda: None) -> None:
        self.lane = lane
        self._refused = refused
        """To be told that there was no space for all of it."""
        self.slot = slot
        self.size = 0
        """Bytes of all arguments."""
        self.protocol = 2
        """Of the replies, if there are `commands`."""
        self.keys: list[bytes] = []
        self.values: list[bytes] = []
        self.commands: list[list[bytes]] = []
        """If there are any, they are all: then there are no `keys`."""
        self.waiters: list[tuple[Waiter, int]] = []
        """With the number of commands that each waits for: more than one are a `RunReply`."""
        self.writes = False

    def __len__(self) -> int:
        return len(self.keys) or len(self.commands)

    def put(self, waiter: Waiter, keys: list[bytes], values: list[bytes]) -> None:
        """Add SETs."""
        self.writes = True
        self.waiters.append((waiter, len(keys)))
        if self.commands:
            self.commands += _sets(keys, values)
        else:
            self.keys += keys
            self.values += values

    def add(self, waiter: Waiter, command: list[bytes], protocol: int) -> None:
        """Add any command."""
        if self.keys:
            self.commands = _sets(self.keys, self.values)
            self.keys, self.values = [], []
        self.protocol = protocol
        self.commands.append(command)
        self.waiters.append((waiter, 1))

    def apart(self) -> None:
        """Have each command executed as if it were alone, and refused as if it were: but for runs, with one reply."""
        if len(self.keys) > 1 and not any(type(waiter) is RunReply for waiter, _ in self.waiters):
            self.commands = _sets(self.keys, self.values)
            self.keys, self.values = [], []

    def message(self) -> PutMany | Execute:
        """What asks a shard to execute them."""
        if self.commands:
            mode = ExecuteMode.BATCH if len(self.commands) > 1 else ExecuteMode.SINGLE
            return Execute(0, 0, 0, self.slot, self.protocol, mode, [], self.commands)
        last = dict(zip(self.keys, self.values, strict=True))  # of what is stored over at once, nobody can know
        if len(last) != len(self.keys):
            return PutMany(0, 0, 0, self.slot, list(last), list(last.values()))
        return PutMany(0, 0, 0, self.slot, self.keys, self.values)

    def callback(self, result: list[bytes] | bytes | int) -> None:
        """What the shard has replied to each command; of SETs alone only that they are done."""
        if not self.commands:
            for waiter, _ in self.waiters:
                if type(waiter) is RunReply:
                    waiter.part(self.lane, b"")
                else:
                    waiter.callback(OK)
            return
        if type(result) is not list:
            result = [result] if len(self.commands) == 1 else _parts(result)  # type: ignore[list-item, arg-type]
        place = 0
        for waiter, count in self.waiters:
            if type(waiter) is RunReply:
                wrong = [reply for reply in result[place : place + count] if reply != OK]
                waiter.part(self.lane, wrong[0] if wrong else b"")
            else:
                waiter.callback(result[place])
            place += count

    def errback(self, fail: Exception) -> None:
        """None of them has a reply."""
        if isinstance(fail, OutOfSpace):
            self._refused()
        for waiter, _ in self.waiters:
            if type(waiter) is RunReply:
                waiter.part(self.lane, reply_of(fail))
            else:
                waiter.errback(fail)


def bytes_of(keys: list[bytes], values: list[bytes]) -> int:
    """Of all of them."""
    return sum(map(len, keys)) + sum(map(len, values))


def _sets(keys: list[bytes], values: list[bytes]) -> list[list[bytes]]:
    return [[b"SET", key, value] for key, value in zip(keys, values, strict=True)]


def _parts(reply: bytes) -> list[bytes]:
    start = reply.index(b"\n") + 1
    body = reply[start:]
    ends = split(body, int(reply[1 : start - 2]))
    return [body[begin:end] for begin, end in pairwise([0, *ends])]
