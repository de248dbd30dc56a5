"""The loader's loop, against a fake server over loopback."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.fake import Answers, say_yes, serving
from benchmarks.frames import LoadError, encode_gets, encode_puts
from benchmarks.lanes import Lane, connect, fetch_map, run
from twistedkv.errors import Status
from twistedkv.wire.client import result_frame
from twistedkv.wire.frames import Frame

KEYS = [b"key:%04d" % (number % 100) for number in range(600)]
VALUE = b"v" * 10


@contextmanager
def lanes(answers: Answers, count: int = 1, margin: int = 64, gets: bool = False) -> Iterator[list[Lane]]:
    with serving(answers, servers=count) as ports:
        made = []
        for port in ports:
            requests = encode_gets(KEYS, VALUE) if gets else encode_puts(KEYS, VALUE, margin)
            made.append(Lane(connect(("127.0.0.1", port)), requests, margin))
        try:
            yield made
        finally:
            for lane in made:
                lane.sock.close()


@pytest.mark.parametrize("in_flight", [1, 3, 16])
@pytest.mark.parametrize("gets", [False, True])
def test_all_requests_are_sent_and_all_answers_counted(in_flight: int, gets: bool) -> None:
    with lanes(say_yes(VALUE), count=3, gets=gets) as made:
        done = run(made, in_flight, 30.0)
        assert not done.failures
        assert all(lane.waiting == 0 for lane in made)
        assert any(lane.exhausted for lane in made)
        assert 0 < done.operations == len(done.latencies) <= sum(lane.low - 1 for lane in made)
        assert done.latencies == sorted(done.latencies)
        assert 0 < done.latency(0.5) <= done.latency(0.99)


def test_no_more_are_in_flight_than_asked_for() -> None:
    most = 0

    def answers(frames: list[Frame]) -> bytes | None:
        nonlocal most
        most = max(most, len(frames))
        return say_yes(VALUE)(frames)

    with lanes(answers) as made:
        run(made, 7, 30.0)
    assert 1 <= most <= 7


def test_it_stops_when_the_time_is_over() -> None:
    with lanes(say_yes(VALUE)) as made:
        done = run(made, 4, 0.0)
        assert made[0].sent < len(KEYS)
        assert made[0].waiting == 0
        assert done.operations <= 8


def test_answers_in_another_order_are_matched() -> None:
    order = random.Random(3)

    def answers(frames: list[Frame]) -> bytes | None:
        shuffled = order.sample(frames, len(frames))
        return say_yes(VALUE)(shuffled)

    with lanes(answers) as made:
        done = run(made, 32, 30.0)
        assert made[0].low == made[0].sent + 1
        assert not done.failures


def test_an_old_request_that_waits_holds_the_others_back_at_the_margin() -> None:
    held: list[Frame] = []
    ahead: list[int] = []

    def answers(frames: list[Frame]) -> bytes | None:
        now = [frame for frame in frames if frame[2] != 1]
        held.extend(frame for frame in frames if frame[2] == 1)
        ahead.extend(frame[2] for frame in now)
        if not now or max(ahead) < 64:
            return say_yes(VALUE)(now)
        released = [*now, *held]
        held.clear()
        return say_yes(VALUE)(released)

    with lanes(answers, margin=64) as made:
        run(made, 16, 30.0)
        assert made[0].exhausted


def test_what_is_not_success_is_reported_and_not_counted() -> None:
    def answers(frames: list[Frame]) -> bytes | None:
        statuses = [Status.WRONG_SERVER if frame[2] % 10 == 0 else Status.SUCCESS for frame in frames]
        return b"".join(result_frame(frame[2], status, 1) for frame, status in zip(frames, statuses, strict=True))

    with lanes(answers) as made:
        done = run(made, 8, 30.0)
    assert done.failures == {"WRONG_SERVER": 60}
    assert done.operations < 600 - 50


@pytest.mark.parametrize("wrong_id", [0, 599, 2**32 - 1])
def test_an_answer_to_nothing_in_flight_ends_the_measurement(wrong_id: int) -> None:
    with lanes(lambda frames: result_frame(wrong_id, 0)) as made, pytest.raises(LoadError, match="not in flight"):
        run(made, 2, 30.0)


def test_a_second_answer_ends_the_measurement() -> None:
    with lanes(lambda frames: say_yes(VALUE)(frames * 2)) as made, pytest.raises(LoadError, match="not in flight"):
        run(made, 2, 30.0)


def test_a_server_that_goes_ends_the_measurement() -> None:
    with lanes(lambda frames: None) as made, pytest.raises((LoadError, ConnectionError)):
        run(made, 2, 30.0)


def test_the_map_is_fetched_and_each_connection_is_a_client_of_its_own() -> None:
    with serving(say_yes(VALUE), servers=2) as ports:
        cluster_map = fetch_map(("127.0.0.1", ports[0]))
    assert sorted(server.port for server in cluster_map.servers.values()) == sorted(ports)
    assert len(cluster_map.slot_table()) == 16384
