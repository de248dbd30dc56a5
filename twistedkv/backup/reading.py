"""Reading a backup: every byte of it is compared with what was written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from twistedkv.backup import manifest as manifests
from twistedkv.backup.archive import ArchiveReader, Chunk, Head
from twistedkv.backup.manifest import COMPLETE_NAME, UNFINISHED_NAME, Manifest, ShardFile
from twistedkv.errors import Damaged
from twistedkv.records import version_of
from twistedkv.slots import slots_of


def open_backup(directory: Path) -> Manifest:
    """The manifest of a complete backup. Raises Damaged."""
    manifest = manifests.read(directory / COMPLETE_NAME)
    if manifest is not None and manifest.complete:
        return manifest
    if (directory / UNFINISHED_NAME).exists():
        raise Damaged(
            f"{directory}: this backup is not complete; `twistedkv backup` with the same directory goes on with it"
        )
    raise Damaged(f"{directory}: there is no backup here, as there is no {COMPLETE_NAME}")


def chunks_of(directory: Path, manifest: Manifest, file: ShardFile) -> Iterator[tuple[Chunk, int]]:
    """All chunks of a file, each with the bytes read so far, and at the end everything compared. Raises Damaged."""
    try:
        with (directory / file.file).open("rb") as stream:
            reader = ArchiveReader(stream, file.file)
            if reader.head != Head(manifest.cluster, manifest.run, file.shard, file.first_slot, file.last_slot):
                raise Damaged(f"{file.file}: it is of another backup or shard than the manifest says")
            for chunk in reader.chunks():
                slots = slots_of(chunk[1])
                if slots and not file.first_slot <= min(slots) <= max(slots) <= file.last_slot:
                    raise Damaged(f"{file.file}: it has keys that are not of its slots, before byte {reader.bytes}")
                yield chunk, reader.bytes
    except FileNotFoundError:
        raise Damaged(f"{file.file}: it is missing") from None
    end = reader.end
    assert end is not None
    if (end.version, end.records, end.updates) != (
        version_of(file.epoch, file.sequence),
        file.records,
        file.updates,
    ):
        raise Damaged(f"{file.file}: its end says another version or number of records than the manifest")
    if (reader.bytes, reader.sha256) != (file.bytes, file.sha256):
        raise Damaged(f"{file.file}: its size or SHA-256 is not what the manifest says")


@attrs.frozen
class Checked:
    """What was found in a backup that is whole."""

    manifest: Manifest

    @property
    def records(self) -> int:
        """Of all files."""
        return sum(file.records for file in self.manifest.files)

    @property
    def updates(self) -> int:
        """Of all files."""
        return sum(file.updates for file in self.manifest.files)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.manifest.files)


def check(
    directory: Path, shown: Callable[[float, int], object], damage: Callable[[str], object] | None = None
) -> Checked:
    """Read all of a backup. Raises Damaged at the first thing that is wrong, or with `damage` after having told all.

    `shown` is called with the bytes of each chunk, and the number of records until now.
    """
    manifest = open_backup(directory)
    records = 0
    wrong: list[str] = []
    for file in manifest.files:
        before = 0
        try:
            for (_, keys, _), read in chunks_of(directory, manifest, file):
                records += len(keys)
                shown(read - before, records)
                before = read
        except Damaged as error:
            if damage is None:
                raise
            damage(str(error))
            wrong.append(file.file)
    if wrong:
        raise Damaged(f"{len(wrong)} of {len(manifest.files)} files of {directory} are damaged, as said above")
    return Checked(manifest)
