"""The table of the commands that are of no one shard: who answers each."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from twistedkv.commands.introspection import help_reply
from twistedkv.commands.table import COMMANDS
from twistedkv.line import clustering, connecting, observing, transaction, wholes
from twistedkv.line.conversation import Conversation
from twistedkv.line.desk import Function


def help_(conversation: Conversation, argv: list[bytes]) -> bytes:
    """HELP of a command that has subcommands."""
    return help_reply(argv[0].upper())


def table(random: Random) -> Mapping[bytes, Function]:
    """What answers the commands that are of no one shard, by name."""
    functions: dict[bytes, Function] = {
        b"ping": connecting.ping,
        b"echo": connecting.echo,
        b"hello": connecting.hello,
        b"auth": connecting.auth,
        b"select": connecting.select,
        b"quit": connecting.quit_,
        b"reset": connecting.reset,
        b"client|id": connecting.client_id,
        b"client|info": connecting.client_info,
        b"client|list": connecting.client_list,
        b"client|setname": connecting.client_setname,
        b"client|getname": connecting.client_getname,
        b"client|setinfo": connecting.client_setinfo,
        b"client|no-evict": connecting.client_no_evict,
        b"info": observing.info,
        b"config|get": observing.config_get,
        b"config|resetstat": connecting.done,
        b"time": observing.time,
        b"role": observing.role,
        b"lolwut": observing.lolwut,
        b"slowlog|get": observing.slowlog_get,
        b"slowlog|len": observing.slowlog_len,
        b"slowlog|reset": observing.slowlog_reset,
        b"latency|latest": observing.no_latencies,
        b"latency|history": observing.no_latencies,
        b"latency|reset": observing.latency_reset,
        b"latency|doctor": observing.latency_doctor,
        b"memory|doctor": observing.memory_doctor,
        b"memory|stats": observing.memory_stats,
        b"multi": transaction.multi,
        b"exec": transaction.exec_,
        b"discard": transaction.discard,
        b"watch": wholes.watch,
        b"unwatch": transaction.unwatch,
        b"cluster|slots": clustering.cluster_slots,
        b"cluster|shards": clustering.cluster_shards,
        b"cluster|nodes": clustering.cluster_nodes,
        b"cluster|info": clustering.cluster_info,
        b"cluster|keyslot": clustering.cluster_keyslot,
        b"cluster|myid": clustering.cluster_myid,
        b"cluster|countkeysinslot": clustering.of_slot,
        b"cluster|getkeysinslot": clustering.of_slot,
        b"readonly": connecting.done,
        b"readwrite": connecting.done,
        b"asking": connecting.done,
        b"dbsize": wholes.dbsize,
        b"keys": wholes.keys,
        b"scan": wholes.scan,
        b"randomkey": wholes.RandomKey(random),
        b"flushall": wholes.flush,
        b"flushdb": wholes.flush,
        b"wait": wholes.wait,
        b"debug|sleep": wholes.sleep,
        b"verify": wholes.verify,
        b"0": connecting.done,
    }
    for name, container in COMMANDS.items():
        if name == b"COMMAND":
            functions[b"command"] = observing.command
            functions |= {each.name: observing.command for each in container.subcommands.values()}
        elif b"HELP" in container.subcommands:
            functions.setdefault(container.subcommands[b"HELP"].name, help_)
    return functions
