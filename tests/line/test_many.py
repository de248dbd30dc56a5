"""Commands that are taken apart by shard."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twistedkv.errors import OutcomeUnknown, Unavailable
from twistedkv.line.many import Together, groups_of, scatter
from twistedkv.resp import replies
from twistedkv.slots import slot_of

SHARDS = 5


class FakeShards:
    """Executes nothing: keeps what it is asked, to be answered later."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, list[bytes], bool]] = []

    def shard(self, slot: int) -> int:
        return slot % SHARDS

    def execute(self, waiter: Any, slot: int, command: list[bytes], *, writes: bool, protocol: int) -> None:
        assert slot == slot_of(command[1])
        self.asked.append((waiter, command, writes))

    alone = execute


class Asker:
    """Somebody who waits for the whole."""

    reply = b""

    def callback(self, result: bytes) -> None:
        assert not self.reply, "told twice"
        self.reply = result

    def errback(self, fail: Exception) -> None:
        raise AssertionError(fail)


def scattered(command: list[bytes], width: int = 1) -> tuple[FakeShards, Asker]:
    shards, asker = FakeShards(), Asker()
    groups = groups_of(shards, command[1::width])  # type: ignore[arg-type]
    scatter(asker, shards, command, command[0].lower(), groups, 2)  # type: ignore[arg-type]
    return shards, asker


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=20), st.randoms())
def test_values_come_back_in_the_order_of_the_keys(keys: list[bytes], chance: Any) -> None:
    shards, asker = scattered([b"MGET", *keys])
    chance.shuffle(shards.asked)
    for waiter, command, writes in shards.asked:
        assert not writes and not asker.reply
        assert len({slot_of(key) % SHARDS for key in command[1:]}) == 1
        waiter.callback(replies.bulks([key + b"\r\n$3" for key in command[1:]]))
    assert asker.reply == replies.bulks([key + b"\r\n$3" for key in keys])


def test_pairs_stay_together_and_numbers_are_added() -> None:
    keys = [b"key%d" % number for number in range(10)]
    shards, asker = scattered([b"MSET", *[word for key in keys for word in (key, b"v" + key)]], 2)
    stored = {}
    for waiter, command, writes in shards.asked:
        assert writes
        stored |= dict(zip(command[1::2], command[2::2], strict=True))
        waiter.callback(replies.OK)
    assert stored == {key: b"v" + key for key in keys}
    assert asker.reply == replies.OK
    shards, asker = scattered([b"DEL", *keys])
    for waiter, command, _ in shards.asked:
        waiter.callback(replies.integer(len(command) - 1))
    assert asker.reply == replies.integer(10)


def test_one_that_fails_fails_the_whole_and_says_how_many_did_not() -> None:
    asker = Asker()
    together = Together(asker, b"mset", 3, lambda parts: b"never")
    together.part(0).callback(replies.OK)
    together.part(2).errback(Unavailable("gone"))
    together.part(1).callback(replies.OK)
    assert asker.reply.startswith(b"-PARTIAL CLUSTERDOWN ")
    assert asker.reply.endswith(b"(of the 3 shards with keys of this 'mset', 2 executed it)\r\n")
    asker = Asker()
    together = Together(asker, b"mset", 1, lambda parts: b"never")
    together.part(0).errback(OutcomeUnknown("x"))
    assert asker.reply.startswith(b"-UNKNOWN ")
