"""One client of the line port: what it has asked, in order, and what it is still to be answered.

Commands are begun in the order in which they came, and many of them are under way at a time; replies are given in that
order, whichever comes first. What needs what comes before it to be finished (WAIT, WATCH, FLUSHALL) holds up what comes
after it. Bounds: commands begun in one turn, commands under way, bytes of replies that the client has not read. What
has been read from the client and may not begin yet waits in a backlog, and as long as it does, nothing more is read.

How large a reply is, is known when it is there. So how many commands may be under way goes by the replies of late, and
who gets many small ones, then asks for many large ones and does not read them, is cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from twistedkv.commands.table import Command, check_keys, keys_of, lookup
from twistedkv.errors import CommandError
from twistedkv.limits import (
    CLIENT_OUTPUT_BYTES_MAX,
    COMMANDS_PER_TURN_MAX,
    FORWARDED_VALUES_MAX,
    KEY_BYTES_MAX,
    LINE_HELD_BYTES_MAX,
    SLOW_SECONDS,
    UNDER_WAY_FIRST,
    UNDER_WAY_MAX,
    WRITTEN_SLOTS_MAX,
)
from twistedkv.line.failures import CROSS_SHARD, cross_shard
from twistedkv.line.many import groups_of, scatter
from twistedkv.line.reply import Reply
from twistedkv.line.shortly import begun_run, begun_shortly
from twistedkv.line.transaction import Transaction
from twistedkv.resp import replies
from twistedkv.resp.requests import Request, RequestParser, Run
from twistedkv.slots import slot_of

if TYPE_CHECKING:
    from twistedkv.line.desk import Desk

_TAKEN_APART = frozenset((b"mget", b"mset", b"del", b"unlink", b"exists", b"touch"))
_WITH_VALUES = frozenset(
    (b"get", b"getex", b"getdel", b"getset", b"getrange", b"substr", b"mget", b"lcs", b"getv", b"g", b"set")
)
"""What replies to it may be as large as values are. (SET with the option GET: others are of the next kind.)"""
_TOGETHER = frozenset(
    b"set setnx setex psetex mset msetnx put p cas incr decr incrby decrby incrbyfloat del unlink exists touch type "
    b"strlen ttl pttl expiretime pexpiretime".split()
)
"""Commands whose effects and replies are no larger than what they say, nearly: they are executed together."""
_FLOOR = 64
"""Bytes that a reply counts at least, of those that may be under way."""


class Conversation:
    """See the module.

    desk     what all conversations of a server share
    number   of the connection, from 1
    address  of the client, as host:port
    write    sends bytes to the client
    close    closes the connection once they are sent
    abort    closes it at once, whatever has not been sent
    """

    def __init__(
        self,
        desk: Desk,
        number: int,
        address: str,
        own_address: str,
        write: Callable[[bytes], None],
        close: Callable[[], None],
        abort: Callable[[], None],
    ) -> None:
        self.desk = desk
        self._write = write
        self._close = close
        self._abort = abort
        self.number = number
        self.address = address
        self.own_address = own_address
        self.begun_at = self.heard_at = desk.now()
        self.protocol = 2
        self.name = b""
        self.library = b""
        self.library_version = b""
        self.last_command = b""
        self.commands = 0
        self.transaction: Transaction | None = None
        """The one that is being queued."""
        self.watched: dict[bytes, int] = {}
        """Keys and the versions that they had."""
        self.written: set[int] = set()  # slots of each shard that this client has written to: see `wrote`
        self.written_max = WRITTEN_SLOTS_MAX
        self.ending = False
        """It is closed when all replies have been given."""
        self.gone = False
        self.timer: IDelayedCall | None = None
        """Of a command that waits."""
        self._parser = RequestParser()
        self._backlog: deque[Request] = deque()
        self._under_way: deque[Reply] = deque()
        self._closed = False
        self._held_up: Reply | None = None
        """Nothing is begun until this reply is there."""
        self._out: list[bytes] = []
        self._size = 0
        """Bytes of the replies that are there and not sent: those in `_out`, and those that come after one that is not
        there yet."""
        self._forwarded = 0
        """Replies under way that have values in them and come from other servers."""
        self._completed = 0
        self._largest = _FLOOR
        """About the size of the largest of the latest replies."""
        self._blocked = False
        """The client does not read."""

    # The rim's side.

    def received(self, data: bytes) -> bool:
        """Bytes have come. Whether it is as usual: all that was asked has begun, and more may come at any time."""
        if self.ending:
            return False
        self.heard_at = self.desk.now()
        parser = self._parser
        requests = parser.feed(data)
        if len(requests) == 1 and not (self._under_way or self._backlog or self._blocked or parser.failed):
            request = requests[0]
            if type(request) is list and begun_shortly(self, request):  # as most programs do, one after the other
                if self._out:
                    self.send()
                return not parser.partial
        self._backlog += requests
        self.proceed()
        if self._out:
            self.send()
        return not (self._backlog or parser.partial or self._blocked or self.ending)

    def lost(self) -> None:
        """The connection is gone. What is under way is executed, and answered to nobody."""
        self.gone = self.ending = True
        self._backlog.clear()
        self._out.clear()
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.desk.leave(self)

    def end(self) -> None:
        """Begin nothing more, and close when everything that is under way has been answered."""
        self._backlog.clear()
        self.ending = True
        self.desk.write_soon(self)

    def block(self, blocked: bool) -> None:
        """The client does not read what it is sent, or does again."""
        self._blocked = blocked
        if not blocked:
            self.proceed()
            self.desk.write_soon(self)

    def send(self) -> None:
        """Give the rim what there is to be sent, and close if that was the last."""
        out = self._out
        if out and not self._blocked:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._size -= len(data)
            self._write(data)
        if self.ending and not (self._under_way or out or self._closed):
            self._closed = True
            self._close()

    def go_on(self) -> None:
        """At the end of a turn: send what there is, begin what may begin after that."""
        self.send()
        if self._backlog or self._parser.failed:
            self.proceed()
            if self._out or self.ending:
                self.send()

    @property
    def listening(self) -> bool:
        """Whether more should be read from the client."""
        return not (self._backlog or self._blocked or self.ending)

    @property
    def idle(self) -> bool:
        """Whether nothing has been asked that is not answered."""
        return not (self._backlog or self._under_way)

    @property
    def held_up(self) -> bool:
        """Whether a command that waits holds up what comes after it."""
        return self._held_up is not None

    @property
    def size(self) -> int:
        """Bytes of replies that wait to be sent."""
        return self._size

    @property
    def partial(self) -> bool:
        """Whether a request has begun to come."""
        return self._parser.partial

    # Commands.

    def proceed(self) -> None:
        """Begin what may begin."""
        backlog = self._backlog
        left = COMMANDS_PER_TURN_MAX
        under_way, shards = self._under_way, self.desk.shards
        while backlog and not (self._held_up or self._blocked or self.ending):
            if self._size > CLIENT_OUTPUT_BYTES_MAX:
                if self._out:
                    self.desk.write_soon(self)  # and with it, goes on
                break
            if under_way and len(under_way) >= self._room():
                break  # goes on when replies have come
            if self._forwarded >= FORWARDED_VALUES_MAX:
                break  # goes on when replies have come, or have been taken
            if shards.full:
                self.desk.stalled[self] = None
                break
            if left <= 0:
                self.desk.write_soon(self)  # and with it, goes on
                break
            request = backlog.popleft()
            if isinstance(request, Run):
                left -= len(request)
                if not begun_run(self, request):
                    backlog.extendleft(reversed(request.commands()))
                continue
            left -= 1
            if not begun_shortly(self, request):
                self._perform(request)
        if self._parser.failed and not backlog and not self.ending:
            self.answer(replies.error(self._parser.failed))
            self.ending = True

    def _room(self) -> int:
        return min(UNDER_WAY_MAX, UNDER_WAY_FIRST + 2 * self._completed, 1 + CLIENT_OUTPUT_BYTES_MAX // self._largest)

    def _perform(self, argv: list[bytes]) -> None:
        self.commands += 1
        transaction = self.transaction
        command = None
        try:
            command = lookup(argv)
            name = self.last_command = command.name
            if transaction is not None and name not in Transaction.AT_ONCE:
                transaction.add(command, argv)
                self.answer(replies.QUEUED)
                return
            function = self.desk.functions.get(name)
            if function is None:
                self._to_shards(command, argv)
                return
            reply = function(self, argv)
        except CommandError as wrong:
            text = str(wrong)
            if command is None and argv[0].upper() == b"EXEC":
                self.forget_transaction()
                text = f"EXECABORT Transaction discarded because of: {text.removeprefix('ERR ')}"
            elif transaction is not None and (command is None or command.name not in Transaction.AT_ONCE):
                transaction.reject()
            reply = replies.error(text)
        if reply is not None:
            self.answer(reply)

    def _to_shards(self, command: Command, argv: list[bytes]) -> None:
        shards = self.desk.shards
        first = command.first
        if first == command.last and 0 < len(argv[first]) <= KEY_BYTES_MAX:
            key = argv[first]
            slot = slot_of(key)
            keys = [key]
        else:
            check_keys(command, argv)
            keys = keys_of(command, argv)
            slot = slot_of(keys[0])
        if len(keys) > 1:
            if self.desk.moved and any(slot_of(key) != slot for key in keys):
                raise CommandError(CROSS_SHARD)
            groups = groups_of(shards, keys)
            if len(groups) > 1:
                if command.name not in _TAKEN_APART:
                    raise CommandError(cross_shard(command.name))
                if command.name == b"mset" and len(argv) % 2 == 0:  # or only some of the parts would be refused
                    raise CommandError("ERR wrong number of arguments for 'mset' command")
                if "write" in command.flags:
                    self.wrote(slot_of(keys[places[0]]) for places in groups.values())
                reply = self.later(argv)
                if command.name == b"mget":
                    self.forwarding(reply)
                scatter(reply, shards, argv, command.name, groups, self.protocol)
                return
        self.desk.check_mine(slot)
        writes = "write" in command.flags
        if writes:
            self.wrote((slot,))
        reply = self.later(argv)
        if command.name in _TOGETHER and (len(argv) <= 3 or command.name != b"set" or not _returns_value(argv)):
            shards.execute(reply, slot, argv, writes=writes, protocol=self.protocol)
            return
        if command.name in _WITH_VALUES and not shards.is_mine(slot):
            self.forwarding(reply)
        shards.alone(reply, slot, argv, writes=writes, protocol=self.protocol)

    def forwarding(self, reply: Reply) -> None:
        """The reply has values in it, and comes from another server."""
        reply.forwarded = True
        self._forwarded += 1

    # Replies.

    def answer(self, reply: bytes) -> None:
        """The next reply is this."""
        if self._under_way:
            self.later([]).callback(reply)
        else:
            self._out.append(reply)
            self._size += len(reply)

    def wrote(self, slots: Iterable[int]) -> None:
        """It has written to the shards of these slots. When there are many, one of each shard is remembered."""
        self.written.update(slots)
        shard = self.desk.shards.shard
        if len(self.written) > self.written_max and -1 not in (of_each := {shard(slot): slot for slot in self.written}):
            self.written = set(of_each.values())
            self.written_max = 2 * len(self.written) + WRITTEN_SLOTS_MAX

    def later(self, argv: list[bytes], *, hold: bool = False) -> Reply:
        """The next reply will come; with `hold`, nothing is begun before it is there."""
        reply = Reply(self, argv, self.heard_at)
        self._under_way.append(reply)
        if hold:
            self._held_up = reply
        return reply

    def put_last(self, reply: Reply) -> None:
        """This reply comes after all that are under way."""
        self._under_way.append(reply)

    def is_next(self, reply: Reply) -> bool:
        """Whether everything before this reply has been given."""
        return bool(self._under_way) and self._under_way[0] is reply

    def answered(self, reply: Reply) -> None:
        """This reply is there."""
        length = len(reply.data)
        if reply.forwarded:
            reply.forwarded = False
            self._forwarded -= 1
        self._completed += 1
        if length > self._largest:
            self._largest = length
        elif self._largest > _FLOOR:
            self._largest = max(self._largest - (self._largest >> 6), length, _FLOOR)
        if self.desk.now() - reply.since >= SLOW_SECONDS:
            self.desk.took(self, reply)
        if self._held_up is reply:
            self._held_up = None
            self.desk.write_soon(self)  # and with it, go on
        under_way = self._under_way
        if self.gone:
            under_way.clear()
            return
        if self._size > LINE_HELD_BYTES_MAX:
            self.lost()
            self._abort()
            return
        self._size += length
        if under_way[0].data:
            out = self._out
            out.append(under_way.popleft().data)
            while under_way and under_way[0].data:
                out.append(under_way.popleft().data)
            self.desk.write_soon(self)

    def reset(self) -> None:
        """Begin anew, as RESET asks."""
        self.forget_transaction()
        self.protocol = 2
        self.name = b""

    def forget_transaction(self) -> None:
        """Drop what is queued, and watch nothing any more."""
        self.transaction = None
        self.watched = {}


def _returns_value(argv: list[bytes]) -> bool:
    """Whether a SET has the option GET."""
    return any(word.upper() == b"GET" for word in argv[3:])
