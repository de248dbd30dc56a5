"""Commands that count."""

from __future__ import annotations

import pytest

from tests.commands.calling import call, calls
from tests.support.keyspace import NOW, DictKeyspace

NOT_AN_INTEGER = b"-ERR value is not an integer or out of range\r\n"
OVERFLOW = b"-ERR increment or decrement would overflow\r\n"


def test_counting() -> None:
    assert calls(DictKeyspace(), "INCR k; INCRBY k 10; DECR k; DECRBY k 30; GET k") == [
        *(b":1\r\n", b":11\r\n", b":10\r\n", b":-20\r\n", b"$3\r\n-20\r\n"),
    ]


@pytest.mark.parametrize(
    "value", ["", "+1", "01", "1 ", " 1", "-0", "1_0", "1.0", "9223372036854775808", "x", "1\0", "٣"]
)
def test_what_is_no_integer_is_refused_as_value_and_as_increment(value: str) -> None:
    keyspace = DictKeyspace()
    call(keyspace, [b"SET", b"k", value.encode()])
    assert call(keyspace, "INCR k") == NOT_AN_INTEGER
    assert call(keyspace, [b"INCRBY", b"n", value.encode()]) == NOT_AN_INTEGER
    assert keyspace.updates == 1


def test_bounds() -> None:
    keyspace = DictKeyspace()
    assert calls(
        keyspace, "INCRBY k 9223372036854775807; INCR k; DECRBY n -9223372036854775808; DECRBY n 9223372036854775807"
    ) == [
        *(b":9223372036854775807\r\n", OVERFLOW, b"-ERR decrement would overflow\r\n", b":-9223372036854775807\r\n"),
    ]
    assert calls(keyspace, "DECR n; DECR n; GET k") == [
        b":-9223372036854775808\r\n",
        OVERFLOW,
        b"$19\r\n9223372036854775807\r\n",
    ]


def test_counting_keeps_the_expiry() -> None:
    keyspace = DictKeyspace()
    calls(keyspace, "SET k 1 PX 5; INCR k; SET f 1 PX 6; INCRBYFLOAT f 1")
    assert (keyspace.expiry(b"k"), keyspace.expiry(b"f")) == (NOW + 5, NOW + 6)


def test_numbers_with_decimals() -> None:
    keyspace = DictKeyspace()
    assert calls(
        keyspace, "INCRBYFLOAT k 0.1; INCRBYFLOAT k 0.2; INCRBYFLOAT k -0.3; INCRBYFLOAT k 3.0e3; INCRBYFLOAT k x"
    ) == [
        *(
            b"$3\r\n0.1\r\n",
            b"$3\r\n0.3\r\n",
            b"$1\r\n0\r\n",
            b"$4\r\n3000\r\n",
            b"-ERR value is not a valid float\r\n",
        ),
    ]
    assert call(keyspace, "INCRBYFLOAT k inf") == b"-ERR increment would produce NaN or Infinity\r\n"
    call(keyspace, "SET k text")
    assert call(keyspace, "INCRBYFLOAT k 1") == b"-ERR value is not a valid float\r\n"
