"""A shard's backup at its primary: what a client copies is the shard at one version, whatever is written meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers import ME, A, B, Desk, configuration, primary
from twistedkv.core import backup as module
from twistedkv.core.backup import Pin, lapse
from twistedkv.core.entries import SEVERAL, decode_entries, decode_records, records_of_update
from twistedkv.errors import Status
from twistedkv.limits import (
    BACKUP_PAGE_BYTES,
    BACKUP_PIN_SECONDS_MAX,
    BACKUP_PINNED_BYTES_MAX,
    BACKUP_PINS_MAX,
    LOG_BYTES_MAX,
)
from twistedkv.messages.client import (
    BackupBegin,
    BackupBegun,
    BackupEnd,
    BackupEntries,
    BackupLog,
    BackupPage,
    BackupRecords,
    Delete,
    Put,
    PutMany,
)
from twistedkv.records import is_tombstone, record_value, record_version, sequence_of
from twistedkv.slots import slot_of

KEYS = st.one_of(st.builds(lambda n: b"{a}%d" % n, st.integers(0, 20)), st.binary(min_size=1, max_size=2))


class Copy:
    """A client that copies shard 0, a step at a time."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        begun = self.ask(BackupBegin(0))
        assert isinstance(begun, BackupBegun)
        self.pin, self.got, self.needed = begun.pin, begun.last, begun.last
        self.place: tuple[int, bytes] = (0, b"")
        self.state: dict[bytes, bytes] = {}

    def ask(self, request: Any) -> Any:
        asked = self.desk.ask(request)
        self.desk.ack_all()
        return self.desk.answer(asked)

    @property
    def read(self) -> bool:
        return self.place[0] > 16383

    def page(self) -> None:
        page = self.ask(BackupRecords(*self.place, self.pin, b""))
        assert isinstance(page, BackupPage)
        assert (page.next_slot, page.next_after) > self.place
        self.place = page.next_slot, page.next_after
        self.needed = max(self.needed, page.last)
        self.apply(*decode_records(page.records))

    def log(self) -> int:
        entries = self.ask(BackupLog(0, self.pin, sequence_of(self.got)))
        assert isinstance(entries, BackupEntries)
        for _, key, record, kind, *_ in decode_entries(entries.entries, entries.count):
            self.got = max(self.got, record_version(record))
            self.apply(*(records_of_update(record) if kind == SEVERAL else ([key], [record])))
        return entries.count

    def apply(self, keys: list[bytes], records: list[bytes]) -> None:
        for key, record in zip(keys, records, strict=True):
            if is_tombstone(record):
                self.state.pop(key, None)
            else:
                self.state[key] = record

    def finish(self) -> dict[bytes, bytes]:
        while not self.read:
            self.page()
        while self.got < self.needed:
            assert self.log()
        return {key: record_value(record) for key, record in self.state.items()}


writes = st.one_of(
    st.tuples(st.just("put"), KEYS, st.binary(max_size=30)),
    st.tuples(st.just("delete"), KEYS, st.just(b"")),
    st.tuples(st.just("many"), st.sets(KEYS, min_size=1, max_size=4), st.binary(max_size=30)),
)
steps = st.one_of(writes, st.sampled_from(["page", "log"]))


@given(st.lists(writes, max_size=20), st.lists(steps, max_size=40), st.lists(writes, max_size=3), st.booleans())
def test_a_copy_is_the_shard_at_its_version(before: Any, during: Any, at_the_end: Any, alone: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BACKUP_PAGE_BYTES", 60)
        patch.setattr(module, "BACKUP_LOG_BYTES", 150)
        desk = primary() if alone else primary(A)
        history: dict[int, dict[bytes, bytes]] = {0: {}}
        number = 0

        def write(kind: str, what: Any, value: bytes) -> None:
            nonlocal number
            number += 1
            state = dict(history[desk.replica.sequence])
            if kind == "put":
                desk.ask(Put(number, number, 0, what, value))
                state[what] = value
            elif kind == "delete":
                desk.ask(Delete(number, number, 0, what))
                state.pop(what, None)
            else:
                keys = sorted(what)
                desk.ask(PutMany(number, number, 0, slot_of(keys[0]), keys, [value] * len(keys)))
                state.update(dict.fromkeys(keys, value))
            history[desk.replica.sequence] = state

        for each in before:
            write(*each)
        desk.ack_all()
        copy = Copy(desk)
        for step in during:
            if step == "log":
                copy.log()
            elif step == "page":
                if not copy.read:
                    copy.page()
            else:
                write(*step)
        while not copy.read:
            copy.page()
        for each in at_the_end:
            write(*each)
        assert copy.finish() == history[sequence_of(copy.got)]
        assert copy.got >= copy.needed
        copy.ask(BackupEnd(0, copy.pin))
        assert not desk.replica.pins


def test_what_is_not_committed_does_not_leave() -> None:
    desk = primary(A)
    copy = Copy(desk)
    desk.put(1)
    page = desk.ask(BackupRecords(0, b"", copy.pin, b""))
    entries = desk.ask(BackupLog(0, copy.pin, 0))
    begin = desk.ask(BackupBegin(0))
    assert [desk.answer(asked) for asked in (page, entries, begin)] == [None] * 3
    desk.ack(A)
    assert isinstance(desk.answer(page), BackupPage)
    assert desk.answer(entries).count == 1
    assert isinstance(desk.answer(begin), BackupBegun)


def test_the_log_is_kept_for_a_backup_and_for_nobody_else() -> None:
    desk = primary(A)
    desk.put(1)
    desk.ack_all()
    copy = Copy(desk)
    for number in (2, 3):
        desk.put(number)
        desk.ack_all()
    assert desk.replica.log.trimmed == 1
    copy.log()
    copy.log()  # tells that it has what it got
    desk.put(4)
    desk.ack_all()
    assert desk.replica.log.trimmed == 3
    copy.ask(BackupEnd(0, copy.pin))
    desk.put(5)
    desk.ack_all()
    assert not desk.replica.log.bytes


def test_a_request_that_is_sent_again_gets_the_same_again() -> None:
    desk = primary(A)
    copy = Copy(desk)
    for number in (1, 2):
        desk.put(number)
        desk.ack_all()
    asked = BackupLog(0, copy.pin, 0)
    assert copy.ask(asked) == copy.ask(asked)
    assert isinstance(copy.ask(BackupLog(0, copy.pin, 1)), BackupEntries)
    desk.put(3)
    desk.ack_all()
    assert copy.ask(asked).status == Status.LAPSED  # that is not kept any more


def test_who_asks_for_nothing_lapses() -> None:
    desk = primary(A)
    copy = Copy(desk)
    desk.tick(BACKUP_PIN_SECONDS_MAX * 0.9)
    desk.ack_all()
    copy.page()
    desk.tick(BACKUP_PIN_SECONDS_MAX * 0.9)
    desk.ack_all()
    assert copy.log() == 0
    desk.tick(BACKUP_PIN_SECONDS_MAX + 1)
    desk.ack_all()
    assert copy.ask(BackupLog(0, copy.pin, 0)).status == Status.LAPSED
    assert copy.ask(BackupRecords(0, b"", copy.pin, b"")).status == Status.LAPSED
    assert copy.ask(BackupEnd(0, copy.pin)).status == Status.SUCCESS


def test_a_log_that_is_too_long_ends_backups_before_it_ends_a_fill() -> None:
    pins = {1: Pin(0, 100.0), 2: Pin(0, 101.0)}
    lapse(pins, 101.0, BACKUP_PINNED_BYTES_MAX)
    assert len(pins) == 2
    lapse(pins, 101.0, BACKUP_PINNED_BYTES_MAX + 1)
    assert not pins
    assert BACKUP_PINNED_BYTES_MAX < LOG_BYTES_MAX


def test_a_primary_with_a_long_log_forgets_its_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKUP_PINNED_BYTES_MAX", 1000)
    desk = primary(A)
    copy = Copy(desk)
    desk.put(1, b"k", bytes(2000))
    desk.ack_all()
    desk.tick(0.05)
    desk.put(2)
    desk.ack_all()
    assert not desk.replica.log.bytes
    assert copy.ask(BackupLog(0, copy.pin, 0)).status == Status.LAPSED


def test_there_are_not_too_many_of_one_shard() -> None:
    desk = primary()
    copies = [Copy(desk) for _ in range(BACKUP_PINS_MAX)]
    assert len({copy.pin for copy in copies}) == BACKUP_PINS_MAX
    assert desk.status(desk.ask(BackupBegin(0))) is Status.LAPSED
    copies[0].ask(BackupEnd(0, copies[0].pin))
    Copy(desk)


def test_a_new_primary_knows_of_no_backup_and_one_that_stays_does() -> None:
    desk = primary(A, B)
    copy = Copy(desk)
    epoch = desk.replica.epoch
    desk.adopt(configuration(epoch + 1, ME, [A]))
    desk.ack_all()
    assert copy.log() == 0
    desk.adopt(configuration(epoch + 2, A, [ME]))
    assert not desk.replica.pins
    assert desk.status(desk.ask(BackupLog(0, copy.pin, 0))) is Status.WRONG_SERVER
    desk.adopt(configuration(epoch + 3, ME, [A], released=True))
    desk.ack_all()
    assert copy.ask(BackupLog(0, copy.pin, 0)).status == Status.LAPSED
    assert Copy(desk).pin != copy.pin


def test_a_log_position_that_is_ahead_is_of_another_history() -> None:
    desk = primary()
    copy = Copy(desk)
    assert copy.ask(BackupLog(0, copy.pin, 5)).status == Status.LAPSED


def test_records_alone_by_prefix() -> None:
    desk = primary()
    for number, key in enumerate((b"{a}x", b"{a}y", b"b", b"{a}z"), 1):
        desk.put(number, key, bytes(BACKUP_PAGE_BYTES // 2))
    found: list[bytes] = []
    place = 0, b""
    pages = 0
    while place[0] <= 16383:
        page = desk.answer(desk.ask(BackupRecords(*place, 0, b"{a}")))
        assert isinstance(page, BackupPage)
        place = page.next_slot, page.next_after
        found += decode_records(page.records)[0]
        pages += 1
    assert found == [b"{a}x", b"{a}y", b"{a}z"]
    assert pages <= 4
    assert not desk.replica.pins


def test_a_page_looks_at_so_many_keys_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXAMINED_KEYS_MAX", 5)
    desk = primary()
    for number in range(1, 31):
        desk.put(number, b"{a}%02d" % number, b"v")
    page = desk.answer(desk.ask(BackupRecords(0, b"", 0, b"none")))
    assert isinstance(page, BackupPage)
    assert page.next_slot == 16384
    monkeypatch.setattr(module, "BACKUP_PAGE_BYTES", 10)
    copy = Copy(desk)
    for number in range(31, 61):
        desk.ask(Delete(number, number, 0, b"{a}%02d" % (number - 30)))
    assert copy.finish() == {}
