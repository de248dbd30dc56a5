"""Commands about the keys of all shards (DBSIZE, KEYS, SCAN, RANDOMKEY, FLUSHALL), and commands that wait."""

from __future__ import annotations

from random import Random

from twisted.python.failure import Failure

from twistedkv.client.results import CopyCheck
from twistedkv.commands.arguments import integer_of
from twistedkv.commands.scanning import cursor_of
from twistedkv.commands.table import check_keys, keys_of, lookup
from twistedkv.errors import CommandError
from twistedkv.limits import COMMANDS_MAX, SLOTS
from twistedkv.line.conversation import Conversation
from twistedkv.line.failures import reply_of
from twistedkv.line.many import Combine, Together, groups_of
from twistedkv.line.reply import Reply
from twistedkv.resp import replies
from twistedkv.resp.answers import split
from twistedkv.slots import slot_of

CURSOR_SLOT_BITS = 32
"""A cursor is a slot, and a place in it in so many bits (`core.shardkeys`)."""
_POLL_SECONDS = 0.01
_SLEEP_SECONDS_MAX = 3600.0
_NOTHING_SCANNED = replies.array([replies.bulk(b"0"), replies.EMPTY_ARRAY])


def dbsize(conversation: Conversation, argv: list[bytes]) -> None:
    """DBSIZE"""
    _ask_all(conversation, argv, lambda parts: replies.integer(sum(int(part[1:-2]) for part in parts)))


def keys(conversation: Conversation, argv: list[bytes]) -> None:
    """KEYS pattern"""

    def joined(parts: list[bytes]) -> bytes:
        heads = [part.index(b"\r\n") for part in parts]
        count = sum(int(part[1:end]) for part, end in zip(parts, heads, strict=True))
        return b"*%d\r\n" % count + b"".join(part[end + 2 :] for part, end in zip(parts, heads, strict=True))

    _ask_all(conversation, argv, joined)


def _ask_all(conversation: Conversation, argv: list[bytes], combine: Combine) -> None:
    slots = conversation.desk.slots_of_shards()
    if not slots:
        conversation.later(argv).callback(combine([]))
        return
    name = lookup(argv).name
    together = Together(conversation.later(argv), name, len(slots), combine)
    for index, slot in enumerate(slots):
        conversation.desk.shards.alone(together.part(index), slot, argv, writes=False, protocol=conversation.protocol)


def scan(conversation: Conversation, argv: list[bytes]) -> bytes | None:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]"""
    desk = conversation.desk
    desk.slots_of_shards()
    cursor = _next_mine(conversation, cursor_of(argv[1]))
    slot = cursor >> CURSOR_SLOT_BITS
    if slot >= SLOTS:
        return _NOTHING_SCANNED
    reply = conversation.later(argv)
    waiter = _Scanned(conversation, reply) if desk.moved else reply
    command = [argv[0], b"%d" % cursor, *argv[2:]]
    desk.shards.alone(waiter, slot, command, writes=False, protocol=conversation.protocol)
    return None


def _next_mine(conversation: Conversation, cursor: int) -> int:
    """The cursor itself, or that of the next slot that this port answers for; that of no slot at the end."""
    desk = conversation.desk
    slot = cursor >> CURSOR_SLOT_BITS
    if not desk.moved or slot >= SLOTS:
        return cursor
    while slot < SLOTS and not desk.shards.is_mine(slot):
        lane = desk.shards.lane(slot)
        slot = SLOTS if lane is None else lane.configuration.last_slot + 1
    return max(cursor, slot << CURSOR_SLOT_BITS)


class _Scanned:
    """Waits for a page of one shard, and goes on at the next one of this server."""

    def __init__(self, conversation: Conversation, reply: Reply) -> None:
        self._conversation = conversation
        self._reply = reply

    def callback(self, result: bytes) -> None:
        if result[:1] == b"*":
            begin = result.index(b"\n") + 1
            (end,) = split(result[begin:], 1)
            cursor = int(result[begin : begin + end].split(b"\r\n")[1])
            following = _next_mine(self._conversation, cursor) if cursor else 0
            shown = following if following >> CURSOR_SLOT_BITS < SLOTS else 0
            result = result[:begin] + replies.bulk(b"%d" % shown) + result[begin + end :]
        self._reply.callback(result)

    def errback(self, fail: Exception) -> None:
        self._reply.errback(fail)


class RandomKey:
    """RANDOMKEY: asks one shard after another, in any order, until one has a key."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def __call__(self, conversation: Conversation, argv: list[bytes]) -> None:
        slots = list(conversation.desk.slots_of_shards())
        self._random.shuffle(slots)
        _Asking(conversation, conversation.later(argv, hold=True), argv, slots).next()


class _Asking:
    def __init__(self, conversation: Conversation, reply: Reply, argv: list[bytes], slots: list[int]) -> None:
        self._conversation = conversation
        self._reply = reply
        self._argv = argv
        self._slots = slots

    def next(self) -> None:
        protocol = self._conversation.protocol
        if not self._slots:
            self._reply.callback(replies.nil(protocol))
            return
        slot = self._slots.pop()
        self._conversation.desk.shards.alone(self, slot, self._argv, writes=False, protocol=protocol)

    def callback(self, result: bytes) -> None:
        if result in (replies.nil(2), replies.nil(3)):
            self.next()
        else:
            self._reply.callback(result)

    def errback(self, fail: Exception) -> None:
        self._reply.errback(fail)


def flush(conversation: Conversation, argv: list[bytes]) -> None:
    """FLUSHALL, FLUSHDB [ASYNC | SYNC]: a thousand keys at a time, on all shards side by side."""
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError("ERR syntax error")
    slots = conversation.desk.slots_of_shards()
    conversation.wrote(slots)
    together = Together(conversation.later(argv, hold=True), lookup(argv).name, len(slots), lambda parts: replies.OK)
    for index, slot in enumerate(slots):
        _Flushing(conversation, together, index, slot).next(slot << CURSOR_SLOT_BITS)


class _Flushing:
    """Removes the keys of one shard, page by page."""

    def __init__(self, conversation: Conversation, together: Together, index: int, slot: int) -> None:
        lane = conversation.desk.shards.lane(slot)
        self._conversation = conversation
        self._together = together
        self._index = index
        self._slot = slot
        self._last_slot = SLOTS if lane is None else lane.configuration.last_slot

    def next(self, cursor: int) -> None:
        command = [b"FLUSHSLOTS", b"%d" % cursor]
        protocol = self._conversation.protocol
        self._conversation.desk.shards.alone(self, self._slot, command, writes=True, protocol=protocol)

    def callback(self, result: bytes) -> None:
        if result[:1] == b":":
            cursor = int(result[1:-2])
            if cursor > 0 and cursor >> CURSOR_SLOT_BITS <= self._last_slot:
                self.next(cursor)
                return
        self._together.arrived(self._index, result)

    def errback(self, fail: Exception) -> None:
        self._together.arrived(self._index, reply_of(fail))


def watch(conversation: Conversation, argv: list[bytes]) -> None:
    """WATCH key [key ...]: what versions the keys have now."""
    if conversation.transaction is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    command = lookup(argv)
    check_keys(command, argv)
    watched = keys_of(command, argv)
    if len(conversation.watched) + len(watched) > COMMANDS_MAX:
        raise CommandError(f"ERR a transaction watches at most {COMMANDS_MAX} keys")
    groups = groups_of(conversation.desk.shards, watched)
    for places in groups.values():
        conversation.desk.check_mine(slot_of(watched[places[0]]))
    order = [watched[place] for places in groups.values() for place in places]

    def noted(parts: list[bytes]) -> bytes:
        versions = [int(line[1:]) for part in parts for line in part.split(b"\r\n") if line[:1] == b":"]
        for key, version in zip(order, versions, strict=True):
            conversation.watched.setdefault(key, version)
        return replies.OK

    together = Together(conversation.later(argv, hold=True), command.name, len(groups), noted)
    for index, places in enumerate(groups.values()):
        part = [b"VERSIONS", *(watched[place] for place in places)]
        conversation.desk.shards.execute(together.part(index), slot_of(part[1]), part, writes=False, protocol=2)


def wait(conversation: Conversation, argv: list[bytes]) -> None:
    """WAIT numreplicas timeout: how many copies besides the primary's have all that this client has written.

    An acknowledged write is on all copies of its shard, so that is the number of secondaries.
    """
    wanted = integer_of(argv[1])
    try:
        milliseconds = integer_of(argv[2])
    except CommandError:
        raise CommandError("ERR timeout is not an integer or out of range") from None
    if milliseconds < 0:
        raise CommandError("ERR timeout is negative")
    reply = conversation.later(argv, hold=True)
    desk = conversation.desk
    until = desk.now() + milliseconds / 1000 if milliseconds else float("inf")

    def look() -> None:
        if conversation.is_next(reply):
            lanes = [desk.shards.lane(slot) for slot in conversation.written or desk.slots_of_shards()]
            copies = min((len(lane.configuration.secondaries) for lane in lanes if lane is not None), default=0)
            if copies >= wanted or desk.now() >= until:
                reply.callback(replies.integer(copies))
                return
        conversation.timer = desk.server.reactor.callLater(_POLL_SECONDS, look)

    look()


def sleep(conversation: Conversation, argv: list[bytes]) -> None:
    """DEBUG SLEEP seconds: answers this client nothing for so long, and the others as ever."""
    try:
        seconds = float(argv[2])
    except ValueError:
        seconds = 0.0
    if not 0 <= seconds <= _SLEEP_SECONDS_MAX:
        seconds = 0.0
    reply = conversation.later([], hold=True)
    conversation.timer = conversation.desk.server.reactor.callLater(seconds, reply.callback, replies.OK)


def verify(conversation: Conversation, argv: list[bytes]) -> None:
    """VERIFY key value: OK if all copies hold the value (a single space: do not have the key)."""
    check_keys(lookup(argv), argv)
    expected = None if argv[2] == b" " else argv[2]
    reply = conversation.later(argv)

    def compared(checks: list[CopyCheck]) -> None:
        wrong = [check for check in checks if not check.matches]
        if not wrong:
            reply.callback(replies.OK)
            return
        holds = ", ".join(
            f"server_{check.server} ({check.role}) "
            + ("has no such key" if check.value is None else f"holds another value at version {check.version}")
            for check in wrong
        )
        reply.callback(replies.error(f"ERR not on all copies: {holds}"))

    def failed(failure: Failure) -> None:
        reply.errback(failure.value if isinstance(failure.value, Exception) else Exception(str(failure.value)))

    conversation.desk.client.verify(argv[1], expected).addCallbacks(compared, failed)
