"""Files of a backup: whatever is in them, they are read to the end or refused as damaged.

Checksums would keep every changed input out, so both targets also put right checksums around what they are given.
"""

from __future__ import annotations

import json
from hashlib import sha256
from io import BytesIO
from zlib import crc32

from tests.wire.examples import RECORDS
from twistedkv.backup import manifest as manifests
from twistedkv.backup.archive import _CHECKSUM, _HEAD, MAGIC, ArchiveReader, ArchiveWriter, Head, Kind
from twistedkv.backup.manifest import Manifest, ShardFile
from twistedkv.core.entries import encode_records
from twistedkv.errors import Damaged
from twistedkv.records import make_record

HEAD = Head("demo", "0123456789abcdef", 3, 4096, 5460)
FILE = ShardFile(0, 0, 16383, "shard-00000.tkv", 7, 41, "2026-01-01T00:00:00.000+00:00", 1, 1, 300, "ab" * 32)
MANIFEST = Manifest("demo", HEAD.run, FILE.taken, FILE.taken, ((0, 0, 16383),), (FILE,))


def archive() -> bytes:
    """A small file."""
    stream = BytesIO()
    writer = ArchiveWriter(stream, HEAD)
    writer.add_records(RECORDS, 1)
    writer.add_updates([b"bar"], [make_record(0x1C0000000029, 0, b"v")])
    writer.end(0x1C0000000029)
    return stream.getvalue()


def read(data: bytes) -> int:
    """How many keys there are in a file; raises Damaged."""
    reader = ArchiveReader(BytesIO(data), "file")
    keys = sum(len(keys) for _, keys, _ in reader.chunks())
    assert reader.end is not None
    assert reader.end.records + reader.end.updates == keys
    assert (reader.bytes, reader.sha256) == (len(data), sha256(data).hexdigest())
    return keys


def repaired(data: bytes) -> bytes:
    """Chunks with right checksums: each begins with a kind, a count and one byte for its length."""
    made, checksum, at = [MAGIC], crc32(MAGIC), 0
    while at + 3 <= len(data):
        kind, count, length = data[at], data[at + 1], data[at + 2]
        body = data[at + 3 : at + 3 + length]
        head = _HEAD.pack(kind, count, len(body))
        checksum = crc32(body, crc32(head, checksum))
        made.append(head + _CHECKSUM.pack(checksum) + body)
        at += 3 + length
    return b"".join(made)


def check_archive(data: bytes) -> None:
    """The bytes as a file, and as the contents of chunks."""
    for file in (data, repaired(data)):
        try:
            read(file)
        except Damaged as error:
            assert str(error).startswith("file, ")


def archive_seeds() -> list[bytes]:
    """A file, and chunks."""
    head = json.dumps({"cluster": "c", "run": "r", "shard": 0, "slots": [0, 5]}).encode()
    end = json.dumps({"version": [1, 2], "records": 1, "updates": 0}).encode()
    columns = encode_records([b"k"], [make_record(1, 0, b"v")])
    chunks = [
        bytes([kind, count, len(body)]) + body
        for kind, count, body in ((Kind.HEAD, 0, head), (Kind.RECORDS, 1, columns), (Kind.END, 0, end))
    ]
    return [archive(), b"".join(chunks), chunks[0], chunks[0] + chunks[2]]


def check_manifest(data: bytes) -> None:
    """The bytes as they are, and with the checksum and the form that they should have."""
    for text in (data, _with_checksum(data)):
        try:
            manifest = manifests.decode(text, "manifest")
        except Damaged as error:
            assert str(error).startswith("manifest: ")
        else:
            assert manifests.encode(manifest) == text


def _with_checksum(data: bytes) -> bytes:
    try:
        document = json.loads(data)
        document.pop("sha256", None)
        return manifests._text({**document, "sha256": sha256(manifests._text(document)).hexdigest()})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return data


def manifest_seeds() -> list[bytes]:
    """Of a complete backup and of one that is not."""
    return [manifests.encode(MANIFEST), manifests.encode(Manifest("", "r", "b", "", ((0, 0, 16383),), ()))]
