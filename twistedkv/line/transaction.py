"""MULTI to EXEC: what is queued, whether it can be executed as a whole, and its reply.

All keys have to be of one shard, whose primary executes the commands one after another, with nothing in between, and
replicates what they change as one update. Commands that only the connection answers (PING, TIME ...) may be among them;
they are answered when the others have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from twistedkv.commands.table import Command, check_keys, keys_of
from twistedkv.errors import CommandError
from twistedkv.limits import COMMANDS_MAX, REQUEST_BYTES_MAX
from twistedkv.line.failures import CROSS_SHARD, TRANSACTION_ABORTED, cross_shard
from twistedkv.line.many import groups_of
from twistedkv.line.reply import Reply
from twistedkv.resp import replies
from twistedkv.resp.answers import split
from twistedkv.slots import slot_of

if TYPE_CHECKING:
    from twistedkv.line.conversation import Conversation

_MANY_SHARDS = frozenset(
    (b"dbsize", b"keys", b"scan", b"randomkey", b"flushall", b"flushdb", b"verify", b"wait", b"debug|sleep")
)
"""What asks more than one shard, or waits."""


class Transaction:
    """The commands that a client has queued."""

    AT_ONCE: ClassVar[frozenset[bytes]] = frozenset((b"exec", b"discard", b"multi", b"watch", b"quit", b"reset"))
    """What is executed and not queued."""

    def __init__(self) -> None:
        self._commands: list[tuple[Command, list[bytes]]] = []
        self._size = 0
        self._aborted = False

    def add(self, command: Command, argv: list[bytes]) -> None:
        """Queue a command. Raises CommandError when it cannot be part of a transaction."""
        if command.name in _MANY_SHARDS:
            raise CommandError(f"ERR '{command.name.decode()}' is not of one shard: not allowed inside a transaction")
        check_keys(command, argv)
        self._size += sum(map(len, argv))
        if len(self._commands) >= COMMANDS_MAX or self._size > REQUEST_BYTES_MAX:
            raise CommandError(
                f"ERR a transaction has at most {COMMANDS_MAX} commands of {REQUEST_BYTES_MAX} bytes together"
            )
        self._commands.append((command, argv))

    @property
    def length(self) -> int:
        """Commands so far."""
        return len(self._commands)

    def reject(self) -> None:
        """A command was refused while the transaction was queued: it cannot be executed any more."""
        self._aborted = True

    def execute(self, conversation: Conversation) -> bytes | None:
        """Execute it. The reply, or None if that comes later. Raises CommandError when it cannot be executed."""
        watched, conversation.watched = conversation.watched, {}
        if self._aborted:
            raise CommandError(TRANSACTION_ABORTED)
        desk = conversation.desk
        data = [argv for command, argv in self._commands if command.run is not None]
        keys = [key for command, argv in self._commands if command.run for key in keys_of(command, argv)]
        keys += watched
        if not keys:
            return replies.array([self._answer(conversation, command, argv) for command, argv in self._commands])
        slot = slot_of(keys[0])
        if len(groups_of(desk.shards, keys)) > 1:
            raise CommandError(cross_shard(b"exec"))
        if desk.moved and any(slot_of(key) != slot for key in keys):
            raise CommandError(CROSS_SHARD)
        desk.check_mine(slot)
        writes = any("write" in command.flags for command, _ in self._commands)
        if writes:
            conversation.wrote((slot,))
        # What the connection answers itself is done when the shard has answered, and before what comes after EXEC.
        mixed = len(data) < len(self._commands)
        reply = conversation.later([b"EXEC"], hold=mixed)
        if not desk.shards.is_mine(slot):
            conversation.forwarding(reply)
        desk.shards.transaction(
            _Filled(self, conversation, reply) if mixed else reply,
            slot,
            data,
            writes=writes,
            protocol=conversation.protocol,
            watched=watched,
        )
        return None

    def _answer(self, conversation: Conversation, command: Command, argv: list[bytes]) -> bytes:
        try:
            reply = conversation.desk.functions[command.name](conversation, argv)
        except CommandError as wrong:
            return replies.error(str(wrong))
        return replies.OK if reply is None else reply

    def filled(self, conversation: Conversation, reply: bytes) -> bytes:
        """The reply of a shard to its commands, with the replies to all others in their places."""
        if reply[:1] != b"*" or reply[:2] == b"*-":
            return reply
        body = reply[reply.index(b"\n") + 1 :]
        ends = iter(split(body, sum(command.run is not None for command, _ in self._commands)))
        begin = 0
        parts = []
        for command, argv in self._commands:
            if command.run is None:
                parts.append(self._answer(conversation, command, argv))
            else:
                end = next(ends)
                parts.append(body[begin:end])
                begin = end
        return replies.array(parts)


class _Filled:
    """Waits for the shard's part of a transaction's reply."""

    def __init__(self, transaction: Transaction, conversation: Conversation, reply: Reply) -> None:
        self._transaction = transaction
        self._conversation = conversation
        self._reply = reply

    def callback(self, result: bytes) -> None:
        self._reply.callback(self._transaction.filled(self._conversation, result))

    def errback(self, fail: Exception) -> None:
        self._reply.errback(fail)


def multi(conversation: Conversation, argv: list[bytes]) -> bytes:
    """MULTI"""
    if conversation.transaction is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    conversation.transaction = Transaction()
    return replies.OK


def exec_(conversation: Conversation, argv: list[bytes]) -> bytes | None:
    """EXEC"""
    transaction, conversation.transaction = conversation.transaction, None
    if transaction is None:
        raise CommandError("ERR EXEC without MULTI")
    return transaction.execute(conversation)


def discard(conversation: Conversation, argv: list[bytes]) -> bytes:
    """DISCARD"""
    if conversation.transaction is None:
        raise CommandError("ERR DISCARD without MULTI")
    conversation.forget_transaction()
    return replies.OK


def unwatch(conversation: Conversation, argv: list[bytes]) -> bytes:
    """UNWATCH"""
    conversation.watched = {}
    return replies.OK
