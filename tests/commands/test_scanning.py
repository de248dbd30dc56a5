"""Going through the keys of a shard, and of a slot."""

from __future__ import annotations

import pytest

from tests.commands.calling import call, calls
from tests.support.keyspace import DictKeyspace
from twistedkv.commands.scanning import cursor_of
from twistedkv.errors import CommandError
from twistedkv.slots import slot_of

KEYS = [b"key:%d" % number for number in range(2_500)]


@pytest.fixture
def keyspace() -> DictKeyspace:
    keyspace = DictKeyspace()
    for key in KEYS:
        keyspace.put(key, b"v")
    return keyspace


def scanned(reply: bytes) -> tuple[bytes, list[bytes]]:
    """The cursor and the keys of a reply to SCAN."""
    lines = reply.split(b"\r\n")
    return lines[2], lines[5::2]


def test_a_scan_finds_each_key_once(keyspace: DictKeyspace) -> None:
    found: list[bytes] = []
    cursor, pages = b"0", 0
    while pages == 0 or cursor != b"0":
        cursor, keys = scanned(call(keyspace, [b"SCAN", cursor, b"COUNT", b"100"]))
        found += keys
        pages += 1
    assert sorted(found) == sorted(KEYS)
    assert 20 <= pages <= 25


def test_a_page_has_ten_keys_unless_told_otherwise(keyspace: DictKeyspace) -> None:
    assert 10 <= len(scanned(call(keyspace, "SCAN 0"))[1]) <= 12


def test_filters(keyspace: DictKeyspace) -> None:
    assert scanned(call(keyspace, "SCAN 0 COUNT 9223372036854775807 MATCH key:12?"))[1] == sorted(
        (b"key:12%d" % number for number in range(10)), key=slot_of
    )
    assert call(keyspace, "SCAN 0 TYPE hash COUNT 5000") == b"*2\r\n$1\r\n0\r\n*0\r\n"
    assert len(scanned(call(keyspace, "SCAN 0 TYPE String COUNT 5000"))[1]) == 2_500
    assert call(keyspace, "KEYS key:1") == b"*1\r\n$5\r\nkey:1\r\n"
    assert call(keyspace, "KEYS *").startswith(b"*2500\r\n")
    assert call(DictKeyspace(), "KEYS *") == b"*0\r\n"


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        (b"", 0),
        (b"0", 0),
        (b"007", 7),
        (b"+7", 7),
        (b"-1", 2**64 - 1),
        (b"18446744073709551615", 2**64 - 1),
        (b"3\x00x", 3),
    ],
)
def test_cursors(text: bytes, cursor: int) -> None:
    assert cursor_of(text) == cursor


@pytest.mark.parametrize(
    "text", [b" 1", b"1 ", b"x", b"-", b"+", b"18446744073709551616", b"0x1", b"\xb2", b"9" * 5_000]
)
def test_what_is_no_cursor(text: bytes) -> None:
    with pytest.raises(CommandError, match="ERR invalid cursor"):
        cursor_of(text)


def test_wrong_scans(keyspace: DictKeyspace) -> None:
    for line in ("SCAN 0 COUNT 0", "SCAN 0 COUNT", "SCAN 0 FOO 1", "SCAN 0 MATCH"):
        assert call(keyspace, line) == b"-ERR syntax error\r\n"
    assert call(keyspace, "SCAN 0 COUNT x") == b"-ERR value is not an integer or out of range\r\n"


def test_a_random_key_depends_on_the_time_only(keyspace: DictKeyspace) -> None:
    replies = set()
    for _ in range(100):
        keyspace.now += 1
        replies.add(call(keyspace, "RANDOMKEY"))
        assert call(keyspace, "RANDOMKEY") in replies
    assert len(replies) > 50
    assert {reply.split(b"\r\n")[1] for reply in replies} <= set(KEYS)
    assert call(DictKeyspace(), "RANDOMKEY") == b"$-1\r\n"


def test_counting(keyspace: DictKeyspace) -> None:
    slot = slot_of(b"key:7")
    assert call(keyspace, "DBSIZE") == b":2500\r\n"
    in_slot = [key for key in KEYS if slot_of(key) == slot]
    assert call(keyspace, f"CLUSTER COUNTKEYSINSLOT {slot}") == b":%d\r\n" % len(in_slot)
    assert call(keyspace, f"CLUSTER GETKEYSINSLOT {slot} 1").startswith(b"*1\r\n$")
    assert call(keyspace, f"CLUSTER GETKEYSINSLOT {slot} 0") == b"*0\r\n"
    assert calls(keyspace, "CLUSTER COUNTKEYSINSLOT 16384; CLUSTER GETKEYSINSLOT 0 -1") == [
        *(b"-ERR Invalid slot\r\n", b"-ERR Invalid slot or number of keys\r\n"),
    ]


def test_flushing_goes_on_until_the_cursor_is_zero(keyspace: DictKeyspace) -> None:
    cursor, counts = b"0", []
    while not counts or cursor != b"0":
        cursor = call(keyspace, [b"FLUSHSLOTS", cursor])[1:-2]
        counts.append(keyspace.count())
    assert len(counts) == 3
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0
