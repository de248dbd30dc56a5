"""The files that logs are appended to: what is found there again, and what is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedkv.chunks import Chunk
from twistedkv.errors import StorageFailed
from twistedkv.limits import TAIL_BYTES
from twistedkv.storage.disk import Chunks, Tail
from twistedkv.storage.tail import FILES, HEAD, MAGIC, TailFiles, decode_tail, decode_tails, encode_tail

STORE = b"s" * 16
U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)


@st.composite
def tails(draw: st.DrawFn) -> Tail:
    chunks: Chunks = {}
    for place in draw(st.lists(st.tuples(st.integers(0, 65535), U64), max_size=4)):
        chunks[place] = Chunk(place[1], draw(U64), draw(U32), draw(st.binary(max_size=50))), draw(U64), 0
    return Tail(draw(U64), chunks)


def _content(tail: Tail) -> object:
    return tail.number, [
        (place, chunk.first, chunk.last, chunk.epoch, chunk.entries, commit)
        for place, (chunk, commit, _) in tail.chunks.items()
    ]


def _tail(number: int, entries: bytes = b"entries", *, begins: bool = False) -> Tail:
    return Tail(number, {(3, number): (Chunk(number, number, 1, entries), number, 0)}, begins)


def _numbers(found: list[Tail]) -> list[int]:
    return [tail.number for tail in found]


@given(tails(), st.binary(max_size=20))
def test_a_tail_is_found_as_it_was_written(tail: Tail, before: bytes) -> None:
    data = encode_tail(tail, STORE)
    found = decode_tail(before + data + b"what was there", len(before), STORE)
    assert found is not None
    assert (_content(found[0]), found[1]) == (_content(tail), len(before) + len(data))
    assert decode_tail(data, 0, b"t" * 16) is None, "it is another store's"


@given(tails(), st.data())
def test_no_bit_of_it_may_be_another(tail: Tail, data: st.DataObject) -> None:
    encoded = bytearray(encode_tail(tail, STORE))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    assert decode_tail(bytes(encoded), 0, STORE) is None


@given(st.integers(1, 5), st.data())
def test_a_write_that_was_cut_short_is_the_end(count: int, data: st.DataObject) -> None:
    encoded = [encode_tail(_tail(number), STORE) for number in range(1, count + 1)]
    kept = data.draw(st.integers(0, len(encoded[-1]) - 1))
    left_over = encode_tail(_tail(0, bytes(500)), STORE)
    whole = b"".join(encoded[:-1])
    torn = whole + encoded[-1][:kept] + left_over[len(whole) + kept :]
    assert _numbers(decode_tails(torn, STORE, 0)) == list(range(1, count))


def test_what_was_lost_before_something_newer_is_noticed() -> None:
    encoded = [bytearray(encode_tail(_tail(number), STORE)) for number in (5, 6, 7)]
    encoded[1][-1] ^= 1
    with pytest.raises(StorageFailed, match="tail 7 stands behind tail 5, and what was between is lost"):
        decode_tails(b"".join(encoded), STORE, 4)
    assert decode_tails(b"".join(encoded), STORE, 7) == [], "the tables have it"


def test_values_full_of_heads_do_not_hold_up_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many heads as fit, each of a tail of a megabyte: to look at all would take minutes."""
    looks: list[int] = []

    def decode(data: bytes, at: int, store_id: bytes) -> tuple[Tail, int] | None:
        looks.append(at)
        return decode_tail(data, at, store_id)

    monkeypatch.setattr("twistedkv.storage.tail.decode_tail", decode)
    head = HEAD.pack(MAGIC, 0, 9, 1 << 20)
    data = encode_tail(_tail(1, head * (TAIL_BYTES // len(head) - 10)), STORE)
    assert _numbers(decode_tails(data, STORE, 0)) == [1]
    looks.clear()
    assert decode_tails(MAGIC + b"torn" + data[8:], STORE, 0) == []
    assert len(looks) < 100


def test_files_are_used_in_turn(tmp_path: Path) -> None:
    files = TailFiles(tmp_path, STORE)
    assert files.read(0) == []
    for number in range(1, 10):
        files.append(_tail(number, bytes(100 * number), begins=number in (1, 4, 6)))
    assert _numbers(files.read(3)) == [4, 5, 6, 7, 8, 9]
    assert [tail.chunks[3, tail.number][0].entries for tail in files.read(5)] == [bytes(100 * n) for n in range(6, 10)]
    assert files.read(9) == []
    files.close()
    again = TailFiles(tmp_path, STORE)
    assert _numbers(again.read(3)) == [4, 5, 6, 7, 8, 9]
    again.append(_tail(10, begins=True))  # as after a start: a batch has all that was found
    assert _numbers(again.read(9)) == [10]
    again.close()
    assert [(tmp_path / name).stat().st_size for name in FILES] == [TAIL_BYTES] * 2


def test_a_file_that_ends_early_before_the_other_begins_is_noticed(tmp_path: Path) -> None:
    files = TailFiles(tmp_path, STORE)
    for number in (1, 2, 3):
        files.append(_tail(number, begins=number in (1, 3)))
    files.close()
    second = len(encode_tail(_tail(1), STORE))
    path = next(
        path
        for path in (tmp_path / name for name in FILES)
        if _numbers(decode_tails(path.read_bytes(), STORE, 0)) == [1, 2]
    )
    content = bytearray(path.read_bytes())
    content[second + HEAD.size] ^= 1
    path.write_bytes(content)
    files = TailFiles(tmp_path, STORE)
    assert _numbers(files.read(2)) == [3]
    with pytest.raises(StorageFailed, match="is damaged: tail 3 follows tail 1"):
        files.read(0)
    files.close()
