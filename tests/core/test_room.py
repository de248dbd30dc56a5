"""A shard whose copies are full: what is refused, what is not, and that nobody is held up."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.servers import HEARTBEAT, ME, A, B, Desk, Pair, primary, secondary, section, small_keys
from twistedkv.core import room as module
from twistedkv.core.space import KEY_OVERHEAD_BYTES
from twistedkv.errors import Status
from twistedkv.limits import NEARLY_FULL_BYTES_MAX
from twistedkv.messages.client import Cas, Delete, Execute, ExecuteMode, Get, GetMany, Incr, Put, PutMany
from twistedkv.messages.peer import Replicate
from twistedkv.slots import slot_of
from twistedkv.watermarks import Level, Limits
from twistedkv.wire.frames import RETRY

K, L, M, N = small_keys(4)
LIMIT = 100_000
LIMITS = Limits(memory_bytes=LIMIT)
BIG = bytes(10_000)


def done(desk: Desk, request: Any, flags: int = 0) -> Any:
    """The answer once everybody has acknowledged."""
    asked = desk.ask(request, flags)
    desk.ack_all()
    return desk.answer(asked)


def execute(number: int, *commands: list[bytes], mode: ExecuteMode = ExecuteMode.SINGLE) -> Execute:
    return Execute(number, 1, 0, slot_of(K), 2, mode, [], list(commands))


def full(*followers: Any, value: bytes = bytes(95_000)) -> Desk:
    """A primary with K, whose value fills it; the next write has number 2."""
    desk = primary(*followers, limits=LIMITS)
    done(desk, Put(1, 1, 0, K, value))
    desk.tick(HEARTBEAT)
    desk.ack_all()
    assert desk.core.space.level is Level.HIGH
    return desk


def sequence(desk: Desk) -> int:
    return desk.replica.sequence


GROWING = {
    "put": Put(2, 1, 0, L, b"v"),
    "put longer": Put(2, 1, 0, K, bytes(95_001)),
    "cas": Cas(2, 1, 0, 0, L, b"v"),
    "incr": Incr(2, 1, 0, 1, L),
    "put many": PutMany(2, 1, 0, slot_of(K), [L, M], [b"v", b"w"]),
    "command": execute(2, [b"SET", L, b"v"]),
    "append": execute(2, [b"APPEND", K, b"v"]),
    "transaction": execute(2, [b"SET", L, b"v"], [b"SET", M, b"v"], mode=ExecuteMode.TRANSACTION),
}
NOT_GROWING = {
    "put the same": Put(2, 1, 0, K, bytes(95_000)),
    "put shorter": Put(2, 1, 0, K, b""),
    "delete": Delete(2, 1, 0, K),
    "put many": PutMany(2, 1, 0, slot_of(K), [K], [b"v"]),
    "put many, less in sum": PutMany(2, 1, 0, slot_of(K), [K, L], [b"v", b"w"]),
    "expire": execute(2, [b"EXPIRE", K, b"100"]),
    "del": execute(2, [b"DEL", K]),
    "transaction, less in sum": execute(2, [b"DEL", K], [b"SET", M, b"v"], mode=ExecuteMode.TRANSACTION),
    "read": Get(K),
    "read many": GetMany(slot_of(K), [K, L]),
    "command that reads": Execute(0, 0, 0, slot_of(K), 2, ExecuteMode.SINGLE, [], [[b"STRLEN", K]]),
}


@pytest.mark.parametrize("request_", GROWING.values(), ids=GROWING)
def test_a_write_that_grows_is_refused_before_it_has_a_sequence(request_: Any):
    desk = full(A)
    before, contents = sequence(desk), desk.contents
    answer = done(desk, request_)
    assert answer.status == Status.OUT_OF_SPACE
    assert answer.value == b"shard 0: server 1 is past the high mark of its space: delete something, or add servers"
    assert (sequence(desk), desk.contents) == (before, contents)
    assert desk.replica.dedup.find(desk.mailboxes[bytes([7]) * 16].client, 2, 0, False).name == "NEW"  # type: ignore[union-attr]


@pytest.mark.parametrize("request_", NOT_GROWING.values(), ids=NOT_GROWING)
def test_what_does_not_grow_goes_on(request_: Any):
    desk = full(A)
    assert done(desk, request_).status == Status.SUCCESS


def test_a_write_is_refused_also_when_it_alone_would_lead_far_past_the_mark():
    desk = primary(A, limits=LIMITS)
    done(desk, Put(1, 1, 0, K, bytes(90_000)))
    desk.tick(HEARTBEAT)
    assert desk.core.space.level is Level.LOW
    answer = done(desk, Put(2, 1, 0, L, BIG))
    assert answer.status == Status.OUT_OF_SPACE
    assert answer.value.startswith(b"shard 0: this would take a server far past the high mark of its space")
    assert done(desk, Put(3, 1, 0, L, b"small")).status == Status.SUCCESS
    assert done(desk, Put(4, 1, 0, M, bytes(6_000))).status == Status.SUCCESS
    assert done(desk, Put(5, 1, 0, N, b"small")).status == Status.OUT_OF_SPACE


def test_after_a_deletion_writes_go_on():
    desk = full(A)
    assert done(desk, Put(2, 1, 0, L, b"v")).status == Status.OUT_OF_SPACE
    assert done(desk, Delete(3, 1, 0, K)).status == Status.SUCCESS
    assert done(desk, Put(4, 1, 0, L, b"v")).status == Status.SUCCESS
    desk.tick(HEARTBEAT)
    assert (desk.core.space.level, desk.core.space.tight) == (Level.OK, False)


def test_a_write_that_was_done_is_not_refused_when_it_is_asked_again():
    desk = full(A)
    assert done(desk, Put(1, 1, 0, K, bytes(95_000)), RETRY).status == Status.SUCCESS


def test_of_a_batch_only_the_commands_that_grow_are_refused():
    desk = full(A)
    commands = [
        *([b"SET", L, b"v"], [b"GET", M], [b"SET", K, bytes(94_000)], [b"SET", M, b"w"]),
        [b"MSET", K, b"", N, b"x"],
    ]
    answer = done(desk, execute(2, *commands, mode=ExecuteMode.BATCH))
    assert answer.status == Status.SUCCESS
    refused = b"-OOM shard 0: server 1 is past the high mark of its space: delete something, or add servers\r\n"
    ok = b"+OK\r\n"
    assert answer.value == b"*5\r\n" + refused + b"$-1\r\n" + ok + ok + ok  # the third has made room for the fourth
    assert done(desk, Get(M)).value == b"w"
    assert done(desk, Get(L)).status == Status.KEY_NOT_FOUND


def test_a_batch_of_which_everything_is_refused_changes_nothing():
    desk = full(A)
    before = sequence(desk)
    answer = done(desk, execute(2, [b"SET", L, b"v"], [b"INCR", M], mode=ExecuteMode.BATCH))
    assert answer.value.count(b"-OOM ") == 2
    assert sequence(desk) == before


# Other copies.


def test_a_full_follower_refuses_for_its_primary():
    desk = primary(A, B, limits=LIMITS)
    done(desk, Put(1, 1, 0, K, b"0123"))
    desk.tick(HEARTBEAT)
    desk.ack(A)
    desk.ack(B, level=Level.HIGH)
    answer = done(desk, Put(2, 1, 0, L, b"v"))
    assert (answer.status, answer.value.split(b":")[1]) == (
        Status.OUT_OF_SPACE,
        b" server 3, which has a copy, is past the high mark of its space",
    )
    assert done(desk, Put(3, 1, 0, K, b"01")).status == Status.SUCCESS
    desk.tick(HEARTBEAT)
    desk.ack(B, level=Level.LOW)
    assert done(desk, Put(4, 1, 0, L, b"v")).status == Status.SUCCESS


def test_a_full_learner_that_is_not_counted_refuses_nothing():
    desk = primary(A, learners=(B,))
    desk.ack(B, level=Level.HIGH)
    assert done(desk, Put(1, 1, 0, K, b"v")).status == Status.SUCCESS


def test_a_full_copy_stores_what_its_primary_has_begun_and_says_that_it_is_full():
    desk = secondary(limits=LIMITS)
    assert desk.replicate(section(3, 1, (K, bytes(200_000)))) == []
    desk.tick(HEARTBEAT)
    assert desk.replicate(section(3, 2, (L, bytes(200_000)))) == []
    assert sequence(desk) == 2
    ack = desk.core.replicate(Replicate(9, [section(3, 3)]), desk.now)
    assert (ack.refused, ack.level) == ([], Level.HIGH)


def test_a_full_copy_holds_up_nobody():
    """What is begun is committed; what is not is refused at once; and the shard goes on when there is room again."""
    pair = Pair()
    first, second = pair.desks[1], pair.desks[2]
    second.core.space.limits = LIMITS
    second.core.space.memory.limit = LIMIT
    first.put(1, K, bytes(90_000))
    pair.settle()
    second.core.tick(second.now)
    assert second.core.space.level is Level.LOW
    big = first.put(2, L, bytes(90_000))
    pair.settle()
    assert first.status(big) is Status.SUCCESS, "the primary could not know"
    assert second.core.space.level is Level.HIGH
    late = first.put(3, M, b"v")
    pair.settle()
    assert first.status(late) is Status.OUT_OF_SPACE
    gone = first.ask(Delete(4, 1, 0, L)), first.ask(Delete(5, 1, 0, K))
    pair.settle()
    pair.pass_time(2 * HEARTBEAT)
    assert [first.status(each) for each in gone] == [Status.SUCCESS] * 2
    last = first.put(6, M, b"v")
    pair.settle()
    assert first.status(last) is Status.SUCCESS
    assert first.replica.commit == second.replica.sequence


def test_to_a_peer_that_is_nearly_full_little_is_on_the_way():
    desk = primary(A)
    link = desk.core.peers[A]
    desk.ask(Put(1, 1, 0, K, bytes(NEARLY_FULL_BYTES_MAX)))
    assert not desk.core.pressed
    desk.ack(A, level=Level.LOW)
    assert link.unacknowledged_max == NEARLY_FULL_BYTES_MAX
    desk.ask(Put(2, 1, 0, K, bytes(NEARLY_FULL_BYTES_MAX)))
    assert desk.core.pressed
    desk.ack(A)
    assert not desk.core.pressed
    assert link.unacknowledged_max > NEARLY_FULL_BYTES_MAX


def test_a_heartbeat_says_how_full_the_server_is_and_what_each_copy_costs():
    desk = full(A)
    for _ in range(2):
        desk.tick(HEARTBEAT)
        desk.ack_all()
    beat = desk.core.heartbeat()
    assert (beat.usage.memory_limit, beat.usage.level, beat.usage.evicts) == (LIMIT, Level.HIGH, False)
    assert beat.usage.memory == desk.core.store.bytes_stored + KEY_OVERHEAD_BYTES > 95_000
    assert beat.usage.room < 0
    [report] = beat.reports
    assert report.bytes_stored == beat.usage.memory


def test_without_a_limit_nothing_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.Room, "make", None)
    monkeypatch.setattr(module.Room, "missing", None)
    desk = primary(A)
    assert desk.core.me == ME
    for number, request in enumerate((Put(1, 1, 0, K, BIG), Incr(2, 1, 0, 1, L), execute(3, [b"SET", M, b"v"])), 1):
        assert done(desk, request).status == Status.SUCCESS, number
