"""Commands that tell something of the server."""

from __future__ import annotations

from twistedkv.commands.arguments import integer_of, text_of, word_of
from twistedkv.commands.introspection import command_reply
from twistedkv.commands.patterns import pattern_of
from twistedkv.errors import CommandError
from twistedkv.limits import SLOW_SECONDS, VALUE_BYTES_MAX
from twistedkv.line.conversation import Conversation
from twistedkv.line.desk import SLOW_KEPT, Slow
from twistedkv.line.info import policy_of, sections
from twistedkv.resp import replies

_SLOW_SHOWN = 10


def command(conversation: Conversation, argv: list[bytes]) -> bytes:
    """COMMAND and its subcommands."""
    return command_reply(argv, conversation.protocol)


def info(conversation: Conversation, argv: list[bytes]) -> bytes:
    """INFO [section ...]"""
    return replies.text(sections(conversation.desk, argv[1:]), conversation.protocol)


def config_get(conversation: Conversation, argv: list[bytes]) -> bytes:
    """CONFIG GET parameter [parameter ...]"""
    desk = conversation.desk
    settings = {
        b"appendonly": b"no",
        b"bind": desk.server.options.host.encode(),
        b"cluster-enabled": b"yes",
        b"databases": b"1",
        b"maxclients": b"%d" % desk.connections_max,
        b"maxmemory": b"%d" % desk.server.options.limits.memory_bytes,
        b"maxmemory-policy": policy_of(desk).encode(),
        b"port": b"%d" % desk.server.line_port,
        b"proto-max-bulk-len": b"%d" % VALUE_BYTES_MAX,
        b"save": b"",
        b"slowlog-log-slower-than": b"%d" % (SLOW_SECONDS * 1e6),
        b"slowlog-max-len": b"%d" % SLOW_KEPT,
        b"timeout": b"%d" % desk.idle_seconds,
    }
    patterns = [pattern_of(each.lower()) for each in argv[2:]]
    found = {
        name: replies.bulk(value)
        for name, value in settings.items()
        if any(pattern.fullmatch(name) for pattern in patterns)
    }
    return replies.mapping(found, conversation.protocol)


def time(conversation: Conversation, argv: list[bytes]) -> bytes:
    """TIME"""
    seconds, milliseconds = divmod(conversation.desk.wall(), 1000)
    return replies.bulks([b"%d" % seconds, b"%d" % (milliseconds * 1000)])


def role(conversation: Conversation, argv: list[bytes]) -> bytes:
    """ROLE: a server is primary of some shards and secondary of others, and is shown as a master without replicas."""
    return replies.array([replies.bulk(b"master"), replies.integer(0), replies.EMPTY_ARRAY])


def lolwut(conversation: Conversation, argv: list[bytes]) -> bytes:
    """LOLWUT [VERSION version]: the shards of the cluster, a column for each, with a mark for each copy."""
    if len(argv) > 2 and word_of(argv[1]) == b"VERSION":
        integer_of(argv[2])
    cluster_map = conversation.desk.map
    rows = []
    for server_id in sorted(cluster_map.servers):
        marks = ""
        for shard in cluster_map.shards:
            secondary = any(member.server_id == server_id for member in shard.secondaries)
            marks += "#" if shard.primary.server_id == server_id else "o" if secondary else "."
        rows.append(f"{marks}  server_{server_id}\n")
    picture = "".join(rows) + f"\ntwistedkv, {len(cluster_map.shards)} shards. # primary, o secondary\n"
    return replies.text(picture.encode(), conversation.protocol)


def slowlog_get(conversation: Conversation, argv: list[bytes]) -> bytes:
    """SLOWLOG GET [count]"""
    if len(argv) > 3:
        raise CommandError(
            f"ERR unknown subcommand or wrong number of arguments for '{text_of(argv[1], 128)}'. Try SLOWLOG HELP."
        )
    count = _SLOW_SHOWN
    if len(argv) == 3:
        try:
            count = integer_of(argv[2])
        except CommandError:
            count = -2
        if count < -1:
            raise CommandError("ERR count should be greater than or equal to -1")
    slow = list(conversation.desk.slow)
    return replies.array([_slow_entry(each) for each in (slow if count == -1 else slow[:count])])


def _slow_entry(slow: Slow) -> bytes:
    return replies.array(
        [
            replies.integer(slow.number),
            replies.integer(slow.at),
            replies.integer(slow.microseconds),
            replies.bulks(slow.arguments),
            replies.bulk(slow.address.encode()),
            replies.bulk(slow.name),
        ]
    )


def slowlog_len(conversation: Conversation, argv: list[bytes]) -> bytes:
    """SLOWLOG LEN"""
    return replies.integer(len(conversation.desk.slow))


def slowlog_reset(conversation: Conversation, argv: list[bytes]) -> bytes:
    """SLOWLOG RESET"""
    conversation.desk.slow.clear()
    return replies.OK


def no_latencies(conversation: Conversation, argv: list[bytes]) -> bytes:
    """LATENCY LATEST, LATENCY HISTORY: none is kept."""
    return replies.EMPTY_ARRAY


def latency_reset(conversation: Conversation, argv: list[bytes]) -> bytes:
    """LATENCY RESET"""
    return replies.ZERO


def latency_doctor(conversation: Conversation, argv: list[bytes]) -> bytes:
    """LATENCY DOCTOR"""
    text = b"Latencies are not kept here. See SLOWLOG GET, and `twistedkv status`.\n"
    return replies.text(text, conversation.protocol)


def memory_doctor(conversation: Conversation, argv: list[bytes]) -> bytes:
    """MEMORY DOCTOR"""
    return replies.text(b"See INFO memory, and `twistedkv status`.\n", conversation.protocol)


def memory_stats(conversation: Conversation, argv: list[bytes]) -> bytes:
    """MEMORY STATS"""
    core = conversation.desk.server.core
    keys, size = (0, 0) if core is None else (core.store.keys, core.store.bytes_stored)
    fields = {b"keys.count": replies.integer(keys), b"dataset.bytes": replies.integer(size)}
    return replies.mapping(fields, conversation.protocol)
