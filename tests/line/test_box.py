"""The box of a server's own line clients counts what waits in it, from when it is made until it is taken."""

from __future__ import annotations

from twistedkv.errors import Status
from twistedkv.line.box import LocalBox


def test_what_waits_is_counted_until_it_is_taken() -> None:
    box = LocalBox(b"c" * 16, lambda: None)
    box.add(1, box.result(1, int(Status.SUCCESS), 7, b"four"))
    box.add(2, box.executed(2, 8, b"*1\r\n+OK\r\n", [b"+OK\r\n"]))
    assert box.size == 4 + 9
    assert box.parts == [(1, (Status.SUCCESS, 7, b"four")), (2, (Status.SUCCESS, 8, [b"+OK\r\n"]))]
    box.ended(1)
    assert box.size == 9
    box.ended(2)
    box.ended(2)
    assert box.size == 0


def test_one_command_is_answered_by_its_reply() -> None:
    box = LocalBox(b"c" * 16, lambda: None)
    assert box.executed(1, 8, b":1\r\n", None) == (Status.SUCCESS, 8, b":1\r\n")
