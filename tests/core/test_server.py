"""A server's core: routing, turns, what it says to whom; and the store as a whole against a model of it."""

from __future__ import annotations

import re

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.servers import (
    HEARTBEAT,
    ME,
    SMALL,
    TIMING,
    A,
    B,
    C,
    Desk,
    Pair,
    configuration,
    map_of,
    member,
    primary,
    secondary,
    section,
    small_keys,
)
from twistedkv.core import turn as framing
from twistedkv.core.dedup import DedupTable
from twistedkv.core.lease import Timing
from twistedkv.core.mailbox import Mailbox
from twistedkv.core.turn import Turn
from twistedkv.errors import Status
from twistedkv.limits import CLIENT_OUTPUT_BYTES_MAX, UNACKNOWLEDGED_BYTES_MAX
from twistedkv.messages.client import (
    Cas,
    Delete,
    Execute,
    ExecuteMode,
    Get,
    Incr,
    MapRequest,
    MapUpdate,
    Noop,
    Put,
    Scan,
    Verify,
)
from twistedkv.messages.coordinator import ReplicaRole, Seal, Sealed, SwitchPrimary, UpdateSecondary
from twistedkv.messages.peer import Ack, BeginFill, Configure, FillEnd, FillKind, Refusal, Replicate
from twistedkv.records import sequence_of, version_of
from twistedkv.wire.client import GET, PUT, decode_result
from twistedkv.wire.frames import RETRY, FrameDecoder

# Requests.


def test_what_needs_no_shard_is_answered_by_everybody():
    desk = Desk()
    noop = desk.ask(Noop())
    assert desk.status(noop) is Status.SUCCESS
    desk.adopt(configuration(3, A, [ME]))
    asked = desk.ask(MapRequest(False))
    assert desk.answers[asked] == [MapUpdate(desk.core.map)]


def test_verify_tells_what_this_copy_holds_whatever_its_role():
    desk = secondary((b"k", b"1"), (b"gone", None))
    found = desk.answer(desk.ask(Verify(b"k")))
    assert (found.status, found.version, found.value) == (Status.SUCCESS, version_of(3, 1), b"1")
    assert desk.status(desk.ask(Verify(b"gone"))) is Status.KEY_NOT_FOUND
    assert desk.status(desk.ask(Verify(b"never"))) is Status.KEY_NOT_FOUND
    desk.adopt(configuration(4, A, [B], [ME]))
    assert desk.status(desk.ask(Verify(b"k"))) is Status.WRONG_SERVER, "a learner's copy is not complete"


def test_malformed_and_unknown_requests_do_not_harm_those_around_them():
    desk = primary()
    mailbox = Mailbox(bytes(16), lambda: None)
    frames = [(GET, 0, 1, b"k"), (PUT, 0, 2, b"short"), (0x7F, 0, 3, b""), (GET, 0, 4, bytes(501)), (GET, 0, 5, b"k")]
    assert desk.core.requests(mailbox, frames) == 5
    answers = {frame[2]: decode_result(frame[3]).status for frame in FrameDecoder().feed(mailbox.take())}
    assert answers == {
        1: Status.KEY_NOT_FOUND,
        2: Status.INVALID_REQUEST,
        3: Status.UNSUPPORTED,
        4: Status.INVALID_REQUEST,
        5: Status.KEY_NOT_FOUND,
    }


def test_a_slot_that_does_not_exist_is_an_invalid_request():
    desk = primary()
    assert desk.status(desk.ask(Scan(16384, b"", 1, b"", False))) is Status.INVALID_REQUEST


def test_a_client_that_does_not_read_its_answers_is_not_served_further():
    desk = primary()
    desk.put(1, value=bytes(CLIENT_OUTPUT_BYTES_MAX // 3 + 1))
    mailbox = Mailbox(bytes(16), lambda: None)
    frames = [(GET, 0, n, b"k") for n in range(10)]
    assert desk.core.requests(mailbox, frames) == 3
    mailbox.take()
    assert desk.core.requests(mailbox, frames[3:]) == 3


def test_a_turn_names_each_client_that_has_answers_and_the_next_one_nobody():
    desk = primary()
    mailbox = Mailbox(bytes(16), lambda: None)
    desk.core.requests(mailbox, [(GET, 0, 1, b"k"), (GET, 0, 2, b"k")])
    assert desk.core.flush(desk.now) == Turn([mailbox], [], [])
    assert len(FrameDecoder().feed(mailbox.take())) == 2
    assert desk.core.flush(desk.now) == Turn([], [], [])


def test_commands_go_to_the_shard_of_their_slot():
    pair = Pair(copies=1)
    command = Execute(0, 0, 0, SMALL - 1, 2, ExecuteMode.SINGLE, [], [[b"DBSIZE"]])
    desk = pair.serving
    assert desk.answer(desk.ask(command)).value == b":0\r\n"
    assert desk.status(desk.ask(attrs.evolve(command, slot=SMALL))) is Status.WRONG_SERVER


def test_a_copy_does_not_show_what_has_expired_by_its_own_clock():
    desk = primary()
    desk.ask(Execute(1, 1, 0, 0, 2, ExecuteMode.SINGLE, [], [[b"SET", b"k", b"v", b"PX", b"10"]]))
    assert desk.answer(desk.ask(Verify(b"k"))).value == b"v"
    desk.wall += 10
    assert desk.status(desk.ask(Verify(b"k"))) is Status.KEY_NOT_FOUND
    assert desk.replica.sequence == 1, "to say so changes nothing"


def test_nothing_is_executed_before_all_shards_are_known():
    """A primary may tell of one shard before the coordinator has told of all: keys would go to the wrong one."""
    desk = Desk()
    assert desk.status(desk.put(1)) is Status.NOT_PRIMARY_YET
    upper = configuration(3, ME, shard=1, slots=(8192, 16383), birth=3)
    desk.core.configured(Configure(upper), desk.now)
    assert desk.status(desk.put(1)) is Status.NOT_PRIMARY_YET
    assert desk.status(desk.ask(Verify(b"k"))) is Status.WRONG_SERVER
    desk.adopt(configuration(3, A, slots=(0, 8191), birth=3), upper)
    assert desk.status(desk.put(1, b"a")) is Status.SUCCESS  # slot 15495
    assert desk.status(desk.put(2, b"b")) is Status.WRONG_SERVER  # slot 3300


def test_a_server_that_stops_takes_no_requests_whatever_maps_still_come():
    desk = primary(A)
    before = desk.put(1)
    assert not desk.core.flushed
    desk.core.stop_serving()
    desk.adopt(configuration(4, ME, [A], birth=3))
    after = desk.put(2)
    desk.ack(A)
    assert (desk.status(before), desk.status(after)) == (Status.SUCCESS, Status.NOT_PRIMARY_YET)
    assert desk.core.flushed


# The coordinator.


def test_what_is_not_known_here_is_said_to_be_not_held():
    desk = Desk()
    assert desk.core.seal(Seal(5, 9), desk.now) == Sealed(5, 9, 0, False)
    desk.core.switch(SwitchPrimary(5, 1, 2), 7, desk.now)
    desk.flush()
    assert desk.told == [("shard 5 is not known here", 7)]


def test_an_older_map_changes_nothing():
    desk = primary(A)
    desk.core.map_received(map_of(configuration(2, A, [B]), version=99), desk.now)
    assert desk.role is ReplicaRole.PRIMARY
    assert desk.core.map.shards[0].epoch == 3


def test_a_configuration_comes_from_whoever_has_it_first():
    learner = configuration(4, ME, [A], [C], birth=3)
    desk = primary(A)
    desk.core.update(UpdateSecondary(learner), desk.now)
    assert C in desk.core.wanted_peers()
    desk = secondary()
    desk.core.configured(Configure(configuration(4, A, [ME], [C], birth=3)), desk.now)
    assert desk.replica.epoch == 4
    desk.core.configured(Configure(configuration(3, A, [ME], birth=3)), desk.now)
    assert desk.replica.epoch == 4


def test_a_heartbeat_reports_what_is_held_and_what_is_being_filled():
    desk = primary(A, learners=[B])
    desk.put(1)
    desk.core.wanted_fills()
    first, second = desk.core.heartbeat(), desk.core.heartbeat()
    assert second.beat == first.beat + 1
    assert (first.keys, first.server_id, first.store_id) == (1, 1, ME.store_id)
    [report] = first.reports
    assert (report.role, report.epoch, report.last, report.commit) == (ReplicaRole.PRIMARY, 3, version_of(3, 1), 0)
    assert [(fill.shard, fill.learner) for fill in first.fills] == [(0, B)]
    desk.adopt(configuration(4, A, birth=3))
    assert desk.core.heartbeat().reports == []


def test_a_primary_says_at_once_that_it_serves():
    desk = Desk()
    desk.adopt(configuration(3, ME, [A], birth=3))
    assert [report.role for beat in desk.heartbeats for report in beat.reports] == [ReplicaRole.PRIMARY]


def test_the_cluster_says_which_heartbeat_it_has():
    desk = primary(A)
    desk.core.set_timing(Timing.of(1.0))
    desk.tick(0.5)
    desk.ack(A)
    desk.tick(0.5)
    desk.ack(A)
    assert desk.replica.lease_until > desk.now + 1.0


# Peers.


def test_one_frame_a_peer_a_turn_over_all_shards():
    desk = Desk()
    desk.adopt(
        configuration(3, ME, [A], birth=3, slots=(0, 8191)),
        configuration(3, ME, [A, B], birth=3, shard=1, slots=(8192, 16383)),
    )
    desk.ack_all()
    desk.sent.clear()
    for number, key in enumerate((b"a", b"b", b"k", b"x", b"y"), 1):
        desk.put(number, key, flush=False)
    desk.flush()
    [to_a], [to_b] = desk.sent[A], desk.sent[B]
    assert [part.shard for part in to_a.sections] in ([0, 1], [1, 0])
    assert sum(part.count for part in to_a.sections) == 5
    assert [part.shard for part in to_b.sections] == [1]


def test_a_turn_without_news_says_nothing():
    desk = primary(A)
    desk.tick(0.01)
    desk.ack(A)
    desk.sent.clear()
    desk.flush()
    desk.tick(0.01)
    assert desk.sent == {}


def test_frames_are_closed_when_they_are_large_and_keep_the_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(framing, "REPLICATE_BYTES_TARGET", 300)
    desk = primary(A)
    desk.core.peer_lost(A)
    for number in range(1, 9):
        desk.put(number, value=bytes(200))
    desk.sent.clear()
    desk.connect()
    desk.flush()
    frames = [message for message in desk.sent[A] if isinstance(message, Replicate)]
    assert len(frames) > 2
    assert [part.first for frame in frames for part in frame.sections] == list(range(1, 9))
    desk.ack(A)
    assert desk.replica.commit == 8


def test_clients_are_not_read_while_a_peer_has_too_much_to_acknowledge():
    desk = primary(A)
    assert not desk.core.pressed
    for number in range(1, 6):
        desk.put(number, value=bytes(UNACKNOWLEDGED_BYTES_MAX // 5))
    assert desk.core.pressed
    desk.ack(A)
    assert not desk.core.pressed


def test_sections_of_shards_that_are_not_known_are_refused_and_the_others_applied():
    desk = secondary()
    unknown = attrs.evolve(section(3, 1, (b"k", b"v")), shard=7)
    [refused] = desk.replicate(unknown, section(3, 1, (b"k", b"v")))
    assert (refused.shard, refused.refusal) == (7, Refusal.NOT_A_MEMBER)
    assert desk.replica.sequence == 1
    desk.core.begin_fill(BeginFill(7, 3, FillKind.FROM_NOTHING, 9, 0))
    assert desk.core.fill_received(FillEnd(7, 9, 1)).refused


def test_connections_are_wanted_to_those_who_are_to_be_told_something():
    desk = primary(A, B)
    assert desk.core.wanted_peers() == {A, B}
    desk.core.peer_lost(B)
    desk.adopt(configuration(4, ME, [A], birth=3))
    assert desk.core.wanted_peers() == set(desk.core.peers) == {A}
    desk.adopt(configuration(5, A, [ME], birth=3))
    assert desk.core.wanted_peers() == set()
    assert set(desk.core.peers) == {A}, "it is still connected"
    desk.core.peer_lost(A)
    assert desk.core.peers == {}
    desk.core.peer_lost(C)
    desk.core.peer_connected(C)
    desk.core.acknowledged(C, Ack(1, 1, []), desk.now)


def test_beats_and_stalls():
    desk = primary(A)
    beats = sum(desk.core.tick(desk.now + n * HEARTBEAT / 4) for n in range(1, 41))
    assert 9 <= beats <= 11
    until = desk.replica.lease_until
    desk.tick(TIMING.lease + 10 * HEARTBEAT)
    assert desk.replica.lease_until == until, "a stall gives no lease"


# The store as a whole.

KEYS = small_keys(4)
COUNTERS = small_keys(2, b"n")
CLIENTS = [bytes([n]) * 16 for n in range(1, 6)]
SESSIONS_MAX = 3


@attrs.define
class Done:
    """A write that was sent."""

    client: bytes
    request: object
    executed: tuple[Status, int, bytes] | None
    """Its first result, if it changed something."""


class StoreModel(RuleBasedStateMachine):
    """A dict with versions, and a table that remembers three clients, against two servers that fail over."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(servers=2, copies=2, sessions_max=SESSIONS_MAX)
        self.values: dict[bytes, tuple[bytes, int]] = {}
        self.sequence = 0
        self.number = dict.fromkeys(CLIENTS, 0)
        self.oldest = dict.fromkeys(CLIENTS, 1)
        self.history: list[Done] = []
        # What is remembered: by client its results, and how far back its last write lies.
        self.results: dict[bytes, dict[int, tuple[Status, int, bytes]]] = {}
        self.finished: dict[bytes, int] = {}
        self.newest: dict[bytes, int] = {}
        self.horizon = 0

    # The model.

    def execute(self, client: bytes, request, retried: bool) -> tuple[Status, int, bytes]:
        """What the request has to be answered."""
        number = request.number
        known = self.results.get(client, {}).get(number)
        if known is not None:
            return known
        if number < self.finished.get(client, 0) or (retried and self.horizon > sequence_of(request.since)):
            return Status.UNKNOWN_OUTCOME, 0, b""
        value, version = self.values.get(request.key, (None, 0))
        if isinstance(request, Delete) and value is None:
            return Status.KEY_NOT_FOUND, 0, b""
        if isinstance(request, Cas) and version != request.expected:
            return Status.VERSION_MISMATCH, version, b""
        told = b""
        if isinstance(request, Incr):
            if value is not None and re.fullmatch(rb"-?[0-9]+", value) is None:
                return Status.NOT_AN_INTEGER, 0, b""
            told = b"%d" % (int(value or 0) + request.delta)
        self.sequence += 1
        version = version_of(self.pair.configuration.epoch, self.sequence)
        if isinstance(request, Delete):
            del self.values[request.key]
        else:
            self.values[request.key] = (told if isinstance(request, Incr) else request.value, version)
        self.remember(client, number, request.oldest, (Status.SUCCESS, version, told))
        return Status.SUCCESS, version, told

    def remember(self, client: bytes, number: int, oldest: int, result: tuple[Status, int, bytes]) -> None:
        if client not in self.results and len(self.results) == SESSIONS_MAX:
            silent = min(self.results, key=lambda each: self.newest[each])
            self.horizon = max(self.horizon, self.newest.pop(silent))
            del self.results[silent]
            self.finished.pop(silent)
        self.results.setdefault(client, {})[number] = result
        self.newest[client] = self.sequence
        self.finished[client] = max(oldest, self.finished.get(client, 0))
        self.results[client] = {n: each for n, each in self.results[client].items() if n >= self.finished[client]}

    # The servers.

    def ask(self, request, flags: int = 0, client: bytes = CLIENTS[0]) -> tuple[Status, int, bytes]:
        desk = self.pair.serving
        asked = desk.ask(request, flags, client)
        self.pair.settle()
        answer = desk.answer(asked)
        assert answer is not None, f"{request} was not answered"
        text = b"" if answer.status not in (Status.SUCCESS,) else answer.value
        return Status(answer.status), answer.version, text

    def head(self, client: bytes, finish: bool) -> tuple[int, int, int]:
        self.number[client] += 1
        if finish:
            self.oldest[client] = self.number[client]
        return self.number[client], self.oldest[client], version_of(1, self.sequence)

    def write(self, client: bytes, request, flags: int = 0) -> None:
        expected = self.execute(client, request, bool(flags & RETRY))
        assert self.ask(request, flags, client) == expected
        if not flags:
            self.history.append(Done(client, request, expected if expected[0] is Status.SUCCESS else None))

    @rule(client=st.sampled_from(CLIENTS), key=st.sampled_from(KEYS), value=st.binary(max_size=3), finish=st.booleans())
    def put(self, client, key, value, finish):
        self.write(client, Put(*self.head(client, finish), key, value))

    @rule(client=st.sampled_from(CLIENTS), key=st.sampled_from(KEYS + COUNTERS), finish=st.booleans())
    def delete(self, client, key, finish):
        self.write(client, Delete(*self.head(client, finish), key))

    @rule(
        client=st.sampled_from(CLIENTS),
        key=st.sampled_from(KEYS),
        how=st.sampled_from(["right", "absent", "wrong"]),
        finish=st.booleans(),
    )
    def cas(self, client, key, how, finish):
        expected = {"right": self.values.get(key, (b"", 0))[1], "absent": 0, "wrong": version_of(1, 999)}[how]
        self.write(client, Cas(*self.head(client, finish), expected, key, b"cas"))

    @rule(
        client=st.sampled_from(CLIENTS),
        key=st.sampled_from([*COUNTERS, KEYS[0]]),
        delta=st.integers(-3, 9),
        finish=st.booleans(),
    )
    def incr(self, client, key, delta, finish):
        self.write(client, Incr(*self.head(client, finish), delta, key))

    @rule(key=st.sampled_from(KEYS + COUNTERS))
    def get(self, key):
        status, version, value = self.ask(Get(key))
        if key in self.values:
            assert (status, value, version) == (Status.SUCCESS, *self.values[key])
        else:
            assert status is Status.KEY_NOT_FOUND

    @rule(count=st.integers(1, 3), prefix=st.sampled_from([b"", b"k", b"n"]))
    def scan(self, count, prefix):
        cursor, found = (0, b""), {}
        while cursor[0] <= self.pair.configuration.last_slot:
            desk = self.pair.serving
            page = desk.answer(desk.ask(Scan(*cursor, count, prefix, True)))
            for item in page.items:
                assert item.key not in found
                found[item.key] = (item.value, item.version)
            cursor = (page.next_slot, page.next_after)
        assert found == {key: each for key, each in self.values.items() if key.startswith(prefix)}

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def retry(self, data):
        """Any write that was ever sent, again: its first result, or the admission that it is forgotten."""
        done = data.draw(st.sampled_from(self.history))
        before = self.sequence
        expected = self.execute(done.client, done.request, True)
        assert self.ask(done.request, RETRY, done.client) == expected
        if done.executed is not None:
            assert expected in (done.executed, (Status.UNKNOWN_OUTCOME, 0, b""))
            assert self.sequence == before, "it was executed twice"
        elif expected[0] is Status.SUCCESS:
            done.executed = expected

    @precondition(lambda self: self.history)
    @rule()
    def duplicate(self):
        """The network's: the last one again, without the flag."""
        done = self.history[-1]
        if done.request.number in self.results.get(done.client, {}):
            assert self.ask(done.request, 0, done.client) == self.results[done.client][done.request.number]

    @rule(client=st.sampled_from(CLIENTS), keys=st.lists(st.sampled_from(COUNTERS), min_size=2, max_size=5))
    def pipeline(self, client, keys):
        """Several writes in one turn, before any of them is committed."""
        desk = self.pair.serving
        asked = []
        for key in keys:
            request = Incr(*self.head(client, False), 1, key)
            expected = self.execute(client, request, False)
            asked.append((desk.ask(request, 0, client, flush=False), expected))
            self.history.append(Done(client, request, expected if expected[0] is Status.SUCCESS else None))
        self.pair.settle()
        for request_id, expected in asked:
            answer = desk.answer(request_id)
            assert (answer.status, answer.version) == expected[:2]

    def promote(self, dead: int) -> None:
        """The other server goes on alone, then the dead one comes back with nothing and is filled."""
        pair = self.pair
        other = 3 - dead
        epoch = pair.configuration.epoch + 1
        pair.kill(dead)
        assert pair.desks[other].seal(epoch).holds
        pair.publish(configuration(epoch, pair.desks[other].core.me, released=True))
        assert pair.serving.role is ReplicaRole.PRIMARY

    def refill(self, server_id: int) -> None:
        pair = self.pair
        me = pair.start(server_id).core.me
        now = pair.configuration
        pair.publish(attrs.evolve(now, epoch=now.epoch + 1, learners=(me,)))
        pair.desks[server_id].replica.dedup = DedupTable(SESSIONS_MAX)
        [source] = pair.serving.core.wanted_fills()
        assert pair.stream(source)
        pair.publish(attrs.evolve(now, epoch=now.epoch + 2, secondaries=(me,)))
        assert pair.desks[server_id].role is ReplicaRole.SECONDARY

    @rule()
    def fail_over(self):
        dead = self.pair.configuration.primary.server_id
        self.promote(dead)
        self.refill(dead)

    @rule()
    def lose_secondary(self):
        dead = self.pair.configuration.secondaries[0].server_id
        self.pair.kill(dead)
        now = self.pair.configuration
        self.pair.publish(attrs.evolve(now, epoch=now.epoch + 1, secondaries=()))
        self.refill(dead)

    @rule()
    def switch(self):
        now = self.pair.configuration
        [target] = now.secondaries
        self.pair.serving.core.switch(SwitchPrimary(0, now.epoch, target.server_id), 1, self.pair.serving.now)
        self.pair.settle()
        assert self.pair.serving.role is ReplicaRole.STEPPED_DOWN
        self.pair.publish(
            attrs.evolve(now, epoch=now.epoch + 1, primary=target, secondaries=(now.primary,), released=True)
        )

    @rule(client=st.sampled_from(CLIENTS), key=st.sampled_from(COUNTERS), arrives=st.booleans())
    def fail_over_in_the_middle(self, client, key, arrives):
        """The primary dies with a write that nobody was answered; the client asks the next one."""
        pair = self.pair
        desk = pair.serving
        dead = pair.configuration.primary.server_id
        other = pair.desks[3 - dead]
        request = Incr(*self.head(client, False), 1, key)
        if arrives:
            expected = self.execute(client, request, False)
        asked = desk.ask(request, 0, client)
        messages = desk.sent.pop(other.core.me, [])
        if arrives:
            pair.carry(desk, other, messages, acknowledge=False)
        if not arrives or expected[0] is Status.SUCCESS:
            assert desk.answer(asked) is None or desk.status(asked) is Status.NOT_AN_INTEGER
        self.promote(dead)
        if not arrives:
            # Nobody has it, so it is executed now, unless somebody may have been forgotten since.
            expected = self.execute(client, request, True)
        elif expected[0] is not Status.SUCCESS:
            expected = self.execute(client, request, True)
        assert self.ask(request, RETRY, client) == expected
        self.history.append(Done(client, request, expected if expected[0] is Status.SUCCESS else None))
        self.refill(dead)

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0]))
    def pass_time(self, seconds):
        self.pair.pass_time(seconds)

    @invariant()
    def copies_are_equal(self):
        one, two = (desk.contents for desk in self.pair.desks.values())
        live = [
            {key: (record[9:], int.from_bytes(record[:8], "big")) for key, record in copy.items() if not record[8]}
            for copy in (one, two)
        ]
        assert live[0] == live[1] == self.values
        assert self.pair.serving.replica.sequence == self.sequence
        tables = [desk.replica.dedup for desk in self.pair.desks.values()]
        for client in CLIENTS:
            for number in range(self.oldest[client], self.number[client] + 1):
                found = [table.find(client, number, 0, True) for table in tables]
                assert found[0] == found[1]


TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


def test_a_member_that_returns_with_another_store_is_not_taken_for_the_old_one():
    """I9, of a whole server."""
    pair = Pair()
    [key] = small_keys(1)
    pair.serving.put(1, key)
    pair.settle()
    pair.kill(2)
    desk = pair.start(2)
    assert desk.core.me == member(2, 2)
    assert desk.role is ReplicaRole.NONE
    asked = pair.serving.put(2, key)
    pair.settle()
    assert pair.serving.status(asked) is None, "it was acknowledged by one who has nothing"


def test_a_part_of_the_map_is_not_given_to_clients_as_if_it_were_the_whole():
    desk = Desk()
    part = attrs.evolve(configuration(3, A, (ME,)), last_slot=99)
    desk.core.configured(Configure(part), desk.now)
    assert desk.status(desk.ask(MapRequest(False))) is Status.NOT_PRIMARY_YET
    desk.adopt(part, attrs.evolve(configuration(3, A, (ME,)), shard=1, first_slot=100))
    assert isinstance(desk.answer(desk.ask(MapRequest(False))), MapUpdate)
