"""Commands that go through the keys of a shard, or of a slot."""

from __future__ import annotations

from twistedkv.commands.arguments import SYNTAX, integer_of, word_of
from twistedkv.commands.keyspace import Keyspace
from twistedkv.commands.patterns import EVERYTHING, pattern_of
from twistedkv.errors import CommandError
from twistedkv.limits import SCAN_KEYS_MAX, SLOTS
from twistedkv.resp.replies import array, bulk, bulks, integer, nil

SCAN_KEYS = 10
"""Keys of a page of SCAN when its COUNT is not given."""
FLUSH_KEYS = 1_000
"""Keys that one FLUSHSLOTS removes, about."""

_CURSOR_MAX = (1 << 64) - 1
_RANDOM_KEYS_MAX = 1_000
_SPREAD = 0x9E3779B97F4A7C15
"""An odd number whose products are spread over all bits."""


def cursor_of(text: bytes) -> int:
    """The cursor of SCAN: as C reads an unsigned number, so with a sign and leading zeros, and empty as 0."""
    digits = text.partition(b"\0")[0]
    negative = digits.startswith(b"-")
    if digits[:1] in (b"-", b"+"):
        digits = digits[1:]
        if not digits:
            raise CommandError("ERR invalid cursor")
    if not digits:
        return 0
    short = digits.lstrip(b"0") or b"0"
    if not digits.isdigit() or len(short) > 20 or int(short) > _CURSOR_MAX:
        raise CommandError("ERR invalid cursor")
    return -int(short) & _CURSOR_MAX if negative else int(short)


def scan(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]"""
    cursor = cursor_of(argv[1])
    count, pattern, kind = SCAN_KEYS, EVERYTHING, b"STRING"
    for index in range(2, len(argv), 2):
        word = word_of(argv[index])
        if index + 1 == len(argv) or word not in (b"COUNT", b"MATCH", b"TYPE"):
            raise CommandError(SYNTAX)
        if word == b"COUNT":
            count = integer_of(argv[index + 1])
            if count < 1:
                raise CommandError(SYNTAX)
        elif word == b"MATCH":
            pattern = argv[index + 1]
        else:
            kind = word_of(argv[index + 1])
    found, following = keyspace.page(cursor, min(count, SCAN_KEYS_MAX))
    if kind != b"STRING":
        found = []
    elif pattern != EVERYTHING:
        matches = pattern_of(pattern).fullmatch
        found = [key for key in found if matches(key)]
    return array([bulk(b"%d" % following), bulks(found)])


def keys(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """KEYS pattern, of this shard."""
    found, _ = keyspace.page(0, max(keyspace.count(), 1))
    if argv[1] != EVERYTHING:
        matches = pattern_of(argv[1]).fullmatch
        found = [key for key in found if matches(key)]
    return bulks(found)


def randomkey(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """RANDOMKEY: one of the first keys of this shard, which one depends on the time only: all copies agree."""
    chance = (keyspace.now * _SPREAD & _CURSOR_MAX) >> 32
    found, _ = keyspace.page(0, 1 + chance % min(max(keyspace.count(), 1), _RANDOM_KEYS_MAX))
    return bulk(found[chance % len(found)]) if found else nil(protocol)


def dbsize(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """DBSIZE, of this shard."""
    return integer(keyspace.count())


def countkeysinslot(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """CLUSTER COUNTKEYSINSLOT slot"""
    slot = integer_of(argv[2])
    if not 0 <= slot < SLOTS:
        raise CommandError("ERR Invalid slot")
    return integer(keyspace.slot_count(slot))


def getkeysinslot(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """CLUSTER GETKEYSINSLOT slot count"""
    slot, most = integer_of(argv[2]), integer_of(argv[3])
    if not 0 <= slot < SLOTS or most < 0:
        raise CommandError("ERR Invalid slot or number of keys")
    return bulks(keyspace.slot_keys(slot, min(most, SCAN_KEYS_MAX)) if most else [])


def flushslots(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """FLUSHSLOTS cursor: remove a page of keys, and tell where the next one begins (0: there is none)."""
    found, following = keyspace.page(integer_of(argv[1]), FLUSH_KEYS)
    for key in found:
        keyspace.delete(key)
    return integer(following)
