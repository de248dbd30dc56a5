"""Filling a learner: what arrives equals the source, whatever breaks and whatever is written meanwhile."""

from __future__ import annotations

from contextlib import suppress

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.servers import (
    A,
    B,
    Desk,
    Pair,
    configuration,
    entry_of_several,
    member,
    primary,
    recoded,
    section,
    small_keys,
)
from twistedkv.core import transfer as module
from twistedkv.core.entries import encode_records
from twistedkv.core.transfer import FillSource, receive_fill
from twistedkv.errors import ProtocolError, Status
from twistedkv.limits import FILL_WINDOW_CHUNKS
from twistedkv.messages.client import Delete, Put
from twistedkv.messages.coordinator import ReplicaRole, UpdatedSecondary
from twistedkv.messages.peer import BeginFill, FillAck, FillChunk, FillEnd, FillKind, FillSessions, Section
from twistedkv.records import TOMBSTONE, make_record, version_of
from twistedkv.wire.frames import RETRY


def chunk(*records: tuple[bytes, bytes], fill: int = 9, number: int = 1) -> FillChunk:
    """A chunk of shard 0 with these (key, record)."""
    packed = encode_records([key for key, _ in records], [record for _, record in records])
    return FillChunk(0, fill, number, len(records), packed)


def mangled(data: bytes) -> st.SearchStrategy[bytes]:
    """These bytes, one of them changed."""
    return st.builds(
        lambda at, byte: data[:at] + bytes([byte]) + data[at + 1 :],
        st.integers(0, len(data) - 1),
        st.sampled_from([0, 1, 2, 3, 255]) | st.integers(0, 255),
    )


def learner(fill: int = 9, start: int = 0, epoch: int = 3) -> Desk:
    """A core that takes part in a fill by A."""
    desk = Desk()
    desk.adopt(configuration(epoch, A, (B,), (desk.core.me,)))
    desk.core.begin_fill(BeginFill(0, epoch, FillKind.FROM_NOTHING, fill, start))
    return desk


def filling(pair: Pair) -> FillSource:
    """Server 2 becomes a learner of server 1, and the fill is about to be streamed."""
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, learners=(pair.desks[2].core.me,)))
    [source] = pair.serving.core.wanted_fills()
    return source


def add_filled(pair: Pair) -> None:
    """The coordinator takes the learner that it was asked to take."""
    now = pair.configuration
    pair.settle()
    assert UpdatedSecondary(0, now.epoch, now.learners[0]) in pair.serving.told_of(UpdatedSecondary)
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, secondaries=now.learners, learners=()))


# The whole way.

TAG = b"{%s}" % small_keys(1)[0]
KEYS = st.sampled_from([TAG + b"%d" % n for n in range(6)] + small_keys(6))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=30)),
        st.tuples(st.just("delete"), KEYS, st.none()),
        st.tuples(st.just("chunk"), st.integers(1, 3), st.none()),
        st.tuples(st.just("transfer lost"), st.none(), st.none()),
        st.tuples(st.just("peer lost"), st.none(), st.none()),
    ),
    max_size=40,
)


@example({}, [("put", TAG + b"0", b""), ("peer lost", None, None)], 1)  # acknowledged up to 0 is not unheard of
@given(st.dictionaries(KEYS, st.binary(max_size=30)), STEPS, st.integers(1, 4))
def test_the_learner_equals_the_source(before, steps, chunk_bytes):
    """With writes, deletions and lost connections of both kinds, at any place, in chunks of a record or two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FILL_CHUNK_BYTES", chunk_bytes * 20)
        pair = Pair(servers=2, copies=1)
        number = 0
        for key, value in before.items():
            number += 1
            pair.serving.put(number, key, value)
        filling(pair)
        for what, argument, value in steps:
            number += what in ("put", "delete")
            sources = pair.serving.core.wanted_fills()
            if what == "put":
                pair.serving.put(number, argument, value)
            elif what == "delete":
                pair.serving.ask(Delete(number, 1, 0, argument))
            elif what == "chunk":
                for source in sources:
                    pair.stream(source, chunks=argument)
            elif what == "transfer lost":
                for source in sources:
                    source.connection_lost()
            else:
                pair.lose_connection(pair.desks[2].core.me)
            if what != "put" or len(value) % 2:  # else some of it is still on its way
                pair.settle()
        pair.settle()
        for source in pair.serving.core.wanted_fills():
            assert pair.stream(source)
        add_filled(pair)
        pair.pass_time(1.0)  # a beacon tells the commit, with which tombstones go
        source, target = pair.desks[1], pair.desks[2]
        assert target.role is ReplicaRole.SECONDARY
        assert target.contents == source.contents
        assert not any(record[8] & TOMBSTONE for record in target.contents.values())
        assert target.replica.last == source.replica.last
        for each in range(1, number + 1):
            assert target.replica.dedup.find(bytes([7]) * 16, each, 0, True) == source.replica.dedup.find(
                bytes([7]) * 16, each, 0, True
            )


def test_a_learner_that_was_added_answers_retries_of_writes_from_before_it():
    """I12: the dedup table is streamed too."""
    pair = Pair(servers=2, copies=1)
    [key] = small_keys(1)
    first = pair.serving.put(1, key)
    pair.stream(filling(pair))
    add_filled(pair)
    version = pair.serving.answer(first).version
    pair.kill(1)
    sealed = pair.desks[2].seal(9)
    assert sealed.holds
    pair.publish(configuration(9, pair.desks[2].core.me, released=True))
    again = pair.serving.ask(Put(1, 1, 0, key, b"v"), RETRY)
    assert pair.serving.answer(again).version == version


# The source.


def test_at_most_a_window_of_chunks_is_under_way(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FILL_CHUNK_BYTES", 1)
    pair = Pair(servers=2, copies=1)
    for number, key in enumerate(small_keys(2 * FILL_WINDOW_CHUNKS), 1):
        pair.serving.put(number, key)
    source = filling(pair)
    sent = []
    while (message := source.next_message()) is not None:
        sent.append(message)
    assert [message.number for message in sent] == list(range(1, FILL_WINDOW_CHUNKS + 1))
    source.acknowledged(FillAck(0, source.fill, 3, False), 100.0)
    assert [source.next_message().number for _ in range(3)] == [FILL_WINDOW_CHUNKS + n for n in (1, 2, 3)]
    assert source.next_message() is None
    assert not source.ended
    report = source.report()
    assert (report.records, report.records_total) == (FILL_WINDOW_CHUNKS + 3, 2 * FILL_WINDOW_CHUNKS)


def test_the_fill_ends_when_the_end_is_acknowledged_and_not_before():
    desk = primary(learners=[B])
    desk.put(1)
    [source] = desk.core.wanted_fills()
    kinds = []
    while (message := source.next_message()) is not None:
        kinds.append((type(message), message.number))
    assert [kind for kind, _ in kinds] == [FillChunk, FillSessions, FillEnd]
    source.acknowledged(FillAck(0, source.fill, 2, False), desk.now)
    assert not desk.follower(B).counted
    source.acknowledged(FillAck(0, source.fill + 1, 3, False), desk.now)
    assert not desk.follower(B).counted, "an acknowledgement of another fill counted"
    source.acknowledged(FillAck(0, source.fill, 3, False), desk.now)
    assert desk.follower(B).counted
    assert source.ended


def test_a_source_is_current_only_for_its_own_attempt():
    desk = primary(learners=[B])
    [source] = desk.core.wanted_fills()
    assert source.current
    source.acknowledged(FillAck(0, source.fill, 0, True), desk.now)
    desk.flush()
    assert not source.current
    assert desk.core.wanted_fills() == [], "nothing is streamed before the learner has begun the new fill"
    desk.ack(B)
    [again] = desk.core.wanted_fills()
    assert again.fill != source.fill
    desk.adopt(configuration(4, desk.core.me, birth=3))
    assert not again.current
    assert desk.core.fills == {}


def test_a_lost_connection_goes_back_to_the_slot_that_was_not_acknowledged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FILL_CHUNK_BYTES", 1)
    desk = primary(learners=[B])
    keys = [b"{t}%d" % n for n in range(4)]
    for number, key in enumerate(keys, 1):
        desk.put(number, key)
    [source] = desk.core.wanted_fills()
    for _ in range(3):
        assert isinstance(source.next_message(), FillChunk)
    source.acknowledged(FillAck(0, source.fill, 1, False), desk.now)
    source.connection_lost()
    seen = b""
    while isinstance(message := source.next_message(), FillChunk):
        seen += message.records
    assert all(key in seen for key in keys)


# The learner.


def test_a_chunk_of_another_fill_is_refused_and_not_stored():
    """I11: a late chunk of an older attempt, or of a deposed primary."""
    desk = learner(fill=9)
    late = chunk((b"k", make_record(5, 0, b"late")), fill=8)
    assert desk.core.fill_received(late) == FillAck(0, 8, 1, True)
    assert desk.value(b"k") is None
    sessions = FillSessions(0, 8, 2, bytes(7) + b"\x09")
    assert desk.core.fill_received(sessions).refused
    assert desk.replica.dedup.horizon == 0
    assert desk.core.fill_received(FillEnd(0, 8, 3)).refused
    assert desk.core.fill_received(chunk((b"k", make_record(5, 0, b"now")))) == FillAck(0, 9, 1, False)
    assert desk.value(b"k") == make_record(5, 0, b"now")


@pytest.mark.parametrize("role", ["none", "secondary", "unknown shard"])
def test_nobody_but_the_learner_takes_chunks(role):
    desk = learner(fill=9)
    if role == "none":
        desk.adopt(configuration(4, A, (B,)))
    elif role == "secondary":
        desk.adopt(configuration(4, A, (B, desk.core.me)))
    message = chunk((b"k", make_record(5, 0, b"late")))
    if role == "unknown shard":
        assert receive_fill(None, message).refused
    else:
        assert desk.core.fill_received(message).refused
    assert desk.value(b"k") is None


def test_a_streamed_record_does_not_replace_a_newer_one_nor_bring_back_a_deleted_key():
    """I11: the two connections have no common order."""
    desk = learner(fill=9, start=version_of(2, 4))
    assert desk.replicate(section(3, 5, (b"written", b"new"), (b"deleted", None), commit=6)) == []
    desk.core.fill_received(
        chunk(
            (b"written", make_record(version_of(2, 1), 0, b"old")),
            (b"deleted", make_record(version_of(2, 2), 0, b"old")),
            (b"other", make_record(version_of(2, 3), 0, b"old")),
        )
    )
    assert desk.value(b"written") == make_record(version_of(3, 5), 0, b"new")
    assert desk.value(b"deleted") == make_record(version_of(3, 6), TOMBSTONE, b"")
    assert desk.value(b"other") == make_record(version_of(2, 3), 0, b"old")


def test_an_update_that_comes_after_its_streamed_record_does_not_go_back():
    """I11, the other way round: the stream was ahead of the log."""
    desk = learner(fill=9, start=0)
    desk.core.fill_received(chunk((b"k", make_record(version_of(3, 2), 0, b"second"))))
    assert desk.replicate(section(3, 1, (b"k", b"first"))) == []
    assert desk.value(b"k") == make_record(version_of(3, 2), 0, b"second")
    assert desk.replicate(section(3, 2, (b"k", b"second"))) == []
    assert desk.value(b"k") == make_record(version_of(3, 2), 0, b"second")


def test_a_learner_that_missed_its_membership_and_is_made_primary_keeps_no_tombstone():
    desk = learner(epoch=3)
    assert desk.replicate(section(3, 1, (b"k", None), commit=1)) == []
    desk.now += 10
    desk.adopt(configuration(5, desk.core.me, released=True))
    desk.flush()
    assert desk.role is ReplicaRole.PRIMARY
    assert desk.value(b"k") is None


def test_tombstones_stay_until_the_learner_is_a_member_and_go_then():
    desk = learner(fill=9)
    assert desk.replicate(section(3, 1, (b"k", None), commit=1)) == []
    assert desk.value(b"k") is not None
    desk.adopt(configuration(4, A, (desk.core.me,)))
    assert desk.value(b"k") is None


@given(st.binary(max_size=60) | mangled(chunk((b"a", bytes(9)), (b"b", bytes(10))).records), st.integers(0, 3))
def test_any_chunk_is_stored_or_a_protocol_error(records, count):
    desk = learner(fill=9)
    with suppress(ProtocolError):
        desk.core.fill_received(FillChunk(0, 9, 1, count, records))
    for record in desk.contents.values():
        assert len(record) >= 9


@given(st.data())
def test_a_chunk_that_is_cut_short_is_a_protocol_error(data):
    whole = chunk((b"a", make_record(1, 0, b"1")), (b"b", make_record(2, 0, b"2")))
    cut = data.draw(st.integers(0, len(whole.records) - 1))
    desk = learner(fill=9)
    with pytest.raises(ProtocolError):
        desk.core.fill_received(attrs.evolve(whole, records=whole.records[:cut]))
    assert desk.contents == {}, "nor is any part of it stored"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_chunk_with_more_or_fewer_records_than_it_announces_is_a_protocol_error(count):
    whole = chunk((b"a", make_record(1, 0, b"1")), (b"b", make_record(2, 0, b"2")))
    desk = learner(fill=9)
    with pytest.raises(ProtocolError, match="announced"):
        desk.core.fill_received(attrs.evolve(whole, count=count))
    assert desk.contents == {}


def test_a_chunk_that_names_a_key_twice_is_a_protocol_error():
    """Which of the two is newer, nobody would look at."""
    desk = learner(fill=9)
    with pytest.raises(ProtocolError):
        desk.core.fill_received(chunk((b"a", make_record(2, 0, b"2")), (b"a", make_record(1, 0, b"1"))))
    assert desk.contents == {}


@given(
    st.lists(st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 20), min_size=1), max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_of_each_key_the_newest_record_stays_however_they_come(batches, streamed):
    """I11, for records that come together: in a chunk, or in an update of several."""
    desk = learner(fill=9)
    newest: dict[bytes, int] = {}
    for number, (versions, from_stream) in enumerate(zip(batches, streamed, strict=False), 1):
        if from_stream:
            whole = chunk(*((key, make_record(version, 0, b"%d" % version)) for key, version in versions.items()))
            assert not desk.core.fill_received(whole).refused
        else:
            logged = version_of(0, desk.replica.sequence + 1)
            entry = entry_of_several(logged, dict.fromkeys(versions, b"%d" % logged), number)
            assert desk.replicate(Section(0, 3, 0, logged, 1, entry)) == []
        for key, version in versions.items():
            newest[key] = max(version if from_stream else logged, newest.get(key, 0))
    assert desk.contents == {key: make_record(version, 0, b"%d" % version) for key, version in newest.items()}


def test_a_learner_with_a_store_of_its_own_begins_from_nothing():
    """I9: the process was started again while it was filled; the old member's chunks are not for it."""
    pair = Pair(servers=2, copies=1)
    one, two = small_keys(2)
    pair.serving.put(1, one)
    source = filling(pair)
    message = source.next_message()
    pair.kill(2)
    pair.start(2)
    assert pair.desks[2].core.fill_received(recoded(message)).refused
    now = pair.configuration
    pair.publish(attrs.evolve(now, epoch=now.epoch + 1, learners=(member(2, 2),)))
    assert not source.current
    [again] = pair.serving.core.wanted_fills()
    assert pair.stream(again)
    add_filled(pair)
    assert pair.desks[2].contents == pair.desks[1].contents
    assert pair.serving.status(pair.serving.put(2, two)) is None, "it has to be acknowledged by the new member"
    pair.settle()
    assert pair.serving.status(pair.serving.asked) is Status.SUCCESS
