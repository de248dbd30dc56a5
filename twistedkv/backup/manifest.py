"""The manifest of a backup: which files there are, and what each holds. It is what makes a directory a backup.

A JSON object, with its own SHA-256 as its last member: of the same object without it, in the same form. There is one
form only, so that nothing can be changed without being noticed. While a backup is being taken the manifest has another
name, and only what is finished is in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs

from twistedkv.errors import Damaged
from twistedkv.limits import SLOTS

FORMAT = 1
COMPLETE_NAME = "manifest.json"
UNFINISHED_NAME = "unfinished.json"
MANIFEST_BYTES_MAX = 64 * 1024 * 1024


@attrs.frozen
class ShardFile:
    """One file of a backup."""

    shard: int
    first_slot: int
    last_slot: int
    file: str
    """Its name in the directory."""
    epoch: int
    sequence: int
    """The shard is as it was at this version (epoch, sequence)."""
    taken: str
    """When that was, UTC."""
    records: int
    """That were found."""
    updates: int
    """That came meanwhile, and may be of the same keys."""
    bytes: int
    sha256: str


@attrs.frozen
class Manifest:
    """See the module. `files` are in the order of their slots."""

    cluster: str
    run: str
    """Drawn at random when the backup was begun."""
    begun: str
    ended: str
    """Empty as long as it is not complete."""
    layout: tuple[tuple[int, int, int], ...]
    """(shard, first slot, last slot) of all shards when the backup was begun."""
    files: tuple[ShardFile, ...]

    @property
    def complete(self) -> bool:
        """Whether there is a file of each shard."""
        return bool(self.ended)

    def with_file(self, file: ShardFile) -> Manifest:
        """With one more."""
        files = (*(each for each in self.files if each.shard != file.shard), file)
        return attrs.evolve(self, files=tuple(sorted(files, key=lambda each: each.first_slot)))


def encode(manifest: Manifest) -> bytes:
    """The manifest's file."""
    document: dict[str, Any] = {"format": FORMAT, **attrs.asdict(manifest, recurse=True)}
    return _text({**document, "sha256": sha256(_text(document)).hexdigest()})


def decode(data: bytes, name: str) -> Manifest:
    """A manifest. Raises Damaged, with `name`, when anything in it is not as it was written."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name}: this is not JSON: {error}") from None
    if not isinstance(document, dict) or "sha256" not in document:
        raise Damaged(f"{name}: this is no manifest of a backup")
    if document.get("format") != FORMAT:
        raise Damaged(f"{name}: format {document.get('format')!r:.20} is not known here, only {FORMAT}")
    digest = document.pop("sha256")
    try:
        same = _text({**document, "sha256": digest}) == data and sha256(_text(document)).hexdigest() == digest
        del document["format"]
        files = tuple(_file_of(file) for file in document.pop("files"))
        layout = tuple(_numbers(each, 3) for each in document.pop("layout"))
        manifest = Manifest(files=files, layout=layout, **document)  # type: ignore[arg-type]
        texts = [manifest.cluster, manifest.run, manifest.begun, manifest.ended]
    except (TypeError, ValueError, KeyError, AttributeError, UnicodeEncodeError, RecursionError):
        raise Damaged(f"{name}: a member is missing, or of another kind than it should be") from None
    if not same or not all(isinstance(text, str) for text in texts):
        raise Damaged(f"{name}: its checksum is wrong")
    if not _covered(manifest.layout):
        raise Damaged(f"{name}: its shards do not have each of the {SLOTS} slots once")
    if manifest.complete and [(f.shard, f.first_slot, f.last_slot) for f in manifest.files] != list(manifest.layout):
        raise Damaged(f"{name}: there is not one file for each shard")
    return manifest


def _file_of(document: Any) -> ShardFile:
    file = ShardFile(**document)
    for name, value in attrs.asdict(file).items():
        kind = str if name in ("file", "taken", "sha256") else int
        if type(value) is not kind or (isinstance(value, int) and value < 0):
            raise ValueError(name)
    if file.file != Path(file.file).name or file.file in ("", ".", ".."):
        raise ValueError("a file of a backup is in its directory")
    return file


def _numbers(document: Any, count: int) -> tuple[int, ...]:
    if not isinstance(document, list) or len(document) != count or any(type(each) is not int for each in document):
        raise ValueError("numbers")
    return tuple(document)


def _covered(layout: Iterable[tuple[int, ...]]) -> bool:
    expected = 0
    for _, first, last in layout:
        if first != expected or last < first:
            return False
        expected = last + 1
    return expected == SLOTS


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=True).encode() + b"\n"


def read(path: Path) -> Manifest | None:
    """The manifest in this file, or None if there is no such file. Raises Damaged, OSError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MANIFEST_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    return decode(data, path.name)


def write(path: Path, manifest: Manifest) -> None:
    """Put the manifest there, in one piece and for good."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as stream:
        stream.write(encode(manifest))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make new names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
