"""Numbers of 80 bits, the `long double` of x86-64, as exact integers: Redis computes INCRBYFLOAT with them.

A number is (signed significand, binary exponent) and means significand * 2 ** exponent. The significand has at most 64
bits, the exponent is never below that of the smallest number that the format has. Every operation is exact and then
rounded once, to the nearest, ties to even, which is what the processor does.
"""

from __future__ import annotations

import re

LongDouble = tuple[int, int]
"""(significand, exponent)."""

ZERO: LongDouble = (0, 0)

_BITS = 64
_EXPONENT_MIN = -16445
_BITS_MAX = 16384
"""A finite number is below 2 ** 16384."""
_INFINITE = 1 << 20
"""The exponent of the two infinite numbers. They can be read, but no sum can be made with them."""

TEXT_BYTES_MAX = 5 * 1024 - 1
DECIMALS = 17

_DECIMAL = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
_HEXADECIMAL = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?[0-9]+))?")
_WORD = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)

_EXPONENT_DIGITS_MAX = 9
_MAGNITUDE_MAX = 5_000
"""Powers of ten (and, four times as many, of two) beyond which a number is certainly too large or too small."""
_CHUNK_DIGITS = 4_000
"""CPython refuses to convert more digits than 4,300 at once."""


def parse(text: bytes) -> LongDouble | None:
    """The number that a text means, decimal, hexadecimal or infinite; None if it is none, or out of range."""
    if not 0 < len(text) <= TEXT_BYTES_MAX:
        return None
    if found := _WORD.fullmatch(text):
        return (-1 if found[1] == b"-" else 1), _INFINITE
    base, match = 10, _DECIMAL.fullmatch(text)
    if match is None:
        base, match = 16, _HEXADECIMAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, part, power = match.groups(b"")
    if not whole and not part:
        return None
    digits = (whole + part).lstrip(b"0")
    if not digits:
        return ZERO
    exponent = _exponent_of(power)
    if base == 10:
        exponent -= len(part)
        if abs(len(digits) + exponent) > _MAGNITUDE_MAX:
            return None
        number = _number_of(digits)
        ratio = (number * 10**exponent, 1) if exponent >= 0 else (number, 10**-exponent)
    else:
        exponent -= 4 * len(part)
        if abs(4 * len(digits) + exponent) > 4 * _MAGNITUDE_MAX:
            return None
        number = int(digits, 16)
        ratio = (number << exponent, 1) if exponent >= 0 else (number, 1 << -exponent)
    rounded = _rounded(*ratio)
    if rounded is None or rounded[0] == 0:
        return None
    return (-rounded[0], rounded[1]) if sign == b"-" else rounded


def add(left: LongDouble, right: LongDouble) -> LongDouble | None:
    """The sum; None when it is infinite or no number."""
    if _INFINITE in (left[1], right[1]):
        return None
    exponent = min(left[1], right[1])
    total = (left[0] << (left[1] - exponent)) + (right[0] << (right[1] - exponent))
    if total == 0:
        return ZERO
    size = abs(total)
    rounded = _rounded(size << exponent, 1) if exponent >= 0 else _rounded(size, 1 << -exponent)
    if rounded is None:
        return None
    return (-rounded[0], rounded[1]) if total < 0 else rounded


def text_of(number: LongDouble) -> bytes:
    """The number with 17 decimals, and then without the zeros at the end."""
    significand, exponent = number
    size = abs(significand) * 10**DECIMALS
    if exponent >= 0:
        size <<= exponent
    else:
        size = _quotient(size, 1 << -exponent)
    digits = _digits_of(size).rjust(DECIMALS + 1, b"0")
    text = (digits[:-DECIMALS] + b"." + digits[-DECIMALS:]).rstrip(b"0").rstrip(b".")
    return b"-" + text if significand < 0 and size else text


def _rounded(numerator: int, denominator: int) -> LongDouble | None:
    """The nearest number to a positive ratio; None when it is infinite."""
    exponent = max(numerator.bit_length() - denominator.bit_length() - _BITS, _EXPONENT_MIN)
    top, bottom = numerator << max(-exponent, 0), denominator << max(exponent, 0)
    if top >= bottom << _BITS:  # the ratio has one bit more than the lengths say
        exponent += 1
        top, bottom = numerator << max(-exponent, 0), denominator << max(exponent, 0)
    significand = _quotient(top, bottom)
    if significand >> _BITS:  # rounded up to the next power of two
        significand, exponent = significand >> 1, exponent + 1
    return None if significand.bit_length() + exponent > _BITS_MAX else (significand, exponent)


def _quotient(numerator: int, denominator: int) -> int:
    """The nearest whole number, of two the even one."""
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient & 1):
        quotient += 1
    return quotient


def _exponent_of(text: bytes) -> int:
    digits = text.lstrip(b"+-").lstrip(b"0")
    size = int(digits[:_EXPONENT_DIGITS_MAX] or b"0") if len(digits) <= _EXPONENT_DIGITS_MAX else 10**9
    return -size if text.startswith(b"-") else size


def _number_of(digits: bytes) -> int:
    number = 0
    for begin in range(0, len(digits), _CHUNK_DIGITS):
        chunk = digits[begin : begin + _CHUNK_DIGITS]
        number = number * 10 ** len(chunk) + int(chunk)
    return number


def _digits_of(number: int) -> bytes:
    """Decimal digits of a number below 10 ** 8,000."""
    high, low = divmod(number, 10**_CHUNK_DIGITS)
    return b"%d%0*d" % (high, _CHUNK_DIGITS, low) if high else b"%d" % low
