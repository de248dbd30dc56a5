"""Commands that read and store whole values or parts of them."""

from __future__ import annotations

from twistedkv.commands.arguments import check_value, integer_of, moment_of, options_of
from twistedkv.commands.keyspace import Keyspace
from twistedkv.errors import CommandError
from twistedkv.limits import VALUE_BYTES_MAX
from twistedkv.resp.replies import EMPTY, OK, ONE, ZERO, array, bulk, integer, nil, value_or_nil

TOO_LARGE = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


def get(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """GET key"""
    return value_or_nil(keyspace.get(argv[1]), protocol)


def mget(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """MGET key ..."""
    value_of = keyspace.get
    return array([value_or_nil(value_of(argv[index]), protocol) for index in range(1, len(argv))])


def set_value(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT ... | PXAT ... | KEEPTTL]"""
    key, value = argv[1], argv[2]
    if len(value) > VALUE_BYTES_MAX:
        check_value(value)
    if len(argv) == 3:
        keyspace.put(key, value)
        return OK
    options = options_of(argv, 3, (b"NX", b"XX", b"GET", b"KEEPTTL"))
    expiry = moment_of(options.number, options.time, keyspace.now, "set") if options.time else 0
    before = keyspace.get(key) if options.get or options.condition else None
    if options.condition and (before is None) != (options.condition == b"NX"):
        return value_or_nil(before if options.get else None, protocol)
    if options.lasting:
        expiry = keyspace.expiry(key)
    store(keyspace, key, value, expiry)
    return value_or_nil(before, protocol) if options.get else OK


def store(keyspace: Keyspace, key: bytes, value: bytes, expiry: int) -> None:
    """Store a value, or remove the key when the moment of its expiry is no longer ahead."""
    if expiry and expiry <= keyspace.now:
        keyspace.delete(key)
    else:
        keyspace.put(key, value, expiry)


def setnx(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """SETNX key value"""
    check_value(argv[2])
    if keyspace.get(argv[1]) is not None:
        return ZERO
    keyspace.put(argv[1], argv[2])
    return ONE


def setex(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """SETEX key seconds value"""
    check_value(argv[3])
    keyspace.put(argv[1], argv[3], moment_of(argv[2], b"EX", keyspace.now, "setex"))
    return OK


def psetex(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """PSETEX key milliseconds value"""
    check_value(argv[3])
    keyspace.put(argv[1], argv[3], moment_of(argv[2], b"PX", keyspace.now, "psetex"))
    return OK


def getset(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """GETSET key value"""
    check_value(argv[2])
    before = keyspace.get(argv[1])
    keyspace.put(argv[1], argv[2])
    return value_or_nil(before, protocol)


def getdel(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """GETDEL key"""
    value = keyspace.get(argv[1])
    if value is not None:
        keyspace.delete(argv[1])
    return value_or_nil(value, protocol)


def getex(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """GETEX key [EX seconds | PX milliseconds | EXAT ... | PXAT ... | PERSIST]"""
    options = options_of(argv, 2, (b"PERSIST",))
    key = argv[1]
    value = keyspace.get(key)
    if value is None:
        return nil(protocol)
    if options.time:
        store(keyspace, key, value, moment_of(options.number, options.time, keyspace.now, "getex"))
    elif options.lasting and keyspace.expiry(key):
        keyspace.put(key, value)
    return bulk(value)


def mset(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """MSET key value ..."""
    _check_pairs(argv, "mset")
    put = keyspace.put
    for index in range(1, len(argv), 2):
        put(argv[index], argv[index + 1])
    return OK


def msetnx(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """MSETNX key value ..."""
    _check_pairs(argv, "msetnx")
    if any(keyspace.get(argv[index]) is not None for index in range(1, len(argv), 2)):
        return ZERO
    for index in range(1, len(argv), 2):
        keyspace.put(argv[index], argv[index + 1])
    return ONE


def _check_pairs(argv: list[bytes], name: str) -> None:
    if len(argv) % 2 == 0:
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    for index in range(2, len(argv), 2):
        if len(argv[index]) > VALUE_BYTES_MAX:
            check_value(argv[index])


def append(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """APPEND key value"""
    key, added = argv[1], argv[2]
    value = keyspace.get(key)
    if value is None:
        check_value(added)
        keyspace.put(key, added)
        return integer(len(added))
    if len(value) + len(added) > VALUE_BYTES_MAX:
        raise CommandError(TOO_LARGE)
    keyspace.put(key, value + added, keyspace.expiry(key))
    return integer(len(value) + len(added))


def strlen(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """STRLEN key"""
    return integer(len(keyspace.get(argv[1]) or b""))


def getrange(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """GETRANGE key start end. Both are included; negative ones count from the end."""
    start, end = integer_of(argv[2]), integer_of(argv[3])
    value = keyspace.get(argv[1])
    if not value or (start < 0 and end < 0 and start > end):
        return EMPTY
    size = len(value)
    start = max(start + size, 0) if start < 0 else start
    end = max(end + size, 0) if end < 0 else end
    return bulk(value[start : end + 1])


def setrange(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """SETRANGE key offset value. What is missing before the offset becomes zero bytes."""
    offset = integer_of(argv[2])
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    key, part = argv[1], argv[3]
    value = keyspace.get(key)
    if not part:
        return integer(len(value or b""))
    if offset + len(part) > VALUE_BYTES_MAX:
        raise CommandError(TOO_LARGE)
    old = value or b""
    new = old[:offset].ljust(offset, b"\0") + part + old[offset + len(part) :]
    keyspace.put(key, new, 0 if value is None else keyspace.expiry(key))
    return integer(len(new))
