"""What recorded clients write down: outcomes as they were told, unknown ones as unknown, a new name after each."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock

from twistedkv.errors import NotDone, OutcomeUnknown, VersionMismatch
from twistedkv.history.record import FOREVER, Record
from twistedkv.recording.history import History, version
from twistedkv.recording.lanes import Habits, Lane, read_all
from twistedkv.records import version_of


class Scripted:
    """A client that answers everything in the same way."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def _answer(self, *_: Any, **__: Any) -> Any:
        return fail(self.answer) if isinstance(self.answer, Exception) else succeed(self.answer)

    get = put = cas = incr = delete = _answer


def recorded(answer: Any, habits: Habits, operations: int = 40) -> list[Record]:
    clock = Clock()
    ended: list[Record] = []
    history = History(lambda: round(clock.seconds() * 1e9), ended.append)
    client: Any = Scripted(answer)
    lane = Lane(history, habits, client, clock, random.Random(1), lambda: len(history.records) >= operations)
    running = ensureDeferred(lane.run())
    clock.pump([0.1] * 10 * operations)
    assert running.called
    assert ended == history.records
    return ended


def test_outcomes_that_nobody_knows_stay_open_and_their_process_is_not_seen_again() -> None:
    records = recorded(OutcomeUnknown("lost"), Habits(reads=0.0))
    assert {(r.result, r.returned) for r in records} == {("info", FOREVER)}
    assert len({r.process for r in records}) == len(records)


def test_what_was_not_done_is_said_to_have_failed() -> None:
    records = recorded(NotDone("no"), Habits(reads=0.5))
    assert {r.result for r in records} == {"fail"}
    assert len({r.process for r in records}) == 1
    assert all(r.returned >= r.call for r in records)


def test_a_mismatch_names_the_version_that_was_found() -> None:
    clock = Clock()
    history = History(lambda: 0)
    client: Any = Scripted(version_of(1, 1))
    lane = Lane(history, Habits(reads=0.0), client, clock, random.Random(1), lambda: False)
    ensureDeferred(lane._do("r0.1", "write", 1.0))
    client.answer = VersionMismatch("other", found=version_of(2, 3))
    ensureDeferred(lane._do("r0.1", "cas", 1.0))
    [wrote, compared] = history.records
    assert (wrote.result, wrote.version) == ("ok", (1, 1))
    assert (compared.result, compared.mismatch, compared.version) == ("fail", True, (2, 3))
    assert compared.args == [wrote.value, "1-2"]
    assert compared.expected == (1, 1)


def test_reads_that_were_never_answered_are_left_out_and_writes_are_not() -> None:
    history = History(lambda: 0)
    history.begin(1, "a", "read", [])
    history.begin(2, "b", "write", ["x"])
    history.end(history.begin(3, "a", "read", []), "ok")
    assert [record.process for record in history.relevant] == [2, 3]
    assert history.keys() == ["a", "b"]


def test_the_last_reads_are_of_every_key() -> None:
    history = History(lambda: 0)
    waiting: Deferred[Any] = Deferred()
    client: Any = Scripted(None)
    ensureDeferred(read_all(client, history, ["r0.0", "c0.6"])).chainDeferred(waiting)
    assert waiting.called
    assert [(r.key, r.result, r.version) for r in history.records] == [("r0.0", "ok", None), ("c0.6", "ok", None)]
    assert version(None) is None


def test_keys_are_left_after_a_round() -> None:
    habits = Habits(reads=1.0, registers=3, counters=1, operations_per_round=10)
    keys = [record.key for record in recorded(NotDone("no"), habits)]
    assert {key.split(".")[0][1:] for key in keys[:10]} == {"0"}
    assert {key.split(".")[0][1:] for key in keys[10:20]} == {"1"}
    assert {key[0] + key.split(".")[1] for key in keys} == {"r0", "r1", "r2", "c3"}
