"""The end of a shard's log: everything after a sequence, or the certainty that it is gone."""

from hypothesis import given
from hypothesis import strategies as st

from twistedkv.chunks import Chunk
from twistedkv.core.log import Log


def sequences(chunks):
    """Those that chunks bring, each once, as a receiver sees them that skips what it has."""
    found = []
    for chunk in chunks:
        assert chunk.count == len(chunk.entries)
        found += [n for n in range(chunk.first, chunk.last + 1) if not found or n > found[-1]]
    return found


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 5), st.integers(0, 3)),
            st.tuples(st.just("trim"), st.integers(0, 60), st.just(0)),
            st.tuples(st.just("restart"), st.integers(0, 60), st.just(0)),
        ),
        max_size=25,
    )
)
def test_everything_after_what_was_trimmed_is_there(steps):
    log = Log()
    last = 0
    asked_away = 0
    for what, number, overlap in steps:
        if what == "append":
            first = max(1, last + 1 - overlap)
            last += number
            log.append(Chunk(first, last, 1, b"x" * (last - first + 1)), 0)
        elif what == "trim":
            asked_away = max(asked_away, min(number, last))
            log.trim(min(number, last))
        else:
            last = asked_away = number
            log.restart(number)
            assert log.bytes == 0
        assert log.trimmed <= asked_away, "more was forgotten than was asked for"
        for sequence in range(last + 1):
            chunks = log.after(sequence)
            if chunks is None:
                assert sequence < log.trimmed
            else:
                assert sequence >= log.trimmed
                assert [n for n in sequences(chunks) if n > sequence] == list(range(sequence + 1, last + 1))
        assert log.bytes == sum(len(chunk.entries) for chunk in log._chunks)


def test_after_the_end_there_is_nothing():
    log = Log()
    assert log.after(0) == []
    log.append(Chunk(1, 3, 1, b"abc"), 0)
    assert log.after(3) == []
    assert log.after(99) == []


def test_a_chunk_is_kept_as_long_as_one_of_its_entries_may_be_needed():
    log = Log()
    log.append(Chunk(1, 3, 1, b"abc"), 0)
    log.trim(2)
    assert [chunk.first for chunk in log.after(0)] == [1]
    log.trim(3)
    assert log.after(2) is None
    assert log.bytes == 0


def test_what_is_gone_is_known_to_be_gone():
    log = Log()
    log.restart(10)
    assert log.after(9) is None
    assert log.after(10) == []
