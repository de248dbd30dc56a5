"""Commands that say when a key expires, and those that ask for it."""

from __future__ import annotations

from twistedkv.commands.arguments import INTEGER_MAX, integer_of, invalid_expiry, text_of, word_of
from twistedkv.commands.command import Run
from twistedkv.commands.keyspace import Keyspace
from twistedkv.errors import CommandError
from twistedkv.resp.replies import ONE, ZERO, integer

_NO_KEY = -2
_NEVER = -1


def _conditions_of(argv: list[bytes]) -> set[bytes]:
    """NX, XX, GT and LT, which stand after the time."""
    given = set()
    for argument in argv[3:]:
        word = word_of(argument)
        if word not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError(f"ERR Unsupported option {text_of(argument)}".rstrip("\r\n"))
        given.add(word)
    if b"NX" in given and len(given) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in given and b"LT" in given:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return given


def _allows(conditions: set[bytes], moment: int, before: int) -> bool:
    """Whether the new moment may replace the one before. A key that never expires counts as infinitely late."""
    if not before:
        return not conditions & {b"XX", b"GT"}
    if b"GT" in conditions and moment <= before:
        return False
    if b"LT" in conditions and moment >= before:
        return False
    return b"NX" not in conditions


def _setting(name: str, unit: int, relative: bool) -> Run:
    """The command that sets a time in units of so many milliseconds, from now on or since 1970."""

    def run(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
        conditions = _conditions_of(argv) if len(argv) > 3 else set()
        moment = integer_of(argv[2]) * unit
        base = keyspace.now if relative else 0
        if moment > INTEGER_MAX - base or moment < -INTEGER_MAX - 1:
            raise invalid_expiry(name)
        moment += base
        key = argv[1]
        value = keyspace.get(key)
        if value is None or (conditions and not _allows(conditions, moment, keyspace.expiry(key))):
            return ZERO
        if moment <= keyspace.now:
            keyspace.delete(key)
        else:
            keyspace.put(key, value, moment)
        return ONE

    return run


def _asking(unit: int, relative: bool) -> Run:
    """The command that tells when a key expires; -1: never, -2: no such key."""

    def run(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
        moment = keyspace.expiry(argv[1])
        if not moment:
            return integer(_NO_KEY if keyspace.get(argv[1]) is None else _NEVER)
        if relative:
            moment = max(moment - keyspace.now, 0)
        return integer(moment if unit == 1 else (moment + unit // 2) // unit)

    return run


expire: Run = _setting("expire", 1000, relative=True)
pexpire: Run = _setting("pexpire", 1, relative=True)
expireat: Run = _setting("expireat", 1000, relative=False)
pexpireat: Run = _setting("pexpireat", 1, relative=False)
ttl: Run = _asking(1000, relative=True)
pttl: Run = _asking(1, relative=True)
expiretime: Run = _asking(1000, relative=False)
pexpiretime: Run = _asking(1, relative=False)


def persist(keyspace: Keyspace, argv: list[bytes], protocol: int) -> bytes:
    """PERSIST key"""
    key = argv[1]
    value = keyspace.get(key)
    if value is None or not keyspace.expiry(key):
        return ZERO
    keyspace.put(key, value)
    return ONE
