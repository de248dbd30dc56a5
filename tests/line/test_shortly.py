"""What may not go the shorter way does not begin there, and is as if it had not been tried."""

from __future__ import annotations

import pytest

from tests.line.desks import Client, World
from twistedkv.limits import BATCH_COMMAND_BYTES_MAX, KEY_BYTES_MAX
from twistedkv.line.shortly import begun_run, begun_shortly
from twistedkv.resp.requests import Run


@pytest.mark.parametrize(
    "argv",
    [
        [b"SET", b"k"],
        [b"SET", b"k", b"v", b"NX"],
        [b"Set", b"k", b"v"],
        [b"SET", b"", b"v"],
        [b"SET", bytes(KEY_BYTES_MAX + 1), b"v"],
        [b"GET", b"k", b"v"],
        [b"INCR", b"k"],
        [b"GET", b"k"],  # whose value may not be told at once here
    ],
    ids=lambda argv: b" ".join(argv)[:20].decode(),
)
def test_other_commands_are_left_alone(world: World, client: Client, argv: list[bytes]) -> None:
    conversation = client.conversation
    assert not begun_shortly(conversation, argv)
    assert not begun_run(conversation, Run(argv[0], [[argument] * 4 for argument in argv[1:]]))
    assert conversation.commands == 0 and conversation.idle and not world.shards.begun


def test_a_large_value_is_no_part_of_a_batch(world: World, client: Client) -> None:
    assert not begun_shortly(client.conversation, [b"SET", b"k", bytes(BATCH_COMMAND_BYTES_MAX)])
    assert client.conversation.idle and not world.shards.begun


def test_a_set_begins_at_its_shard(world: World, client: Client) -> None:
    assert begun_shortly(client.conversation, [b"set", b"k", b"v"])
    [begun] = world.shards.begun
    assert begun.commands == [[b"SET", b"k", b"v"]]
    assert client.conversation.commands == 1 and client.conversation.last_command == b"set"


def test_sets_in_a_row_need_the_shards(world: World, client: Client) -> None:
    run = Run(b"SET", [[b"a", b"b"], [b"1", b"2"]])
    world.shards.known = False
    assert not begun_run(client.conversation, run)
    assert client.conversation.idle
    world.shards.known = True
    assert begun_run(client.conversation, run)
    assert client.conversation.commands == 2
