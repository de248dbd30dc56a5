"""A shorter way for what most commands are: SET and GET without options, one by one or many in a row.

It comes to the same as the way of all commands. Where it could not, because a transaction is being queued, clients are
sent elsewhere, or a value may not be told yet, nothing is done here, and the commands go that way.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from twistedkv.errors import DamagedRecord
from twistedkv.limits import BATCH_COMMAND_BYTES_MAX, KEY_BYTES_MAX, RUN_REPLY_BYTES_MAX
from twistedkv.line.reply import Reply, RunReply
from twistedkv.records import RECORD_HEAD_BYTES
from twistedkv.resp import replies
from twistedkv.resp.requests import Run
from twistedkv.slots import slot_of, slots_of

if TYPE_CHECKING:
    from twistedkv.line.conversation import Conversation

_ARGUMENTS = {b"SET": 3, b"set": 3, b"GET": 2, b"get": 2}
"""By name, how many they have without options."""
_VALUE_BYTES_MAX = BATCH_COMMAND_BYTES_MAX - KEY_BYTES_MAX


def begun_shortly(conversation: Conversation, argv: list[bytes]) -> bool:
    """Begin a command, if it is one of these. Whether it was."""
    if _ARGUMENTS.get(argv[0]) != len(argv) or conversation.transaction is not None or conversation.desk.moved:
        return False
    key = argv[1]
    if not 0 < len(key) <= KEY_BYTES_MAX:
        return False
    slot = slot_of(key)
    shards = conversation.desk.shards
    if len(argv) == 3:
        value = argv[2]
        if len(value) > _VALUE_BYTES_MAX:
            return False
        reply = Reply(conversation, argv, conversation.heard_at)
        conversation.put_last(reply)
        conversation.written.add(slot)
        if len(conversation.written) > conversation.written_max:
            conversation.wrote(())
        conversation.last_command = b"set"
        conversation.commands += 1
        shards.put(reply, slot, key, value)
        return True
    record = shards.value(slot, key)
    if record is None:
        return False
    conversation.last_command = b"get"
    conversation.commands += 1
    conversation.answer(replies.bulk(record[RECORD_HEAD_BYTES:]) if record else replies.nil(conversation.protocol))
    return True


def begun_run(conversation: Conversation, run: Run) -> bool:
    """The same for commands in a row."""
    columns = run.columns
    if _ARGUMENTS.get(run.name) != len(columns) + 1 or conversation.transaction is not None or conversation.desk.moved:
        return False
    keys = columns[0]
    sizes = list(map(len, keys))
    if not (min(sizes) and max(sizes) <= KEY_BYTES_MAX):
        return False
    slots = slots_of(keys)
    shards = conversation.desk.shards
    if len(columns) == 2:
        if not shards.known or shards.tight:
            return False
        reply = RunReply(conversation, [run.name, keys[0], columns[1][0]], conversation.heard_at)
        conversation.put_last(reply)
        conversation.wrote(shards.put_run(reply, slots, keys, columns[1]))
        conversation.last_command = b"set"
    else:
        records = None
        with suppress(DamagedRecord):  # each of them by itself, then
            records = shards.values(slots, keys)
        if records is None or sum(map(len, records)) > RUN_REPLY_BYTES_MAX:
            return False
        conversation.last_command = b"get"
        conversation.answer(replies.of_records(records, RECORD_HEAD_BYTES, conversation.protocol))
    conversation.commands += len(run)
    return True
