"""A desk with conversations at it whose shards do nothing by themselves: the test says when a command is answered."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import attrs

from tests.support.redis_server import encode_request
from twistedkv.client.operations import Waiter
from twistedkv.limits import SLOTS
from twistedkv.line.conversation import Conversation
from twistedkv.line.desk import Desk
from twistedkv.line.failures import reply_of
from twistedkv.line.functions import table
from twistedkv.line.reply import RunReply
from twistedkv.resp import replies

SHARDS = 6
TURNS_MAX = 1000


@attrs.define
class Begun:
    """A command, or several, that a shard was asked to execute."""

    waiter: Waiter
    slot: int
    commands: list[list[bytes]]
    watched: dict[bytes, int]

    def answer(self, reply: bytes = replies.OK) -> None:
        """It has been executed."""
        self.waiter.callback(reply)


@attrs.define
class _Part:
    """Waits for the commands of a run that are of one shard."""

    run: RunReply
    shard: Any

    def callback(self, reply: bytes) -> None:
        """All have this reply."""
        self.run.part(self.shard, b"" if reply == replies.OK else reply)

    def errback(self, fail: Exception) -> None:
        """None has one."""
        self.run.part(self.shard, reply_of(fail))


class SlowShards:
    """Shards that keep what they are asked. Each has as many slots as the others."""

    def __init__(self) -> None:
        self.begun: list[Begun] = []
        self.full = False
        self.known = True
        self.tight = False
        self.here = True
        """Whether this server is the primary of all of them."""

    def shard(self, slot: int) -> int:
        """The number of the slot's shard."""
        return slot * SHARDS // SLOTS

    def is_mine(self, slot: int) -> bool:
        """As the test wants it."""
        return self.here

    def lane(self, slot: int) -> None:
        """Nothing more is known of them."""

    def value(self, slot: int, key: bytes) -> None:
        """Nothing can be told at once."""

    def values(self, slots: list[int], keys: list[bytes]) -> None:
        """Nothing of them, either."""

    def put(self, waiter: Waiter, slot: int, key: bytes, value: bytes) -> None:
        """Keep it."""
        self.begun.append(Begun(waiter, slot, [[b"SET", key, value]], {}))

    def put_run(self, waiter: RunReply, slots: list[int], keys: list[bytes], values: list[bytes]) -> list[int]:
        """Keep the part of each shard."""
        shards: list[Any] = [self.shard(slot) for slot in slots]
        waiter.begin(shards, len(set(shards)))
        commands = [[b"SET", key, value] for key, value in zip(keys, values, strict=True)]
        first = {shard: slots[shards.index(shard)] for shard in shards}
        for shard, slot in first.items():
            theirs = [command for command, its in zip(commands, shards, strict=True) if its == shard]
            self.begun.append(Begun(_Part(waiter, shard), slot, theirs, {}))
        return list(first.values())

    def execute(self, waiter: Waiter, slot: int, command: list[bytes], *, writes: bool, protocol: int) -> None:
        """Keep it."""
        self.begun.append(Begun(waiter, slot, [command], {}))

    alone = execute

    def transaction(
        self,
        waiter: Waiter,
        slot: int,
        commands: list[list[bytes]],
        *,
        writes: bool,
        protocol: int,
        watched: dict[bytes, int],
    ) -> None:
        """Keep it."""
        self.begun.append(Begun(waiter, slot, commands, watched))

    def take(self, count: int | None = None) -> list[Begun]:
        """The first of what was asked and not answered."""
        taken, self.begun = self.begun[:count], self.begun[count:] if count is not None else []
        return taken


class _Server:
    """What a desk needs of its server, and of the reactor."""

    core = None
    server_id = 1

    def __init__(self) -> None:
        self.reactor = self
        self.calls: list[Callable[[], None]] = []
        self.before_flush: list[Callable[[], None]] = []

    def now(self) -> float:
        """No time passes."""
        return 0.0

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        """For the next turn."""
        assert delay == 0
        self.calls.append(call)


class _Cluster:
    """What a desk needs of the client of the cluster."""

    client_id = b"c" * 16
    router = None
    deadline = 10.0


@attrs.define
class Client:
    """What one client has been sent, and whether its connection was closed."""

    conversation: Any = None
    heard: bytes = b""
    closed: bool = False
    aborted: bool = False

    def ask(self, *words: bytes) -> None:
        """Send a command."""
        self.conversation.received(encode_request(list(words)))

    def hear(self, data: bytes) -> None:
        """Bytes are sent to it."""
        assert not self.closed and not self.aborted
        self.heard += data

    def take(self) -> bytes:
        """What it has been sent since the last time."""
        heard, self.heard = self.heard, b""
        return heard


class World:
    """The desk and its clients."""

    def __init__(self) -> None:
        self.server = _Server()
        fakes: tuple[Any, Any] = (self.server, _Cluster())
        self.desk = Desk(*fakes, lambda: 1_700_000_000_000, table(Random(1)), moved=False)
        self.shards = SlowShards()
        self.desk.shards = self.shards  # type: ignore[assignment]

    def connect(self) -> Client:
        """Somebody comes."""
        client = Client()
        number = len(self.desk.conversations) + 1

        def close() -> None:
            client.closed = True

        def abort() -> None:
            client.aborted = True

        client.conversation = Conversation(self.desk, number, "client:1", "server:1", client.hear, close, abort)
        self.desk.conversations[number] = client.conversation
        return client

    def turn(self) -> None:
        """One turn of the reactor."""
        calls, self.server.calls = self.server.calls, []
        for call in calls:
            call()

    def settle(self) -> None:
        """Turns until nothing is left to be done."""
        for _ in range(TURNS_MAX):
            if not self.server.calls:
                return
            self.turn()
        raise AssertionError("there is always something left to be done")
