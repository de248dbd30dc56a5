"""Commands that count."""

from __future__ import annotations

from twistedkv.commands import longdouble
from twistedkv.commands.arguments import INTEGER_MAX, INTEGER_MIN, integer_of
from twistedkv.commands.keyspace import Keyspace
from twistedkv.errors import CommandError
from twistedkv.resp.replies import bulk, integer

NOT_A_FLOAT = "ERR value is not a valid float"


def incr(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """INCR key"""
    return _add(keyspace, argv[1], 1)


def decr(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """DECR key"""
    return _add(keyspace, argv[1], -1)


def incrby(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """INCRBY key increment"""
    return _add(keyspace, argv[1], integer_of(argv[2]))


def decrby(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """DECRBY key decrement"""
    amount = integer_of(argv[2])
    if amount == INTEGER_MIN:
        raise CommandError("ERR decrement would overflow")
    return _add(keyspace, argv[1], -amount)


def _add(keyspace: Keyspace, key: bytes, amount: int) -> bytes:
    value = keyspace.get(key)
    if value is None:
        keyspace.put(key, b"%d" % amount)
        return integer(amount)
    number = integer_of(value) + amount
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        raise CommandError("ERR increment or decrement would overflow")
    keyspace.put(key, b"%d" % number, keyspace.expiry(key))
    return integer(number)


def incrbyfloat(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """INCRBYFLOAT key increment. Computed as Redis does on x86-64, in numbers of 80 bits (longdouble.py)."""
    key = argv[1]
    value = keyspace.get(key)
    number = longdouble.ZERO if value is None else longdouble.parse(value)
    amount = longdouble.parse(argv[2])
    if number is None or amount is None:
        raise CommandError(NOT_A_FLOAT)
    result = longdouble.add(number, amount)
    if result is None:
        raise CommandError("ERR increment would produce NaN or Infinity")
    text = longdouble.text_of(result)
    keyspace.put(key, text, 0 if value is None else keyspace.expiry(key))
    return bulk(text)
