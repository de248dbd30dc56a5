"""CLUSTER and its subcommands."""

from __future__ import annotations

from twistedkv.commands.arguments import integer_of
from twistedkv.errors import CommandError
from twistedkv.limits import SLOTS
from twistedkv.line import clusterview
from twistedkv.line.conversation import Conversation
from twistedkv.resp import replies
from twistedkv.slots import slot_of


def cluster_slots(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLUSTER SLOTS"""
    return clusterview.slots(conversation.desk.map)


def cluster_shards(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLUSTER SHARDS"""
    desk = conversation.desk
    return clusterview.shards(desk.map, desk.serving(), conversation.protocol)


def cluster_nodes(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLUSTER NODES"""
    desk = conversation.desk
    me = None if desk.server.core is None else desk.server.core.me
    return replies.text(clusterview.nodes(desk.map, desk.serving(), me), conversation.protocol)


def cluster_info(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLUSTER INFO"""
    desk = conversation.desk
    me = None if desk.server.core is None else desk.server.core.me
    return replies.text(clusterview.info(desk.map, me), conversation.protocol)


def cluster_keyslot(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLUSTER KEYSLOT key"""
    return replies.integer(slot_of(argv[2]))


def cluster_myid(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CLUSTER MYID"""
    core = conversation.desk.server.core
    return replies.bulk(b"0" * 40 if core is None else clusterview.node_id(core.me))


def of_slot(conversation: Conversation, argv: list[bytes]) -> None:
    """CLUSTER COUNTKEYSINSLOT slot, CLUSTER GETKEYSINSLOT slot count"""
    slot = integer_of(argv[2])
    if not 0 <= slot < SLOTS:
        raise CommandError("ERR Invalid slot" if len(argv) == 3 else "ERR Invalid slot or number of keys")
    desk = conversation.desk
    desk.shards.alone(conversation.later(argv), slot, argv, writes=False, protocol=conversation.protocol)
