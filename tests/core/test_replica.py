"""One copy of a shard: its rules one by one, and every event in every role, with what must hold whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.servers import (
    HEARTBEAT,
    ME,
    TIMING,
    A,
    B,
    C,
    Desk,
    configuration,
    entry,
    entry_of_several,
    member,
    primary,
    secondary,
    section,
)
from twistedkv.core import replica as module
from twistedkv.core.dedup import Lookup
from twistedkv.core.entries import encode_records
from twistedkv.errors import ProtocolError, Status
from twistedkv.limits import PARKED_REQUESTS_MAX
from twistedkv.messages.client import Cas, Delete, Get, GetMany, Incr, Put, PutMany, Scan
from twistedkv.messages.coordinator import ReplicaRole, SwitchPrimary
from twistedkv.messages.peer import (
    Ack,
    BeginFill,
    FillAck,
    FillChunk,
    FillEnd,
    FillKind,
    Refusal,
    RefusedSection,
    Section,
)
from twistedkv.records import TOMBSTONE, make_record, record_version, sequence_of, version_of
from twistedkv.slots import slot_of
from twistedkv.wire.frames import RETRY

# As secondary.


def test_an_old_epoch_is_refused():
    """I2: whoever it comes from, and whatever it brings."""
    desk = secondary((b"k", b"1"))
    [refused] = desk.replicate(section(2, 2, (b"k", b"old")))
    assert refused == RefusedSection(0, Refusal.OLD_EPOCH, 3, 1)
    assert desk.replica.sequence == 1
    desk.seal(7)
    [refused] = desk.replicate(section(3, 2, (b"k", b"old")))
    assert refused == RefusedSection(0, Refusal.OLD_EPOCH, 7, 1)
    assert desk.value(b"k") == make_record(version_of(3, 1), 0, b"1")


def test_a_follower_waits_for_its_primary_to_tell_a_configuration_that_keeps_it():
    """Else it would refuse what the primary sent before it had heard itself, and so depose it."""
    desk = secondary((b"k", b"1"))
    desk.hear(configuration(4, A, [ME], learners=[B], birth=3))
    assert desk.replicate(section(3, 2, (b"k", b"2"))) == []
    desk.adopt(configuration(4, A, [ME], learners=[B], birth=3))
    assert desk.replica.epoch == 4
    [refused] = desk.replicate(section(3, 3, (b"k", b"3")))
    assert refused.refusal is Refusal.OLD_EPOCH


def test_a_primary_that_tells_nothing_is_waited_for_no_longer_than_a_heartbeat():
    desk = secondary((b"k", b"1"))
    desk.hear(configuration(4, A, [], learners=[B], birth=3))
    desk.tick(HEARTBEAT / 2)
    desk.hear(configuration(5, A, [B], birth=3))
    assert desk.role is ReplicaRole.SECONDARY
    desk.tick(HEARTBEAT)
    assert (desk.role, desk.replica.epoch) == (ReplicaRole.NONE, 5)
    assert desk.value(b"k") is None


def test_a_configuration_with_another_primary_is_adopted_at_once():
    desk = secondary((b"k", b"1"))
    desk.hear(configuration(4, B, [ME], birth=3))
    assert desk.replica.epoch == 4


def test_a_seal_comes_after_what_was_heard_before_it():
    """A learner that was added holds the shard, although its primary died before it could say so."""
    desk = secondary((b"k", b"1"))
    desk.adopt(configuration(4, A, learners=[ME], birth=3))
    desk.core.begin_fill(BeginFill(0, 4, FillKind.FROM_NOTHING, 7, version_of(3, 1)))
    desk.hear(configuration(5, A, [ME], birth=3))
    assert desk.role is ReplicaRole.LEARNER
    sealed = desk.seal(6)
    assert (sealed.holds, sealed.last) == (True, version_of(3, 1))
    assert desk.role is ReplicaRole.SEALED


def test_an_epoch_whose_configuration_has_not_come_is_refused():
    desk = secondary((b"k", b"1"))
    [refused] = desk.replicate(section(4, 2, (b"k", b"2")))
    assert refused.refusal is Refusal.NOT_A_MEMBER
    assert desk.replica.epoch == 3


def test_a_gap_is_refused_and_a_duplicate_skipped():
    """I4."""
    desk = secondary((b"j", b"1"), (b"k", b"2"))
    [refused] = desk.replicate(section(3, 4, (b"k", b"4")))
    assert refused == RefusedSection(0, Refusal.GAP, 3, 2)
    # Other values, so that an execution of the duplicates would be seen.
    assert desk.replicate(section(3, 1, (b"j", b"wrong"), (b"k", b"wrong"), (b"k", b"3"))) == []
    assert desk.replicate(section(3, 1, (b"j", b"wrong"))) == []
    assert desk.value(b"j") == make_record(version_of(3, 1), 0, b"1")
    assert desk.value(b"k") == make_record(version_of(3, 3), 0, b"3")
    assert desk.replica.sequence == 3


def test_a_duplicate_is_not_remembered_twice():
    desk = secondary()
    put = entry(version_of(3, 1), b"k", b"1", number=5, client=b"c" * 16)
    desk.replicate(Section(0, 3, 0, 1, 1, put))
    other = entry(version_of(3, 1), b"k", b"1", number=6, client=b"c" * 16)
    desk.replicate(Section(0, 3, 0, 1, 1, other))
    assert desk.replica.dedup.find(b"c" * 16, 6, 0, False) is Lookup.NEW


def test_results_are_remembered_with_the_entries_that_had_them():
    """I12: on every member."""
    desk = secondary()
    client = b"c" * 16
    entries = entry(version_of(3, 1), b"k", b"1", 5, client)
    entries += entry(version_of(3, 2), b"n", b"017", 6, client, reply=b":17\r\n")
    desk.replicate(Section(0, 3, 0, 1, 2, entries))
    assert desk.replica.dedup.find(client, 5, 0, True) == version_of(3, 1)
    assert desk.replica.dedup.find(client, 6, 0, True) == (version_of(3, 2), b":17\r\n")


def test_an_entry_at_the_wrong_place_is_a_protocol_error():
    desk = secondary((b"k", b"1"))
    wrong = entry(version_of(3, 7), b"k", b"2")
    with pytest.raises(ProtocolError):
        desk.replicate(Section(0, 3, 0, 2, 1, wrong))
    assert desk.replica.sequence == 1


def test_the_commit_is_never_ahead_of_the_log():
    desk = secondary((b"k", b"1"))
    desk.replicate(section(3, 2, commit=99))
    assert desk.replica.commit == 1


def test_tombstones_go_with_the_commit_and_not_before():
    desk = secondary((b"k", b"1"), (b"k", None))
    assert desk.value(b"k") == make_record(version_of(3, 2), TOMBSTONE, b"")
    desk.replicate(section(3, 3, commit=1))
    assert desk.value(b"k") is not None
    desk.replicate(section(3, 3, commit=2))
    assert desk.value(b"k") is None


def test_a_large_turn_is_cut_into_several_chunks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "REPLICATE_BYTES_TARGET", 250)
    desk = primary(A)
    for number in range(1, 8):
        desk.put(number, value=bytes(40), flush=False)
    desk.put(8, value=bytes(1000), flush=False)
    desk.put(9, flush=False)
    desk.flush()
    parts = [part for part in desk.sections_to(A) if part.count]
    assert len(parts) > 3
    assert [part.first for part in parts] == [1, *(part.first + part.count for part in parts[:-1])]
    assert sum(part.count for part in parts) == 9
    desk.ack(A)
    assert desk.replica.commit == 9


# Identity and membership.


def test_a_configuration_with_another_store_of_this_server_drops_the_data():
    """I9: it means a process that came after or before this one."""
    desk = secondary((b"k", b"1"))
    desk.adopt(configuration(4, A, [member(ME.server_id, 2)], birth=3))
    assert desk.role is ReplicaRole.NONE
    assert (desk.value(b"k"), desk.replica.last, desk.core.store.keys) == (None, 0, 0)
    assert not desk.seal(9).holds


def test_a_configuration_without_this_server_drops_the_data():
    """I9: it is filled from nothing if it comes back."""
    desk = secondary((b"k", b"1"))
    desk.adopt(configuration(4, A, [B], birth=3))
    assert desk.role is ReplicaRole.NONE
    desk.adopt(configuration(5, A, [B], [ME], birth=3))
    assert desk.role is ReplicaRole.LEARNER
    assert desk.core.store.keys == 0


def test_only_this_shards_data_is_dropped():
    desk = Desk()
    one = configuration(3, A, [ME], slots=(0, 8191))
    two = configuration(3, A, [ME], shard=1, slots=(8192, 16383))
    desk.adopt(one, two)
    assert (slot_of(b"b"), slot_of(b"a")) == (3300, 15495)
    desk.replicate(section(3, 1, (b"b", b"1")), attrs.evolve(section(3, 1, (b"a", b"1")), shard=1))
    assert desk.core.store.keys == 2
    desk.adopt(attrs.evolve(one, epoch=4, secondaries=()), two)
    assert (desk.value(b"b"), desk.core.store.keys) == (None, 1)


def test_a_shard_that_is_born_again_is_empty():
    desk = secondary((b"k", b"1"))
    desk.adopt(configuration(8, ME, birth=8, released=True))
    assert desk.role is ReplicaRole.PRIMARY
    assert (desk.value(b"k"), desk.replica.last) == (None, 0)


def test_a_copy_that_is_being_filled_does_not_hold_the_shard():
    """I10: it is not promoted, whatever it says of its log."""
    desk = Desk()
    desk.adopt(configuration(3, A, [B], [ME]))
    desk.core.begin_fill(BeginFill(0, 3, FillKind.FROM_NOTHING, 9, version_of(2, 50)))
    sealed = desk.seal(7)
    assert not sealed.holds
    assert desk.role is ReplicaRole.LEARNER
    assert desk.replicate(section(3, 51, (b"k", b"1")))[0].refusal is Refusal.OLD_EPOCH


def test_a_learner_refuses_what_comes_before_its_fill_has_begun():
    desk = Desk()
    desk.adopt(configuration(3, A, [B], [ME]))
    assert desk.replicate(section(3, 1, (b"k", b"1")))[0].refusal is Refusal.NOT_A_MEMBER
    desk.core.begin_fill(BeginFill(0, 2, FillKind.FROM_NOTHING, 9, 0))
    assert desk.replicate(section(3, 1, (b"k", b"1")))[0].refusal is Refusal.NOT_A_MEMBER
    desk.core.begin_fill(BeginFill(0, 3, FillKind.FROM_NOTHING, 9, 0))
    assert desk.replicate(section(3, 1, (b"k", b"1"))) == []


def test_a_new_fill_begins_from_nothing():
    desk = Desk()
    desk.adopt(configuration(3, A, [B], [ME]))
    desk.core.begin_fill(BeginFill(0, 3, FillKind.FROM_NOTHING, 9, 0))
    desk.replicate(section(3, 1, (b"k", b"1"), (b"k", None)))
    desk.core.begin_fill(BeginFill(0, 3, FillKind.FROM_NOTHING, 10, version_of(3, 7)))
    assert (desk.core.store.keys, desk.replica.last, desk.replica.fill) == (0, version_of(3, 7), 10)
    assert desk.replicate(section(3, 8, (b"k", b"8"))) == []


def test_a_fill_is_not_begun_by_a_member():
    desk = secondary((b"k", b"1"))
    desk.core.begin_fill(BeginFill(0, 3, FillKind.FROM_NOTHING, 9, 0))
    assert desk.value(b"k") is not None


# Sealing.


def test_what_is_sealed_stays_sealed_until_a_configuration_of_that_epoch():
    """I14."""
    desk = secondary((b"k", b"1"))
    assert desk.seal(7).last == version_of(3, 1)
    assert desk.role is ReplicaRole.SEALED
    for epoch in (3, 4, 6):
        desk.adopt(configuration(epoch, A, [ME], birth=3))
        desk.replica.configure(configuration(epoch, A, [ME], birth=3), desk.now)
        assert (desk.role, desk.replica.epoch) == (ReplicaRole.SEALED, 7)
        assert desk.replicate(section(epoch, 2, (b"k", b"2"))) != []
    assert desk.replicate(section(7, 2, (b"k", b"2")))[0].refusal is Refusal.NOT_A_MEMBER
    desk.adopt(configuration(7, A, [ME], birth=3))
    assert desk.role is ReplicaRole.SECONDARY
    assert desk.replicate(section(7, 2, (b"k", b"2"))) == []


def test_a_seal_below_the_known_epoch_changes_nothing_and_says_so():
    desk = primary(A)
    for epoch in (1, 3):
        sealed = desk.seal(epoch)
        assert sealed.epoch == 3
    assert desk.role is ReplicaRole.PRIMARY
    assert desk.seal(9) == desk.seal(9)
    assert desk.seal(8).epoch == 9


def test_a_sealed_primary_says_all_that_it_has_and_answers_nobody_as_done():
    desk = primary(A)
    asked = desk.put(1, flush=False)
    assert desk.seal(9).last == version_of(3, 1)
    desk.ack(A)
    assert desk.status(asked) is Status.SUPERSEDED
    # Nor does it take for committed what it has: a new primary may have to be sent it from here.
    assert desk.replica.commit == 0
    assert desk.replica.lease_until <= desk.now
    assert [chunk.count for chunk in desk.replica.log.after(0) or []] == [1]


# Every event in every role.


def none() -> Desk:
    desk = secondary((b"k", b"1"))
    desk.adopt(configuration(5, A, birth=3))
    return desk


def learner() -> Desk:
    desk = Desk()
    desk.adopt(configuration(5, A, [B], [ME], birth=3))
    desk.core.begin_fill(BeginFill(0, 5, FillKind.FROM_NOTHING, 9, version_of(4, 1)))
    desk.replicate(section(5, 2, (b"k", b"2"), (b"j", None), commit=2))
    return desk


def follower() -> Desk:
    desk = secondary((b"k", b"1"), (b"j", b"1"), (b"j", None), others=[B])
    desk.adopt(configuration(5, A, [ME, B], birth=3))
    desk.replicate(section(5, 4, (b"k", b"2"), commit=2))
    return desk


def sealed() -> Desk:
    desk = follower()
    desk.seal(6)
    return desk


def reconciling() -> Desk:
    desk = sealed()
    desk.adopt(configuration(6, ME, [A, B], birth=3))
    desk.ask(Get(b"k"))
    desk.put(1)
    return desk


def serving() -> Desk:
    desk = follower()
    desk.adopt(configuration(6, ME, [A], [B], birth=3, released=True))
    desk.ack_all()
    desk.put(1)
    desk.ask(Get(b"k"))
    desk.ask(Get(b"j"))
    desk.put(2)
    return desk


def switching() -> Desk:
    desk = serving()
    desk.core.switch(SwitchPrimary(0, 6, A.server_id), 77, desk.now)
    desk.put(3)
    return desk


def stepped_down() -> Desk:
    desk = switching()
    desk.ack(A)
    desk.ask(Get(b"k"))
    return desk


BRINGING: dict[ReplicaRole, Callable[[], Desk]] = {
    ReplicaRole.NONE: none,
    ReplicaRole.LEARNER: learner,
    ReplicaRole.SECONDARY: follower,
    ReplicaRole.SEALED: sealed,
    ReplicaRole.RECONCILING: reconciling,
    ReplicaRole.PRIMARY: serving,
    ReplicaRole.SWITCHING: switching,
    ReplicaRole.STEPPED_DOWN: stepped_down,
}
LEADING = (ReplicaRole.RECONCILING, ReplicaRole.PRIMARY, ReplicaRole.SWITCHING)
HOLDING_REQUESTS = (*LEADING, ReplicaRole.STEPPED_DOWN)

Event = tuple[str, ...]
EPOCHS = st.sampled_from([-3, -1, 0, 0, 0, 1, 2, 1000])
NEAR = st.sampled_from([-2, -1, 0, 0, 0, 1, 2, 100])
WHO = st.sampled_from([A, B, C])
SETTINGS = [
    "I lead",
    "I lead alone",
    "I follow",
    "I learn",
    "not I",
    "another store",
    "born again",
    "lost",
    "leads and fills",
]
EVENTS = st.one_of(
    st.tuples(st.just("configure"), EPOCHS, st.sampled_from(SETTINGS), st.booleans()),
    st.tuples(st.just("seal"), EPOCHS),
    st.tuples(st.just("append"), EPOCHS, NEAR, st.integers(0, 3), NEAR),
    st.tuples(st.just("append several"), EPOCHS, NEAR, st.integers(0, 3), NEAR),
    st.tuples(st.just("append mangled"), st.integers(0, 200), st.integers(0, 4)),
    st.tuples(st.just("begin fill"), EPOCHS, st.sampled_from([0, 8, 9, 10]), st.integers(0, 20)),
    st.tuples(st.just("chunk"), st.sampled_from([8, 9, 10]), st.integers(0, 12), st.booleans()),
    st.tuples(
        st.just("chunk mangled"),
        st.binary(max_size=20) | st.integers(0, 28).map(lambda cut: encode_records([b"k"], [bytes(12)])[:cut]),
    ),
    st.tuples(st.just("switch"), EPOCHS, st.integers(1, 4)),
    st.tuples(st.just("tick"), st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.35, 1.0, 4.0, 1000.0])),
    st.tuples(st.just("ack"), WHO, NEAR),
    st.tuples(st.just("ack"), WHO, st.just(1000)),
    st.tuples(st.just("refuse"), WHO, st.sampled_from(list(Refusal)), EPOCHS, NEAR),
    st.tuples(st.just("link"), WHO, st.booleans()),
    st.tuples(st.just("stream"), st.sampled_from(["chunks", "lost", "refused"])),
    st.tuples(
        st.just("request"),
        st.sampled_from(["get", "put", "delete", "cas", "incr", "scan", "put many", "get many"]),
        st.booleans(),
    ),
    st.tuples(st.just("superseded"), EPOCHS),
    st.tuples(
        st.just("gone"),
    ),
)


class Watched:
    """A desk, and what is checked after each event."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.number = 100
        self.mangled = False
        """It may have stored what is not in its log: of a section that was refused in the middle."""
        self.closed: set[int] = set()
        """Requests of a client whose connection was closed: they need no answer."""
        self.check()

    def happen(self, event: Event) -> None:
        """One event, and then the checks."""
        replica = self.desk.replica
        before = (replica.role, replica.epoch, replica.last, replica.commit, replica.configuration)
        getattr(self, event[0].replace(" ", "_"))(*event[1:])
        self.desk.connect()
        self.desk.flush()
        self.check()
        self.check_change(event, *before)

    # The events.

    def configure(self, epoch: int, how: str, released: bool) -> None:
        desk = self.desk
        epoch = max(1, desk.replica.epoch + epoch)
        old = desk.replica.configuration
        birth = old.birth if old is not None else 1
        made = {
            "I lead": configuration(epoch, ME, [A, B]),
            "I lead alone": configuration(epoch, ME),
            "I follow": configuration(epoch, A, [ME, B]),
            "I learn": configuration(epoch, A, [B], [ME]),
            "not I": configuration(epoch, A, [B]),
            "another store": configuration(epoch, A, [member(1, 2)]),
            "born again": configuration(epoch, ME, [A]),
            "lost": configuration(epoch, A, [B], lost=True),
            "leads and fills": configuration(epoch, ME, [A], [B], preferred=(2, 1)),
        }[how]
        birth = epoch if how == "born again" else birth
        desk.replica.configure(attrs.evolve(made, birth=birth, released=released), desk.now)

    def seal(self, epoch: int) -> None:
        known = self.desk.replica.epoch
        answer = self.desk.seal(max(1, known + epoch))
        assert answer.epoch >= max(known, known + epoch)
        assert answer.last == self.desk.replica.last

    def append_several(self, epoch: int, first: int, count: int, commit: int) -> None:
        self.append(epoch, first, count, commit, several=True)

    def append(self, epoch: int, first: int, count: int, commit: int, *, several: bool = False) -> None:
        replica = self.desk.replica
        held, known, promise = replica.last, replica.epoch, replica.promise_until
        at = max(1, replica.sequence + 1 + first)
        message = section(
            max(1, known + epoch),
            at,
            *[(b"k%d" % (n % 3), None if n % 4 == 3 else b"v") for n in range(count)],
            commit=max(0, replica.sequence + commit),
        )
        if several:
            entries = [
                entry_of_several(version_of(message.epoch, at + n), {b"k": b"v", b"k%d" % n: None}, n)
                for n in range(count)
            ]
            message = attrs.evolve(message, entries=b"".join(entries))
        refused = self.desk.replicate(message)
        if message.epoch < known:
            assert refused[0].refusal is Refusal.OLD_EPOCH
        if message.epoch != known or first > 0:
            assert refused
        if refused:
            assert (replica.last, replica.promise_until) == (held, promise)
            holds = refused[0].refusal is Refusal.HOLDS
            assert (refused[0].epoch, refused[0].last) == (known, held if holds else sequence_of(held))
        else:
            assert replica.promise_until == self.desk.now + TIMING.grace
            assert replica.sequence == max(sequence_of(held), at + count - 1)

    def append_mangled(self, cut: int, count: int) -> None:
        replica = self.desk.replica
        held = replica.last
        whole = section(replica.epoch, replica.sequence + 1, (b"k", b"v"), (b"j", None), (b"k", b"w"))
        cut %= len(whole.entries)
        self.mangled = True
        with suppress(ProtocolError):
            self.desk.replicate(attrs.evolve(whole, entries=whole.entries[:cut], count=count))
            assert replica.last == held or count < 3

    def begin_fill(self, epoch: int, fill: int, start: int) -> None:
        replica = self.desk.replica
        begin = BeginFill(
            0, max(1, replica.epoch + epoch), FillKind.FROM_NOTHING, fill, version_of(max(1, replica.epoch - 1), start)
        )
        before = (replica.role, replica.last)
        self.desk.core.begin_fill(begin)
        if before[0] is not ReplicaRole.LEARNER or epoch:
            assert replica.last == before[1]

    def chunk(self, fill: int, sequence: int, end: bool) -> None:
        record = make_record(version_of(2, sequence), 0, b"streamed")
        packed = encode_records([b"k"], [record])
        message = FillEnd(0, fill, 1) if end else FillChunk(0, fill, 1, 1, packed)
        before = self.desk.value(b"k")
        ack = self.desk.core.fill_received(message)
        taking = self.desk.role is ReplicaRole.LEARNER and self.desk.replica.fill == fill
        assert ack.refused is not taking
        if not taking:
            assert self.desk.value(b"k") == before

    def chunk_mangled(self, records: bytes) -> None:
        with suppress(ProtocolError):
            self.desk.core.fill_received(FillChunk(0, self.desk.replica.fill, 1, 1, records))

    def switch(self, epoch: int, target: int) -> None:
        replica = self.desk.replica
        known, role = replica.epoch, replica.role
        self.desk.core.switch(SwitchPrimary(0, max(1, known + epoch), target), 78, self.desk.now)
        if epoch or role is not ReplicaRole.PRIMARY:
            assert replica.role is role

    def tick(self, seconds: float) -> None:
        self.desk.tick(seconds)

    def ack(self, who: object, distance: int) -> None:
        link = self.desk.core.peers.get(who)  # type: ignore[call-overload]
        newest = link._number if link is not None else 5
        self.desk.core.acknowledged(who, Ack(max(0, newest + distance), max(0, newest + distance), []), self.desk.now)  # type: ignore[arg-type]

    def refuse(self, who: object, why: Refusal, epoch: int, last: int) -> None:
        link = self.desk.core.peers.get(who)  # type: ignore[call-overload]
        newest = link._number if link is not None else 5
        replica = self.desk.replica
        refused = RefusedSection(0, why, max(0, replica.epoch + epoch), max(0, replica.sequence + last))
        self.desk.core.acknowledged(who, Ack(newest, newest, [refused]), self.desk.now)  # type: ignore[arg-type]

    def link(self, who: object, up: bool) -> None:
        if up:
            self.desk.core.peer_connected(who)  # type: ignore[arg-type]
        else:
            self.desk.core.peer_lost(who)  # type: ignore[arg-type]

    def stream(self, how: str) -> None:
        for source in self.desk.core.wanted_fills():
            if how == "lost":
                source.connection_lost()
                continue
            while (message := source.next_message()) is not None:
                source.acknowledged(FillAck(0, source.fill, message.number, how == "refused"), self.desk.now)

    def request(self, kind: str, retried: bool) -> None:
        self.number += kind not in ("get", "scan", "get many")
        head = (self.number, 100, 0)
        request = {
            "get": Get(b"k"),
            "scan": Scan(0, b"", 5, b"", True),
            "put": Put(*head, b"k", b"v"),
            "delete": Delete(*head, b"k"),
            "cas": Cas(*head, 0, b"new", b"v"),
            "incr": Incr(*head, 2, b"count"),
            "put many": PutMany(*head, slot_of(b"k"), [b"k", b"k0"], [b"v", b"ww"]),
            "get many": GetMany(slot_of(b"k"), [b"k", b"k0", b"new"]),
        }[kind]
        self.desk.ask(request, RETRY if retried else 0, flush=False)

    def superseded(self, epoch: int) -> None:
        self.desk.replica.superseded(max(0, self.desk.replica.epoch + epoch), self.desk.now)

    def gone(self) -> None:
        """The client's connection is closed; its next request comes on another."""
        self.closed.update(range(1, self.desk.asked + 1))
        for mailbox in self.desk.mailboxes.values():
            mailbox.open = False
        self.desk.mailboxes.clear()

    # What must hold.

    def check(self) -> None:
        """In every state."""
        desk, replica = self.desk, self.desk.replica
        role = replica.role
        assert 0 <= replica.commit <= replica.sequence
        assert replica.unsent == []
        assert desk.core.outbox.mailboxes == []
        # Exactly once, at the latest when the role is lost.
        for request_id in range(1, desk.asked + 1):
            assert len(desk.answers.get(request_id, [])) <= 1, f"request {request_id} was answered twice"
            if role not in HOLDING_REQUESTS and request_id not in self.closed:
                assert len(desk.answers.get(request_id, [])) == 1, f"request {request_id} was forgotten"
        if role not in HOLDING_REQUESTS:
            assert replica.serving.idle
        switches = [request_id for _, request_id in desk.told if request_id == 77]
        assert len(switches) <= 1
        if role not in LEADING:
            assert replica.lease_until <= desk.now
        if role not in (*LEADING, ReplicaRole.STEPPED_DOWN):
            assert replica.leading.followers == {}
            assert replica.leading.counted == []
        if role is not ReplicaRole.SWITCHING:
            assert replica.leading._switch is None
        if role in LEADING:
            self.check_leading()
        known = replica.configuration
        if known is not None and role not in (ReplicaRole.SEALED, ReplicaRole.LEARNER, ReplicaRole.NONE):
            assert known.epoch == replica.epoch
        if role is ReplicaRole.NONE:
            assert replica.whole or (replica.last, desk.core.store.keys) == (0, 0)
        if role in (ReplicaRole.SECONDARY, ReplicaRole.SEALED):
            assert known is not None and ME in known.everyone
        self.check_bound()
        # The log reaches from what was trimmed to the end, without gaps.
        reached = replica.log.trimmed
        for chunk in replica.log.after(reached) or []:
            assert chunk.first <= reached + 1
            reached = chunk.last
        assert reached == replica.sequence

    def check_bound(self) -> None:
        """What is said to be committed is, and in the epoch of the newest update all of it is."""
        replica = self.desk.replica
        bound = replica.clean_below()
        if replica.role is not ReplicaRole.PRIMARY:
            assert bound is None
        if bound is not None and not self.mangled:
            for key in (b"k", b"k0", b"k1", b"k2", b"new", b"count"):
                record = self.desk.value(key)
                if record is not None:
                    assert (record < bound) == (sequence_of(record_version(record)) <= replica.commit)

    def check_leading(self) -> None:
        """Of one who leads, or is about to."""
        replica = self.desk.replica
        known = replica.configuration
        assert known is not None and known.primary == ME
        followers = replica.leading.followers
        assert set(followers) == set(known.everyone) - {ME}
        for each in followers.values():
            assert each.counted or each.learner, "a member is not waited for"
            assert not (each.complete_at and not each.counted)
        assert {id(each) for each in replica.leading.counted} == {
            id(each) for each in followers.values() if each.counted
        }
        if not replica.leading.counted:
            assert replica.lease_until == float("inf")
        elif replica.role is ReplicaRole.PRIMARY:
            newest = min(each.lease_from for each in replica.leading.counted)
            assert replica.lease_until <= newest + TIMING.lease + 1e-9
        for sequence, *_ in replica.serving._waiting:
            assert sequence <= replica.sequence

    def check_change(self, event: Event, role: ReplicaRole, epoch: int, last: int, commit: int, known: object) -> None:
        """Of one state to the next."""
        replica = self.desk.replica
        assert replica.epoch >= epoch, "an epoch went down"
        dropped = event[0] in ("configure", "begin fill")
        if not dropped:
            assert replica.last >= last
            assert replica.commit >= commit
            assert replica.configuration is known
        if replica.configuration is not known:
            assert replica.configuration is not None
            assert replica.configuration.epoch >= epoch, "a configuration below the promised epoch was adopted (I2)"
        if role is ReplicaRole.SEALED and replica.role is not ReplicaRole.SEALED:
            assert event[0] == "configure", "the seal was broken (I14)"
        if role is ReplicaRole.STEPPED_DOWN and replica.role in LEADING:
            assert event[0] == "configure"
            assert replica.epoch > epoch, "who has stepped down served again in that epoch"
        if replica.role is ReplicaRole.PRIMARY and role not in LEADING:
            assert event[0] == "configure"
        if (
            replica.role is ReplicaRole.PRIMARY
            and role is not ReplicaRole.PRIMARY
            and role is not ReplicaRole.SWITCHING
        ):
            # It has become primary in this event: I6 and I8.
            assert replica.commit == replica.sequence or event[0] == "gone" or replica.serving._waiting
            assert all(each.acked >= min(commit, replica.commit) for each in replica.leading.counted)
            assert replica.configuration is not None
            assert replica.configuration.released or self.desk.now >= replica.promise_until
        # What was committed in this event, every counted copy had.
        if replica.commit > commit and replica.role in LEADING and not dropped:
            assert all(each.acked >= replica.commit for each in replica.leading.counted)


@pytest.mark.parametrize("role", list(ReplicaRole), ids=lambda role: role.name)
def test_each_role_is_reached(role):
    assert BRINGING[role]().role is role


@pytest.mark.parametrize("role", list(ReplicaRole), ids=lambda role: role.name)
@given(data=st.data())
@settings(max_examples=100)
def test_every_event_in_every_role(role, data):
    """One event in the role itself, then any others."""
    watched = Watched(BRINGING[role]())
    for _ in range(data.draw(st.integers(1, 12))):
        watched.happen(data.draw(EVENTS))
    # In the end it can be taken into use again, by a configuration that is new enough.
    watched.happen(("configure", 1, "I lead alone", True))
    watched.happen(("tick", HEARTBEAT))
    assert watched.desk.role is ReplicaRole.PRIMARY
    watched.happen(("request", "put", False))
    assert watched.desk.status(watched.desk.asked) is Status.SUCCESS
    watched.happen(("configure", 1, "not I", False))
    assert watched.desk.role is ReplicaRole.NONE


# What is committed, in one figure.


def test_what_a_primary_has_committed_is_below_the_bound_and_nothing_else():
    """As bytes, which begin with a version; flags and value behind it do not count."""
    desk = primary(A)
    assert desk.replica.clean_below() == version_of(3, 1).to_bytes(8, "big")
    desk.put(1, b"a", b"\xff" * 9)
    sent = desk.sent[A][-1].number
    desk.put(2, b"b", b"")
    desk.ask(Delete(3, 1, 0, b"a"))
    assert desk.replica.clean_below() == version_of(3, 1).to_bytes(8, "big")
    desk.ack(A, number=sent)
    bound = desk.replica.clean_below()
    assert bound == version_of(3, 2).to_bytes(8, "big")
    assert make_record(version_of(3, 1), TOMBSTONE, b"\xff") < bound
    assert not make_record(version_of(3, 2), 0, b"") < bound
    assert make_record(version_of(2, 900), 0, b"v") < bound, "of an older epoch, and so committed"
    desk.ack(A)
    assert desk.replica.clean_below() == version_of(3, 4).to_bytes(8, "big")
    assert all(record < desk.replica.clean_below() for record in desk.contents.values())


def test_nothing_is_clean_below_a_bound_while_updates_of_an_older_epoch_are_in_flight():
    """Their versions are below all of the new epoch."""
    desk = primary(A)
    desk.put(1, b"a")
    sent = desk.sent[A][-1].number
    desk.put(2, b"b")
    desk.adopt(configuration(4, ME, [A], [B], birth=3))
    assert desk.role is ReplicaRole.PRIMARY
    desk.put(3, b"c")
    assert desk.replica.clean_below() is None
    desk.ack(A, number=sent)
    assert desk.replica.commit == 1
    assert desk.replica.clean_below() is None
    desk.ack(A, number=sent + 1)
    assert desk.replica.commit == 2
    bound = desk.replica.clean_below()
    assert bound == version_of(4, 3).to_bytes(8, "big")
    assert {key for key, record in desk.contents.items() if record < bound} == {b"a", b"b"}


def test_a_primary_whose_updates_are_all_committed_has_a_bound_in_a_new_epoch_at_once():
    desk = primary(A)
    desk.put(1)
    desk.ack(A)
    desk.adopt(configuration(4, ME, [A], [B], birth=3))
    assert desk.replica.clean_below() == version_of(4, 2).to_bytes(8, "big")
    desk.put(2)
    assert desk.replica.clean_below() == version_of(4, 2).to_bytes(8, "big")


@pytest.mark.parametrize("role", [role for role in ReplicaRole if role is not ReplicaRole.PRIMARY])
def test_who_is_no_primary_has_no_bound(role):
    assert BRINGING[role]().replica.clean_below() is None


def test_parked_requests_are_bounded_and_closed_ones_are_dropped():
    desk = reconciling()
    for _ in range(PARKED_REQUESTS_MAX + 5):
        desk.ask(Get(b"k"), flush=False)
    desk.flush()
    answers = [desk.status(request_id) for request_id in range(1, desk.asked + 1)]
    assert answers.count(Status.NOT_PRIMARY_YET) == desk.asked - PARKED_REQUESTS_MAX
    assert answers[-1] is Status.NOT_PRIMARY_YET
    desk.mailboxes[bytes([7]) * 16].open = False
    desk.replica.promise_until = 0.0
    desk.ack_all()
    assert desk.role is ReplicaRole.PRIMARY
    assert desk.replica.serving.idle
    assert desk.replica.sequence == 4, "a parked write of a lost connection was executed"
