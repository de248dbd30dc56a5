"""Commands that deal with keys."""

from __future__ import annotations

from tests.commands.calling import call, calls
from tests.support.keyspace import NOW, DictKeyspace


def test_removing_and_counting() -> None:
    keyspace = DictKeyspace()
    calls(keyspace, "MSET a 1 b 2 c 3")
    assert calls(keyspace, "EXISTS a a none; TOUCH a b; DEL a a none; UNLINK b; EXISTS a b c; TYPE c; TYPE a") == [
        *(b":2\r\n", b":2\r\n", b":1\r\n", b":1\r\n", b":1\r\n", b"+string\r\n", b"+none\r\n"),
    ]


def test_what_is_not_there_is_not_removed() -> None:
    keyspace = DictKeyspace()
    assert call(keyspace, "DEL a b") == b":0\r\n"
    assert keyspace.updates == 0


def test_renaming_takes_the_expiry_along() -> None:
    keyspace = DictKeyspace()
    calls(keyspace, "SET a 1 PX 5; SET b 2 PX 9")
    assert calls(keyspace, "RENAME a b; EXISTS a; GET b; RENAME a b; RENAMENX b b; RENAME b b") == [
        *(b"+OK\r\n", b":0\r\n", b"$1\r\n1\r\n", b"-ERR no such key\r\n", b":0\r\n", b"+OK\r\n"),
    ]
    assert keyspace.expiry(b"b") == NOW + 5
    assert calls(keyspace, "SET c 3; RENAMENX b c; GET c; RENAMENX b d; GET d") == [
        *(b"+OK\r\n", b":0\r\n", b"$1\r\n3\r\n", b":1\r\n", b"$1\r\n1\r\n"),
    ]


def test_copying() -> None:
    keyspace = DictKeyspace()
    calls(keyspace, "SET a 1 PX 5; SET b 2")
    assert calls(
        keyspace, "COPY a b; GET b; COPY a b REPLACE; GET b; COPY none b; COPY a c DB 0; COPY a d DB 1; COPY a a"
    ) == [
        *(
            b":0\r\n",
            b"$1\r\n2\r\n",
            b":1\r\n",
            b"$1\r\n1\r\n",
            b":0\r\n",
            b":1\r\n",
            b"-ERR DB index is out of range\r\n",
        ),
        b"-ERR source and destination objects are the same\r\n",
    ]
    assert [keyspace.expiry(key) for key in (b"a", b"b", b"c")] == [NOW + 5] * 3
    assert call(keyspace, "COPY a e DB 2147483648").startswith(b"-ERR value is out of range, value must between")


def test_objects() -> None:
    keyspace = DictKeyspace()
    calls(keyspace, f"MSET int -12 short text long {'x' * 45}")
    assert calls(
        keyspace, "OBJECT ENCODING int; OBJECT ENCODING short; object encoding long; OBJECT ENCODING none"
    ) == [
        *(b"$3\r\nint\r\n", b"$6\r\nembstr\r\n", b"$3\r\nraw\r\n", b"$-1\r\n"),
    ]
    assert calls(keyspace, "OBJECT REFCOUNT int; OBJECT REFCOUNT none; OBJECT FREQ none; OBJECT IDLETIME none") == [
        *(b":1\r\n", b"$-1\r\n", b"$-1\r\n", b"$-1\r\n"),
    ]
    assert call(keyspace, "OBJECT FREQ int").startswith(b"-ERR An LFU maxmemory policy is not selected")
    assert call(keyspace, "OBJECT IDLETIME int").startswith(b"-ERR times of accesses are not kept")


def test_memory_usage_grows_with_the_value() -> None:
    keyspace = DictKeyspace()
    calls(keyspace, "SET k v; SET l " + "v" * 101)
    short, long = (int(reply[1:]) for reply in calls(keyspace, "MEMORY USAGE k SAMPLES 5; MEMORY USAGE l"))
    assert long - short == 100
    assert calls(keyspace, "MEMORY USAGE none; MEMORY USAGE k FOO; MEMORY USAGE k SAMPLES -1") == [
        *(b"$-1\r\n", b"-ERR syntax error\r\n", b"-ERR syntax error\r\n"),
    ]
