"""When keys expire."""

from __future__ import annotations

import pytest

from tests.commands.calling import call, calls
from tests.support.keyspace import NOW, DictKeyspace


@pytest.fixture
def keyspace() -> DictKeyspace:
    keyspace = DictKeyspace()
    calls(keyspace, "SET k v; SET t v PX 10000")
    return keyspace


def test_asking(keyspace: DictKeyspace) -> None:
    assert calls(
        keyspace, "TTL t; PTTL t; EXPIRETIME t; PEXPIRETIME t; TTL k; PTTL none; EXPIRETIME k; PEXPIRETIME none"
    ) == [
        *(b":10\r\n", b":10000\r\n", b":%d\r\n" % (NOW // 1000 + 10), b":%d\r\n" % (NOW + 10_000)),
        *(b":-1\r\n", b":-2\r\n", b":-1\r\n", b":-2\r\n"),
    ]
    keyspace.now += 9_500
    assert calls(keyspace, "TTL t; PTTL t") == [b":1\r\n", b":500\r\n"]
    keyspace.now += 1
    assert calls(keyspace, "TTL t; PTTL t") == [b":0\r\n", b":499\r\n"]
    keyspace.now += 499
    assert calls(keyspace, "TTL t; GET t; EXISTS t; PERSIST t") == [b":-2\r\n", b"$-1\r\n", b":0\r\n", b":0\r\n"]


@pytest.mark.parametrize(
    ("line", "expiry"),
    [
        ("EXPIRE k 5", NOW + 5_000),
        ("PEXPIRE k 5", NOW + 5),
        (f"EXPIREAT k {NOW // 1000 + 7}", NOW + 7_000),
        (f"PEXPIREAT k {NOW + 1}", NOW + 1),
    ],
)
def test_setting(keyspace: DictKeyspace, line: str, expiry: int) -> None:
    assert call(keyspace, line) == b":1\r\n"
    assert keyspace.expiry(b"k") == expiry
    assert keyspace.get(b"k") == b"v"


@pytest.mark.parametrize("line", ["EXPIRE k 0", "PEXPIRE k -1", "EXPIREAT k 1", f"PEXPIREAT k {NOW}"])
def test_a_time_that_is_not_ahead_removes_the_key(keyspace: DictKeyspace, line: str) -> None:
    assert call(keyspace, line) == b":1\r\n"
    assert b"k" not in keyspace.entries


def test_persist(keyspace: DictKeyspace) -> None:
    assert calls(keyspace, "PERSIST t; PERSIST t; TTL t; PERSIST none") == [b":1\r\n", b":0\r\n", b":-1\r\n", b":0\r\n"]


@pytest.mark.parametrize(
    ("key", "conditions", "seconds", "done"),
    [
        ("k", "NX", 5, True),
        ("k", "XX", 5, False),
        ("k", "GT", 5, False),
        ("k", "LT", 5, True),
        ("k", "XX LT", 5, False),
        ("t", "NX", 5, False),
        ("t", "XX", 5, True),
        ("t", "GT", 5, False),
        ("t", "GT", 10, False),
        ("t", "GT", 11, True),
        ("t", "XX GT", 11, True),
        ("t", "LT", 5, True),
        ("t", "LT", 10, False),
        ("t", "lt xx", 9, True),
        ("t", "LT", -1, True),
        ("none", "NX", 5, False),
    ],
)
def test_conditions(keyspace: DictKeyspace, key: str, conditions: str, seconds: int, done: bool) -> None:
    before = keyspace.updates
    assert call(keyspace, f"EXPIRE {key} {seconds} {conditions}") == (b":1\r\n" if done else b":0\r\n")
    assert keyspace.updates == before + done


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("EXPIRE k x", "value is not an integer or out of range"),
        ("EXPIRE k 9223372036854775", "invalid expire time in 'expire' command"),
        ("PEXPIRE none 9223372036854775807", "invalid expire time in 'pexpire' command"),
        ("EXPIREAT k -9223372036854775808", "invalid expire time in 'expireat' command"),
        ("EXPIRE k 1 NX GT", "NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k 1 LT GT", "GT and LT options at the same time are not compatible"),
        ("EXPIRE k x FOO", "Unsupported option FOO"),
        ("EXPIRE k 1 a\r\nb\r\n", "Unsupported option a  b"),
        ("SETEX k 0 v", "invalid expire time in 'setex' command"),
        ("PSETEX k 0 v", "invalid expire time in 'psetex' command"),
        ("SET k v EX 0", "invalid expire time in 'set' command"),
        ("GETEX k PX 9223372036854775807", "invalid expire time in 'getex' command"),
    ],
)
def test_errors(keyspace: DictKeyspace, line: str, text: str) -> None:
    before = keyspace.updates
    assert call(keyspace, line) == f"-ERR {text}\r\n".encode()
    assert keyspace.updates == before
