"""Whole values and parts of them."""

from __future__ import annotations

import pytest

from tests.commands.calling import call, calls
from tests.support.keyspace import NOW, DictKeyspace
from twistedkv.limits import VALUE_BYTES_MAX


@pytest.fixture
def keyspace() -> DictKeyspace:
    return DictKeyspace()


def test_a_value_is_stored_and_read(keyspace: DictKeyspace) -> None:
    assert calls(keyspace, "GET k; SET k v; GET k; MGET k none k") == [
        b"$-1\r\n",
        b"+OK\r\n",
        b"$1\r\nv\r\n",
        b"*3\r\n$1\r\nv\r\n$-1\r\n$1\r\nv\r\n",
    ]
    assert call(keyspace, "GET none", 3) == b"_\r\n"


def test_set_forgets_the_expiry_unless_told_to_keep_it(keyspace: DictKeyspace) -> None:
    calls(keyspace, "SET k v EX 10; SET k w KEEPTTL")
    assert keyspace.entries[b"k"][:2] == (b"w", NOW + 10_000)
    call(keyspace, "SET k x")
    assert keyspace.entries[b"k"][:2] == (b"x", 0)


def test_each_unit_of_time(keyspace: DictKeyspace) -> None:
    for options, expiry in [
        ("EX 2", NOW + 2_000),
        ("PX 2", NOW + 2),
        ("EXAT 4000000000", 4_000_000_000_000),
        ("PXAT 4000000000000", 4_000_000_000_000),
    ]:
        call(keyspace, f"SET k v {options}")
        assert keyspace.expiry(b"k") == expiry
        call(keyspace, f"GETEX k {options}")
        assert keyspace.expiry(b"k") == expiry
    calls(keyspace, "SETEX a 3 v; PSETEX b 3 v")
    assert (keyspace.expiry(b"a"), keyspace.expiry(b"b")) == (NOW + 3_000, NOW + 3)


@pytest.mark.parametrize("line", ["SET k v PXAT 1", "GETEX k PXAT 1", "SET k v EXAT 1", "SET k v GET PXAT 1"])
def test_a_moment_that_is_past_removes_the_key(keyspace: DictKeyspace, line: str) -> None:
    calls(keyspace, f"SET k v; {line}")
    assert keyspace.entries == {}


def test_conditions(keyspace: DictKeyspace) -> None:
    assert calls(keyspace, "SET k v XX; SET k v NX; SET k w NX; SET k w NX GET; SET k w XX GET; GET k; SETNX k x") == [
        *(b"$-1\r\n", b"+OK\r\n", b"$-1\r\n", b"$1\r\nv\r\n", b"$1\r\nv\r\n", b"$1\r\nw\r\n", b":0\r\n"),
    ]
    assert calls(keyspace, "MSETNX a 1 k 2; EXISTS a; MSETNX a 1 b 2; MGET a b") == [
        *(b":0\r\n", b":0\r\n", b":1\r\n", b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"),
    ]


def test_what_only_reads_changes_nothing(keyspace: DictKeyspace) -> None:
    calls(keyspace, "SET k value; SET a b")
    before = keyspace.updates
    calls(
        keyspace,
        "GET k; GETEX k; GETEX k PERSIST; GETRANGE k 0 1; STRLEN k; SET k v NX; SETRANGE k 0 ; MGET k a; SETNX k v",
    )
    assert keyspace.updates == before


def test_parts(keyspace: DictKeyspace) -> None:
    assert calls(
        keyspace, "APPEND k abc; APPEND k de; GETRANGE k 1 3; GETRANGE k -2 -1; SUBSTR k 0 -100; GETRANGE k 5 9"
    ) == [
        *(b":3\r\n", b":5\r\n", b"$3\r\nbcd\r\n", b"$2\r\nde\r\n", b"$1\r\na\r\n", b"$0\r\n\r\n"),
    ]
    assert calls(keyspace, "SETRANGE k 7 xy; GET k; SETRANGE n 2 z; GET n; SETRANGE none 3 ; EXISTS none") == [
        *(b":9\r\n", b"$9\r\nabcde\0\0xy\r\n", b":3\r\n", b"$3\r\n\0\0z\r\n", b":0\r\n", b":0\r\n"),
    ]


def test_parts_keep_the_expiry(keyspace: DictKeyspace) -> None:
    calls(keyspace, "SET k abc EX 10; APPEND k d; SETRANGE k 0 x")
    assert keyspace.entries[b"k"][:2] == (b"xbcd", NOW + 10_000)


def test_reading_and_replacing(keyspace: DictKeyspace) -> None:
    assert calls(keyspace, "GETSET k v; GETSET k w; GETDEL k; GETDEL k; EXISTS k") == [
        *(b"$-1\r\n", b"$1\r\nv\r\n", b"$1\r\nw\r\n", b"$-1\r\n", b":0\r\n"),
    ]


def test_no_value_gets_larger_than_values_may_be(keyspace: DictKeyspace) -> None:
    large = b"x" * VALUE_BYTES_MAX
    assert call(keyspace, [b"SET", b"k", large]) == b"+OK\r\n"
    refused = b"-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"
    assert (
        calls(keyspace, f"APPEND k x; SETRANGE k {VALUE_BYTES_MAX} x; SETRANGE n 9223372036854775807 x")
        == [refused] * 3
    )
    too_large = large + b"x"
    for line in (
        "SET k V",
        "SETNX n V",
        "SETEX k 1 V",
        "PSETEX k 1 V",
        "GETSET k V",
        "MSET a 1 k V",
        "APPEND n V",
        "PUT k V",
    ):
        argv = [too_large if word == b"V" else word for word in line.encode().split()]
        assert call(keyspace, argv) == b"-ERR value of 8388609 bytes: a value has at most 8388608 bytes\r\n"
    assert list(keyspace.entries) == [b"k"]
    assert keyspace.updates == 1
