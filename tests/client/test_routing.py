"""The router, event by event: what it does when servers refuse, fall silent, fail, and take over."""

from __future__ import annotations

import attrs
import pytest

from tests.client.driver import Call, Driver
from tests.client.fakes import make_map, promoted, store_id, switched
from twistedkv.client import routing
from twistedkv.client.lanes import LaneState
from twistedkv.client.links import SILENCE_SECONDS
from twistedkv.client.operations import WRITES, Operation
from twistedkv.client.results import Incremented, Value
from twistedkv.clustermap import ServerState
from twistedkv.columns import encode_column
from twistedkv.errors import (
    InvalidRequest,
    NotAnInteger,
    NotDone,
    NotEnoughCopies,
    OutcomeUnknown,
    OutOfSpace,
    ProtocolError,
    ShardLost,
    Status,
    Unavailable,
    VersionMismatch,
)
from twistedkv.limits import FRAME_BYTES_MAX, WRITE_WINDOW
from twistedkv.messages.client import Execute, ExecuteMode, Get, MapRequest, MapUpdate, Put, PutMany
from twistedkv.records import RECORD_BYTES_MAX, make_expiring_record, make_record, version_of
from twistedkv.slots import slot_of
from twistedkv.wire.client import (
    CAS,
    CONFIG_RESP,
    DELETE,
    EXECUTE,
    FAMILY,
    GET,
    GET_MANY,
    INCR,
    PUT,
    PUT_MANY,
    RESULT,
)

KEY = b"a"


@pytest.fixture
def driver() -> Driver:
    """A client that knows a cluster of three servers and one shard, whose primary is server 1, and is connected."""
    driver = Driver(make_map(3, 1))
    driver.begin()
    warm = driver.get(b"warm")
    driver.accept(1)
    driver.answer(driver.sent(1)[0], Status.SUCCESS, version_of(1, 5))
    assert warm.outcome == Value(b"7", version_of(1, 5))
    return driver


class TestBeginning:
    def test_operations_wait_for_the_map_and_the_connection(self) -> None:
        driver = Driver()
        call = driver.put(KEY)
        driver.accept(None)
        [ask] = driver.sent(None)
        assert ask.request == MapRequest(True)
        driver.send_map(ask)
        driver.accept(driver.dialing[0].server.server_id)  # type: ignore[union-attr]
        driver.answer_all()
        assert call.outcome == 1

    def test_a_part_of_a_map_is_not_taken_for_the_whole(self) -> None:
        """Its slots would belong to the wrong shards."""
        whole = make_map(3, 3)
        driver = Driver(attrs.evolve(whole, shards=whole.shards[1:2]))
        call = driver.put(KEY)
        driver.accept(None)
        [ask] = driver.sent(None)
        driver.send_map(ask)
        assert not driver.dialing
        driver.publish(whole)
        driver.accept(driver.dialing[0].server.server_id)  # type: ignore[union-attr]
        driver.answer_all()
        assert call.outcome == 1

    def test_the_coordinator_is_tried_again_with_growing_pauses_until_the_deadline(self) -> None:
        driver = Driver()
        call = driver.put(KEY, 5)
        pauses = []
        while not call.ended:
            began = driver.now
            driver.refuse(None, "nobody is there")
            while not driver.dialing and not call.ended:
                driver.tick(0.001)
            pauses.append(driver.now - began)
        assert 0.004 < pauses[0] < 0.011
        assert max(pauses) < 0.51
        assert 12 < len(pauses) < 40
        assert isinstance(call.outcome, Unavailable)
        assert "the coordinator at coordinator:7400" in str(call.outcome)
        assert "nobody is there" in str(call.outcome)

    def test_a_refusal_by_name_ends_what_waits_at_once(self) -> None:
        driver = Driver()
        call = driver.put(KEY)
        driver.refuse(None, "this is cluster 'a', not 'b'", hello=True)
        assert isinstance(call.outcome, Unavailable)
        assert "this is cluster 'a'" in str(call.outcome)

    def test_a_cluster_that_has_not_been_formed_is_waited_for(self) -> None:
        driver = Driver(attrs.evolve(make_map(), shards=(), version=1))
        call = driver.put(KEY)
        driver.begin()
        assert not call.ended
        driver.publish(attrs.evolve(make_map(), version=2))
        driver.begin()
        driver.answer_all()
        assert call.outcome == 1


class TestAnswers:
    @pytest.mark.parametrize(
        ("kind", "status", "value", "outcome"),
        [
            (GET, Status.SUCCESS, b"x", Value(b"x", 9)),
            (GET, Status.KEY_NOT_FOUND, b"", None),
            (PUT, Status.SUCCESS, b"", 9),
            (DELETE, Status.SUCCESS, b"", 9),
            (DELETE, Status.KEY_NOT_FOUND, b"", None),
            (CAS, Status.SUCCESS, b"", 9),
            (INCR, Status.SUCCESS, b"-12", Incremented(-12, 9)),
        ],
    )
    def test_results(self, driver: Driver, kind: int, status: Status, value: bytes, outcome: object) -> None:
        call = driver.submit(kind, KEY)
        driver.answer(driver.sent(1)[0], status, 9, value)
        assert call.outcome == outcome

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (Status.VERSION_MISMATCH, VersionMismatch),
            (Status.NOT_AN_INTEGER, NotAnInteger),
            (Status.OUT_OF_SPACE, OutOfSpace),
            (Status.NOT_ENOUGH_COPIES, NotEnoughCopies),
            (Status.SHARD_LOST, ShardLost),
            (Status.SERVER_FAILURE, NotDone),
            (Status.UNSUPPORTED, NotDone),
            (Status.INVALID_REQUEST, InvalidRequest),
            (Status.UNKNOWN_OUTCOME, OutcomeUnknown),
            (77, NotDone),
        ],
    )
    def test_refusals_end_a_write_at_once(self, driver: Driver, status: int, error: type[Exception]) -> None:
        call = driver.submit(CAS, KEY)
        driver.answer(driver.sent(1)[0], status, 9, b"why")  # type: ignore[arg-type]
        assert type(call.outcome) is error
        if isinstance(call.outcome, VersionMismatch):
            assert call.outcome.found == 9
        else:
            assert "why" in str(call.outcome)

    def test_a_malformed_answer_loses_the_connection_and_nothing_else(self, driver: Driver) -> None:
        call = driver.submit(INCR, KEY)
        [attempt] = driver.sent(1)
        with pytest.raises(ProtocolError):
            driver.frame(attempt.link, RESULT, attempt.request_id, b"\x00")
        with pytest.raises(ProtocolError):
            driver.frame(attempt.link, RESULT, attempt.request_id, bytes(9) + b"no number")
        driver.lose(1)
        driver.accept(1)
        driver.answer_all()
        assert call.outcome == Incremented(7, 1)

    def test_an_answer_to_nothing_is_ignored(self, driver: Driver) -> None:
        driver.frame(driver.link(1), RESULT, 4711, bytes(9))


class TestSendingAgain:
    def test_a_lost_write_is_sent_with_the_same_number_and_the_retry_flag(self, driver: Driver) -> None:
        call = driver.put(KEY)
        first = driver.sent(1)[0].request
        driver.lose(1)
        driver.accept(1)
        [attempt] = driver.sent(1)
        assert attempt.retry
        assert attempt.request == first
        assert isinstance(first, Put)
        assert first.since == version_of(1, 5)
        driver.answer(attempt, Status.SUCCESS, 9)
        assert call.outcome == 9

    def test_a_refused_write_is_no_retry(self, driver: Driver) -> None:
        driver.put(KEY)
        driver.answer(driver.sent(1)[0], Status.NOT_PRIMARY_YET, 1)
        assert driver.sent(1) == []
        driver.tick(0.011)
        assert not driver.sent(1)[0].retry

    def test_back_off_grows_and_a_new_configuration_ends_it(self, driver: Driver) -> None:
        driver.put(KEY, 60)
        pauses = []
        for _ in range(9):
            driver.answer(driver.sent(1)[0], Status.NOT_PRIMARY_YET, 1)
            began = driver.now
            while not driver.sent(1):
                driver.tick(0.001)
            pauses.append(driver.now - began)
        assert pauses[0] < 0.012
        assert 0.24 < pauses[-1] < 0.502
        driver.answer(driver.sent(1)[0], Status.NOT_PRIMARY_YET, 1)
        shard = driver.map.shards[0]
        driver.publish(driver.map.changed(shards=[attrs.evolve(shard, epoch=2, secondaries=())]))
        assert len(driver.sent(1)) == 1

    def test_a_redirect_from_a_newer_map_asks_for_it(self, driver: Driver) -> None:
        call = driver.put(KEY)
        driver.map = switched(driver.map, 0)  # the push has not come yet
        driver.answer(driver.sent(1)[0], Status.WRONG_SERVER, driver.map.version)
        [ask] = driver.sent(None)
        driver.send_map(ask)
        driver.accept(2)
        [attempt] = driver.sent(2)
        assert not attempt.retry
        driver.answer(attempt, Status.SUCCESS, 9)
        assert call.outcome == 9

    def test_superseded_may_have_been_applied(self, driver: Driver) -> None:
        call = driver.put(KEY)
        driver.answer(driver.sent(1)[0], Status.SUPERSEDED, 2)
        driver.publish(switched(driver.map, 0))
        driver.accept(2)
        [attempt] = driver.sent(2)
        assert attempt.retry
        driver.answer(attempt, Status.SHARD_LOST)
        assert isinstance(call.outcome, OutcomeUnknown)

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (Status.VERSION_MISMATCH, VersionMismatch),
            (Status.OUT_OF_SPACE, OutOfSpace),
            (Status.NOT_ENOUGH_COPIES, NotEnoughCopies),
            (Status.NOT_AN_INTEGER, NotAnInteger),
            (Status.SHARD_LOST, OutcomeUnknown),
            (Status.SERVER_FAILURE, OutcomeUnknown),
            (Status.INVALID_REQUEST, OutcomeUnknown),
            (Status.UNKNOWN_OUTCOME, OutcomeUnknown),
        ],
    )
    def test_refusals_after_a_lost_attempt(self, driver: Driver, status: Status, error: type[Exception]) -> None:
        call = driver.submit(CAS, KEY)
        driver.lose(1)
        driver.accept(1)
        driver.answer(driver.sent(1)[0], status)
        assert type(call.outcome) is error

    def test_maybe_is_for_good(self, driver: Driver) -> None:
        call = driver.put(KEY, 1)
        driver.lose(1)
        driver.accept(1)
        driver.answer(driver.sent(1)[0], Status.NOT_PRIMARY_YET)
        driver.tick(0.011)
        [attempt] = driver.sent(1)
        assert attempt.retry
        driver.answer(attempt, Status.NOT_PRIMARY_YET)
        driver.tick(1)
        assert isinstance(call.outcome, OutcomeUnknown)
        assert "NOT_PRIMARY_YET" in str(call.outcome)

    def test_reads_are_sent_again_after_anything(self, driver: Driver) -> None:
        call = driver.get(KEY)
        driver.answer(driver.sent(1)[0], Status.SERVER_FAILURE)
        driver.tick(0.011)
        driver.lose(1)
        driver.accept(1)
        driver.answer(driver.sent(1)[0], Status.SUCCESS, 9)
        assert call.outcome == Value(b"7", 9)


class TestOrder:
    def test_what_bounced_is_sent_first_and_in_the_first_order(self, driver: Driver) -> None:
        keys = [b"1", b"2", b"3", b"4"]
        for key in keys:
            driver.put(key)
        sent = list(driver.sent(1))
        driver.answer(sent[1], Status.NOT_PRIMARY_YET)
        driver.put(b"5")
        assert len(driver.sent(1)) == 3  # 5 waits until the others are through
        driver.answer(sent[0], Status.NOT_PRIMARY_YET)
        driver.answer(sent[2], Status.SUCCESS, 9)
        driver.answer(sent[3], Status.NOT_PRIMARY_YET)
        driver.tick(0.011)
        assert [attempt.request.key for attempt in driver.sent(1)] == [b"1", b"2", b"4", b"5"]  # type: ignore[union-attr]

    def test_the_timer_of_a_pause_that_was_cut_short_sends_nothing_while_the_lane_drains(self, driver: Driver) -> None:
        driver.put(b"1")
        driver.answer(driver.sent(1)[0], Status.NOT_PRIMARY_YET)
        shard = driver.map.shards[0]
        driver.publish(driver.map.changed(shards=[attrs.evolve(shard, epoch=2, secondaries=())]))
        driver.put(b"2")
        driver.answer(driver.sent(1)[0], Status.NOT_PRIMARY_YET)
        driver.put(b"3")
        driver.tick(0.011)
        assert [attempt.request.key for attempt in driver.sent(1)] == [b"2"]  # type: ignore[union-attr]

    def test_a_new_primary_gets_nothing_before_the_old_one_has_answered(self, driver: Driver) -> None:
        driver.put(b"1")
        driver.publish(switched(driver.map, 0))
        driver.put(b"2")
        assert driver.dialing == []
        driver.answer(driver.sent(1)[0], Status.SUCCESS, 9)
        driver.accept(2)
        assert [attempt.request.key for attempt in driver.sent(2)] == [b"2"]  # type: ignore[union-attr]

    def test_an_old_primary_that_does_not_answer_is_given_up(self, driver: Driver) -> None:
        call = driver.put(b"1")
        old = driver.link(1)
        driver.publish(switched(driver.map, 0))
        driver.tick(3.9)
        assert driver.closed == []
        driver.tick(0.2)
        assert driver.closed == [old]
        driver.accept(2)
        assert driver.sent(2)[0].retry
        driver.answer_all()
        assert call.outcome == 1

    def test_shards_do_not_wait_for_each_other(self) -> None:
        driver = Driver(make_map(3, 3))
        driver.begin()
        calls = [driver.get(bytes([n])) for n in range(20)]
        driver.begin()
        stuck = driver.sent(1)[0]
        other = driver.sent(2)[0]
        driver.answer(stuck, Status.NOT_PRIMARY_YET)
        driver.answer(other, Status.SUCCESS)
        more = [driver.get(bytes([n])) for n in range(20)]
        before = len(driver.sent(2))
        driver.answer_all()
        assert before > 1
        assert any(call.ended for call in calls)
        assert any(call.ended for call in more)


class TestFailover:
    def test_a_frozen_primary_is_left_when_the_map_says_so(self, driver: Driver) -> None:
        call = driver.put(KEY)
        old = driver.link(1)
        driver.publish(promoted(driver.map, 1))
        assert driver.closed == [old]
        driver.accept(2)
        assert driver.sent(2)[0].retry
        driver.answer_all()
        assert call.outcome == 1
        assert driver.now == 1000.0

    @pytest.mark.parametrize("change", ["store", "address", "gone"])
    def test_another_life_of_a_server_is_another_server(self, driver: Driver, change: str) -> None:
        driver.put(KEY)
        old = driver.link(1)
        server = driver.map.servers[1]
        if change == "gone":
            driver.publish(attrs.evolve(driver.map.changed(), servers={2: driver.map.servers[2]}))
        else:
            new = attrs.evolve(server, store_id=store_id(1, 2)) if change == "store" else attrs.evolve(server, port=9)
            driver.publish(driver.map.changed(servers=[new]))
        assert driver.closed == [old]

    def test_the_map_that_ends_a_link_comes_in_the_same_read_as_an_answer(self, driver: Driver) -> None:
        call = driver.put(KEY)
        [attempt] = driver.sent(1)
        driver.map = promoted(driver.map, 1)
        body = FAMILY.encode(MapUpdate(driver.map))[1]
        frames = [(CONFIG_RESP, 0, 0, body), (RESULT, 0, attempt.request_id, bytes(9))]
        driver.router.frames_received(attempt.link, frames, driver.now)
        driver.settle()
        assert not call.ended
        driver.accept(2)
        driver.answer_all()
        assert call.outcome == 1

    def test_a_failed_primary_is_not_dialled_and_its_successor_at_once(self, driver: Driver) -> None:
        failed = attrs.evolve(driver.map.servers[1], state=ServerState.FAILED)
        driver.publish(driver.map.changed(servers=[failed]))
        call = driver.put(KEY)
        assert driver.dialing == []
        assert driver.router.lanes[0].state is LaneState.STRANDED
        driver.publish(promoted(driver.map, 1))
        driver.accept(2)
        assert not driver.sent(2)[0].retry
        driver.answer_all()
        assert call.outcome == 1

    def test_a_killed_primary_is_dialled_until_the_map_says_more(self, driver: Driver) -> None:
        call = driver.put(KEY)
        driver.lose(1)
        for _ in range(5):
            driver.refuse(1)
            while not driver.dialing:
                driver.tick(0.001)
        driver.publish(promoted(driver.map, 1))
        driver.accept(2)
        assert driver.sent(2)[0].retry
        driver.answer_all()
        assert call.outcome == 1

    def test_a_lost_shard_is_refused_at_once_and_what_was_in_flight_is_unknown(self, driver: Driver) -> None:
        in_flight = driver.put(KEY)
        read = driver.get(KEY)
        shard = driver.map.shards[0]
        servers = [attrs.evolve(server, state=ServerState.FAILED) for server in driver.map.servers.values()]
        driver.publish(driver.map.changed(servers=servers, shards=[attrs.evolve(shard, epoch=2, lost=True)]))
        assert isinstance(in_flight.outcome, OutcomeUnknown)
        assert isinstance(read.outcome, ShardLost)
        assert isinstance(driver.put(KEY).outcome, ShardLost)
        shard = attrs.evolve(driver.map.shards[0], epoch=3, lost=False)
        alive = [attrs.evolve(server, state=ServerState.ACTIVE) for server in servers]
        driver.publish(driver.map.changed(servers=alive, shards=[shard]))
        call = driver.put(KEY)
        driver.accept(1)
        driver.answer_all()
        assert call.outcome == 1

    def test_servers_give_the_map_while_the_coordinator_is_away(self, driver: Driver) -> None:
        call = driver.put(KEY)
        driver.lose(None)
        driver.refuse(None)
        driver.map = promoted(driver.map, 1)
        driver.lose(1)
        asked = []
        for _ in range(200):
            for link in list(driver.dialing):
                if link.server is None or link.server.server_id == 1:
                    driver.refuse(None if link.server is None else 1)
                else:
                    driver.accept(link.server.server_id)
            for link, attempts in list(driver.open.items()):
                for attempt in list(attempts):
                    if isinstance(attempt.request, MapRequest):
                        assert attempt.request == MapRequest(False)
                        asked.append(link)
                        driver.send_map(attempt)
            driver.tick(0.01)
            if asked:
                break
        assert asked
        driver.begin()
        driver.answer_all()
        assert call.outcome == 1

    def test_another_cluster_at_the_same_address_replaces_the_map(self, driver: Driver) -> None:
        driver.lose(None)
        link = driver.link(None)
        driver.dialing.remove(link)
        driver.map = attrs.evolve(make_map(2, 2), version=1, cluster="new")
        assert driver.router.connected(link, 0, b"d" * 16, driver.now)
        driver.open[link] = []
        driver.settle()
        driver.send_map(driver.sent(None)[0])
        assert driver.router.map == driver.map
        assert driver.router.lanes[0].newest == 0


class TestDeadlines:
    def test_not_sent_is_not_done_and_in_flight_is_unknown(self, driver: Driver) -> None:
        sent, read = driver.put(KEY, 1), driver.get(KEY, 1)
        driver.tick(0.99)
        assert not sent.ended
        driver.tick(0.02)
        assert isinstance(sent.outcome, OutcomeUnknown)
        assert isinstance(read.outcome, Unavailable)
        for text in (str(sent.outcome), str(read.outcome)):
            assert "b'a'" in text
            assert "shard 0, server 1 at 127.0.0.1:7401" in text
        driver.answer_all()  # late, and dropped
        assert driver.router.held == 0

    def test_a_short_deadline_among_long_ones(self, driver: Driver) -> None:
        long, short = driver.put(KEY, 10), driver.put(KEY, 0.05)
        assert driver.router.wake_at == pytest.approx(driver.now + 0.05)
        driver.tick(0.05)
        assert short.ended
        assert not long.ended
        driver.tick(0.02)
        assert driver.router.wake_at == pytest.approx(1010.0)

    def test_an_idle_client_has_no_timer(self, driver: Driver) -> None:
        driver.put(KEY, 1)
        driver.answer_all()
        driver.tick(20)
        assert driver.router.wake_at == float("inf")

    def test_a_silent_server_is_given_up_when_operations_expire_on_it(self, driver: Driver) -> None:
        driver.tick(60)
        driver.put(KEY, 1)
        driver.tick(1.01)
        assert driver.closed == []  # one second is not silence
        driver.put(KEY, SILENCE_SECONDS)
        old = driver.link(1)
        driver.tick(SILENCE_SECONDS + 0.01)
        assert driver.closed == [old]

    def test_a_coordinator_that_does_not_answer_is_dialled_anew(self, driver: Driver) -> None:
        old = driver.link(None)
        driver.put(KEY, 60)
        driver.answer(driver.sent(1)[0], Status.SUPERSEDED, 2)
        for _ in range(100):
            driver.tick(0.1)
            for attempt in list(driver.sent(1)):
                if not isinstance(attempt.request, MapRequest):
                    driver.answer(attempt, Status.NOT_PRIMARY_YET, 1)
        assert old in driver.closed
        assert driver.link(None) is not old
        driver.accept(None)

    def test_a_cancelled_operation_is_not_sent_again(self, driver: Driver) -> None:
        call = driver.put(KEY)
        driver.cancel(call)
        driver.lose(1)
        assert driver.dialing == []
        assert call.operation.numbers.oldest == 2


RECORD = make_record(version_of(1, 6), 0, b"v")
LATER = make_expiring_record(version_of(1, 7), 9, b"w")


class TestSeveralKeys:
    def test_they_are_sent_again_with_their_number(self, driver: Driver) -> None:
        call = driver.submit(PUT_MANY, KEY)
        driver.answer(driver.sent(1)[0], Status.SUPERSEDED, 2)
        driver.publish(switched(driver.map, 0))
        driver.accept_all()
        [attempt] = driver.sent(2)
        assert isinstance(attempt.request, PutMany)
        assert (attempt.request.number, attempt.request.oldest, attempt.retry) == (1, 1, True)
        assert attempt.request.since == version_of(1, 5)
        assert (attempt.request.keys, attempt.request.values) == ([KEY, b"{a}2"], [b"v", b"v"])
        driver.answer(attempt, Status.SUCCESS, version_of(2, 6), b"")
        assert call.outcome == version_of(2, 6)
        assert call.operation.numbers.oldest == 2

    def test_what_is_not_answered_in_time_may_have_been_stored(self, driver: Driver) -> None:
        write, read = driver.submit(PUT_MANY, KEY), driver.submit(GET_MANY, KEY)
        driver.tick(11)
        assert isinstance(write.outcome, OutcomeUnknown)
        assert type(read.outcome) is Unavailable

    @pytest.mark.parametrize("records", [[RECORD, LATER], [RECORD, b""], [b"", b""], [RECORD], [b""]])
    def test_records_of_the_first_keys_are_an_answer(self, driver: Driver, records: list[bytes]) -> None:
        call = driver.submit(GET_MANY, KEY)
        driver.answer(driver.sent(1)[0], Status.SUCCESS, 0, encode_column(records))
        assert call.outcome == records

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            encode_column([]),
            encode_column([RECORD] * 3),
            encode_column([RECORD, RECORD[:8]]),
            encode_column([RECORD, LATER]) + b"x",
            encode_column([RECORD, LATER])[:-1],
            encode_column([b"", bytes(RECORD_BYTES_MAX + 1)]),
        ],
        ids=["nothing", "no record", "too many", "a record cut short", "more", "less", "too large"],
    )
    def test_any_other_loses_the_connection_and_nothing_else(self, driver: Driver, answer: bytes) -> None:
        call = driver.submit(GET_MANY, KEY)
        [attempt] = driver.sent(1)
        with pytest.raises(ProtocolError):
            driver.frame(attempt.link, RESULT, attempt.request_id, bytes(9) + answer)
        driver.lose(1)
        driver.accept(1)
        driver.answer_all()
        assert call.outcome == [make_record(1, 0, b"7")] * 2


class TestCommands:
    def test_a_command_that_writes_is_sent_again_with_its_number(self, driver: Driver) -> None:
        call = driver.execute(b"INCR", KEY, writes=True)
        driver.answer(driver.sent(1)[0], Status.SUPERSEDED, 2)
        driver.publish(switched(driver.map, 0))
        driver.accept_all()
        [attempt] = driver.sent(2)
        assert isinstance(attempt.request, Execute)
        assert (attempt.request.number, attempt.request.oldest, attempt.retry) == (1, 1, True)
        assert attempt.request.since == version_of(1, 5)
        driver.answer(attempt, Status.SUCCESS, version_of(2, 6), b":1\r\n")
        assert call.outcome == b":1\r\n"
        assert call.operation.numbers.oldest == 2

    def test_a_command_that_reads_has_no_number(self, driver: Driver) -> None:
        call = driver.execute(b"GET", KEY, writes=False)
        driver.answer(driver.sent(1)[0], Status.SUPERSEDED, 2)
        driver.publish(switched(driver.map, 0))
        driver.accept_all()
        [attempt] = driver.sent(2)
        assert isinstance(attempt.request, Execute)
        assert (attempt.request.number, attempt.request.oldest, attempt.retry) == (0, 0, False)
        driver.answer(attempt, Status.SUCCESS, 0, b"$-1\r\n")
        assert call.outcome == b"$-1\r\n"

    def test_a_command_that_writes_and_is_not_answered_in_time_may_have_been_executed(self, driver: Driver) -> None:
        write, read = driver.execute(b"INCR", KEY, writes=True), driver.execute(b"GET", KEY, writes=False)
        driver.tick(11)
        assert isinstance(write.outcome, OutcomeUnknown)
        assert type(read.outcome) is Unavailable

    def test_what_no_frame_can_carry_is_refused_and_harms_nobody(self, driver: Driver) -> None:
        """Every argument has a length besides: many small ones take more on the way than in the request."""
        command = [b"DEL", *[KEY] * (FRAME_BYTES_MAX // 5)]
        refused = driver.execute(*command, writes=True)
        assert isinstance(refused.outcome, InvalidRequest)
        assert f"at most {FRAME_BYTES_MAX}" in str(refused.outcome)
        assert driver.sent(1) == []
        again = driver.execute(b"DEL", KEY, writes=True)
        driver.answer_all()
        assert again.outcome == b"7"

    def test_of_what_was_begun_elsewhere_that_is_not_known(self, driver: Driver) -> None:
        message = Execute(0, 0, 0, slot_of(KEY), 2, ExecuteMode.SINGLE, [], [[b"DEL", *[KEY] * (FRAME_BYTES_MAX // 5)]])
        call = Call()
        call.operation = Operation(EXECUTE, KEY, slot_of(KEY), driver.now + 10, call, message, WRITES)
        call.operation.maybe = True
        driver.router.submit(call.operation, driver.now)
        driver.settle()
        assert isinstance(call.outcome, OutcomeUnknown)


class TestBounds:
    def test_numbers_stay_in_the_window(self, driver: Driver) -> None:
        router = driver.router
        numbers = router.lanes[0].numbers
        numbers.next = WRITE_WINDOW  # as if that many had been given, and the first had not ended
        last, waiting, read = driver.put(b"1"), driver.put(b"2"), driver.get(b"3")
        assert router.lanes[0].state is LaneState.WINDOW
        driver.answer(driver.sent(1)[0], Status.SUCCESS)
        assert last.ended
        assert not waiting.ended
        numbers.end(1)
        router.try_window(driver.now)
        driver.settle()
        assert [type(attempt.request) for attempt in driver.sent(1)] == [Put, Get]
        driver.answer_all()
        assert waiting.ended
        assert read.ended

    def test_each_shard_has_a_window_of_its_own(self) -> None:
        """One that is not served for a while does not use up the numbers of the others."""
        driver = Driver(make_map(3, 3))
        driver.begin()
        router = driver.router
        for lane in router.lanes:
            driver.put(next(key for n in range(99) if router.table[slot_of(key := b"%d" % n)] is lane))
        driver.accept_all()
        driver.answer_all()
        for number in (1, 2):
            router.lanes[number].numbers.next = WRITE_WINDOW + 2  # as if those from 2 on had not ended
        keys = [
            next(key for n in range(999) if router.table[slot_of(key := b"%d" % n)] is lane) for lane in router.lanes
        ]
        blocked, other, free = driver.put(keys[1]), driver.put(keys[2]), driver.put(keys[0])
        assert [lane.state for lane in router.lanes[:3]] == [LaneState.OPEN, LaneState.WINDOW, LaneState.WINDOW]
        driver.answer_all()
        assert (free.ended, blocked.ended, other.ended) == (True, False, False)
        router.lanes[2].numbers.end(2)
        router.try_window(driver.now)
        driver.settle()
        driver.answer_all()
        assert (blocked.ended, other.ended) == (False, True)
        router.lanes[1].numbers.end(2)
        router.try_window(driver.now)
        driver.settle()
        driver.answer_all()
        assert blocked.ended

    def test_numbers_go_on_when_the_shards_have_other_slots(self, driver: Driver) -> None:
        """What the new shards remember of this client came from old ones."""
        for _ in range(3):
            driver.put(KEY)
        driver.answer_all()
        driver.publish(make_map(3, 2, version=2))
        driver.put(KEY)
        driver.accept_all()
        attempts = [attempt.request for attempts in driver.open.values() for attempt in attempts]
        assert [request.number for request in attempts if isinstance(request, Put)] == [4]

    def test_too_many_operations_are_refused_at_once(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(routing, "UNFINISHED_MAX", 3)
        calls = [driver.put(KEY) for _ in range(3)]
        refused = driver.put(KEY)
        assert isinstance(refused.outcome, Unavailable)
        assert "3 operations are unfinished" in str(refused.outcome)
        driver.answer_all()
        assert all(call.ended for call in calls)
        assert not driver.put(KEY).ended

    def test_cancelled_operations_make_room(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        driver.put(KEY)
        driver.answer(driver.sent(1)[0], Status.NOT_PRIMARY_YET)
        monkeypatch.setattr(routing, "UNFINISHED_MAX", 3)
        for _ in range(10):
            call = driver.put(KEY)
            assert not call.ended
            driver.cancel(call)

    def test_closing_says_what_is_known_of_each(self, driver: Driver) -> None:
        sent, read = driver.put(KEY), driver.get(KEY)
        driver.publish(switched(driver.map, 0))
        queued = driver.put(KEY)
        driver.router.close(driver.now)
        driver.settle()
        assert isinstance(sent.outcome, OutcomeUnknown)
        assert type(read.outcome) is type(queued.outcome) is Unavailable
        assert isinstance(driver.put(KEY).outcome, Unavailable)
        assert driver.open == {}
        assert driver.dialing == []
