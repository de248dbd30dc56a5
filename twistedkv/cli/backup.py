"""Backups: backup, backup verify, restore."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twistedkv.cli.arguments import json_option
from twistedkv.cli.output import amount, bytes_text, is_terminal, message, print_json, seconds_text
from twistedkv.cli.progress import Progress, progress_bar
from twistedkv.cli.session import (
    InputFailure,
    Negative,
    NotDoneFailure,
    Session,
    Store,
    connection_options,
    pass_session,
)
from twistedkv.core.entries import decode_records
from twistedkv.errors import Damaged, TwistedKVError
from twistedkv.limits import SLOTS
from twistedkv.records import record_expiry

if TYPE_CHECKING:
    from twistedkv.backup.manifest import Manifest
    from twistedkv.backup.reading import Checked

VERIFY = "verify"
RATE_MIN = 0.05
RATE_DEFAULT = 16.0
"""Megabytes a second. Effect: how much of the servers' time a backup takes; they spend about a hundredth of a second on
a megabyte of small records."""
_MEGABYTE = 1e6


@click.command("backup")
@click.argument("what", nargs=-1, required=True, metavar="[verify] DIR")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=RATE_DEFAULT,
    show_default=True,
    metavar="MB/S",
    help="Read no more records than this; 0 for as fast as it goes.",
)
@click.option("--fresh", is_flag=True, help="Begin anew, whatever an interrupted backup has left in DIR.")
@json_option
@connection_options()
@pass_session
def backup_command(session: Session, *, what: tuple[str, ...], rate: float, fresh: bool, as_json: bool) -> None:
    """Copy the whole cluster into a directory while it serves, or verify such a copy.

    `backup DIR` writes a file for each shard and a manifest, all with checksums. Each shard is copied as it was at one
    version, which the manifest names, with all that was committed until then and nothing later; the versions of
    different shards are of different moments. Expiries are kept. Keys written meanwhile come on top of the rate.

    When it is interrupted, the same command goes on with the shards that are not finished. A failover costs the shard
    another attempt. DIR is a backup when the command has ended with exit code 0: until then there is no manifest.json.

    `backup verify DIR` reads all of it and compares every checksum and count. It needs no cluster. Exit code 1 if
    anything is not as it was written, with the file and the chunk.

    \b
    Example:
      twistedkv backup /backups/monday
      twistedkv backup verify /backups/monday
      twistedkv restore /backups/monday
    """
    if len(what) == 2 and what[0] == VERIFY:
        _verify(Path(what[1]), as_json)
        return
    if len(what) != 1:
        raise click.UsageError("Give one directory: twistedkv backup DIR, or twistedkv backup verify DIR.")
    if 0 < rate < RATE_MIN:
        raise click.UsageError(f"A rate is at least {RATE_MIN} MB/s, or 0 for no limit.")
    _take(session, Path(what[0]), rate, fresh, as_json)


def _take(session: Session, directory: Path, rate: float, fresh: bool, as_json: bool) -> None:
    import secrets

    from twistedkv.backup.taking import Pace, Taking

    store = session.store
    began = time.monotonic()
    with _bar("backing up", len(store.cluster_map.shards)) as bar, _files_of(directory):
        pace = Pace(rate * _MEGABYTE, time.monotonic, time.sleep)
        taking = Taking(store, directory, pace, bar, lambda: secrets.token_hex(8))
        try:
            manifest = taking.run(fresh)
        except BaseException:
            if (directory / "unfinished.json").exists():
                message("not finished: the same command goes on with the shards that are missing")
            raise
    for text in taking.begun_again:
        message(f"begun again: {text}")
    _said(manifest, time.monotonic() - began, as_json, "backed up")


def _verify(directory: Path, as_json: bool) -> None:
    began = time.monotonic()
    with _files_of(directory):
        checked = _checked(directory, tell=True)
    _said(checked.manifest, time.monotonic() - began, as_json, "verified, all is as it was written:")


def _checked(directory: Path, *, tell: bool) -> Checked:
    from twistedkv.backup.reading import check, open_backup

    def damage(text: str) -> None:
        message(f"damaged: {text}")

    try:
        size = sum(file.bytes for file in open_backup(directory).files)
        with _bar("verifying", size) as bar:
            return check(directory, bar.advance, damage if tell else None)
    except Damaged as error:
        if tell:
            raise Negative(str(error)) from error
        raise


def _said(manifest: Manifest, seconds: float, as_json: bool, verb: str) -> None:
    records = sum(file.records for file in manifest.files)
    updates = sum(file.updates for file in manifest.files)
    size = sum(file.bytes for file in manifest.files)
    if as_json:
        print_json(
            {
                "cluster": manifest.cluster,
                "begun": manifest.begun,
                "ended": manifest.ended,
                "shards": len(manifest.files),
                "records": records,
                "updates": updates,
                "bytes": size,
                "seconds": round(seconds, 3),
            }
        )
        return
    message(
        f"{verb} {amount(records, 'record')} and {amount(updates, 'update')} made meanwhile, "
        f"{amount(len(manifest.files), 'shard')}, {bytes_text(size)} in {seconds_text(seconds)}"
    )


@click.command("restore")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--merge", is_flag=True, help="Into a cluster that has keys: those of the backup replace them.")
@click.option(
    "--from", "first", type=click.IntRange(min=0), metavar="N", help="Leave out the first N files: they are restored."
)
@click.option(
    "--shard", type=click.IntRange(min=0), metavar="SHARD", help="Only the keys of this shard of the cluster."
)
@json_option
@connection_options()
@pass_session
def restore_command(
    session: Session, *, directory: Path, merge: bool, first: int | None, shard: int | None, as_json: bool
) -> None:
    """Store a backup in a cluster, of whatever size.

    The cluster may have any number of servers, shards and copies. All of the backup is verified before anything is
    stored. Keys that have expired meanwhile are left out, and others expire when they would have; versions are new.

    The cluster has to be empty, unless --merge is given: then keys of the backup replace those that are there, and
    keys that were deleted while the backup was taken are deleted; all others stay. What is stored is complete
    when the command has ended with exit code 0; let nobody read or write before.

    With --shard, only the keys of that shard of the cluster are restored, and only that shard has to be empty: for one
    that was lost, and whose loss was accepted. The others stay as they are.

    It can be repeated: after an interruption it says with which --from N to go on. To begin at the beginning again
    gives the same (with --merge, as the cluster is not empty any more).

    \b
    Example:
      twistedkv restore /backups/monday
      twistedkv restore --coordinator db9:7400 /backups/monday
    """
    from twistedkv.backup.restoring import Restoring

    store = session.store
    with _files_of(directory):
        checked = _checked(directory, tell=False)
        files = len(checked.manifest.files)
        skipped = first or 0
        if skipped > files:
            raise click.UsageError(f"The backup has {files} files, so --from is at most {files}.")
        slots = _slots_of(store, shard)
        if not (merge or skipped) and not _is_empty(store, slots or range(SLOTS)):
            what = "the cluster" if shard is None else f"shard {shard}"
            raise InputFailure(f"{what} has keys already: restore into an empty one, or see --merge in --help")
        began = time.monotonic()
        restoring = Restoring(store, directory, _wall, time.sleep, slots)
        with _bar("restoring", sum(file.bytes for file in checked.manifest.files[skipped:])) as bar:
            try:
                restoring.run(checked.manifest, skipped, bar.advance)
            except BaseException:
                done = skipped + restoring.finished
                message(f"not finished: {done} of {files} files are restored; --from {done} goes on")
                raise
    seconds = time.monotonic() - began
    if as_json:
        print_json(
            {
                "shards": restoring.finished,
                "stored": restoring.stored,
                "expired": restoring.expired,
                "seconds": round(seconds, 3),
            }
        )
        return
    expired = f", {amount(restoring.expired, 'record')} had expired" if restoring.expired else ""
    message(
        f"restored {amount(restoring.stored, 'record')} of {amount(restoring.finished, 'shard')} in "
        f"{seconds_text(seconds)} ({restoring.stored / max(seconds, 1e-9):,.0f} records/s){expired}"
    )


def _wall() -> int:
    return int(time.time() * 1000)


def _slots_of(store: Store, shard: int | None) -> range | None:
    """Of a shard of the cluster; None: all."""
    if shard is None:
        return None
    for configuration in store.cluster_map.shards:
        if configuration.shard == shard:
            return configuration.slots
    raise click.UsageError(f"The cluster has no shard {shard}.")


def _is_empty(store: Store, slots: range) -> bool:
    """Whether there are no keys in these slots, of one shard or of all."""
    slot, after = slots.start, b""
    while slot < slots.stop:
        page = store.backup_records(slot, after)
        _, records = decode_records(page.records)
        if any(not 0 < record_expiry(record) <= _wall() for record in records):
            return False
        slot, after = page.next_slot, page.next_after
    return True


@contextmanager
def _files_of(directory: Path) -> Iterator[None]:
    """What can go wrong with files, as failures of the command."""
    try:
        yield
    except OSError as error:
        if isinstance(error, TwistedKVError):
            raise
        name = error.filename or directory
        raise NotDoneFailure(f"{name}: {error.strerror or error}") from error


@contextmanager
def _bar(title: str, total: float) -> Iterator[Progress]:
    with progress_bar(title, total, shown=is_terminal(sys.stderr)) as bar:
        yield bar
