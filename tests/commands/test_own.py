"""What Redis does not have."""

from __future__ import annotations

from tests.commands.calling import call, calls
from tests.support.keyspace import NOW, DictKeyspace


def test_put_stores_once() -> None:
    keyspace = DictKeyspace()
    assert calls(keyspace, "PUT k v; PUT k w 1000; P k x 3; GET k") == [b"+OK\r\n"] * 3 + [b"$1\r\nx\r\n"]
    assert keyspace.updates == 3
    assert calls(keyspace, "PUT k v 0; PUT k v x; p k v 1 2") == [
        b"-ERR the count is at least 1\r\n",
        b"-ERR value is not an integer or out of range\r\n",
        b"-ERR wrong number of arguments for 'p' command\r\n",
    ]
    assert keyspace.updates == 3


def test_versions() -> None:
    keyspace = DictKeyspace()
    assert calls(keyspace, "GETV k; SET k v EX 5; GETV k; CAS k 1 w; GETV k; TTL k") == [
        *(b"*-1\r\n", b"+OK\r\n", b"*2\r\n$1\r\nv\r\n:1\r\n", b":1\r\n", b"*2\r\n$1\r\nw\r\n:2\r\n", b":-1\r\n"),
    ]
    assert call(keyspace, "GETV none", 3) == b"_\r\n"


def test_cas() -> None:
    keyspace = DictKeyspace(NOW)
    assert calls(keyspace, "CAS k 7 v; CAS k 0 v; CAS k 0 w; CAS k -1 v; CAS k x v; GET k") == [
        b"-VERSIONMISMATCH the key has version 0, not 7\r\n",
        b":1\r\n",
        b"-VERSIONMISMATCH the key has version 1, not 0\r\n",
        b"-ERR a version is not negative\r\n",
        b"-ERR value is not an integer or out of range\r\n",
        b"$1\r\nv\r\n",
    ]


def test_the_verbs_of_workloads() -> None:
    keyspace = DictKeyspace()
    assert calls(keyspace, "0; 0 k; 0 k x 5; G k; P k v; G k; G k x 2; C k v; V k v 3; C k w; V none v; C none v") == [
        *(
            b"+OK\r\n",
            b"+OK\r\n",
            b"+OK\r\n",
            b"$-1\r\n",
            b"+OK\r\n",
            b"$1\r\nv\r\n",
            b"$1\r\nv\r\n",
            b"+OK\r\n",
            b"+OK\r\n",
        ),
        b'-ERR check failed: expected "w", found "v"\r\n',
        b'-ERR check failed: expected "v", found no such key\r\n',
        b'-ERR check failed: expected "v", found no such key\r\n',
    ]


def test_a_space_means_that_there_is_no_such_key() -> None:
    keyspace = DictKeyspace()
    assert call(keyspace, [b"C", b"k", b" "]) == b"+OK\r\n"
    call(keyspace, [b"SET", b"k", b" "])
    assert call(keyspace, [b"C", b"k", b" "]) == b'-ERR check failed: expected no such key, found " "\r\n'


def test_a_failed_check_quotes_a_value_in_one_line_of_bounded_length() -> None:
    keyspace = DictKeyspace()
    call(keyspace, [b"SET", b"k", b"\xff\r\n" * 1_000])
    reply = call(keyspace, "C k v")
    assert reply.startswith(b'-ERR check failed: expected "v", found "\\xff  ')
    assert reply.endswith(b'"... (3000 bytes)\r\n')
    assert len(reply) < 300
