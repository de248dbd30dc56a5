"""Arguments of commands: numbers, option words and times, read as strictly as Redis reads them."""

from __future__ import annotations

from collections.abc import Container

import attrs

from twistedkv.errors import CommandError
from twistedkv.limits import VALUE_BYTES_MAX

INTEGER_MIN = -(1 << 63)
INTEGER_MAX = (1 << 63) - 1
_INTEGER_BYTES_MAX = 20

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
SYNTAX = "ERR syntax error"


def integer_of(text: bytes) -> int:
    """A 64-bit integer in the one form in which it is written: no sign `+`, no spaces, no leading zeros."""
    if len(text) <= _INTEGER_BYTES_MAX:
        try:
            number = int(text)
        except ValueError:
            raise CommandError(NOT_AN_INTEGER) from None
        if b"%d" % number == text and INTEGER_MIN <= number <= INTEGER_MAX:
            return number
    raise CommandError(NOT_AN_INTEGER)


def small_integer_of(text: bytes) -> int:
    """An integer of 32 bits."""
    number = integer_of(text)
    if not -(1 << 31) <= number < 1 << 31:
        raise CommandError("ERR value is out of range, value must between -2147483648 and 2147483647")
    return number


def word_of(argument: bytes) -> bytes:
    """An option's name in upper case. It ends at a zero byte, as the strings of C do."""
    return argument.partition(b"\0")[0].upper()


def text_of(argument: bytes, most: int = -1) -> str:
    """An argument as error texts quote it: up to a zero byte, and at most `most` bytes (-1: all)."""
    shown = argument.partition(b"\0")[0]
    return (shown if most < 0 else shown[:most]).decode("utf-8", "surrogateescape")


def check_value(value: bytes) -> None:
    """Raise CommandError when a value is larger than values may be."""
    if len(value) > VALUE_BYTES_MAX:
        raise CommandError(f"ERR value of {len(value)} bytes: a value has at most {VALUE_BYTES_MAX} bytes")


def invalid_expiry(command: str) -> CommandError:
    """The error for a time to live that is none."""
    return CommandError(f"ERR invalid expire time in '{command}' command")


_MILLISECONDS = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}
"""The options that say when a key expires, and their units. Those with AT name a moment, the others a time from now."""


def moment_of(number: bytes, option: bytes, now: int, command: str) -> int:
    """When a key expires, in milliseconds since 1970: what stands after EX, PX, EXAT or PXAT."""
    amount = integer_of(number)
    unit = _MILLISECONDS[option]
    if amount <= 0 or amount > INTEGER_MAX // unit:
        raise invalid_expiry(command)
    moment = amount * unit
    if not option.endswith(b"AT"):
        moment += now
        if moment > INTEGER_MAX:
            raise invalid_expiry(command)
    return moment


@attrs.define
class Options:
    """The options of SET and GETEX."""

    condition: bytes = b""
    """NX, XX, or nothing."""
    get: bool = False
    lasting: bytes = b""
    """KEEPTTL, PERSIST, or nothing."""
    time: bytes = b""
    """EX, PX, EXAT, PXAT, or nothing; at most one of this and `lasting` is given."""
    number: bytes = b""
    """What stands after `time`, not yet read."""


def options_of(argv: list[bytes], begin: int, allowed: Container[bytes]) -> Options:
    """The options from index `begin` on, of which those without a number have to be `allowed`."""
    options = Options()
    index = begin
    while index < len(argv):
        word = word_of(argv[index])
        if word in _MILLISECONDS:
            if options.lasting or options.time not in (b"", word) or index + 1 == len(argv):
                raise CommandError(SYNTAX)
            index += 1
            options.time, options.number = word, argv[index]
        elif word not in allowed:
            raise CommandError(SYNTAX)
        elif word == b"GET":
            options.get = True
        elif word in (b"NX", b"XX"):
            if options.condition not in (b"", word):
                raise CommandError(SYNTAX)
            options.condition = word
        elif options.time:
            raise CommandError(SYNTAX)
        else:
            options.lasting = word
        index += 1
    return options
