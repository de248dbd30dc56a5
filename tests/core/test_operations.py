"""Operations: phases from the map alone, progress from the reports of the fills."""

from __future__ import annotations

import attrs
import pytest

from twistedkv.clustermap import Configuration, Member
from twistedkv.core.operations import (
    Event,
    Kind,
    Operation,
    Phase,
    Progress,
    iso,
    operation_json,
    recovery_phase,
    whole,
)
from twistedkv.messages.coordinator import FillReport

A, B, C = (Member(i, bytes([i]) * 16) for i in (1, 2, 3))
A2 = Member(1, b"\xaa" * 16)
OPERATION = Operation("recovery-1", 1, Kind.RECOVERY, 1, (0, 1), (0,), Phase.ONGOING, 1_000_000.0)


def shard(number: int, primary: Member, *secondaries: Member, preferred: tuple[int, ...] = ()) -> Configuration:
    return Configuration(
        shard=number,
        first_slot=0,
        last_slot=9,
        epoch=1,
        birth=1,
        primary=primary,
        secondaries=secondaries,
        learners=(),
        released=True,
        lost=False,
        preferred=preferred or tuple(m.server_id for m in (primary, *secondaries)),
    )


def phase(*shards: Configuration, dead: tuple[Member, ...] = (A,)) -> Phase:
    return recovery_phase(OPERATION, {c.shard: c for c in shards}, lambda member: member not in dead)


def test_the_phases_follow_from_the_map() -> None:
    zero, one = shard(0, A, B), shard(1, C, A)
    assert phase(zero, one) is Phase.ONGOING
    failed_over = attrs.evolve(zero, primary=B, secondaries=())
    reduced = attrs.evolve(one, secondaries=())
    assert phase(failed_over, reduced) is Phase.USE_SECONDARY
    assert phase(failed_over, attrs.evolve(one, secondaries=(A2,))) is Phase.ONE_SET_COMPLETED
    filled = attrs.evolve(failed_over, secondaries=(A2,))
    assert phase(filled, reduced) is Phase.ONE_SET_COMPLETED
    assert phase(filled, attrs.evolve(one, secondaries=(A2,))) is Phase.ONE_SET_COMPLETED, "not switched back yet"
    back = attrs.evolve(zero, primary=A2, secondaries=(B,))
    assert phase(back, attrs.evolve(one, secondaries=(A2,))) is Phase.DONE
    assert phase(attrs.evolve(zero, lost=True), one) is Phase.FAILED


def test_whole_means_all_preferred_in_sync_and_the_role_where_it_belongs() -> None:
    c = shard(0, A, B)
    assert whole(c, lambda _: True)
    assert not whole(c, lambda member: member != B)
    assert not whole(attrs.evolve(c, learners=(C,)), lambda _: True)
    assert not whole(attrs.evolve(c, lost=True), lambda _: True)
    assert not whole(attrs.evolve(c, preferred=(2, 1)), lambda _: True)
    assert whole(attrs.evolve(c, preferred=(2, 1)), lambda _: True, role_too=False)
    assert not whole(attrs.evolve(c, preferred=()), lambda _: True)


def test_progress_has_a_rate_and_a_time_left() -> None:
    progress = Progress()
    assert progress.seconds_left is None
    for i in range(11):
        progress.report([FillReport(0, A, 100 * i, 2000, 1000 * i)], now=i * 0.2)
    assert progress.records == 1000
    assert progress.records_total == 2000
    assert progress.bytes_sent == 10_000
    assert progress.bytes_per_second == pytest.approx(5000, rel=0.1)
    assert progress.seconds_left == pytest.approx(2, rel=0.1)
    progress.completed(0)
    progress.completed(7)
    assert progress.records == progress.records_total == 2000


def test_reports_that_come_together_do_not_make_a_rate() -> None:
    progress = Progress()
    for i in range(5):
        progress.report([FillReport(0, A, i, 10, i)], now=1.0)
    assert progress.bytes_per_second == 0


def test_an_operation_and_an_event_as_json() -> None:
    running = operation_json(OPERATION, Progress())
    assert running["state"] == "running"
    assert running["phase"] == "ONGOING"
    assert running["started"] == "1970-01-12T13:46:40.000Z"
    assert running["ended"] is None
    done = operation_json(attrs.evolve(OPERATION, phase=Phase.DONE, ended=1_000_001.5), None)
    assert done["state"] == "done"
    assert done["ended"] == "1970-01-12T13:46:41.500Z"
    assert done["seconds_left"] is None
    assert attrs.evolve(OPERATION, phase=Phase.FAILED).state == "failed"
    event = Event(3, 0.0, "server.failed", "gone", server=2)
    assert event.as_json()["time"] == "1970-01-01T00:00:00.000Z"
    assert event.as_json()["server"] == 2
    assert iso(None) is None
