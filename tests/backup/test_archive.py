"""The file of a shard: what is written is read, and nothing else passes for it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.backups import HEAD, archive, read, repaired
from twistedkv.backup import archive as module
from twistedkv.backup.archive import CHUNK_HEAD_BYTES, MAGIC, ArchiveReader, ArchiveWriter, End, Head, Kind
from twistedkv.core.entries import encode_records
from twistedkv.errors import Damaged
from twistedkv.records import TOMBSTONE, make_expiring_record, make_record, version_of

records = st.one_of(
    st.builds(lambda version, value: make_record(version, 0, value), st.integers(0, 2**64 - 1), st.binary(max_size=50)),
    st.builds(lambda version: make_record(version, TOMBSTONE, b""), st.integers(0, 2**64 - 1)),
    st.builds(make_expiring_record, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=20)),
)
chunks = st.lists(
    st.tuples(
        st.sampled_from([Kind.RECORDS, Kind.UPDATES]),
        st.dictionaries(st.binary(min_size=1, max_size=20), records, min_size=1, max_size=8),
    ),
    max_size=6,
)


def written(contents: Any, version: int = version_of(3, 7)) -> tuple[bytes, ArchiveWriter]:
    stream = BytesIO()
    writer = ArchiveWriter(stream, HEAD)
    for kind, pairs in contents:
        if kind is Kind.RECORDS:
            writer.add_records(encode_records(list(pairs), list(pairs.values())), len(pairs))
        else:
            writer.add_updates(list(pairs), list(pairs.values()))
    writer.end(version)
    return stream.getvalue(), writer


@given(chunks)
def test_what_is_written_is_read(contents: Any) -> None:
    data, writer = written(contents)
    reader = ArchiveReader(BytesIO(data), "f")
    assert reader.head == HEAD
    assert [(kind, dict(zip(keys, found, strict=True))) for kind, keys, found in reader.chunks()] == contents
    counts = [sum(len(pairs) for kind, pairs in contents if kind is each) for each in (Kind.RECORDS, Kind.UPDATES)]
    assert reader.end == End(version_of(3, 7), *counts)
    assert (reader.bytes, reader.sha256) == (writer.bytes, writer.sha256) == (len(data), writer.sha256)


def test_every_flipped_bit_is_noticed() -> None:
    data = archive()
    assert read(data) == 2
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(Damaged):
                read(bytes(flipped))


@given(chunks, st.data())
def test_a_flipped_bit_of_any_file_is_noticed(contents: Any, data: Any) -> None:
    file = bytearray(written(contents)[0])
    file[data.draw(st.integers(0, len(file) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged):
        read(bytes(file))


def test_every_truncation_and_what_is_appended_is_noticed() -> None:
    data = archive()
    for size in range(len(data)):
        with pytest.raises(Damaged):
            read(data[:size])
    with pytest.raises(Damaged, match="after the end"):
        read(data + b"\0")


def test_chunks_that_are_missing_moved_or_of_another_file_are_noticed() -> None:
    one, two = {b"a": make_record(1, 0, b"1")}, {b"b": make_record(2, 0, b"2")}
    size = CHUNK_HEAD_BYTES + len(encode_records(list(one), list(one.values())))
    data, _ = written([(Kind.RECORDS, one), (Kind.RECORDS, two)])
    other, _ = written([(Kind.RECORDS, two), (Kind.RECORDS, two)])
    begin = data.index(b"\x02\0\0\0\x01")
    end = begin + 2 * size
    for wrong in (
        data[:begin] + data[begin + size :],
        data[:begin] + data[begin + size : end] + data[begin : begin + size] + data[end:],
        data[: begin + size] + other[begin + size :],
        data[:end] + data[begin + size :],
    ):
        with pytest.raises(Damaged, match="checksum"):
            read(wrong)


def test_it_says_where() -> None:
    data = bytearray(archive())
    data[-1] ^= 1
    with pytest.raises(Damaged, match=r"file, chunk 4 at byte \d+: the checksum is [0-9a-f]{8}, and should be "):
        read(bytes(data))
    with pytest.raises(Damaged, match="file, its beginning: this is no file of a backup"):
        read(b"something")


def test_a_length_that_cannot_be_is_not_read_into_memory() -> None:
    with pytest.raises(Damaged, match="a chunk has at most"):
        read(MAGIC + module._HEAD.pack(2, 1, 0xFFFFFFFF) + bytes(4))


@pytest.mark.parametrize(
    ("chunks_", "says"),
    [
        ([(2, b"")], "the first chunk is not the head"),
        ([(1, b"{}")], "does not say what"),
        ([(1, b"[")], "not JSON"),
        ([(1, b"HEAD"), (1, b"HEAD")], "a second head"),
        ([(1, b"HEAD"), (9, b"")], "no kind 9"),
        ([(1, b"HEAD"), (2, b"nonsense")], "cut short|column"),
        ([(1, b"HEAD"), (4, b"{}")], "does not say what"),
        ([(1, b"HEAD"), (4, b'{"version": [1, 1], "records": 1, "updates": 0}')], "another number of records"),
    ],
)
def test_right_checksums_around_what_is_wrong(chunks_: Any, says: str) -> None:
    head = b'{"cluster": "c", "run": "r", "shard": 0, "slots": [0, 1]}'
    data = b""
    for kind, contents in chunks_:
        body = head if contents == b"HEAD" else contents
        data += bytes([kind, 0, len(body)]) + body
    with pytest.raises(Damaged, match=says):
        read(repaired(data))
    assert ArchiveReader(BytesIO(repaired(bytes([1, 0, len(head)]) + head)), "f").head == Head("c", "r", 0, 0, 1)
