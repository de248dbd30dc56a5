"""Commands that deal with keys, whatever their values are."""

from __future__ import annotations

from twistedkv.commands.arguments import SYNTAX, integer_of, small_integer_of, word_of
from twistedkv.commands.keyspace import Keyspace
from twistedkv.errors import CommandError
from twistedkv.resp.replies import OK, ONE, ZERO, bulk, integer, nil, simple

KEY_BYTES_OVERHEAD = 250
"""What a key costs besides its own bytes and those of its value, about: two objects and a place in a dict."""

_EMBEDDED_BYTES_MAX = 44


def delete(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """DEL key ..., UNLINK key ..."""
    count = 0
    for index in range(1, len(argv)):
        if keyspace.get(argv[index]) is not None:
            keyspace.delete(argv[index])
            count += 1
    return integer(count)


def exists(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """EXISTS key ..., TOUCH key ..."""
    return integer(sum(keyspace.get(argv[index]) is not None for index in range(1, len(argv))))


def type_of(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """TYPE key"""
    return simple(b"none" if keyspace.get(argv[1]) is None else b"string")


def rename(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """RENAME key newkey"""
    _move(keyspace, argv[1], argv[2], replace=True)
    return OK


def renamenx(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """RENAMENX key newkey"""
    return ONE if _move(keyspace, argv[1], argv[2], replace=False) else ZERO


def _move(keyspace: Keyspace, source: bytes, target: bytes, replace: bool) -> bool:
    """Give a value and its expiry to another key; whether that was done."""
    value = keyspace.get(source)
    if value is None:
        raise CommandError("ERR no such key")
    if source == target or (not replace and keyspace.get(target) is not None):
        return False
    expiry = keyspace.expiry(source)
    keyspace.delete(source)
    keyspace.put(target, value, expiry)
    return True


def copy(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """COPY source destination [DB destination-db] [REPLACE]. There is one database, 0."""
    replace = False
    index = 3
    while index < len(argv):
        word = word_of(argv[index])
        if word == b"REPLACE":
            replace = True
        elif word == b"DB" and index + 1 < len(argv):
            index += 1
            if small_integer_of(argv[index]) != 0:
                raise CommandError("ERR DB index is out of range")
        else:
            raise CommandError(SYNTAX)
        index += 1
    source, target = argv[1], argv[2]
    if source == target:
        raise CommandError("ERR source and destination objects are the same")
    value = keyspace.get(source)
    if value is None or (not replace and keyspace.get(target) is not None):
        return ZERO
    keyspace.put(target, value, keyspace.expiry(source))
    return ONE


def object_encoding(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """OBJECT ENCODING key: what Redis calls a value of this form that was stored with SET."""
    value = keyspace.get(argv[2])
    if value is None:
        return nil(protocol)
    try:
        integer_of(value)
        return bulk(b"int")
    except CommandError:
        return bulk(b"embstr" if len(value) <= _EMBEDDED_BYTES_MAX else b"raw")


def object_refcount(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """OBJECT REFCOUNT key: values are not shared here."""
    return nil(protocol) if keyspace.get(argv[2]) is None else ONE


def object_freq(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """OBJECT FREQ key: the same error as of a Redis that does not count accesses."""
    if keyspace.get(argv[2]) is None:
        return nil(protocol)
    raise CommandError(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
        "between policies at runtime LRU and LFU data will take some time to adjust."
    )


def object_idletime(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """OBJECT IDLETIME key: no times of accesses are kept, so there is nothing true to tell."""
    if keyspace.get(argv[2]) is None:
        return nil(protocol)
    raise CommandError("ERR times of accesses are not kept, so the idle time of a key is not known")


def memory_usage(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """MEMORY USAGE key [SAMPLES count]: about the bytes that a key with its value costs one copy of its shard."""
    index = 3
    while index < len(argv):
        if word_of(argv[index]) != b"SAMPLES" or index + 1 == len(argv):
            raise CommandError(SYNTAX)
        if integer_of(argv[index + 1]) < 0:
            raise CommandError(SYNTAX)
        index += 2
    value = keyspace.get(argv[2])
    return nil(protocol) if value is None else integer(KEY_BYTES_OVERHEAD + len(argv[2]) + len(value))
