"""The longest common subsequence."""

from __future__ import annotations

from tests.commands.calling import call, calls
from tests.support.keyspace import DictKeyspace
from twistedkv.commands.similarity import TOO_LONG


def test_lcs() -> None:
    keyspace = DictKeyspace()
    calls(keyspace, "MSET a ohmytext b mynewtext")
    assert calls(keyspace, "LCS a b; LCS a b LEN; LCS a none; LCS none a LEN") == [
        *(b"$6\r\nmytext\r\n", b":6\r\n", b"$0\r\n\r\n", b":0\r\n"),
    ]
    first, second = b"*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n", b"*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n"
    end = b"$3\r\nlen\r\n:6\r\n"
    assert call(keyspace, "LCS a b IDX") == b"*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n%b*2\r\n%b%b" % (first, second, end)
    assert call(keyspace, "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", 3) == (
        b"%%2\r\n$7\r\nmatches\r\n*1\r\n*3\r\n%b:4\r\n%b" % (first, end)
    )


def test_errors() -> None:
    keyspace = DictKeyspace()
    assert calls(keyspace, "LCS a b FOO; LCS a b MINMATCHLEN; LCS a b MINMATCHLEN x; LCS a b LEN IDX") == [
        b"-ERR syntax error\r\n",
        b"-ERR syntax error\r\n",
        b"-ERR value is not an integer or out of range\r\n",
        b"-ERR If you want both the length and indexes, please just use IDX.\r\n",
    ]


def test_its_cost_is_bounded() -> None:
    keyspace = DictKeyspace()
    call(keyspace, [b"SET", b"k", b"x" * 8_000_000])
    assert call(keyspace, "LCS k k") == f"-{TOO_LONG}\r\n".encode()
