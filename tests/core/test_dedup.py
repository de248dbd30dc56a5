"""What a shard remembers of its clients' writes (I12): against a model that forgets nothing."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.core.dedup import DedupTable, Lookup
from twistedkv.errors import ProtocolError
from twistedkv.limits import FILL_CHUNK_BYTES, FRAME_BYTES_MAX, REPLY_BYTES_MAX

ALICE, BOB, CAROL, DAVE = (bytes([n]) * 16 for n in range(1, 5))
CLIENTS = [ALICE, BOB, CAROL, DAVE]


def filled(*writes: tuple[bytes, int, int, int], sessions_max: int = 100) -> DedupTable:
    """A table that has seen these (client, number, oldest, sequence); the version is ten times the sequence."""
    table = DedupTable(sessions_max)
    for client, number, oldest, sequence in writes:
        table.remember(client, number, oldest, sequence, sequence * 10)
    return table


def copy_of(table: DedupTable, bytes_max: int, into: DedupTable | None = None) -> DedupTable:
    """What a learner makes of the pieces."""
    copied = into if into is not None else DedupTable()
    for piece in table.pack(bytes_max):
        copied.merge(piece)
    return copied


def test_a_result_is_found_with_and_without_the_flag_of_a_retry():
    table = filled((ALICE, 1, 1, 5))
    table.remember(ALICE, 2, 1, 6, (60, b"17"))
    assert [table.find(ALICE, 1, 0, retried) for retried in (False, True)] == [50, 50]
    assert table.find(ALICE, 2, 0, True) == (60, b"17")
    assert table.find(ALICE, 3, 0, True) is Lookup.NEW
    assert table.find(BOB, 1, 0, True) is Lookup.NEW


def test_what_the_client_has_finished_is_forgotten_and_never_new_again():
    table = filled((ALICE, 1, 1, 5), (ALICE, 2, 1, 6), (ALICE, 3, 3, 7))
    assert table.find(ALICE, 2, 99, False) is Lookup.FORGOTTEN
    assert table.find(ALICE, 3, 0, True) == 70
    # Whoever comes late with a lower `oldest` does not turn back the time.
    table.remember(ALICE, 4, 2, 8, 80)
    assert table.find(ALICE, 2, 99, False) is Lookup.FORGOTTEN


def test_what_is_finished_is_forgotten_in_whatever_order_it_was_executed():
    table = filled((ALICE, 5, 3, 1), (ALICE, 3, 3, 2), (ALICE, 6, 4, 3))
    assert table.find(ALICE, 3, 99, False) is Lookup.FORGOTTEN
    assert [table.find(ALICE, number, 0, True) for number in (5, 6)] == [10, 30]


def test_a_learner_does_not_keep_what_was_finished_later_in_the_log_than_its_own_has_come():
    """The table is streamed as it is at the primary, which may be ahead of the updates that are on their way."""
    writes = [(ALICE, 7, 7, 1), (ALICE, 8, 8, 2)]
    primary, learner = filled(*writes), DedupTable()
    copy_of(primary, 1000, into=learner)
    for client, number, oldest, sequence in writes:
        learner.remember(client, number, oldest, sequence, sequence * 10)
    assert learner.find(ALICE, 7, 99, False) is primary.find(ALICE, 7, 99, False) is Lookup.FORGOTTEN
    assert list(learner.pack(1000)) == list(primary.pack(1000))


def test_those_silent_for_longest_are_forgotten_by_log_position():
    table = filled((ALICE, 1, 1, 1), (BOB, 1, 1, 2), (ALICE, 2, 1, 3), (CAROL, 1, 1, 4), sessions_max=2)
    assert len(table) == 2
    assert table.find(ALICE, 1, 0, True) == 10
    assert table.find(BOB, 1, 0, True) is Lookup.FORGOTTEN
    assert table.horizon == 2


def test_a_retry_is_new_only_if_its_execution_could_not_have_been_forgotten():
    table = filled((ALICE, 1, 1, 5), (BOB, 1, 1, 9), sessions_max=1)
    assert table.horizon == 5
    assert table.find(ALICE, 1, 4, True) is Lookup.FORGOTTEN  # it may have been executed at 5
    assert table.find(ALICE, 2, 5, True) is Lookup.NEW  # it had seen 5 before: executed later or never
    assert table.find(ALICE, 2, 0, False) is Lookup.NEW  # it says itself that it was never sent before


@given(
    st.lists(st.tuples(st.sampled_from(CLIENTS), st.integers(1, 6), st.integers(1, 6), st.booleans()), max_size=40),
    st.integers(1, 4),
)
def test_nothing_that_was_executed_is_ever_new_to_a_retry(writes, sessions_max):
    """Whatever is forgotten on the way; and what is still known is the first result."""
    table = DedupTable(sessions_max)
    executed: dict[tuple[bytes, int], tuple[int, int]] = {}
    sequence = 0
    for client, number, oldest, _ in writes:
        if (client, number) in executed or oldest > number:
            continue
        known = table.find(client, number, sequence, False)
        if known is Lookup.FORGOTTEN:
            continue
        assert known is Lookup.NEW
        since, sequence = sequence, sequence + 1
        table.remember(client, number, oldest, sequence, sequence * 10)
        executed[client, number] = (since, sequence)
        assert len(table) <= sessions_max
        for (who, which), (its_since, its_sequence) in executed.items():
            assert table.find(who, which, its_since, True) in (its_sequence * 10, Lookup.FORGOTTEN)
        assert table.find(client, number, since, True) == sequence * 10


@given(
    st.lists(
        st.tuples(st.sampled_from(CLIENTS), st.integers(1, 9), st.integers(1, 9), st.binary(max_size=4)), max_size=30
    ),
    st.integers(1, 200),
    st.integers(0, 30),
)
def test_a_learner_ends_with_the_same_table_however_it_is_cut(writes, bytes_max, live_from):
    """Live entries come before, during and after the streamed ones."""
    table, learner = DedupTable(), DedupTable()
    finished = dict.fromkeys(CLIENTS, 0)
    for sequence, (client, number, oldest, total) in enumerate(writes, 1):
        if table.find(client, number, 0, False) is not Lookup.NEW:
            continue
        result = (sequence, total) if total else sequence
        table.remember(client, number, min(oldest, number), sequence, result)
        finished[client] = max(finished[client], min(oldest, number))
        if sequence > live_from:
            learner.remember(client, number, min(oldest, number), sequence, result)
    copy_of(table, bytes_max, learner)
    for client in CLIENTS:
        # What is finished may be known by one and not by the other: it is not asked for any more.
        for number in range(finished[client], 10):
            assert learner.find(client, number, 0, True) == table.find(client, number, 0, True)
    assert learner.horizon == table.horizon


def test_the_pieces_bring_the_horizon_and_what_was_finished():
    table = filled((ALICE, 1, 1, 5), (BOB, 1, 1, 6), (BOB, 9, 9, 7), sessions_max=1)
    copied = copy_of(table, 1)
    assert copied.horizon == 5
    assert copied.find(ALICE, 1, 0, True) is Lookup.FORGOTTEN
    assert copied.find(BOB, 1, 99, True) is Lookup.FORGOTTEN
    assert copied.find(BOB, 9, 0, True) == 70


def test_a_live_result_is_not_replaced_by_a_streamed_one():
    learner = filled((ALICE, 3, 2, 8))
    copy_of(filled((ALICE, 1, 1, 5), (ALICE, 2, 1, 6), (ALICE, 3, 1, 7)), 1000, learner)
    assert learner.find(ALICE, 3, 0, True) == 80
    assert learner.find(ALICE, 2, 0, True) == 60
    assert learner.find(ALICE, 1, 99, True) is Lookup.FORGOTTEN
    # The streamed results stand before the live one, so the next finished number drops them.
    learner.remember(ALICE, 4, 3, 9, 90)
    assert learner.find(ALICE, 2, 99, True) is Lookup.FORGOTTEN
    assert learner.find(ALICE, 3, 0, True) == 80


def test_pieces_are_small_and_the_table_may_change_between_them():
    table = filled(*[(bytes([n]) * 16, 1, 1, n + 1) for n in range(50)])
    pieces = table.pack(100)
    first = next(pieces)
    assert len(first) < 300
    for n in range(50, 60):
        table.remember(bytes([n]) * 16, 1, 1, n + 1, (n + 1) * 10)
    learner = DedupTable()
    for piece in (first, *pieces):
        learner.merge(piece)
    assert all(learner.find(bytes([n]) * 16, 1, 0, True) == (n + 1) * 10 for n in range(50))


def test_a_client_with_large_replies_is_packed_in_several_pieces():
    """Together they would not fit into a frame, and the fill would never end."""
    table = DedupTable()
    half = FILL_CHUNK_BYTES * 9 // 20
    sizes = [1, REPLY_BYTES_MAX, 1, half, half, half, 1]
    for number, size in enumerate(sizes, 1):
        table.remember(ALICE, number, 1, number, (number * 10, bytes([number]) * size))
    table.remember(BOB, 1, 1, 8, 80)
    pieces = list(table.pack(FILL_CHUNK_BYTES))
    assert max(map(len, pieces)) < FRAME_BYTES_MAX - 100
    assert len(pieces) == 4
    learner = DedupTable()
    for piece in reversed(pieces):
        learner.merge(piece)
    for number in range(1, 8):
        assert learner.find(ALICE, number, 0, True) == table.find(ALICE, number, 0, True)
    assert learner.find(BOB, 1, 0, True) == 80
    learner.remember(ALICE, 8, 3, 9, 90)
    assert learner.find(ALICE, 2, 99, True) is Lookup.FORGOTTEN
    assert learner.find(ALICE, 3, 0, True) == (30, b"\x03")


@given(st.data())
def test_a_piece_that_is_cut_short_is_a_protocol_error_or_a_shorter_piece(data):
    table = filled((ALICE, 1, 1, 5), (BOB, 1, 1, 6))
    table.remember(CAROL, 1, 1, 7, (7, b"123"))
    [piece] = table.pack(10_000)
    cut = data.draw(st.integers(0, len(piece) - 1))
    learner = DedupTable()
    try:
        learner.merge(piece[:cut])
    except ProtocolError:
        return
    for client in (ALICE, BOB, CAROL):
        assert learner.find(client, 1, 0, True) in (Lookup.NEW, table.find(client, 1, 0, True))


@given(st.binary(max_size=120))
def test_any_bytes_are_a_piece_or_a_protocol_error(piece):
    with suppress(ProtocolError):
        DedupTable().merge(piece)


def test_to_clear_is_to_have_never_known():
    table = filled((ALICE, 1, 1, 5), (BOB, 1, 1, 6), sessions_max=1)
    table.clear()
    assert (len(table), table.horizon) == (0, 0)
    assert table.find(ALICE, 1, 0, True) is Lookup.NEW


def test_many_new_clients_cost_one_sort_in_a_tenth_of_them():
    table = DedupTable(100)
    for n in range(1000):
        table.remember(n.to_bytes(16, "big"), 1, 1, n + 1, n + 1)
        assert 90 <= len(table) <= 100 or n < 100
    assert table.find((999).to_bytes(16, "big"), 1, 0, True) == 1000


@pytest.mark.parametrize("sessions_max", [1, 2, 3, 10])
def test_the_newest_session_is_never_the_one_forgotten(sessions_max):
    table = DedupTable(sessions_max)
    for n in range(40):
        table.remember(n.to_bytes(16, "big"), 1, 1, n + 1, n + 1)
        assert table.find(n.to_bytes(16, "big"), 1, 0, True) == n + 1
