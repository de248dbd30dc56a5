"""The manifest: it is read as it was written, and not otherwise."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fuzz.backups import FILE, MANIFEST
from twistedkv.backup import manifest as module
from twistedkv.backup.manifest import Manifest, decode, encode, read, write
from twistedkv.errors import Damaged


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    assert read(path) is None
    write(path, MANIFEST)
    assert read(path) == MANIFEST
    assert [each.name for each in tmp_path.iterdir()] == ["manifest.json"]
    assert json.loads(path.read_bytes())["files"][0]["sequence"] == 41


def test_every_flipped_bit_and_every_truncation_is_noticed() -> None:
    data = encode(MANIFEST)
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(Damaged):
                decode(bytes(flipped), "m")
        with pytest.raises(Damaged):
            decode(data[:place], "m")


def checked(document: dict[str, Any]) -> bytes:
    """With the checksum that it should have."""
    return module._text({**document, "sha256": sha256(module._text(document)).hexdigest()})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format 2 is not known"),
        ({"layout": [[0, 0, 16382]]}, "each of the 16384 slots once"),
        ({"layout": [[0, 0, 16383], [1, 0, 5]]}, "each of the 16384 slots once"),
        ({"layout": [[0, 0, True]]}, "of another kind"),
        ({"layout": [[1, 0, 16383]]}, "one file for each shard"),
        ({"files": []}, "one file for each shard"),
        ({"files": [{**attrs.asdict(FILE), "file": "../etc"}]}, "of another kind"),
        ({"files": [{**attrs.asdict(FILE), "records": -1}]}, "of another kind"),
        ({"files": [{**attrs.asdict(FILE), "records": "1"}]}, "of another kind"),
        ({"files": [{"shard": 1}]}, "of another kind"),
        ({"files": None}, "of another kind"),
        ({"cluster": 5}, "its checksum is wrong"),
        ({"more": 5}, "of another kind"),
    ],
)
def test_right_checksums_around_what_is_wrong(change: dict[str, Any], says: str) -> None:
    document = json.loads(encode(MANIFEST))
    del document["sha256"]
    with pytest.raises(Damaged, match=says):
        decode(checked(document | change), "m")
    assert decode(checked(document), "m") == MANIFEST


def test_other_files() -> None:
    for data in (b"", b"5", b"{}", b"\xff", b"[" * 100_000):
        with pytest.raises(Damaged, match="m: this is"):
            decode(data, "m")


def test_files_are_in_the_order_of_their_slots() -> None:
    files = [attrs.evolve(FILE, shard=n, first_slot=10 * n, last_slot=10 * n + 9) for n in range(3)]
    manifest = Manifest("c", "r", "b", "", ((0, 0, 16383),), ())
    for file in (files[2], files[0], files[1], attrs.evolve(files[1], records=9)):
        manifest = manifest.with_file(file)
    assert [(file.shard, file.records) for file in manifest.files] == [(0, 1), (1, 9), (2, 1)]
